//! What a paravirtual guest's access to a model-specific register does.
//!
//! [`read`] and [`write()`] decide by the guest's CPUID policy and its stored values ([`VcpuMsrs`]), and say
//! what is left to do: go to the hardware, or to the vCPU's segment bases, or fault.

use x86_defs::msr as number;

use crate::features;
use crate::leaf::Vendor;
use crate::policy::CpuidPolicy;
use crate::xen_leaves::HYPERCALL_MSR;

/// Control and status of AMD's older performance states.
const FID_VID_CTL: u32 = 0xc001_0041;
const FID_VID_STATUS: u32 = 0xc001_0042;
/// The last of AMD's performance states.
const PSTATE_DEF7: u32 = number::PSTATE_DEF0 + 7;
/// Address mask of breakpoint 3.
const DR3_ADDRESS_MASK: u32 = number::DR1_ADDRESS_MASK + 2;
/// The last register of the last machine-check bank.
const MC31_MISC: u32 = number::MC0_CTL + 4 * 32 - 1;

/// What the performance counters can, Intel.
const PERF_CAPABILITIES: u32 = 0x345;

/// The page attribute table as every guest has it.
const GUEST_PAT: u64 = number::PAT_XEN;

/// EFER: system calls.
const EFER_SCE: u64 = 1 << 0;
/// EFER: long mode enabled, active; no-execute; fast FXSAVE.
const EFER_VISIBLE: u64 = EFER_SCE | (1 << 8) | (1 << 10) | (1 << 11) | (1 << 14);

/// Bits of MISC_ENABLE that guests see cleared: performance monitoring, MONITOR.
const MISC_ENABLE_CLEAR: u64 = number::MISC_ENABLE_PERF_AVAILABLE | (1 << 18);
/// Bits of MISC_ENABLE that guests see set: no BTS, no PEBS, no task-priority messages.
const MISC_ENABLE_SET: u64 =
    number::MISC_ENABLE_BTS_UNAVAILABLE | number::MISC_ENABLE_PEBS_UNAVAILABLE | (1 << 23);

/// Machine-check banks that a guest sees working.
const GUEST_BANKS: u64 = 2;
/// MCG_CAP: threshold-based status, software error recovery.
const MCG_CAP_INTEL: u64 = (1 << 11) | (1 << 24);

/// A segment base that a guest reaches by an MSR.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentBase {
    /// FS, of whoever runs.
    Fs,
    /// GS, of whoever runs: the kernel.
    Gs,
    /// GS of the other mode: the program.
    ShadowGs,
}

/// What a read gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// This value.
    Value(u64),
    /// The host register's value, with bits cleared and then set; a fault if the host has no such one.
    Host {
        /// Bits to clear.
        clear: u64,
        /// Bits to set.
        set: u64,
    },
    /// A segment base of the vCPU.
    Base(SegmentBase),
    /// The guest's time-stamp counter.
    Tsc,
    /// #GP: the register is known and the guest has none.
    Fault,
    /// Not known here. #GP; but a guest that has no handler for it yet reads zero if the host has the
    /// register.
    Unknown,
}

impl Read {
    const HOST: Self = Self::Host { clear: 0, set: 0 };
    const ZERO: Self = Self::Value(0);
}

/// What a write does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing more: the value is stored, or of no consequence.
    Done,
    /// Nothing, but the guest tried to change what is not its own: worth a line in the log.
    Refused,
    /// The value goes to the host's register.
    Host(u64),
    /// The value goes to the host's register while the vCPU runs; it is stored too.
    Loaded(u64),
    /// A segment base of the vCPU; canonical.
    Base(SegmentBase, u64),
    /// Nothing, if the value is the host's with these bits cleared and set; else [`Refused`](Self::Refused).
    MustEqualHost {
        /// Bits to clear.
        clear: u64,
        /// Bits to set.
        set: u64,
    },
    /// A hypercall page goes to this frame of the guest.
    HypercallPage {
        /// The frame's number.
        frame: u64,
    },
    /// #GP: the register is known and the guest has none, or not this value.
    Fault,
    /// Not known here: #GP.
    Unknown,
}

