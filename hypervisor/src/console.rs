//! The hypervisor's console: serial ports, the screen, and the ring that keeps the last output.
//!
//! Messages come through `log` and are marked `(XEN) `, as users and scripts know them. Messages that a
//! guest can cause have the target [`GUEST`] and are limited in their rate. Domain 0's own output goes out as
//! it is, for it is interactive; other domains' lines are marked with their number and cleaned.
//!
//! The console's lock has the highest rank: anything may be logged while any other lock is held, and nothing
//! is logged while this one is.

use core::fmt::{self, Write};

use ::console::{Filter, Input, Ring, Typed, Verdict};
use addr::Maddr;
use arrayvec::ArrayVec;
use boot_info::config::{Config, LogLevel, Thresholds};
use log::{LevelFilter, Log, Metadata, Record};
use platform_cpu::lock::SpinLock;
use platform_devices::uart::Uart16550;
use platform_devices::vga::{self, VgaText};
use platform_memory::Mmio;

use crate::cpu::{self, Cpu, Work};
use crate::domain::DomId;
use crate::{events, keys, ranks, time};

/// Target of messages that a guest can cause: `log::warn!(target: console::GUEST, …)`.
pub const GUEST: &str = "guest";
/// Target of messages that are printed whatever `loglvl=` says.
pub const ALWAYS: &str = "always";

const PREFIX: &[u8] = b"(XEN) ";
/// Bytes of a line of a domain other than domain 0.
const GUEST_LINE: usize = 120;
/// Domains whose unfinished lines are kept apart.
const GUEST_LINES: usize = 8;
/// Bytes from devices that wait to be handled.
const RECEIVED: usize = 256;

struct GuestLine {
    domain: DomId,
    text: ArrayVec<u8, GUEST_LINE>,
}

struct Console {
    serial: [Option<Uart16550>; 2],
    screen: Option<VgaText<Mmio>>,
    ring: Ring,
    input: Input,
    received: ArrayVec<u8, RECEIVED>,
    own: Filter,
    guest: Filter,
    guest_lines: ArrayVec<GuestLine, GUEST_LINES>,
    /// The last byte of output ended a line.
    at_line_start: bool,
}

static CONSOLE: SpinLock<Console> = SpinLock::new(
    ranks::CONSOLE,
    Console {
        serial: [None, None],
        screen: None,
        ring: Ring::new(),
        input: Input::new(),
        received: ArrayVec::new_const(),
        own: Filter::new(Thresholds {
            always: LogLevel::Debug,
            limited: LogLevel::Debug,
        }),
        guest: Filter::new(Thresholds {
            always: LogLevel::None,
            limited: LogLevel::Warning,
        }),
        guest_lines: ArrayVec::new_const(),
        at_line_start: true,
    },
);

impl Console {
    /// Sends bytes to all devices and the ring, as they are but for the line ends that devices want.
    fn output(&mut self, bytes: &[u8]) {
        let Some(last) = bytes.last() else {
            return;
        };
        self.at_line_start = *last == b'\n';
        self.ring.push(bytes);
        if let Some(screen) = &mut self.screen {
            screen.write(bytes);
        }
        for uart in self.serial.iter_mut().flatten() {
            for line in bytes.split_inclusive(|&byte| byte == b'\n') {
                match line.strip_suffix(b"\n") {
                    Some(text) => {
                        uart.write(text);
                        uart.write(b"\r\n");
                    }
                    None => uart.write(line),
                }
            }
        }
    }

    /// Prints a message, each of its lines marked.
    fn message(&mut self, arguments: fmt::Arguments<'_>) {
        if !self.at_line_start {
            self.output(b"\n");
        }
        let mut lines = Lines {
            console: self,
            line: ArrayVec::new(),
        };
        let _ = lines.write_fmt(arguments);
        lines.end();
        // Who keeps the log hears of it: not from here, where any lock may be held.
        cpu::request(platform_cpu::cpu_id(), Work::ConsoleRing);
    }

