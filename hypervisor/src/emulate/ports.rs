//! Port I/O: who may, and what the machine's shared ports do.
//!
//! A guest's kernel has the privilege that it gave itself (`PHYSDEVOP_set_iopl`), its programs what that or a
//! bitmap in the kernel's memory allows: without, the instruction faults. Of the ports themselves a domain
//! reaches those that it was given; others read as ones and swallow writes.

use core::sync::atomic::Ordering;

use addr::Vaddr;
use platform_cpu::guest::{self, Fault};
use platform_cpu::lock::SpinLock;
use platform_cpu::ports;
use platform_devices::rtc;
use privileged_ops::{Gpr, Mode, Port, Register, Segment, Width};
use x86_defs::paging::PageFaultCode;
use xen_abi::vm_assist::TYPE_ARCHITECTURAL_IOPL;

use super::Carried;
use super::code::Code;
use super::registers::Registers;
use crate::context::Context;
use crate::domain::Domain;
use crate::{irq, ranks};

/// Rounds of a repeated instruction between looks at other work.
const MAX_ROUNDS: u32 = 1024;

/// The direction flag.
const DF: u64 = 1 << 10;

/// PIT: data of channel 2, command; and the speaker's gate.
const PIT_CHANNEL_2: u16 = 0x42;
const PIT_COMMAND: u16 = 0x43;
const SPEAKER: u16 = 0x61;
/// The clock's index and data.
const CMOS_INDEX: u16 = 0x70;
const CMOS_DATA: u16 = 0x71;
/// PCI configuration.
const PCI_ADDRESS: u16 = 0xcf8;
const PCI_DATA: u16 = 0xcfc;

/// Index and data are two accesses that belong together.
static CMOS: SpinLock<()> = SpinLock::new(ranks::CMOS, ());

/// Whether whoever runs in the guest has the I/O privilege that `cli`, and any port, needs.
pub(super) fn has_io_privilege(context: &Context<'_>) -> bool {
    let ring = match (
        context.state.in_kernel,
        context.domain.assists(TYPE_ARCHITECTURAL_IOPL),
    ) {
        (true, true) => 0,
        (true, false) => 1,
        (false, _) => 3,
    };
    ring <= context.state.iopl & 3
}

/// Whether the guest itself lets whoever runs in it access the ports.
fn may_access(context: &mut Context<'_>, port: u16, width: Width) -> bool {
    if has_io_privilege(context) {
        return true;
    }
    let last = u32::from(port) + width.bytes() as u32 - 1;
    if last >= context.state.io_bitmap_ports {
        return false;
    }
    let Some(at) = context.state.io_bitmap.checked_add(u64::from(port / 8)) else {
        return false;
    };
    // The bitmap is the kernel's, whatever page tables a program has.
    let in_program = !context.state.in_kernel;
    if in_program && context.state.toggle_mode().is_err() {
        return false;
    }
    let mut bytes = [0xff; 2];
    let (first, second) = bytes.split_at_mut(1);
    let _ = guest::copy_from(first, Vaddr::new(at));
    if let Some(next) = at.checked_add(1) {
        let _ = guest::copy_from(second, Vaddr::new(next));
    }
    if in_program && context.state.toggle_mode().is_err() {
        return false;
    }
    let wanted = ((1_u32 << width.bytes()) - 1) << (port % 8);
    u32::from(u16::from_le_bytes(bytes)) & wanted == 0
}

fn port_number(context: &Context<'_>, port: Port) -> u16 {
    match port {
        Port::Immediate(number) => u16::from(number),
        Port::Dx => context.regs.rdx as u16,
    }
}

/// `in`.
pub(super) fn input(context: &mut Context<'_>, port: Port, width: Width) -> Carried {
    let port = port_number(context, port);
    if !may_access(context, port, width) {
        return Carried::Refused;
    }
    let value = read(context.domain, port, width);
    let mut registers = Registers(context.regs);
    Register::low(Gpr::RAX).write(width, u64::from(value), &mut registers);
    Carried::Done
}

/// `out`.
pub(super) fn output(context: &mut Context<'_>, port: Port, width: Width) -> Carried {
    let port = port_number(context, port);
    if !may_access(context, port, width) {
        return Carried::Refused;
    }
    write(context.domain, port, width, context.regs.rax as u32);
    Carried::Done
}

