//! Event channels, `__HYPERVISOR_event_channel_op`.
//!
//! Source: `public/event_channel.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::{DomId, EvtchnPort};

crate::macros::constants! { u32;
    BIND_INTERDOMAIN = 0, "EVTCHNOP_bind_interdomain";
    BIND_VIRQ = 1, "EVTCHNOP_bind_virq";
    BIND_PIRQ = 2, "EVTCHNOP_bind_pirq";
    CLOSE = 3, "EVTCHNOP_close";
    SEND = 4, "EVTCHNOP_send";
    STATUS = 5, "EVTCHNOP_status";
    ALLOC_UNBOUND = 6, "EVTCHNOP_alloc_unbound";
    BIND_IPI = 7, "EVTCHNOP_bind_ipi";
    BIND_VCPU = 8, "EVTCHNOP_bind_vcpu";
    UNMASK = 9, "EVTCHNOP_unmask";
    RESET = 10, "EVTCHNOP_reset";
    INIT_CONTROL = 11, "EVTCHNOP_init_control";
    EXPAND_ARRAY = 12, "EVTCHNOP_expand_array";
    SET_PRIORITY = 13, "EVTCHNOP_set_priority";
    BIND_PIRQ__WILL_SHARE = 1;
    EVTCHNSTAT_CLOSED = 0, "EVTCHNSTAT_closed";
    EVTCHNSTAT_UNBOUND = 1, "EVTCHNSTAT_unbound";
    EVTCHNSTAT_INTERDOMAIN = 2, "EVTCHNSTAT_interdomain";
    EVTCHNSTAT_PIRQ = 3, "EVTCHNSTAT_pirq";
    EVTCHNSTAT_VIRQ = 4, "EVTCHNSTAT_virq";
    EVTCHNSTAT_IPI = 5, "EVTCHNSTAT_ipi";
    EVTCHN_FIFO_PRIORITY_MAX = 0;
    EVTCHN_FIFO_PRIORITY_DEFAULT = 7;
    EVTCHN_FIFO_PRIORITY_MIN = 15;
    EVTCHN_FIFO_MAX_QUEUES = 16;
    EVTCHN_FIFO_PENDING = 31;
    EVTCHN_FIFO_MASKED = 30;
    EVTCHN_FIFO_LINKED = 29;
    EVTCHN_FIFO_BUSY = 28;
    EVTCHN_FIFO_LINK_BITS = 17;
    EVTCHN_FIFO_LINK_MASK = 131_071;
    EVTCHN_FIFO_NR_CHANNELS = 1 << 17;
}

/// Argument of `EVTCHNOP_alloc_unbound`.
#[doc(alias = "evtchn_alloc_unbound")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct AllocUnbound {
    pub dom: DomId,
    pub remote_dom: DomId,
    pub port: EvtchnPort,
}

/// Argument of `EVTCHNOP_bind_interdomain`.
#[doc(alias = "evtchn_bind_interdomain")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BindInterdomain {
    pub remote_dom: DomId,
    pub _hole0: [u8; 2],
    pub remote_port: EvtchnPort,
    pub local_port: EvtchnPort,
}

/// Argument of `EVTCHNOP_bind_virq`.
#[doc(alias = "evtchn_bind_virq")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BindVirq {
    pub virq: u32,
    pub vcpu: u32,
    pub port: EvtchnPort,
}

/// Argument of `EVTCHNOP_bind_pirq`.
#[doc(alias = "evtchn_bind_pirq")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BindPirq {
    pub pirq: u32,
    pub flags: u32,
    pub port: EvtchnPort,
}

/// Argument of `EVTCHNOP_bind_ipi`.
#[doc(alias = "evtchn_bind_ipi")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BindIpi {
    pub vcpu: u32,
    pub port: EvtchnPort,
}

/// Argument of `EVTCHNOP_close`.
#[doc(alias = "evtchn_close")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Close {
    pub port: EvtchnPort,
}

/// Argument of `EVTCHNOP_send`.
#[doc(alias = "evtchn_send")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Send {
    pub port: EvtchnPort,
}

/// Argument of `EVTCHNOP_status`.
#[doc(alias = "evtchn_status")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Status {
    pub dom: DomId,
    pub _hole0: [u8; 2],
    pub port: EvtchnPort,
    pub status: u32,
    pub vcpu: u32,
    pub u: StatusUnion,
}

crate::macros::union! {
    /// The union `evtchn_status.u`.
    StatusUnion: [u32; 2], "evtchn_status.u" {
        unbound: StatusUnbound,
        interdomain: StatusInterdomain,
        pirq: u32,
        virq: u32,
    }
}

/// The member `evtchn_status.u.unbound`.
#[doc(alias = "evtchn_status.u.unbound")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StatusUnbound {
    pub dom: DomId,
}

/// The member `evtchn_status.u.interdomain`.
#[doc(alias = "evtchn_status.u.interdomain")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StatusInterdomain {
    pub dom: DomId,
    pub _hole0: [u8; 2],
    pub port: EvtchnPort,
}

/// Argument of `EVTCHNOP_bind_vcpu`.
#[doc(alias = "evtchn_bind_vcpu")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct BindVcpu {
    pub port: EvtchnPort,
    pub vcpu: u32,
}

/// Argument of `EVTCHNOP_unmask`.
#[doc(alias = "evtchn_unmask")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Unmask {
    pub port: EvtchnPort,
}

/// Argument of `EVTCHNOP_reset`.
#[doc(alias = "evtchn_reset")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Reset {
    pub dom: DomId,
}

/// Argument of `EVTCHNOP_init_control`.
#[doc(alias = "evtchn_init_control")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct InitControl {
    pub control_gfn: u64,
    pub offset: u32,
    pub vcpu: u32,
    pub link_bits: u8,
    pub _pad: [u8; 7],
}

/// Argument of `EVTCHNOP_expand_array`.
#[doc(alias = "evtchn_expand_array")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct ExpandArray {
    pub array_gfn: u64,
}

/// Argument of `EVTCHNOP_set_priority`.
#[doc(alias = "evtchn_set_priority")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct SetPriority {
    pub port: EvtchnPort,
    pub priority: u32,
}

/// The argument of `__HYPERVISOR_event_channel_op_compat`.
#[doc(alias = "evtchn_op")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct EventChannelOp {
    pub cmd: u32,
    pub u: EventChannelOpUnion,
}

crate::macros::union! {
    /// The union `evtchn_op.u`.
    EventChannelOpUnion: [u32; 6], "evtchn_op.u" {
        alloc_unbound: AllocUnbound,
        bind_interdomain: BindInterdomain,
        bind_virq: BindVirq,
        bind_pirq: BindPirq,
        bind_ipi: BindIpi,
        close: Close,
        send: Send,
        status: Status,
        bind_vcpu: BindVcpu,
        unmask: Unmask,
    }
}

/// What the hypervisor and one vCPU share of the FIFO event channels: which priorities are ready and their queue heads.
#[doc(alias = "evtchn_fifo_control_block")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct FifoControlBlock {
    pub ready: u32,
    pub _rsvd: u32,
    pub head: [u32; 16],
}
