//! Message-signalled interrupts: the MSI and MSI-X capabilities (PCI 3.0 §6.8) and the MSI-X table.

use crate::access::Registers;
use crate::pci::{ConfigSpace, PciAddress};
use crate::redirection::MsiMessage;

/// Capability identifier of MSI.
pub const CAPABILITY_MSI: u8 = 0x05;
/// Capability identifier of MSI-X.
pub const CAPABILITY_MSIX: u8 = 0x11;

const CONTROL: u16 = 2;
const MSI_ENABLE: u16 = 1 << 0;
const MSI_64BIT: u16 = 1 << 7;
const MSI_MASKABLE: u16 = 1 << 8;
const MSIX_ENABLE: u16 = 1 << 15;
const MSIX_MASK_ALL: u16 = 1 << 14;

/// Bytes of an MSI-X table entry.
pub const MSIX_ENTRY_BYTES: usize = 16;
const MSIX_MASKED: u32 = 1;

/// A function's MSI capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiCapability {
    at: PciAddress,
    offset: u16,
    wide: bool,
    maskable: bool,
    log2_messages: u8,
}

impl MsiCapability {
    /// Finds it.
    pub fn find(config: &mut impl ConfigSpace, at: PciAddress) -> Option<Self> {
        let offset = config.find_capability(at, CAPABILITY_MSI)?;
        let control = config.read16(at, offset + CONTROL);
        Some(Self {
            at,
            offset,
            wide: control & MSI_64BIT != 0,
            maskable: control & MSI_MASKABLE != 0,
            // 6 and 7 are reserved.
            log2_messages: (control >> 1 & 7).min(5) as u8,
        })
    }

    /// Messages that the function asks for, 1 to 32.
    pub fn messages(&self) -> u32 {
        1 << self.log2_messages
    }

    /// Whether messages can be masked one by one.
    pub fn is_maskable(&self) -> bool {
        self.maskable
    }

    fn data_offset(&self) -> u16 {
        self.offset + if self.wide { 12 } else { 8 }
    }

    fn mask_offset(&self) -> u16 {
        self.offset + if self.wide { 16 } else { 12 }
    }

    /// Writes address, data and the number of messages (a power of two). The enable bit stays as it is: its
    /// owner is the driver, which turns INTx off at the same time. False if the function cannot hold it.
    pub fn program(&self, config: &mut impl ConfigSpace, message: MsiMessage, count: u32) -> bool {
        let log2 = count.trailing_zeros();
        if !count.is_power_of_two()
            || count > self.messages()
            || (!self.wide && message.address >> 32 != 0)
        {
            return false;
        }
        let control = config.read16(self.at, self.offset + CONTROL);
        config.write16(
            self.at,
            self.offset + CONTROL,
            (control & !(7 << 4)) | (log2 as u16) << 4,
        );
        config.write32(self.at, self.offset + 4, message.address as u32);
        if self.wide {
            config.write32(self.at, self.offset + 8, (message.address >> 32) as u32);
        }
        config.write16(self.at, self.data_offset(), message.data as u16);
        true
    }

    /// Masks or unmasks message `index`, where the function can.
    pub fn set_masked(&self, config: &mut impl ConfigSpace, index: u32, masked: bool) {
        if self.maskable && index < self.messages() {
            let offset = self.mask_offset();
            let bits = config.read32(self.at, offset);
            let bit = 1u32 << index;
            config.write32(
                self.at,
                offset,
                if masked { bits | bit } else { bits & !bit },
            );
        }
    }

    /// Turns the capability on or off.
    pub fn set_enabled(&self, config: &mut impl ConfigSpace, enabled: bool) {
        let control = config.read16(self.at, self.offset + CONTROL);
        config.write16(
            self.at,
            self.offset + CONTROL,
            if enabled {
                control | MSI_ENABLE
            } else {
                control & !MSI_ENABLE
            },
        );
    }
}

/// A function's MSI-X capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsixCapability {
    at: PciAddress,
    offset: u16,
    entries: u16,
    table: u32,
    pending: u32,
}

