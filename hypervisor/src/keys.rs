//! Debug keys: what the hypervisor does when its console has the input focus and a key is typed, or when a tool
//! asks for it (`XEN_SYSCTL_debug_keys`). Each part of the hypervisor registers the keys that show its state.

use core::sync::atomic::Ordering;

use platform_cpu::lock::SpinLock;

use crate::console::ALWAYS;
use crate::cpu::Cpu;
use crate::{counters, domains, events, irq, mm, power, ranks, schedule, time};

/// Handles a key on the CPU that it was typed at. It holds no lock when called.
pub type Handler = fn(&mut Cpu, u8);

#[derive(Clone, Copy)]
struct Key {
    help: &'static str,
    handler: Handler,
}

const KEYS: usize = 128;

static TABLE: SpinLock<[Option<Key>; KEYS]> = SpinLock::new(ranks::KEYS, [None; KEYS]);

/// Makes `handler` what `key` does. The last registration counts.
pub fn register(key: u8, help: &'static str, handler: Handler) {
    if let Some(place) = TABLE.lock().get_mut(usize::from(key)) {
        *place = Some(Key { help, handler });
    }
}

/// Does what `key` is for; keys without a meaning do nothing.
pub fn handle(cpu: &mut Cpu, key: u8) {
    let found = TABLE.lock().get(usize::from(key)).copied().flatten();
    if let Some(found) = found {
        log::info!(target: ALWAYS, "'{}' pressed -> {}", key as char, found.help);
        (found.handler)(cpu, key);
    }
}

fn help(_: &mut Cpu, _: u8) {
    log::info!(target: ALWAYS, "'h' pressed -> showing installed handlers");
    for index in 0..KEYS {
        let found = TABLE.lock().get(index).copied().flatten();
        if let Some(found) = found {
            log::info!(
                target: ALWAYS,
                " key '{}' (ascii '{index:02x}') => {}",
                index as u8 as char,
                found.help
            );
        }
    }
}

/// The registers of the guest that runs here are printed once its state is at hand again.
fn show_registers(cpu: &mut Cpu, _: u8) {
    cpu.show_registers = true;
}

fn show_domains(_: &mut Cpu, _: u8) {
    log::info!(target: ALWAYS, "'q' pressed -> dumping domain info (now = {})", time::now());
    domains::for_each(|domain| {
        log::info!(
            target: ALWAYS,
            "General information for domain {}: vcpus {}/{} paused {} shutdown {:?}{}",
            domain.id(),
            domain.vcpus().filter(|vcpu| vcpu.is_up()).count(),
            domain.max_vcpus(),
            domain.pause_count.load(Ordering::Relaxed),
            domain.shutdown.lock().code,
            if domain.is_hardware() { " (hardware domain)" } else { "" },
        );
        for vcpu in domain.vcpus() {
            let info = vcpu.info();
            log::info!(
                target: ALWAYS,
                "    VCPU{}: CPU{} [up={} waiting={:?}] upcall_pend={} upcall_mask={} ran {} ns",
                vcpu.id(),
                vcpu.cpu(),
                vcpu.is_up(),
                vcpu.waiting(),
                info.upcall_pending(),
                info.upcall_mask(),
                schedule::run_time(vcpu),
            );
        }
    });
}

fn show_memory(_: &mut Cpu, _: u8) {
    log::info!(
        target: ALWAYS,
        "Physical memory information: {} frames free, {} of them below 4 GiB",
        mm::free_frames(),
        mm::free_frames_below(32),
    );
}

/// Registers the keys.
pub fn init() {
    register(b'h', "show this message", help);
    register(b'0', "dump Dom0 registers", show_registers);
    register(b'd', "dump registers", show_registers);
    register(b'q', "dump domain (and guest debug) info", show_domains);
    register(b'r', "dump run queues", |_, _| schedule::dump());
    register(b'm', "memory info", show_memory);
    register(b'e', "dump event channels", |_, _| events::dump());
    register(b'a', "dump timer queues", |cpu, _| time::dump(cpu));
    register(b'i', "dump interrupt bindings", |_, _| irq::dump());
    register(b'p', "print counters", |_, _| counters::dump());
    register(b'R', "reboot machine", |_, _| power::reboot());
    register(b'C', "trigger a crashdump", |_, _| {
        panic!("crash asked for by debug key 'C'")
    });
}
