//! The leaves in which a guest finds the hypervisor (`public/arch-x86/cpuid.h`).

use xen_abi::cpuid as abi;

use crate::Leaf;

/// How a guest's time-stamp counter relates to time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TscInfo {
    /// `rdtsc` traps and is emulated.
    pub emulated: bool,
    /// The host's counter runs at a constant rate, alike on all processors.
    pub host_reliable: bool,
    /// The guest may use `rdtscp`.
    pub rdtscp: bool,
    /// `XEN_CPUID_TSC_MODE_*`: 0 default, 1 always emulated, 2 never.
    pub mode: u32,
    /// The guest's counter, in kHz.
    pub guest_khz: u32,
    /// How often the guest migrated.
    pub incarnation: u32,
    /// The guest's counter minus its system time's base.
    pub offset: u64,
    /// Multiplier from ticks to nanoseconds.
    pub multiplier: u32,
    /// Shift before the multiplication.
    pub shift: i8,
    /// The host's counter, in kHz.
    pub host_khz: u32,
}

/// What the hypervisor's leaves say to one domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XenLeaves {
    /// The version, as in `XENVER_version`.
    pub major: u16,
    /// The version, as in `XENVER_version`.
    pub minor: u16,
    /// Time.
    pub tsc: TscInfo,
    /// The width of machine addresses in bits, memory that may be plugged in later included.
    pub machine_address_width: u8,
}

/// Where the hypervisor's MSRs begin; the first one installs a hypercall page.
pub(crate) const HYPERCALL_MSR: u32 = 0x4000_0000;

impl XenLeaves {
    /// Whether `leaf` is in the range of hypervisor leaves.
    pub const fn covers(leaf: u32) -> bool {
        leaf >= abi::FIRST_LEAF && leaf < abi::FIRST_LEAF + 0x100
    }

    /// The answer for a leaf of the range that [`covers`](Self::covers) says.
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> Leaf {
        match (leaf.wrapping_sub(abi::FIRST_LEAF), subleaf) {
            (0, _) => Leaf::new(
                abi::FIRST_LEAF + abi::MAX_NUM_LEAVES,
                abi::SIGNATURE_EBX,
                abi::SIGNATURE_ECX,
                abi::SIGNATURE_EDX,
            ),
            (1, _) => Leaf::new(
                (u32::from(self.major) << 16) | u32::from(self.minor),
                0,
                0,
                0,
            ),
            (2, _) => Leaf::new(1, HYPERCALL_MSR, abi::FEAT1_MMU_PT_UPDATE_PRESERVE_AD, 0),
            (3, 0) => Leaf::new(
                u32::from(self.tsc.emulated)
                    | (u32::from(self.tsc.host_reliable) << 1)
                    | (u32::from(self.tsc.rdtscp) << 2),
                self.tsc.mode,
                self.tsc.guest_khz,
                self.tsc.incarnation,
            ),
            (3, 1) => Leaf::new(
                self.tsc.offset as u32,
                (self.tsc.offset >> 32) as u32,
                self.tsc.multiplier,
                u32::from(self.tsc.shift as u8),
            ),
            (3, 2) => Leaf::new(self.tsc.host_khz, 0, 0, 0),
            // Leaf 4 is for hardware-virtualised guests.
            (5, 0) => Leaf::new(0, u32::from(self.machine_address_width), 0, 0),
            _ => Leaf::EMPTY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{TscInfo, XenLeaves};
    use crate::Leaf;
    use std::vec::Vec;

    const LEAVES: XenLeaves = XenLeaves {
        major: 4,
        minor: 17,
        tsc: TscInfo {
            emulated: false,
            host_reliable: true,
            rdtscp: true,
            mode: 2,
            guest_khz: 2_600_000,
            incarnation: 3,
            offset: 0x1_0000_0002,
            multiplier: 0xc4ec_4ec4,
            shift: -1,
            host_khz: 2_600_001,
        },
        machine_address_width: 40,
    };

    #[test]
    fn signature_and_version() {
        let leaf = LEAVES.cpuid(0x4000_0000, 0);
        assert_eq!(leaf.eax, 0x4000_0005);
        let name: Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx]
            .iter()
            .flat_map(|word| word.to_le_bytes())
            .collect();
        assert_eq!(name, b"XenVMMXenVMM");
        assert_eq!(LEAVES.cpuid(0x4000_0001, 0).eax, 0x0004_0011);
        assert_eq!(
            LEAVES.cpuid(0x4000_0002, 0),
            Leaf::new(1, 0x4000_0000, 1, 0)
        );
    }

    #[test]
    fn time_and_width() {
        assert_eq!(
            LEAVES.cpuid(0x4000_0003, 0),
            Leaf::new(0b110, 2, 2_600_000, 3)
        );
        assert_eq!(
            LEAVES.cpuid(0x4000_0003, 1),
            Leaf::new(2, 1, 0xc4ec_4ec4, 0xff)
        );
        assert_eq!(LEAVES.cpuid(0x4000_0003, 2).eax, 2_600_001);
        assert_eq!(LEAVES.cpuid(0x4000_0003, 3), Leaf::EMPTY);
        assert_eq!(LEAVES.cpuid(0x4000_0004, 0), Leaf::EMPTY);
        assert_eq!(LEAVES.cpuid(0x4000_0005, 0), Leaf::new(0, 40, 0, 0));
        assert_eq!(LEAVES.cpuid(0x4000_0006, 0), Leaf::EMPTY);
    }

    #[test]
    fn range() {
        assert!(XenLeaves::covers(0x4000_00ff));
        assert!(!XenLeaves::covers(0x4000_0100) && !XenLeaves::covers(0x3fff_ffff));
    }
}