impl MsixCapability {
    /// Finds it.
    pub fn find(config: &mut impl ConfigSpace, at: PciAddress) -> Option<Self> {
        let offset = config.find_capability(at, CAPABILITY_MSIX)?;
        let control = config.read16(at, offset + CONTROL);
        Some(Self {
            at,
            offset,
            entries: (control & 0x7ff) + 1,
            table: config.read32(at, offset + 4),
            pending: config.read32(at, offset + 8),
        })
    }

    /// Entries of the table, 1 to 2048.
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// Machine address of the table; `None` while its base address register holds none.
    pub fn table_maddr(&self, config: &mut impl ConfigSpace) -> Option<u64> {
        config
            .memory_bar(self.at, (self.table & 7) as u8)?
            .checked_add((self.table & !7).into())
    }

    /// Machine address of the pending-bit array.
    pub fn pending_maddr(&self, config: &mut impl ConfigSpace) -> Option<u64> {
        config
            .memory_bar(self.at, (self.pending & 7) as u8)?
            .checked_add((self.pending & !7).into())
    }

    /// Sets the enable and function-mask bits, and returns what they were.
    pub fn set_control(
        &self,
        config: &mut impl ConfigSpace,
        enabled: bool,
        mask_all: bool,
    ) -> (bool, bool) {
        let control = config.read16(self.at, self.offset + CONTROL);
        let mut new = control & !(MSIX_ENABLE | MSIX_MASK_ALL);
        if enabled {
            new |= MSIX_ENABLE;
        }
        if mask_all {
            new |= MSIX_MASK_ALL;
        }
        if new != control {
            config.write16(self.at, self.offset + CONTROL, new);
        }
        (control & MSIX_ENABLE != 0, control & MSIX_MASK_ALL != 0)
    }
}

/// One entry of an MSI-X table, `offset` bytes into its mapping.
#[derive(Debug)]
pub struct MsixEntry<R> {
    registers: R,
    offset: usize,
}

impl<R: Registers> MsixEntry<R> {
    /// The entry at `offset` of `registers`.
    pub fn new(registers: R, offset: usize) -> Self {
        Self { registers, offset }
    }

    /// Writes the message, masked as the specification demands while it changes, and leaves it masked.
    pub fn program(&self, message: MsiMessage) {
        self.set_masked(true);
        self.registers.write32(self.offset, message.address as u32);
        self.registers
            .write32(self.offset + 4, (message.address >> 32) as u32);
        self.registers.write32(self.offset + 8, message.data);
    }

