//! The ways to stop a machine: ACPI sleep states and reset.

use crate::access::Ports;
use platform_cpu::ports;

const SLEEP_TYPE: u16 = 0x7 << 10;
const SLEEP_ENABLE: u16 = 1 << 13;
/// Wake status: set while the machine wakes (ACPI §4.8.3.1.1).
const WAKE_STATUS: u16 = 1 << 15;

/// The PM1 ports, from the FADT; 0 where there is no second block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SleepPorts {
    /// PM1a control.
    pub pm1a_control: u16,
    /// PM1b control.
    pub pm1b_control: u16,
    /// PM1a event block, whose first word is the status.
    pub pm1a_event: u16,
    /// PM1b event block.
    pub pm1b_event: u16,
}

impl SleepPorts {
    /// Enters a sleep state by writing the two values, which have sleep type and enable bits as domain 0's
    /// ACPI code computed them. Returns if the machine did not go off.
    pub fn enter(&self, pm1a_value: u16, pm1b_value: u16) {
        // Clear the wake status first, or the chipset may wake at once.
        for event in [self.pm1a_event, self.pm1b_event] {
            if event != 0 {
                ports::outw(event, WAKE_STATUS);
            }
        }
        for (port, value) in [
            (self.pm1a_control, pm1a_value),
            (self.pm1b_control, pm1b_value),
        ] {
            if port != 0 {
                // Type first, then type and enable: some chipsets latch the type (ACPI §16.1.5).
                ports::outw(port, value & !SLEEP_ENABLE);
            }
        }
        for (port, value) in [
            (self.pm1a_control, pm1a_value),
            (self.pm1b_control, pm1b_value),
        ] {
            if port != 0 {
                ports::outw(port, value | SLEEP_ENABLE);
            }
        }
    }

    /// Enters the state with given sleep types, as the DSDT's `\_S5` package has them.
    pub fn enter_type(&self, pm1a_type: u8, pm1b_type: u8) {
        let value = |port: u16, sleep_type: u8| {
            let kept = if port != 0 { ports::inw(port) } else { 0 };
            (kept & !(SLEEP_TYPE | SLEEP_ENABLE)) | u16::from(sleep_type & 7) << 10
        };
        self.enter(
            value(self.pm1a_control, pm1a_type),
            value(self.pm1b_control, pm1b_type),
        );
    }
}

/// The FADT's reset register, where it is one that can be written without a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResetPort {
    /// I/O port.
    pub port: u16,
    /// Value that resets.
    pub value: u8,
}

/// Resets the machine: the FADT's way, the chipset's, the keyboard controller's. Returns only if none
/// worked: what is left then is `platform_cpu::triple_fault`.
pub fn reset(fadt: Option<ResetPort>, ports: &impl Ports, mut delay_ns: impl FnMut(u64)) {
    if let Some(register) = fadt {
        ports.outb(register.port, register.value);
        delay_ns(10_000_000);
    }
    // Reset control register of PIIX and ICH: hard reset, then the edge that triggers it.
    let control = ports.inb(0xcf9) & !0x06;
    ports.outb(0xcf9, control | 0x02);
    delay_ns(50_000);
    ports.outb(0xcf9, control | 0x06);
    delay_ns(10_000_000);
    for _ in 0..10 {
        for _ in 0..10_000 {
            if ports.inb(0x64) & 0x02 == 0 {
                break;
            }
        }
        ports.outb(0x64, 0xfe);
        delay_ns(10_000_000);
    }
}

/// Finds the sleep types of soft off (`\_S5`) in the bytes of a DSDT, without interpreting it: the object is a
/// package of constants on every machine known (ACPI §7.4.2, encodings §20.2). `None` if it is not there so.
pub fn find_soft_off(dsdt: &[u8]) -> Option<(u8, u8)> {
    const NAME_OP: u8 = 0x08;
    const ROOT: u8 = b'\\';
    const PACKAGE_OP: u8 = 0x12;
    let (at, _) = dsdt.windows(5).enumerate().find(|&(at, window)| {
        let Some(name) = window.strip_suffix(&[PACKAGE_OP]) else {
            return false;
        };
        let before = |n: usize| at.checked_sub(n).and_then(|at| dsdt.get(at)).copied();
        name == b"_S5_"
            && (before(1) == Some(NAME_OP)
                || (before(1) == Some(ROOT) && before(2) == Some(NAME_OP)))
    })?;
    let mut rest = dsdt.get(at + 5..)?;
    // The package's length: the top two bits of the first byte count the bytes that follow it.
    let length_bytes = usize::from(*rest.first()? >> 6) + 1;
    rest = rest.get(length_bytes..)?;
    let (&count, mut rest) = rest.split_first()?;
    if count < 2 {
        return None;
    }
    let mut constant = || {
        let (&prefix, after) = rest.split_first()?;
        let (value, after) = match prefix {
            // ZeroOp, OneOp.
            0x00 | 0x01 => (prefix, after),
            // BytePrefix, WordPrefix, DWordPrefix: the low byte counts.
            0x0a => (*after.first()?, after.get(1..)?),
            0x0b => (*after.first()?, after.get(2..)?),
            0x0c => (*after.first()?, after.get(4..)?),
            _ => return None,
        };
        rest = after;
        (value < 8).then_some(value)
    };
    Some((constant()?, constant()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn soft_off_is_found() {
        let name = |package: &[u8]| {
            let mut bytes = std::vec![0x5b, 0x80, 0x08];
            bytes.extend(b"_S5_");
            bytes.extend(package);
            bytes
        };
        // Package (4) { 5, 5, 0, 0 }, as on PIIX; Package (4) { 0, 0, 0, 0 }, as in QEMU.
        let piix = name(&[0x12, 0x0a, 0x04, 0x0a, 0x05, 0x0a, 0x05, 0x00, 0x00]);
        assert_eq!(find_soft_off(&piix), Some((5, 5)));
        let qemu = name(&[0x12, 0x06, 0x04, 0x00, 0x00, 0x00, 0x00]);
        assert_eq!(find_soft_off(&qemu), Some((0, 0)));
        // A length of two bytes.
        let long = name(&[0x12, 0x4a, 0x00, 0x04, 0x01, 0x0b, 0x07, 0x00, 0x00]);
        assert_eq!(find_soft_off(&long), Some((1, 7)));
        let mut at_root = std::vec![0x08, b'\\'];
        at_root.extend(b"_S5_");
        at_root.extend([0x12, 0x06, 0x04, 0x01, 0x00, 0x00, 0x00]);
        assert_eq!(find_soft_off(&at_root), Some((1, 0)));
    }

    #[test]
    fn nonsense_is_not_soft_off() {
        assert_eq!(find_soft_off(b"\x08_S5_\x12\x06\x04\x0a\x09\x00\x00"), None);
        assert_eq!(find_soft_off(b"\x08_S5_\x12\x06\x04\x5b\x09\x00\x00"), None);
        assert_eq!(find_soft_off(b"\x08_S5_\x12\x06\x01\x00"), None);
        assert_eq!(find_soft_off(b"\x08_S5_\x12"), None);
        assert_eq!(find_soft_off(b"xx_S5_\x12\x06\x04\x00\x00\x00\x00"), None);
        assert_eq!(find_soft_off(b""), None);
    }
}