/// Registers that a vCPU has of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VcpuMsrs {
    /// TSC_AUX, for the hardware while the vCPU runs: `rdtscp` does not fault.
    pub tsc_aux: u32,
    /// Address masks of the breakpoints, for the hardware while DR7 has any.
    pub breakpoint_masks: [u32; 4],
    /// MCG_STATUS.
    pub machine_check_status: u64,
    /// Whether programs' `cpuid` faults.
    pub cpuid_faulting: bool,
}

/// Whose access it is.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// The domain's policy.
    pub policy: &'a CpuidPolicy,
    /// The domain owns the machine's devices.
    pub hardware: bool,
    /// The vCPU's number.
    pub vcpu_id: u32,
    /// The host's EFER.
    pub efer: u64,
    /// The host makes programs' `cpuid` fault, and the domain may choose that.
    pub can_fault_cpuid: bool,
}

impl Access<'_> {
    fn vendor(&self) -> Vendor {
        self.policy.vendor
    }

    fn is_intel(&self) -> bool {
        self.vendor() == Vendor::Intel
    }

    fn is_amd_like(&self) -> bool {
        self.vendor().is_amd_like()
    }

    fn has(&self, feature: features::Feature) -> bool {
        self.policy.features().has(feature)
    }

    /// AMD's families with a configuration-space base register.
    fn has_mmio_configuration(&self) -> bool {
        self.is_amd_like() && (0x10..=0x17).contains(&self.policy.family())
    }

    fn efer(&self) -> u64 {
        self.efer & EFER_VISIBLE
    }
}

/// What reading register `msr` gives.
pub fn read(access: &Access<'_>, msrs: &VcpuMsrs, msr: u32) -> Read {
    use number as n;
    match msr {
        n::FS_BASE => Read::Base(SegmentBase::Fs),
        n::GS_BASE => Read::Base(SegmentBase::Gs),
        n::KERNEL_GS_BASE => Read::Base(SegmentBase::ShadowGs),
        n::TSC => Read::Tsc,
        n::TSC_AUX if access.has(features::RDTSCP) || access.has(features::RDPID) => {
            Read::Value(u64::from(msrs.tsc_aux))
        }
        n::EFER => Read::Value(access.efer()),
        // The APIC where it always is, enabled; the first vCPU's is the bootstrap processor's.
        n::APIC_BASE => {
            let bootstrap = u64::from(access.vcpu_id == 0) << 8;
            Read::Value(0xfee0_0000 | number::APIC_BASE_ENABLE | bootstrap)
        }
        n::PAT => Read::Value(GUEST_PAT),
        n::UCODE_REV if access.vendor() != Vendor::Other => Read::HOST,
        n::FEATURE_CONTROL if access.is_intel() => Read::Value(1),
        n::MISC_ENABLE if access.is_intel() => Read::Host {
            clear: MISC_ENABLE_CLEAR,
            set: MISC_ENABLE_SET,
        },
        n::PLATFORM_INFO if access.is_intel() => Read::Value(if access.can_fault_cpuid {
            number::PLATFORM_INFO_CPUID_FAULTING
        } else {
            0
        }),
        n::MISC_FEATURES_ENABLES if access.can_fault_cpuid => {
            Read::Value(u64::from(msrs.cpuid_faulting))
        }
        n::ARCH_CAPABILITIES if access.has(features::ARCH_CAPS) => {
            Read::Value(access.policy.arch_capabilities())
        }
        n::PLATFORM_ID if access.is_intel() => Read::HOST,
        n::PERF_STATUS | n::PERF_CTL | n::THERM_STATUS if access.is_intel() => Read::ZERO,
        PERF_CAPABILITIES => Read::ZERO,
        n::MCG_CAP | n::MCG_STATUS | n::MCG_CTL | n::MC0_CTL..=MC31_MISC => {
            machine_check(access, msrs, msr)
        }
        _ if access.is_amd_like() => read_amd(access, msrs, msr),
        HYPERCALL_MSR => Read::ZERO,
        _ if is_known(msr) => Read::Fault,
        _ => Read::Unknown,
    }
}

