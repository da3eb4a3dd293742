//! Segment selectors, descriptors, gates and the task state segment (SDM 3A §3.4, §3.5, §6.14, §7.7).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A selector: index, table and requested privilege level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(transparent)]
pub struct Selector(pub u16);

impl Selector {
    /// The null selector.
    pub const NULL: Self = Self(0);

    /// A selector of the GDT.
    pub const fn gdt(index: u16, rpl: u8) -> Self {
        Self(index << 3 | (rpl & 3) as u16)
    }

    /// The descriptor's index.
    pub const fn index(self) -> u16 {
        self.0 >> 3
    }

    /// Whether it is one of the LDT.
    pub const fn is_ldt(self) -> bool {
        self.0 & 4 != 0
    }

    /// The requested privilege level.
    pub const fn rpl(self) -> u8 {
        (self.0 & 3) as u8
    }

    /// Whether it is null, with any privilege level.
    pub const fn is_null(self) -> bool {
        self.0 & !3 == 0
    }
}

/// An 8-byte descriptor.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(transparent)]
pub struct Descriptor(pub u64);

impl Descriptor {
    /// The empty descriptor.
    pub const NULL: Self = Self(0);
    /// 64-bit code, ring 0.
    pub const CODE64_RING0: Self = Self(0x00af_9b00_0000_ffff);
    /// Flat 32-bit code, ring 0.
    pub const CODE32_RING0: Self = Self(0x00cf_9b00_0000_ffff);
    /// Flat data, ring 0.
    pub const DATA_RING0: Self = Self(0x00cf_9300_0000_ffff);
    /// 64-bit code, ring 3.
    pub const CODE64_RING3: Self = Self(0x00af_fb00_0000_ffff);
    /// Flat 32-bit code, ring 3.
    pub const CODE32_RING3: Self = Self(0x00cf_fb00_0000_ffff);
    /// Flat data, ring 3.
    pub const DATA_RING3: Self = Self(0x00cf_f300_0000_ffff);

    /// Code or data was accessed.
    pub const ACCESSED: u64 = 1 << 40;
    /// Data is writable; code is readable.
    pub const WRITABLE: u64 = 1 << 41;
    /// Data expands down; code is conforming.
    pub const CONFORMING: u64 = 1 << 42;
    /// Code, not data.
    pub const EXECUTABLE: u64 = 1 << 43;
    /// Code or data, not a system descriptor.
    pub const CODE_OR_DATA: u64 = 1 << 44;
    /// In use.
    pub const PRESENT: u64 = 1 << 47;
    /// For software.
    pub const AVAILABLE: u64 = 1 << 52;
    /// 64-bit code.
    pub const LONG: u64 = 1 << 53;
    /// 32-bit code or stack.
    pub const DEFAULT_32: u64 = 1 << 54;
    /// The limit counts pages.
    pub const GRANULARITY: u64 = 1 << 55;

    /// The type field, 4 bits.
    pub const fn kind(self) -> u8 {
        (self.0 >> 40) as u8 & 0xf
    }

    /// The descriptor's privilege level.
    pub const fn dpl(self) -> u8 {
        (self.0 >> 45) as u8 & 3
    }

    /// The same descriptor with another privilege level.
    pub const fn with_dpl(self, dpl: u8) -> Self {
        Self(self.0 & !(3 << 45) | ((dpl & 3) as u64) << 45)
    }

    /// Whether it is in use.
    pub const fn is_present(self) -> bool {
        self.0 & Self::PRESENT != 0
    }

    /// Whether it is code or data, not a system descriptor.
    pub const fn is_code_or_data(self) -> bool {
        self.0 & Self::CODE_OR_DATA != 0
    }

    /// Whether it is code.
    pub const fn is_code(self) -> bool {
        self.0 & (Self::CODE_OR_DATA | Self::EXECUTABLE) == (Self::CODE_OR_DATA | Self::EXECUTABLE)
    }

    /// The 32-bit base.
    pub const fn base(self) -> u32 {
        ((self.0 >> 16) & 0x00ff_ffff) as u32 | ((self.0 >> 56) << 24) as u32
    }

    /// The limit in bytes, granularity applied.
    pub const fn limit(self) -> u32 {
        let limit = (self.0 & 0xffff) as u32 | ((self.0 >> 32) & 0xf_0000) as u32;
        if self.0 & Self::GRANULARITY != 0 {
            limit << 12 | 0xfff
        } else {
            limit
        }
    }

