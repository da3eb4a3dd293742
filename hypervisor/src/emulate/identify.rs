//! `cpuid`, and what a domain has for it and for the other emulated instructions.

use alloc::boxed::Box;
use core::sync::atomic::{AtomicU8, AtomicU32};

use cpu_policy::features::{ARCH_CAPS, RDTSCP};
use cpu_policy::{CpuidPolicy, Leaf, Support, TscInfo, View, XenLeaves};
use platform_cpu::lock::{Once, SpinLock};
use platform_cpu::{control, msr, xsave};
use platform_memory::try_box;
use x86_defs::control::Cr4;
use xen_abi::errno::Errno;

use crate::context::Context;
use crate::hypercall::version;
use crate::{ranks, time};

/// The processor that the hypervisor runs on.
static HOST: Once<CpuidPolicy> = Once::new();

/// The leaves of the host.
pub fn host() -> &'static CpuidPolicy {
    loop {
        if let Some(host) = HOST.get() {
            return host;
        }
        // Another CPU may be faster: then its value is as good, in a moment.
        let _ = HOST.set(CpuidPolicy::host(&|leaf, subleaf| {
            let answer = control::cpuid(leaf, subleaf);
            Leaf::new(answer.eax, answer.ebx, answer.ecx, answer.edx)
        }));
    }
}

/// What a domain has for its emulated instructions.
pub struct DomainState {
    /// The processor that the domain sees unless its controller chose another.
    default: Box<CpuidPolicy>,
    /// What the controller chose so far.
    chosen: SpinLock<Option<Box<CpuidPolicy>>>,
    /// What it had chosen when the domain first ran.
    fixed: Once<Box<CpuidPolicy>>,
    machine_address_width: u8,
    /// The address that the domain wrote to the PCI configuration port 0xcf8.
    pub pci_address: AtomicU32,
    /// The index that the domain wrote to the CMOS port 0x70.
    pub cmos_index: AtomicU8,
}

impl DomainState {
    /// The state of a new paravirtual domain, if there is memory for it. A domain that owns the machine's devices does
    /// not leave it.
    pub fn new(is_hardware: bool) -> Option<Self> {
        Some(Self {
            default: paravirtual(is_hardware)?,
            chosen: SpinLock::new(ranks::CPU_POLICY, None),
            fixed: Once::new(),
            machine_address_width: machine_address_width(),
            pci_address: AtomicU32::new(0),
            cmos_index: AtomicU8::new(0),
        })
    }

    /// The CPUID leaves that the domain sees.
    #[inline]
    pub fn cpuid(&self) -> &CpuidPolicy {
        self.fixed.get().unwrap_or(&self.default)
    }

    /// Shows `f` the leaves that the domain will see, as they are chosen so far.
    pub fn with_policy<R>(&self, f: impl FnOnce(&CpuidPolicy) -> R) -> R {
        f(self.chosen.lock().as_deref().unwrap_or(self.cpuid()))
    }

    /// Chooses the leaves that the domain will see.
    ///
    /// # Errors
    /// The domain has run with others.
    pub fn choose(&self, policy: Box<CpuidPolicy>) -> Result<(), Errno> {
        let mut chosen = self.chosen.lock();
        if self.fixed.get().is_some() {
            return Err(Errno::EEXIST);
        }
        let former = chosen.replace(policy);
        drop(chosen);
        drop(former);
        Ok(())
    }

    /// Makes the choice final: the domain is about to run.
    pub fn fix(&self) {
        let chosen = self.chosen.lock().take();
        if let Some(chosen) = chosen {
            // An earlier choice is final.
            let _ = self.fixed.set(chosen);
        }
    }

    fn xen_leaves(&self) -> XenLeaves {
        let khz = u32::try_from(time::tsc_frequency() / 1000).unwrap_or(u32::MAX);
        let (major, minor) = version::VERSION;
        XenLeaves {
            major: major as u16,
            minor: minor as u16,
            tsc: TscInfo {
                host_reliable: time::tsc_is_stable(),
                rdtscp: self.cpuid().features().has(RDTSCP),
                guest_khz: khz,
                host_khz: khz,
                ..TscInfo::default()
            },
            machine_address_width: self.machine_address_width,
        }
    }
}

/// The leaves of a paravirtual domain, if there is memory for them: they are too many for the stack. `stays` says
/// that it does not leave this machine, and may rely on its clock.
#[inline(never)]
pub fn paravirtual(stays: bool) -> Option<Box<CpuidPolicy>> {
    let host = host();
    let arch_capabilities = if host.features().has(ARCH_CAPS) {
        msr::read(x86_defs::msr::ARCH_CAPABILITIES).unwrap_or(0)
    } else {
        0
    };
    try_box(host.pv(&Support {
        xcr0: if xsave::xcr0() == 0 {
            0
        } else {
            xsave::features()
        },
        fsgsbase: control::read_cr4() & Cr4::FSGSBASE.bits() != 0,
        invariant_tsc: stays && time::tsc_is_stable(),
        arch_capabilities,
    }))
}

/// The width of the highest address of RAM, in bits.
fn machine_address_width() -> u8 {
    let frames = platform_memory::m2p::len();
    (u64::BITS - frames.leading_zeros() + addr::PAGE_SHIFT) as u8
}

/// Carries out `cpuid`; `forced` if the guest asked for emulation.
pub(super) fn cpuid(context: &mut Context<'_>, forced: bool) {
    let leaf = context.regs.rax as u32;
    let subleaf = context.regs.rcx as u32;
    let emulation = &context.domain.emulation;
    let answer = if XenLeaves::covers(leaf) {
        emulation.xen_leaves().cpuid(leaf, subleaf)
    } else {
        let view = View {
            vcpu_id: context.vcpu.id(),
            cr4: context.state.cr4,
            xcr0: xsave::xcr0(),
            kernel: context.state.in_kernel,
            forced,
            hardware: context.domain.is_hardware(),
        };
        emulation.cpuid().cpuid(leaf, subleaf, &view)
    };
    let regs = &mut context.regs;
    regs.rax = u64::from(answer.eax);
    regs.rbx = u64::from(answer.ebx);
    regs.rcx = u64::from(answer.ecx);
    regs.rdx = u64::from(answer.edx);
}
