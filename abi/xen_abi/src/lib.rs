//! The public interface of Xen 4.17 for x86-64: numbers and layouts, no behaviour. A module per public header
//! (`xen.h` and `arch-x86/xen.h`, which hold many things, have several).
//!
//! Names are the headers' names, in Rust's case and without the prefix that the module says already:
//! `struct evtchn_bind_virq` is [`event_channel::BindVirq`] and `EVTCHNOP_bind_virq` is
//! [`event_channel::BIND_VIRQ`]. The C names are search aliases.
//!
//! Every structure is plain bytes (`zerocopy`): any bit pattern is valid, padding is explicit (fields `_hole*`),
//! so that copying one to a guest cannot leak what was in memory before. C unions are words with an accessor for
//! each member.
//!
//! `tests/abi_layout` compares every structure, field and constant with Debian's `libxen-dev`.
#![no_std]
#![deny(unsafe_code)]

mod guest_handle;
mod macros;

pub mod arch_x86;
pub mod argo;
pub mod callback;
pub mod console_io;
pub mod control;
pub mod cpu_featureset;
pub mod cpu_user_regs;
pub mod cpuid;
pub mod domctl;
pub mod domid;
pub mod elf_note;
pub mod errno;
pub mod event_channel;
pub mod features;
pub mod grant_table;
pub mod hypercall;
pub mod hypfs;
pub mod kexec;
pub mod mca;
pub mod memory;
pub mod mmu;
pub mod multicall;
pub mod nmi;
pub mod physdev;
pub mod platform;
pub mod pmu;
pub mod sched;
pub mod shared_info;
pub mod start_info;
pub mod sysctl;
pub mod trap;
pub mod vcpu;
pub mod vcpu_context;
pub mod version;
pub mod virq;
pub mod vm_assist;
pub mod vm_event;
pub mod xsm;
pub mod hvm {
    //! Domains with hardware virtualisation (`public/hvm/*`).

    pub mod dm_op;
    pub mod e820;
    pub mod hvm_op;
    pub mod info_table;
    pub mod ioreq;
    pub mod params;
    pub mod save;
    pub mod start_info;
    pub mod vcpu;
}
pub mod io {
    //! Protocols between domains (`public/io/*`).

    pub mod blkif;
    pub mod console;
    pub mod netif;
    pub mod ring;
    pub mod xenbus;
    pub mod xs_wire;
}

pub use errno::Errno;
pub use guest_handle::GuestHandle;

/// A domain's number (`domid_t`).
pub type DomId = u16;
/// A port: a domain's end of an event channel (`evtchn_port_t`).
pub type EvtchnPort = u32;
/// An index into a grant table (`grant_ref_t`).
pub type GrantRef = u32;
/// A mapped grant (`grant_handle_t`).
pub type GrantHandle = u32;
/// A frame number, the guest's or the machine's as the call says (`xen_pfn_t`).
pub type XenPfn = u64;
/// A device model's ioreq server (`ioservid_t`).
pub type IoServerId = u16;