    /// Masks or unmasks the entry, and waits until the device has seen it.
    pub fn set_masked(&self, masked: bool) {
        let control = self.registers.read32(self.offset + 12);
        let new = if masked {
            control | MSIX_MASKED
        } else {
            control & !MSIX_MASKED
        };
        self.registers.write32(self.offset + 12, new);
        // A read pushes the posted write out.
        let _ = self.registers.read32(self.offset + 12);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::vec;
    use std::vec::Vec;

    struct Function(Vec<u8>);

    const AT: PciAddress = PciAddress {
        segment: 0,
        bus: 0,
        devfn: 0x18,
    };

    impl Function {
        fn new() -> Self {
            let mut bytes = vec![0; 256];
            bytes[0..4].copy_from_slice(&[0xf4, 0x1a, 0x41, 0x10]);
            bytes[6] = 0x10;
            bytes[0x34] = 0x50;
            // Vendor capability, then MSI (64-bit, maskable, 4 messages), then MSI-X (3 entries).
            bytes[0x50..0x54].copy_from_slice(&[0x09, 0x60, 0, 0]);
            bytes[0x60..0x64].copy_from_slice(&[0x05, 0x80, 0x84, 0x01]);
            bytes[0x80..0x84].copy_from_slice(&[0x11, 0x00, 0x02, 0x00]);
            bytes[0x84..0x88].copy_from_slice(&0x2001u32.to_le_bytes());
            bytes[0x88..0x8c].copy_from_slice(&0x3004u32.to_le_bytes());
            bytes[0x14..0x18].copy_from_slice(&0xfebd_0000u32.to_le_bytes());
            bytes[0x20..0x24].copy_from_slice(&0xc000_000cu32.to_le_bytes());
            bytes[0x24..0x28].copy_from_slice(&0x8u32.to_le_bytes());
            Self(bytes)
        }
    }

    impl ConfigSpace for Function {
        fn read32(&mut self, at: PciAddress, offset: u16) -> u32 {
            if at != AT {
                return u32::MAX;
            }
            let bytes = &self.0[usize::from(offset & !3)..][..4];
            u32::from_le_bytes(bytes.try_into().unwrap())
        }
        fn write32(&mut self, _: PciAddress, offset: u16, value: u32) {
            self.0[usize::from(offset)..][..4].copy_from_slice(&value.to_le_bytes());
        }
        fn write16(&mut self, _: PciAddress, offset: u16, value: u16) {
            self.0[usize::from(offset)..][..2].copy_from_slice(&value.to_le_bytes());
        }
    }

    #[test]
    fn msi_is_found_and_programmed() {
        let mut function = Function::new();
        let msi = MsiCapability::find(&mut function, AT).unwrap();
        assert_eq!((msi.messages(), msi.is_maskable()), (4, true));
        let message = MsiMessage {
            address: 0xfee0_3000,
            data: 0x48,
        };
        assert!(!msi.program(&mut function, message, 8));
        assert!(!msi.program(&mut function, message, 3));
        assert!(msi.program(&mut function, message, 4));
        assert_eq!(
            function.read16(AT, 0x62),
            0x01a4,
            "four messages, not enabled"
        );
        assert_eq!(function.read32(AT, 0x64), 0xfee0_3000);
        assert_eq!(function.read32(AT, 0x68), 0);
        assert_eq!(function.read16(AT, 0x6c), 0x48);
        msi.set_masked(&mut function, 1, true);
        assert_eq!(function.read32(AT, 0x70), 2);
        msi.set_masked(&mut function, 1, false);
        assert_eq!(function.read32(AT, 0x70), 0);
        msi.set_enabled(&mut function, true);
        assert_eq!(function.read16(AT, 0x62), 0x01a5);
    }

    #[test]
    fn msix_is_found() {
        let mut function = Function::new();
        let msix = MsixCapability::find(&mut function, AT).unwrap();
        assert_eq!(msix.entries(), 3);
        assert_eq!(msix.table_maddr(&mut function), Some(0xfebd_2000));
        assert_eq!(msix.pending_maddr(&mut function), Some(0x8_c000_3000));
        assert_eq!(msix.set_control(&mut function, true, true), (false, false));
        assert_eq!(msix.set_control(&mut function, true, false), (true, true));
        assert_eq!(function.read16(AT, 0x82), 0x8002);
    }

    #[test]
    fn looping_and_absent_capabilities() {
        let mut function = Function::new();
        function.0[0x51] = 0x50;
        assert_eq!(MsiCapability::find(&mut function, AT), None);
        function.0[6] = 0;
        assert_eq!(MsiCapability::find(&mut function, AT), None);
        let elsewhere = PciAddress { devfn: 0, ..AT };
        assert_eq!(MsiCapability::find(&mut function, elsewhere), None);
    }

    #[test]
    fn table_entry_is_masked_while_it_changes() {
        struct Table(RefCell<Vec<u32>>, RefCell<Vec<(usize, u32)>>);
        impl Registers for &Table {
            fn read32(&self, offset: usize) -> u32 {
                self.0.borrow()[offset / 4]
            }
            fn write32(&self, offset: usize, value: u32) {
                self.0.borrow_mut()[offset / 4] = value;
                self.1.borrow_mut().push((offset, value));
            }
        }
        let table = Table(RefCell::new(vec![0; 8]), RefCell::default());
        let entry = MsixEntry::new(&table, 16);
        entry.program(MsiMessage {
            address: 0xfee0_1000,
            data: 0x99,
        });
        assert_eq!(
            *table.1.borrow(),
            [(28, 1), (16, 0xfee0_1000), (20, 0), (24, 0x99)]
        );
        entry.set_masked(false);
        assert_eq!(table.0.borrow()[7], 0);
    }
}