/// `ins`.
pub(super) fn input_string(
    context: &mut Context<'_>,
    code: &Code,
    width: Width,
    repeat: bool,
    narrow: bool,
) -> Carried {
    let port = context.regs.rdx as u16;
    // COMPAT: string I/O of 32-bit programs would need the bases of their segments; it faults.
    if code.mode != Mode::Long || !may_access(context, port, width) {
        return Carried::Refused;
    }
    let domain = context.domain;
    string(context, Gpr::RDI, 0, width, repeat, narrow, |at, bytes| {
        // Reading tells most faults before the device's data is taken and lost.
        guest::copy_from(bytes, at).map_err(|fault| Fault {
            error_code: fault.error_code | PageFaultCode::WRITE.bits(),
            ..fault
        })?;
        let data = read(domain, port, width).to_le_bytes();
        guest::copy_to(at, data.get(..bytes.len()).unwrap_or(&data))
    })
}

/// `outs`.
pub(super) fn output_string(
    context: &mut Context<'_>,
    code: &Code,
    width: Width,
    repeat: bool,
    narrow: bool,
    segment: Segment,
) -> Carried {
    let port = context.regs.rdx as u16;
    if code.mode != Mode::Long || !may_access(context, port, width) {
        return Carried::Refused;
    }
    let domain = context.domain;
    let base = privileged_ops::Registers::segment_base(&Registers(context.regs), segment);
    string(
        context,
        Gpr::RSI,
        base,
        width,
        repeat,
        narrow,
        |at, bytes| {
            guest::copy_from(bytes, at)?;
            let mut data = [0; 4];
            for (to, from) in data.iter_mut().zip(bytes.iter()) {
                *to = *from;
            }
            write(domain, port, width, u32::from_le_bytes(data));
            Ok(())
        },
    )
}

/// Runs the rounds of a string instruction; each is given the address in memory and room for the data.
fn string(
    context: &mut Context<'_>,
    pointer: Gpr,
    base: u64,
    width: Width,
    repeat: bool,
    narrow: bool,
    mut round: impl FnMut(Vaddr, &mut [u8]) -> Result<(), Fault>,
) -> Carried {
    let address_width = if narrow { Width::Double } else { Width::Quad };
    let pointer = Register::low(pointer);
    let counter = Register::low(Gpr::RCX);
    let step = if context.regs.rflags & DF == 0 {
        width.bytes()
    } else {
        width.bytes().wrapping_neg()
    };
    let mut registers = Registers(context.regs);
    let mut room = [0; 4];
    for _ in 0..MAX_ROUNDS {
        if repeat && counter.read(address_width, &registers) == 0 {
            return Carried::Done;
        }
        let at = pointer.read(address_width, &registers);
        let bytes = room.get_mut(..width.bytes() as usize).unwrap_or_default();
        if let Err(fault) = round(Vaddr::new(base.wrapping_add(at)), bytes) {
            return Carried::PageFault {
                address: fault.address.raw(),
                error_code: fault.error_code,
            };
        }
        pointer.write(address_width, at.wrapping_add(step), &mut registers);
        if !repeat {
            return Carried::Done;
        }
        let left = counter.read(address_width, &registers).wrapping_sub(1);
        counter.write(address_width, left, &mut registers);
    }
    Carried::Again
}

/// Whether the ports are the domain's own, to be accessed as they are.
fn is_direct(domain: &Domain, port: u16, width: Width) -> bool {
    let last = u32::from(port) + width.bytes() as u32 - 1;
    let Ok(last) = u16::try_from(last) else {
        return false;
    };
    // The ports of PCI configuration and of the clock are pairs that all domains share.
    let shared = (port == PCI_ADDRESS && width == Width::Double)
        || port & !3 == PCI_DATA
        || port & !1 == CMOS_INDEX
        || matches!(port, PIT_CHANNEL_2 | PIT_COMMAND | SPEAKER);
    !shared && domain.io_access.permits_ports(port, last)
}

/// Reads a port as the domain sees it.
fn read(domain: &Domain, port: u16, width: Width) -> u32 {
    if is_direct(domain, port, width) {
        return match width {
            Width::Byte => ports::inb(port).into(),
            Width::Word => ports::inw(port).into(),
            _ => ports::inl(port),
        };
    }
    let mut value = 0;
    for part in parts(port, width) {
        let data = read_shared(domain, part);
        value |= u64::from(data & part.mask()) << part.shift;
    }
    value as u32
}

