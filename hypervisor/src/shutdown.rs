//! The end of a domain, and of the machine when that domain is domain 0.

use alloc::sync::Arc;

use xen_abi::sched;

use crate::domain::Domain;
use crate::{config, events, power, schedule};

/// Ends `domain` with a `SHUTDOWN_*` code: its vCPUs stop; its tools are told, or, for the domain that owns the
/// machine, the machine follows it.
pub fn domain_ended(domain: &Arc<Domain>, reason: u32) {
    if !domain.shut_down(reason) {
        return;
    }
    for vcpu in domain.vcpus() {
        schedule::update(domain, vcpu);
    }
    let code = domain.shutdown.lock().code.unwrap_or(reason);
    if domain.is_hardware() {
        machine_follows(code);
    }
    log::info!(
        "d{}: shut down, reason {code} ({})",
        domain.id(),
        name(code)
    );
    let suspend_port = domain.settings.lock().suspend_port;
    if code == sched::SHUTDOWN_SUSPEND && suspend_port != 0 {
        // If the port is closed, nobody waits.
        let _ = events::send(domain, suspend_port);
    } else {
        events::send_global_virq(xen_abi::virq::DOM_EXC);
    }
}

/// Name of a `SHUTDOWN_*` code.
pub fn name(code: u32) -> &'static str {
    match code {
        sched::SHUTDOWN_POWEROFF => "poweroff",
        sched::SHUTDOWN_REBOOT => "reboot",
        sched::SHUTDOWN_SUSPEND => "suspend",
        sched::SHUTDOWN_CRASH => "crash",
        sched::SHUTDOWN_WATCHDOG => "watchdog",
        sched::SHUTDOWN_SOFT_RESET => "soft reset",
        _ => "unknown",
    }
}

/// The hardware domain ended: what it asked for is done to the machine.
fn machine_follows(code: u32) -> ! {
    match code {
        sched::SHUTDOWN_POWEROFF => {
            log::info!("Hardware Dom0 halted: halting machine");
            power::halt()
        }
        sched::SHUTDOWN_REBOOT => {
            log::info!("Hardware Dom0 shutdown: rebooting machine");
            power::reboot()
        }
        sched::SHUTDOWN_CRASH => {
            log::error!("Hardware Dom0 crashed: {}", after_crash());
            power::reboot_unless_told_not_to()
        }
        sched::SHUTDOWN_WATCHDOG => {
            log::error!("Hardware Dom0 shutdown: watchdog rebooting machine");
            power::reboot()
        }
        _ => {
            log::error!(
                "Hardware Dom0 shutdown: unknown reason {code}: {}",
                after_crash()
            );
            power::reboot_unless_told_not_to()
        }
    }
}

fn after_crash() -> &'static str {
    if config::get().noreboot {
        "'noreboot' set - not rebooting."
    } else {
        "rebooting machine in 5 seconds."
    }
}