fn read_amd(access: &Access<'_>, msrs: &VcpuMsrs, msr: u32) -> Read {
    use number as n;
    match msr {
        // Memory types of the machine: only its owner has a use for them.
        n::SYSCFG if access.hardware => Read::Host {
            clear: !0x007c_0000,
            set: 0,
        },
        n::TOP_MEM | n::TOP_MEM2 if access.hardware => Read::HOST,
        // The time-stamp counter runs at the rate of the highest performance state.
        n::HWCR => Read::Value(number::HWCR_TSC_FREQ_SEL),
        n::NB_CFG | n::MMIO_CONF_BASE if access.hardware && access.has_mmio_configuration() => {
            Read::HOST
        }
        FID_VID_CTL | FID_VID_STATUS | n::PSTATE_LIMIT..=PSTATE_DEF7 => Read::ZERO,
        // LFENCE waits for all instructions before it.
        n::DE_CFG => Read::Value(1 << 1),
        _ => match breakpoint_mask(access, msr) {
            Some(index) => Read::Value(
                msrs.breakpoint_masks
                    .get(index)
                    .map_or(0, |m| u64::from(*m)),
            ),
            None if msr == HYPERCALL_MSR => Read::ZERO,
            None if is_known(msr) => Read::Fault,
            None => Read::Unknown,
        },
    }
}

/// The breakpoint whose address mask the register is, if the guest has them.
fn breakpoint_mask(access: &Access<'_>, msr: u32) -> Option<usize> {
    let index = match msr {
        number::DR0_ADDRESS_MASK => 0,
        number::DR1_ADDRESS_MASK..=DR3_ADDRESS_MASK => {
            (msr - number::DR1_ADDRESS_MASK) as usize + 1
        }
        _ => return None,
    };
    access.has(features::DBEXT).then_some(index)
}

/// Machine checks: two banks that work and never report; the machine's own are the hypervisor's.
fn machine_check(access: &Access<'_>, msrs: &VcpuMsrs, msr: u32) -> Read {
    match msr {
        number::MCG_CAP => {
            let abilities = if access.is_intel() { MCG_CAP_INTEL } else { 0 };
            Read::Value(GUEST_BANKS | abilities)
        }
        number::MCG_STATUS => Read::Value(msrs.machine_check_status),
        number::MCG_CTL => Read::Fault,
        // Each bank has its enable bits first, all set.
        _ if msr & 3 == 0 => Read::Value(u64::MAX),
        _ => Read::ZERO,
    }
}

/// Whether the register is one that guests are known to try and shall not have.
fn is_known(msr: u32) -> bool {
    use number as n;
    matches!(
        msr,
        n::SPEC_CTRL
            | n::PRED_CMD
            | n::FLUSH_CMD
            | n::UCODE_WRITE
            | n::PATCH_LOADER
            | n::ARCH_CAPABILITIES
            | n::MISC_FEATURES_ENABLES
            | n::TSC_AUX
            | n::FEATURE_CONTROL
            | n::PLATFORM_INFO
            | n::DR0_ADDRESS_MASK
            | n::DR1_ADDRESS_MASK..=DR3_ADDRESS_MASK
    )
}