/// Writes a port as the domain sees it.
fn write(domain: &Domain, port: u16, width: Width, value: u32) {
    if is_direct(domain, port, width) {
        match width {
            Width::Byte => ports::outb(port, value as u8),
            Width::Word => ports::outw(port, value as u16),
            _ => ports::outl(port, value),
        }
        return;
    }
    for part in parts(port, width) {
        let data = value.checked_shr(part.shift).unwrap_or(0) & part.mask();
        write_shared(domain, part, data);
    }
}

/// A part of an access that is not direct: a byte, or what lies within one configuration register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    port: u16,
    bytes: u8,
    /// Where its data is in the whole, in bits.
    shift: u32,
}

impl Part {
    fn mask(self) -> u32 {
        u32::MAX >> (32 - 8 * u32::from(self.bytes).clamp(1, 4))
    }
}

/// The parts of an access, from the lowest port.
fn parts(port: u16, width: Width) -> impl Iterator<Item = Part> {
    let total = width.bytes() as u8;
    let mut done = 0;
    core::iter::from_fn(move || {
        let left = total - done;
        if left == 0 {
            return None;
        }
        let port = port.checked_add(u16::from(done))?;
        let bytes = if port == PCI_ADDRESS && left == 4 {
            4
        } else if port & !3 == PCI_DATA {
            match left.min(4 - (port & 3) as u8) {
                3 => 2,
                bytes => bytes,
            }
        } else {
            1
        };
        let part = Part {
            port,
            bytes,
            shift: u32::from(done) * 8,
        };
        done += bytes;
        Some(part)
    })
}

fn read_shared(domain: &Domain, part: Part) -> u32 {
    let emulation = &domain.emulation;
    match (part.port, part.bytes) {
        (PCI_ADDRESS, 4) => emulation.pci_address.load(Ordering::Relaxed),
        (port, bytes) if port & !3 == PCI_DATA && domain.is_hardware() => {
            let address = emulation.pci_address.load(Ordering::Relaxed);
            irq::PCI_CONFIG.lock().read_raw(address, port, bytes)
        }
        (CMOS_INDEX, _) => emulation.cmos_index.load(Ordering::Relaxed).into(),
        (CMOS_DATA, _) if domain.io_access.permits_ports(CMOS_INDEX, CMOS_DATA) => {
            let _pair = CMOS.lock();
            rtc::read_register(emulation.cmos_index.load(Ordering::Relaxed)).into()
        }
        (PIT_CHANNEL_2 | SPEAKER, _) if domain.is_hardware() => ports::inb(part.port).into(),
        (port, _) if domain.io_access.permits_ports(port, port) => ports::inb(port).into(),
        _ => u32::MAX,
    }
}

fn write_shared(domain: &Domain, part: Part, data: u32) {
    let emulation = &domain.emulation;
    match (part.port, part.bytes) {
        (PCI_ADDRESS, 4) => emulation.pci_address.store(data, Ordering::Relaxed),
        (port, bytes) if port & !3 == PCI_DATA && domain.is_hardware() => {
            let address = emulation.pci_address.load(Ordering::Relaxed);
            irq::PCI_CONFIG.lock().write_raw(address, port, bytes, data);
        }
        (CMOS_INDEX, _) => emulation.cmos_index.store(data as u8, Ordering::Relaxed),
        (CMOS_DATA, _) if domain.io_access.permits_ports(CMOS_INDEX, CMOS_DATA) => {
            let _pair = CMOS.lock();
            rtc::write_register(emulation.cmos_index.load(Ordering::Relaxed), data as u8);
        }
        (PIT_CHANNEL_2, _) if domain.is_hardware() => ports::outb(PIT_CHANNEL_2, data as u8),
        // Channel 0 may be the hypervisor's: of the commands, those for channel 2 alone.
        (PIT_COMMAND, _) if domain.is_hardware() && data >> 6 == 2 => {
            ports::outb(PIT_COMMAND, data as u8);
        }
        (SPEAKER, _) if domain.is_hardware() => {
            let gates = 3;
            let others = ports::inb(SPEAKER) & !gates;
            ports::outb(SPEAKER, others | (data as u8 & gates));
        }
        (port, _) if domain.io_access.permits_ports(port, port) => ports::outb(port, data as u8),
        _ => {}
    }
}
