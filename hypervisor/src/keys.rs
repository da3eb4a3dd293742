//! Debug keys: what the hypervisor does when its console has the input focus and a key is typed, or when a tool
//! asks for it (`XEN_SYSCTL_debug_keys`). Each part of the hypervisor registers the keys that show its state.

use platform_cpu::lock::SpinLock;

use crate::console::ALWAYS;
use crate::cpu::Cpu;
use crate::ranks;

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

/// Registers the keys that need no other part.
pub fn init() {
    register(b'h', "show this message", help);
    register(b'R', "reboot machine", |_, _| crate::power::reboot());
    register(b'C', "trigger a crashdump", |_, _| {
        panic!("crash asked for by debug key 'C'")
    });
    register(b'i', "dump interrupt bindings", |_, _| crate::irq::dump());
    register(b'a', "dump timer queues", |cpu, _| crate::time::dump(cpu));
}
