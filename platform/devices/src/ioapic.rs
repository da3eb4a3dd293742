//! IO-APICs (82093AA and later): one redirection entry for each of the machine's interrupt lines.

use crate::access::Registers;
use crate::redirection::{REDIRECTION_MASKED, REDIRECTION_REMOTE_IRR, RedirectionEntry, Trigger};

const SELECT: usize = 0x00;
const WINDOW: usize = 0x10;
const END_OF_INTERRUPT: usize = 0x40;

const ID: u8 = 0x00;
const VERSION: u8 = 0x01;
const REDIRECTION: u8 = 0x10;

/// Most pins an IO-APIC can have: the index of the last entry is 8 bits from 0x10 up.
pub const MAX_PINS: usize = 120;

/// Bytes of its register window.
pub const WINDOW_BYTES: usize = 0x1000;

/// One IO-APIC. The index register makes each access two steps: keep it in a lock.
pub struct IoApic<R> {
    registers: R,
    gsi_base: u32,
    pins: u8,
    version: u8,
    /// Low halves as last written: masking needs no read.
    low: [u32; MAX_PINS],
}

impl<R: Registers> IoApic<R> {
    /// Takes the IO-APIC over with all pins masked; `None` if nothing answers.
    pub fn new(registers: R, gsi_base: u32) -> Option<Self> {
        let mut this = Self {
            registers,
            gsi_base,
            pins: 0,
            version: 0,
            low: [0; MAX_PINS],
        };
        let version = this.read(VERSION);
        if version == u32::MAX || version & 0xff == 0 {
            return None;
        }
        this.version = version as u8;
        this.pins = (((version >> 16) & 0xff) + 1).min(MAX_PINS as u32) as u8;
        for pin in 0..this.pins {
            // A level interrupt that the firmware left unfinished would block the pin for good.
            let raw = this.read_raw(pin);
            if raw & REDIRECTION_REMOTE_IRR != 0 {
                this.clear_remote_irr(pin, raw);
            }
            this.set(pin, RedirectionEntry::MASKED);
        }
        Some(this)
    }

    /// Reads a register by its index (`PHYSDEVOP_apic_read`).
    pub fn read(&self, register: u8) -> u32 {
        self.registers.write32(SELECT, register.into());
        self.registers.read32(WINDOW)
    }

    fn write(&self, register: u8, value: u32) {
        self.registers.write32(SELECT, register.into());
        self.registers.write32(WINDOW, value);
    }

    /// First global system interrupt of this IO-APIC.
    pub fn gsi_base(&self) -> u32 {
        self.gsi_base
    }

    /// Number of pins.
    pub fn pins(&self) -> u8 {
        self.pins
    }

    /// Version register's version.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// Identifier, as it is programmed.
    pub fn id(&self) -> u8 {
        (self.read(ID) >> 24) as u8
    }

    /// Whether a global system interrupt is one of this IO-APIC's, and which pin.
    pub fn pin_of(&self, gsi: u32) -> Option<u8> {
        let pin = gsi.checked_sub(self.gsi_base)?;
        (pin < u32::from(self.pins)).then_some(pin as u8)
    }

    fn read_raw(&self, pin: u8) -> u64 {
        let register = REDIRECTION + pin * 2;
        u64::from(self.read(register)) | u64::from(self.read(register + 1)) << 32
    }

    /// The entry of a pin as the chip has it; `None` if there is no such pin.
    pub fn entry(&self, pin: u8) -> Option<RedirectionEntry> {
        if pin >= self.pins {
            return None;
        }
        RedirectionEntry::decode(self.read_raw(pin))
    }

    /// Whether a level interrupt of the pin was delivered and not ended.
    pub fn is_in_service(&self, pin: u8) -> bool {
        pin < self.pins && u64::from(self.read(REDIRECTION + pin * 2)) & REDIRECTION_REMOTE_IRR != 0
    }

    /// Programs a pin.
    pub fn set(&mut self, pin: u8, entry: RedirectionEntry) {
        let Some(low) = self
            .low
            .get_mut(usize::from(pin))
            .filter(|_| pin < self.pins)
        else {
            return;
        };
        let raw = entry.encode();
        *low = raw as u32;
        let register = REDIRECTION + pin * 2;
        // Masked while the halves disagree, so that no message goes to a CPU in between.
        self.write(register, raw as u32 | REDIRECTION_MASKED as u32);
        self.write(register + 1, (raw >> 32) as u32);
        if !entry.masked {
            self.write(register, raw as u32);
        }
    }

    /// Holds a pin back.
    pub fn mask(&mut self, pin: u8) {
        self.change(pin, |low| low | REDIRECTION_MASKED as u32);
    }