    /// The two descriptors of an available 64-bit TSS or of an LDT: `kind` is [`TYPE_TSS`] or [`TYPE_LDT`].
    pub const fn system(kind: u8, base: u64, limit: u32) -> [Self; 2] {
        let low = (limit & 0xffff) as u64
            | ((limit & 0xf_0000) as u64) << 32
            | (base & 0x00ff_ffff) << 16
            | ((base >> 24) & 0xff) << 56
            | ((kind & 0xf) as u64) << 40
            | Self::PRESENT;
        [Self(low), Self(base >> 32)]
    }
}

/// System descriptor: LDT.
pub const TYPE_LDT: u8 = 2;
/// System descriptor: available 64-bit TSS.
pub const TYPE_TSS: u8 = 9;
/// System descriptor: busy 64-bit TSS.
pub const TYPE_TSS_BUSY: u8 = 11;
/// System descriptor: call gate.
pub const TYPE_CALL_GATE: u8 = 12;
/// System descriptor: interrupt gate.
pub const TYPE_INTERRUPT_GATE: u8 = 14;
/// System descriptor: trap gate.
pub const TYPE_TRAP_GATE: u8 = 15;

/// An entry of a 64-bit IDT.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable,
)]
#[repr(C)]
pub struct Gate {
    /// Offset, selector, stack, type.
    pub low: u64,
    /// The upper half of the offset.
    pub high: u64,
}

impl Gate {
    /// An interrupt gate: entered with interrupts disabled. `ist` 0 is no stack of its own.
    pub const fn interrupt(selector: Selector, offset: u64, dpl: u8, ist: u8) -> Self {
        Self {
            low: offset & 0xffff
                | (selector.0 as u64) << 16
                | ((ist & 7) as u64) << 32
                | (TYPE_INTERRUPT_GATE as u64) << 40
                | ((dpl & 3) as u64) << 45
                | Descriptor::PRESENT
                | (offset & 0xffff_0000) << 32,
            high: offset >> 32,
        }
    }

    /// The address that the gate leads to.
    pub const fn offset(self) -> u64 {
        self.low & 0xffff | (self.low >> 32) & 0xffff_0000 | self.high << 32
    }
}

/// The 64-bit task state segment: stacks of the CPU.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(C, packed)]
pub struct Tss {
    /// Zero.
    pub reserved0: u32,
    /// Stack pointers for rings 0, 1, 2.
    pub rsp: [u64; 3],
    /// Zero.
    pub reserved1: u64,
    /// Stacks that gates name by number; `ist[0]` is number 1.
    pub ist: [u64; 7],
    /// Zero.
    pub reserved2: u64,
    /// Zero.
    pub reserved3: u16,
    /// The I/O permission bitmap's offset; the segment's size if there is none.
    pub io_map_base: u16,
}

/// The operand of `lgdt` and `lidt`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
)]
#[repr(C, packed)]
pub struct TableRegister {
    /// Size in bytes, less one.
    pub limit: u16,
    /// Linear address.
    pub base: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size_of::<Tss>(), 104);
        assert_eq!(size_of::<TableRegister>(), 10);
        assert_eq!(size_of::<Gate>(), 16);
    }

    #[test]
    fn system_descriptor_round_trips() {
        let base = 0xffff_82d0_1234_5678;
        let [low, high] = Descriptor::system(TYPE_TSS, base, 0x67);
        assert_eq!(u64::from(low.base()) | high.0 << 32, base);
        assert_eq!(low.limit(), 0x67);
        assert_eq!(low.kind(), TYPE_TSS);
        assert!(low.is_present() && !low.is_code_or_data());
        assert_eq!(low.0 >> 32, 0x1200_8934);
    }

    #[test]
    fn gate_round_trips() {
        let gate = Gate::interrupt(Selector(0xe008), 0xffff_82d0_4012_3456, 3, 2);
        assert_eq!(gate.offset(), 0xffff_82d0_4012_3456);
        assert_eq!(gate.low, 0x4012_ee02_e008_3456);
    }

    #[test]
    fn flat_descriptors() {
        assert_eq!(Descriptor::DATA_RING3.limit(), u32::MAX);
        assert_eq!(Descriptor::DATA_RING3.dpl(), 3);
        assert!(Descriptor::CODE64_RING0.is_code());
        assert!(!Descriptor::DATA_RING0.is_code());
        assert_eq!(
            Descriptor::CODE32_RING0.with_dpl(3),
            Descriptor::CODE32_RING3
        );
    }
}