/// What writing `value` to register `msr` does.
pub fn write(access: &Access<'_>, msrs: &mut VcpuMsrs, msr: u32, value: u64) -> Write {
    use number as n;
    match msr {
        n::FS_BASE => base(SegmentBase::Fs, value),
        n::GS_BASE => base(SegmentBase::Gs, value),
        n::KERNEL_GS_BASE => base(SegmentBase::ShadowGs, value),
        n::TSC_AUX if access.has(features::RDTSCP) || access.has(features::RDPID) => {
            match u32::try_from(value) {
                Ok(value) => {
                    msrs.tsc_aux = value;
                    Write::Loaded(u64::from(value))
                }
                Err(_) => Write::Fault,
            }
        }
        n::EFER => done_if(value == access.efer()),
        n::PAT => done_if(value == GUEST_PAT),
        n::APIC_BASE => Write::Refused,
        // Software clears it before it asks for the revision.
        n::UCODE_REV if access.vendor() != Vendor::Other => done_if(value == 0),
        n::PRED_CMD if access.has(features::IBPB) => match value {
            0 => Write::Done,
            1 => Write::Host(1),
            _ => Write::Fault,
        },
        n::MISC_ENABLE if access.is_intel() => Write::MustEqualHost {
            clear: MISC_ENABLE_CLEAR,
            set: MISC_ENABLE_SET,
        },
        n::MISC_FEATURES_ENABLES if access.can_fault_cpuid => {
            msrs.cpuid_faulting = value & 1 != 0;
            done_if(value <= 1)
        }
        // Frequencies and temperatures are the hypervisor's.
        n::MPERF | n::APERF if access.is_intel() || access.is_amd_like() => Write::Done,
        n::PERF_CTL | n::THERM_CONTROL | n::ENERGY_PERF_BIAS if access.is_intel() => Write::Done,
        n::MCG_STATUS => {
            msrs.machine_check_status = value;
            Write::Done
        }
        n::MCG_CAP => Write::Fault,
        // Banks report nothing, so there is nothing to clear or to enable.
        n::MC0_CTL..=MC31_MISC => done_if(msr & 3 == 0 || value == 0),
        HYPERCALL_MSR => hypercall_page(value),
        _ if access.is_amd_like() => write_amd(access, msrs, msr, value),
        _ if is_known(msr) => Write::Fault,
        _ => Write::Unknown,
    }
}

fn write_amd(access: &Access<'_>, msrs: &mut VcpuMsrs, msr: u32, value: u64) -> Write {
    use number as n;
    match msr {
        FID_VID_CTL | FID_VID_STATUS | n::PSTATE_LIMIT..=PSTATE_DEF7 | n::HWCR => Write::Done,
        // COMPAT: the configuration window is not moved, even for the machine's owner.
        n::NB_CFG | n::MMIO_CONF_BASE if access.has_mmio_configuration() => {
            if access.hardware {
                Write::MustEqualHost { clear: 0, set: 0 }
            } else {
                Write::Done
            }
        }
        n::DE_CFG => done_if(value & (1 << 1) != 0),
        _ => match breakpoint_mask(access, msr) {
            Some(index) => match (u32::try_from(value), msrs.breakpoint_masks.get_mut(index)) {
                (Ok(value), Some(mask)) => {
                    *mask = value;
                    Write::Loaded(u64::from(value))
                }
                _ => Write::Fault,
            },
            None if is_known(msr) => Write::Fault,
            None => Write::Unknown,
        },
    }
}

fn done_if(condition: bool) -> Write {
    if condition { Write::Done } else { Write::Fault }
}

/// Whether an address has all upper bits alike, as the processor demands of segment bases (48 bits).
pub const fn is_canonical(address: u64) -> bool {
    ((address as i64) << 16) >> 16 == address as i64
}

/// A segment base, if the hardware takes it without a fault (XSA-279's lesson: check before, not after).
fn base(base: SegmentBase, value: u64) -> Write {
    if is_canonical(value) {
        Write::Base(base, value)
    } else {
        Write::Fault
    }
}

/// The low bits choose among pages, of which there is one.
fn hypercall_page(value: u64) -> Write {
    if value & 0xfff == 0 {
        Write::HypercallPage { frame: value >> 12 }
    } else {
        Write::Fault
    }
}

#[cfg(test)]
mod tests;
