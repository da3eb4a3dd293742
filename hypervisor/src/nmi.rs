//! Non-maskable interrupts and machine checks: they come at any instruction, in a guest or in the hypervisor.

use ::hypercall::CrashReason;
use platform_cpu::{HostFrame, ports};
use x86_defs::exception::Exception;

use crate::context::Context;
use crate::cpu::{self, Mode, Work};
use crate::vcpu::Notice;
use crate::{domains, events, irq, watchdog};

/// System control port B (ICH datasheet §13.7.1): why the chipset raised an NMI.
const REASON_PORT: u16 = 0x61;
/// Bits of the port: memory parity or SERR#, I/O channel check.
const REASON_SERR: u8 = 1 << 7;
const REASON_IOCHK: u8 = 1 << 6;

/// Makes the handler of NMIs that hit the hypervisor itself known.
pub fn init() {
    platform_cpu::hooks::set_nmi(in_hypervisor);
    platform_cpu::hooks::set_machine_check(machine_check_in_hypervisor);
}

/// An NMI hit a guest.
#[cold]
pub fn in_guest(_context: &mut Context<'_>) {
    if !watchdog::nmi_in_guest() {
        pass_on();
        deliver();
    }
}

/// Makes the vCPU that NMIs are for look at one that [`pass_on`] left: it may be blocked, or on another CPU.
pub fn deliver() {
    if let Some(domain) = domains::hardware()
        && let Some(vcpu) = domain.vcpu(0)
        && vcpu.has_notice(Notice::Nmi)
    {
        events::send_nmi(domain, vcpu);
    }
}

/// An NMI hit the hypervisor: no locks, no guest memory.
fn in_hypervisor(frame: &HostFrame) {
    watchdog::nmi_in_hypervisor(frame);
    pass_on();
    // The rest needs locks. A CPU on its way into a guest, or through one, does not look at its work.
    let id = platform_cpu::cpu_id();
    cpu::request(id, Work::Nmi);
    if cpu::mode(id) == Mode::Guest {
        irq::send_reschedule(id);
    }
}

/// NMIs are the hardware domain's, which owns the devices that raise them: its first vCPU is told.
fn pass_on() {
    if irq::is_stopping() {
        platform_cpu::halt_forever();
    }
    // Reading the reason has no effect on the machine.
    let reason = ports::inb(REASON_PORT);
    if let Some(domain) = domains::hardware()
        && let Some(vcpu) = domain.vcpu(0)
    {
        use xen_abi::nmi;
        let mut why = 0;
        if reason & REASON_SERR != 0 {
            why |= nmi::NMIREASON_PCI_SERR;
        }
        if reason & REASON_IOCHK != 0 {
            why |= nmi::NMIREASON_IO_ERROR;
        }
        if why == 0 {
            why = nmi::NMIREASON_UNKNOWN;
        }
        domain.add_nmi_reason(why);
        vcpu.notify(Notice::Nmi);
    }
}

/// A machine check hit a guest: what is wrong with the machine cannot be told from here, so the guest ends.
///
/// # Errors
/// Always.
#[cold]
pub fn machine_check_in_guest(_context: &mut Context<'_>) -> Result<(), CrashReason> {
    Err(CrashReason::HostFault(Exception::MACHINE_CHECK.0))
}

fn machine_check_in_hypervisor(frame: &HostFrame) {
    crate::dump::fatal(frame)
}
