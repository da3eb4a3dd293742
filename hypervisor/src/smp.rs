//! The machine's other CPUs: started one after the other at boot.

use boot_info::acpi::{Madt, MadtEntry};
use platform_cpu::{GuestFrame, MAX_CPUS};

use scheduler::DEFAULT_POOL;

use crate::cpu::Cpu;
use crate::{config, irq, run, schedule, time, topology};

/// Identifier of a CPU as `VCPUOP_get_physid` wants it: APIC identifier, and ACPI's in the upper half.
pub fn physical_id(cpu: usize) -> u64 {
    let apic = irq::apic_id(cpu).unwrap_or(u32::MAX);
    let acpi = irq::acpi_id(cpu).unwrap_or(u32::MAX);
    u64::from(acpi) << 32 | u64::from(apic)
}

/// Starts every CPU that the MADT lists as usable, up to what `smp=` and `maxcpus=` allow, and lets the
/// scheduler use them.
///
/// # Errors
/// There is no memory for the scheduler.
pub fn start_others(madt: &Madt<'_>) -> Result<(), &'static str> {
    let config = config::get();
    let limit = match config.max_cpus {
        _ if !config.smp => 1,
        Some(max) => (max as usize).clamp(1, MAX_CPUS),
        None => MAX_CPUS,
    };
    let boot_apic = irq::apic_id(0);
    let mut started = 1;
    for entry in madt.entries() {
        let MadtEntry::Cpu {
            apic_id,
            enabled: true,
            ..
        } = entry
        else {
            continue;
        };
        if Some(apic_id) == boot_apic {
            continue;
        }
        if started >= limit {
            log::info!("CPU with APIC id {apic_id} is left off");
            continue;
        }
        match irq::start_cpu(started, apic_id, other_cpu) {
            Ok(()) => started += 1,
            Err(error) => log::error!("CPU{started} (APIC id {apic_id}) does not start: {error}"),
        }
    }
    schedule::init(config.scheduler, started).map_err(|_| "no memory for run queues")?;
    for cpu in 0..started {
        if schedule::join(DEFAULT_POOL, cpu, topology::first_of_core(cpu)).is_err() {
            log::error!("CPU{cpu} cannot be used: no memory for its run queue");
        }
    }
    log::info!("Brought up {started} CPUs");
    Ok(())
}

/// First safe code of another CPU.
fn other_cpu(id: usize) -> ! {
    irq::init_this_cpu();
    time::init_cpu_timer();
    match GuestFrame::take() {
        Some(frame) => match Cpu::new(id) {
            Some(cpu) => run::run(cpu, frame),
            None => platform_cpu::halt_forever(),
        },
        None => platform_cpu::halt_forever(),
    }
}