    /// Collects a domain's output to lines.
    fn guest_output(&mut self, domain: DomId, bytes: &[u8]) {
        for &byte in bytes {
            let text = self.guest_line(domain);
            // A terminal's control sequences are not for other domains to send.
            match byte {
                b'\n' => {}
                b'\t' | 0x20..=0x7e | 0x80..=0xff => {
                    if text.try_push(byte).is_ok() && !text.is_full() {
                        continue;
                    }
                }
                _ => continue,
            }
            let line = text.take();
            self.message(format_args!(
                "(d{domain}) {}",
                core::str::from_utf8(&line).unwrap_or("(text that is not UTF-8)")
            ));
        }
    }

    fn guest_line(&mut self, domain: DomId) -> &mut ArrayVec<u8, GUEST_LINE> {
        let at = match self
            .guest_lines
            .iter()
            .position(|line| line.domain == domain)
        {
            Some(at) => at,
            None => {
                if self.guest_lines.is_full() {
                    self.guest_lines.remove(0);
                }
                self.guest_lines.push(GuestLine {
                    domain,
                    text: ArrayVec::new(),
                });
                self.guest_lines.len() - 1
            }
        };
        &mut self.guest_lines[at].text
    }
}

/// Cuts a message into marked lines.
struct Lines<'a> {
    console: &'a mut Console,
    line: ArrayVec<u8, 256>,
}

impl Lines<'_> {
    fn flush(&mut self) {
        self.console.output(&self.line);
        self.line.clear();
    }

    fn add(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.line.is_empty() && self.console.at_line_start {
                let _ = self.line.try_extend_from_slice(PREFIX);
            }
            let _ = self.line.try_push(byte);
            if byte == b'\n' || self.line.is_full() {
                self.flush();
            }
        }
    }

    fn end(&mut self) {
        self.add(b"\n");
    }
}

impl Write for Lines<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.add(text.as_bytes());
        Ok(())
    }
}

struct Logger;

static LOGGER: Logger = Logger;

impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let now = time::now();
        let mut console = CONSOLE.lock();
        let verdict = match record.target() {
            ALWAYS => Verdict::Print { suppressed: 0 },
            GUEST => console.guest.judge(record.level(), now),
            _ => console.own.judge(record.level(), now),
        };
        if let Verdict::Print { suppressed } = verdict {
            if suppressed != 0 {
                console.message(format_args!("printk: {suppressed} messages suppressed."));
            }
            console.message(*record.args());
        }
    }

    fn flush(&self) {}
}

/// Opens the serial ports that `console=` names, polled, and makes this what `log` prints to.
pub fn init(config: &Config) {
    {
        let mut console = CONSOLE.lock();
        let ports = [
            (config.console.com1, &config.com1),
            (config.console.com2, &config.com2),
        ];
        for (place, (wanted, port)) in console.serial.iter_mut().zip(ports) {
            if wanted && place.is_none() {
                *place = Uart16550::open(port);
            }
        }
        console.own.set(config.log);
        console.guest.set(config.guest_log);
    }
    // An error means that it was done before.
    if log::set_logger(&LOGGER).is_ok() {
        log::set_max_level(LevelFilter::Trace);
    }
}

/// Starts to use the screen, if `console=` names it, and shows there what was printed before. `address` is that of
/// 80 by 25 characters of text.
pub fn init_screen(config: &Config, address: Maddr) {
    if !config.console.vga {
        return;
    }
    let Some(registers) = crate::irq::device_memory(address, vga::TEXT_BYTES as u64) else {
        log::warn!("the screen at {address:#x} cannot be mapped");
        return;
    };
    let mut screen = VgaText::new(registers);
    let mut console = CONSOLE.lock();
    let mut at = console.ring.begin(None);
    loop {
        let mut bytes = [0; 256];
        let count = console.ring.read(at, &mut bytes);
        if count == 0 {
            break;
        }
        screen.write(bytes.get(..count).unwrap_or_default());
        at = at.wrapping_add(count as u32);
    }
    console.screen = Some(screen);
}

