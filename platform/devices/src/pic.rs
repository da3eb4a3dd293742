//! The two 8259s: set up once so that a spurious interrupt of theirs has a harmless vector, then masked
//! for good. All lines come through the IO-APICs.

use crate::access::Ports;

const MASTER_COMMAND: u16 = 0x20;
const MASTER_DATA: u16 = 0x21;
const SLAVE_COMMAND: u16 = 0xa0;
const SLAVE_DATA: u16 = 0xa1;
const IMCR_INDEX: u16 = 0x22;
const IMCR_DATA: u16 = 0x23;
const IMCR: u8 = 0x70;

/// Masks everything. Spurious interrupts would arrive at `base + 7` and `base + 15`.
pub fn disable(ports: &impl Ports, base: u8) {
    ports.outb(MASTER_DATA, 0xff);
    ports.outb(SLAVE_DATA, 0xff);
    // ICW1: edge triggered, cascaded, ICW4 follows. ICW2: vectors. ICW3: slave on line 2. ICW4: 8086 mode.
    ports.outb(MASTER_COMMAND, 0x11);
    ports.outb(MASTER_DATA, base & !7);
    ports.outb(MASTER_DATA, 1 << 2);
    ports.outb(MASTER_DATA, 0x01);
    ports.outb(SLAVE_COMMAND, 0x11);
    ports.outb(SLAVE_DATA, (base & !7).wrapping_add(8));
    ports.outb(SLAVE_DATA, 2);
    ports.outb(SLAVE_DATA, 0x01);
    ports.outb(MASTER_DATA, 0xff);
    ports.outb(SLAVE_DATA, 0xff);
}

/// Leaves PIC mode on boards that have the IMCR (MultiProcessor Specification §3.6.2.1): interrupts
/// no longer bypass the APICs. A board without it ignores the two writes.
pub fn leave_pic_mode(ports: &impl Ports) {
    ports.outb(IMCR_INDEX, IMCR);
    ports.outb(IMCR_DATA, 0x01);
}
