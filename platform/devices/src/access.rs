//! The two ways to a device's registers, as traits, so that drivers can be tested against models.

use platform_cpu::ports;
use platform_memory::Mmio;

/// A window of device memory; offsets are in bytes from its start.
pub trait Registers {
    /// Reads an aligned 32-bit register.
    fn read32(&self, offset: usize) -> u32;
    /// Writes an aligned 32-bit register.
    fn write32(&self, offset: usize, value: u32);
}

impl Registers for Mmio {
    fn read32(&self, offset: usize) -> u32 {
        Mmio::read32(self, offset)
    }

    fn write32(&self, offset: usize, value: u32) {
        Mmio::write32(self, offset, value);
    }
}

impl<R: Registers> Registers for &R {
    fn read32(&self, offset: usize) -> u32 {
        (**self).read32(offset)
    }

    fn write32(&self, offset: usize, value: u32) {
        (**self).write32(offset, value);
    }
}

/// Byte-wide I/O ports.
pub trait Ports {
    /// Reads a port.
    fn inb(&self, port: u16) -> u8;
    /// Writes a port.
    fn outb(&self, port: u16, value: u8);
}

/// The machine's own ports.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuPorts;

impl Ports for CpuPorts {
    #[inline]
    fn inb(&self, port: u16) -> u8 {
        ports::inb(port)
    }

    #[inline]
    fn outb(&self, port: u16, value: u8) {
        ports::outb(port, value);
    }
}