/// Leaves the screen to domain 0, unless `vga=keep`. Returns row and column of the cursor, if there is a screen.
pub fn release_screen(config: &Config) -> Option<(u16, u16)> {
    let mut console = CONSOLE.lock();
    let cursor = console.screen.as_ref()?.cursor();
    if !config.vga.keep {
        console.screen = None;
    }
    Some(cursor)
}

/// Goes over to interrupts, as far as the ports' lines can be had.
pub fn enable_interrupts(config: &Config) {
    for (index, port) in [&config.com1, &config.com2].into_iter().enumerate() {
        let is_open = CONSOLE
            .lock()
            .serial
            .get(index)
            .is_some_and(Option::is_some);
        if is_open
            && port.irq != 0
            && crate::irq::claim_for_console(port.irq.into())
            && let Some(Some(uart)) = CONSOLE.lock().serial.get_mut(index)
        {
            uart.enable_interrupts();
        }
    }
}

/// Serves the serial ports' interrupt.
pub(crate) fn serial_interrupt(cpu: &Cpu) {
    let mut guard = CONSOLE.lock();
    let console = &mut *guard;
    for uart in console.serial.iter_mut().flatten() {
        uart.handle_interrupt(|byte| {
            // A full buffer loses input.
            let _ = console.received.try_push(byte);
        });
    }
    if !console.received.is_empty() {
        cpu::request(cpu.id, Work::Console);
    }
}

/// Ports that are the hypervisor's own: first port of each serial port in use.
pub fn serial_ports() -> impl Iterator<Item = u16> {
    let console = CONSOLE.lock();
    let bases: ArrayVec<u16, 2> = console
        .serial
        .iter()
        .flatten()
        .map(Uart16550::base)
        .collect();
    bases.into_iter()
}

/// Handles input that an interrupt has collected.
pub fn handle_input(cpu: &mut Cpu) {
    let received = core::mem::take(&mut CONSOLE.lock().received);
    let mut for_domain_0 = false;
    for byte in received {
        // The lock is not held while a key is handled.
        let typed = CONSOLE.lock().input.typed(byte);
        match typed {
            Typed::Nothing => {}
            Typed::ForDomain0 => for_domain_0 = true,
            Typed::Focus { hypervisor } => log::info!(
                target: ALWAYS,
                "*** Serial input to {} (type 'CTRL-a' three times to switch input)",
                if hypervisor { "Xen" } else { "DOM0" }
            ),
            Typed::Key(key) => keys::handle(cpu, key),
        }
    }
    if for_domain_0 {
        events::send_global_virq(xen_abi::virq::CONSOLE);
    }
}

/// Moves input that waits for domain 0 to `into`; returns how much.
pub fn read_input(into: &mut [u8]) -> usize {
    CONSOLE.lock().input.take(into)
}

/// Prints what a domain writes: raw for the one that owns the machine, else in lines with its number.
pub fn guest_write(domain: DomId, is_hardware: bool, bytes: &[u8]) {
    let mut console = CONSOLE.lock();
    if is_hardware {
        console.output(bytes);
    } else {
        console.guest_output(domain, bytes);
    }
}

/// Where a reader of the console ring begins: at `index` if it was there before and its place still is.
pub fn ring_start(index: Option<u32>) -> u32 {
    CONSOLE.lock().ring.begin(index)
}

/// Copies from the console ring at `index`; returns how much, 0 at the end.
pub fn read_ring(index: u32, into: &mut [u8]) -> usize {
    CONSOLE.lock().ring.read(index, into)
}

/// Forgets what the console ring holds before `index`.
pub fn clear_ring(index: u32) {
    CONSOLE.lock().ring.clear(index);
}

/// For the crash code: output from now on is polled, and whoever held the console does not stop it.
pub fn force_unlock() {
    platform_cpu::lock::enter_crash_mode();
    let mut console = CONSOLE.lock();
    for uart in console.serial.iter_mut().flatten() {
        uart.disable_interrupts();
    }
}

/// Sends everything that waits in the serial ports' rings: before the machine stops.
pub fn flush() {
    for uart in CONSOLE.lock().serial.iter_mut().flatten() {
        uart.flush();
    }
}
