//! PCI configuration space, through ports 0xcf8 and 0xcfc and, where the MCFG says, through memory.
//!
//! The two ports are one register pair for the whole machine: keep the value in a lock. The memory window
//! is used only for what the ports cannot reach (offsets from 256 up, segments other than 0).

use platform_cpu::ports;

const ADDRESS: u16 = 0xcf8;
const DATA: u16 = 0xcfc;
const ENABLE: u32 = 1 << 31;

/// Vendor and device identifiers.
pub const VENDOR: u16 = 0x00;
/// Command register.
pub const COMMAND: u16 = 0x04;
/// Status register.
pub const STATUS: u16 = 0x06;
/// Header type.
pub const HEADER_TYPE: u16 = 0x0e;
/// First base address register.
pub const BAR_0: u16 = 0x10;
/// First capability.
pub const CAPABILITIES: u16 = 0x34;
/// Memory decoding is on.
pub const COMMAND_MEMORY: u16 = 1 << 1;
const STATUS_CAPABILITIES: u16 = 1 << 4;

/// A device function's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PciAddress {
    /// Segment group.
    pub segment: u16,
    /// Bus.
    pub bus: u8,
    /// Device (5 bits) and function (3 bits).
    pub devfn: u8,
}

impl PciAddress {
    /// Device number.
    pub const fn device(self) -> u8 {
        self.devfn >> 3
    }

    /// Function number.
    pub const fn function(self) -> u8 {
        self.devfn & 7
    }
}

impl core::fmt::Display for PciAddress {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(
            f,
            "{:04x}:{:02x}:{:02x}.{}",
            self.segment,
            self.bus,
            self.device(),
            self.function()
        )
    }
}

/// Configuration space as an operation set, so that what walks it can be tested.
pub trait ConfigSpace {
    /// Reads the aligned double word that holds `offset`; all ones where nothing answers.
    fn read32(&mut self, at: PciAddress, offset: u16) -> u32;
    /// Writes an aligned double word.
    fn write32(&mut self, at: PciAddress, offset: u16, value: u32);

    /// Reads an aligned word.
    fn read16(&mut self, at: PciAddress, offset: u16) -> u16 {
        (self.read32(at, offset & !3) >> (u32::from(offset & 2) * 8)) as u16
    }

    /// Reads a byte.
    fn read8(&mut self, at: PciAddress, offset: u16) -> u8 {
        (self.read32(at, offset & !3) >> (u32::from(offset & 3) * 8)) as u8
    }

    /// Writes an aligned word. Implementations write only it: status bits beside it clear when written.
    fn write16(&mut self, at: PciAddress, offset: u16, value: u16);

    /// Offset of the capability with identifier `id`, if the function is there and has it.
    fn find_capability(&mut self, at: PciAddress, id: u8) -> Option<u16> {
        if self.read32(at, VENDOR) as u16 == 0xffff
            || self.read16(at, STATUS) & STATUS_CAPABILITIES == 0
        {
            return None;
        }
        let mut offset = u16::from(self.read8(at, CAPABILITIES) & !3);
        // 48 capabilities fill the space: a longer list is a loop.
        for _ in 0..48 {
            if offset < 0x40 {
                return None;
            }
            let header = self.read16(at, offset);
            if header as u8 == id {
                return Some(offset);
            }
            offset = header >> 8 & 0xfc;
        }
        None
    }

    /// Machine address that a memory base address register holds, or `None` for an I/O or absent one.
    fn memory_bar(&mut self, at: PciAddress, index: u8) -> Option<u64> {
        if index > 5 {
            return None;
        }
        let register = BAR_0 + u16::from(index) * 4;
        let low = self.read32(at, register);
        if low & 1 != 0 {
            return None;
        }
        let high = match low >> 1 & 3 {
            0 => 0,
            2 if index < 5 => self.read32(at, register + 4),
            _ => return None,
        };
        let base = u64::from(high) << 32 | u64::from(low & !0xf);
        (base != 0).then_some(base)
    }
}

/// Configuration space of segment 0 through the port pair: 256 bytes a function.
#[derive(Debug, Default)]
pub struct PortConfigSpace(());

impl PortConfigSpace {
    /// The machine's port pair; there is to be one value, in a lock.
    pub const fn new() -> Self {
        Self(())
    }

    fn select(&self, at: PciAddress, offset: u16) -> bool {
        if at.segment != 0 || offset > 0xff {
            return false;
        }
        ports::outl(
            ADDRESS,
            ENABLE | u32::from(at.bus) << 16 | u32::from(at.devfn) << 8 | u32::from(offset & 0xfc),
        );
        true
    }

    /// Domain 0's own access through the ports: `cf8` is the address it has written, `port` 0xcfc–0xcff.
    pub fn read_raw(&mut self, cf8: u32, port: u16, bytes: u8) -> u32 {
        ports::outl(ADDRESS, cf8);
        match bytes {
            1 => ports::inb(port).into(),
            2 => ports::inw(port).into(),
            _ => ports::inl(port),
        }
    }

    /// As [`Self::read_raw`], writing.
    pub fn write_raw(&mut self, cf8: u32, port: u16, bytes: u8, value: u32) {
        ports::outl(ADDRESS, cf8);
        match bytes {
            1 => ports::outb(port, value as u8),
            2 => ports::outw(port, value as u16),
            _ => ports::outl(port, value),
        }
    }
}

impl ConfigSpace for PortConfigSpace {
    fn read32(&mut self, at: PciAddress, offset: u16) -> u32 {
        if self.select(at, offset) {
            ports::inl(DATA)
        } else {
            u32::MAX
        }
    }

    fn write32(&mut self, at: PciAddress, offset: u16, value: u32) {
        if self.select(at, offset) {
            ports::outl(DATA, value);
        }
    }

    fn write16(&mut self, at: PciAddress, offset: u16, value: u16) {
        if self.select(at, offset) {
            ports::outw(DATA + (offset & 2), value);
        }
    }
}

/// Offset of a function's configuration space within its segment's memory window (ECAM).
pub const fn window_offset(at: PciAddress, first_bus: u8) -> Option<u64> {
    match at.bus.checked_sub(first_bus) {
        Some(bus) => Some((bus as u64) << 20 | (at.devfn as u64) << 12),
        None => None,
    }
}