    /// Lets a pin through.
    pub fn unmask(&mut self, pin: u8) {
        self.change(pin, |low| low & !(REDIRECTION_MASKED as u32));
    }

    fn change(&mut self, pin: u8, change: impl Fn(u32) -> u32) {
        let Some(low) = self
            .low
            .get_mut(usize::from(pin))
            .filter(|_| pin < self.pins)
        else {
            return;
        };
        *low = change(*low);
        let low = *low;
        self.write(REDIRECTION + pin * 2, low);
    }

    /// Ends a level interrupt at the IO-APIC itself, where its local APIC cannot any more.
    fn clear_remote_irr(&self, pin: u8, raw: u64) {
        if self.version >= 0x20 {
            self.registers.write32(END_OF_INTERRUPT, raw as u32 & 0xff);
        } else if let Some(entry) = RedirectionEntry::decode(raw) {
            // Without an EOI register, edge mode clears the bit.
            let register = REDIRECTION + pin * 2;
            let masked = RedirectionEntry {
                masked: true,
                ..entry
            };
            let edge = RedirectionEntry {
                trigger: Trigger::Edge,
                ..masked
            };
            self.write(register, edge.encode() as u32);
            self.write(register, masked.encode() as u32);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redirection::{Delivery, Polarity};
    use std::cell::{Cell, RefCell};

    struct Chip {
        select: Cell<u8>,
        version: u32,
        entries: RefCell<[u32; 48]>,
        history: RefCell<std::vec::Vec<(u8, u32)>>,
        ended: Cell<Option<u32>>,
    }

    impl Registers for &Chip {
        fn read32(&self, offset: usize) -> u32 {
            assert_eq!(offset, WINDOW);
            match self.select.get() {
                ID => 0x0200_0000,
                VERSION => self.version,
                register => self.entries.borrow()[usize::from(register - REDIRECTION)],
            }
        }
        fn write32(&self, offset: usize, value: u32) {
            match offset {
                SELECT => self.select.set(value as u8),
                WINDOW => {
                    self.history.borrow_mut().push((self.select.get(), value));
                    self.entries.borrow_mut()[usize::from(self.select.get() - REDIRECTION)] = value;
                }
                END_OF_INTERRUPT => self.ended.set(Some(value)),
                _ => panic!("offset {offset:#x}"),
            }
        }
    }

    fn chip() -> Chip {
        Chip {
            select: Cell::new(0),
            version: 0x0017_0020,
            entries: RefCell::new([0; 48]),
            history: RefCell::default(),
            ended: Cell::new(None),
        }
    }

    const ENTRY: RedirectionEntry = RedirectionEntry {
        vector: 0x55,
        delivery: Delivery::Fixed,
        logical: false,
        polarity: Polarity::Low,
        trigger: Trigger::Level,
        masked: false,
        destination: 1,
    };

    #[test]
    fn takes_over_masked() {
        let chip = chip();
        chip.entries.borrow_mut()[6] = 0xc055;
        let ioapic = IoApic::new(&chip, 24).unwrap();
        assert_eq!(
            (ioapic.pins(), ioapic.version(), ioapic.id()),
            (24, 0x20, 2)
        );
        assert_eq!(chip.ended.get(), Some(0x55));
        assert!((0..24).all(|pin| ioapic.entry(pin).unwrap().masked));
        assert_eq!(ioapic.pin_of(23), None);
        assert_eq!(ioapic.pin_of(24), Some(0));
        assert_eq!(ioapic.pin_of(47), Some(23));
        assert_eq!(ioapic.pin_of(48), None);
        assert_eq!(ioapic.entry(24), None);
    }

    #[test]
    fn programs_masked_first() {
        let chip = chip();
        let mut ioapic = IoApic::new(&chip, 0).unwrap();
        chip.history.borrow_mut().clear();
        ioapic.set(3, ENTRY);
        assert_eq!(
            *chip.history.borrow(),
            [(0x16, 0x1_a055), (0x17, 0x0100_0000), (0x16, 0xa055)]
        );
        ioapic.mask(3);
        assert!(ioapic.entry(3).unwrap().masked);
        ioapic.unmask(3);
        assert_eq!(ioapic.entry(3), Some(ENTRY));
        ioapic.set(24, ENTRY);
        ioapic.mask(200);
    }

    #[test]
    fn nothing_there() {
        struct Absent;
        impl Registers for Absent {
            fn read32(&self, _: usize) -> u32 {
                u32::MAX
            }
            fn write32(&self, _: usize, _: u32) {}
        }
        assert!(IoApic::new(Absent, 0).is_none());
    }
}
