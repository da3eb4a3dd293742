//! A 16550 serial port: polled from the first line of the log on, by interrupt once there is one.
//!
//! Output goes straight into the transmitter while it is ready. What it does not take waits in a ring that
//! the transmitter-empty interrupt drains; before interrupts work, or when the ring is full, output is
//! polled with a bound, so a port that never becomes ready costs time once and is then dropped.
//! Source: National Semiconductor PC16550D.

use crate::access::{CpuPorts, Ports};
use boot_info::config::{Baud, Parity, SerialPort};

const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const INTERRUPT_IDENT: u16 = 2;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const MODEM_STATUS: u16 = 6;

const ENABLE_RECEIVE: u8 = 1 << 0;
const ENABLE_TRANSMIT: u8 = 1 << 1;
const NO_INTERRUPT: u8 = 1 << 0;
/// Enable the FIFOs, clear both, receive trigger at 14 bytes.
const FIFO_ENABLE: u8 = 0xc7;
const DIVISOR_ACCESS: u8 = 1 << 7;
const DTR_RTS: u8 = 0x03;
/// Gates the interrupt line on PC hardware.
const OUT2: u8 = 1 << 3;
const LOOPBACK: u8 = 1 << 4;
const DATA_READY: u8 = 1 << 0;
const TRANSMIT_EMPTY: u8 = 1 << 5;

/// Bytes the transmit FIFO takes once it is empty.
const FIFO_SIZE: usize = 16;
/// Bytes that wait for the transmitter.
const RING: usize = 16 * 1024;
/// Bound on polls for a ready transmitter: 16 characters at 1,200 baud take 130 ms.
const READY_POLLS: u32 = 200_000;

/// The line control register's value for the parameters of a port.
fn line_control(port: &SerialPort) -> u8 {
    let parity = match port.parity {
        Parity::None => 0,
        Parity::Odd => 1,
        Parity::Even => 3,
        Parity::Mark => 5,
        Parity::Space => 7,
    };
    (port.data_bits.clamp(5, 8) - 5) | if port.stop_bits > 1 { 4 } else { 0 } | parity << 3
}

/// The divisor latch's value; `None` to keep the firmware's.
fn divisor(port: &SerialPort) -> Option<u16> {
    match port.baud {
        Baud::Auto => None,
        Baud::Rate(baud) => Some((port.base_baud / baud.max(1)).clamp(1, 0xffff) as u16),
    }
}

/// A serial port.
pub struct Uart16550<P = CpuPorts> {
    ports: P,
    base: u16,
    interrupts: bool,
    /// The transmitter's interrupt is on.
    transmit_interrupt: bool,
    /// The last wait for the transmitter ran into its bound: do not wait again until it is seen ready.
    stuck: bool,
    ring: [u8; RING],
    head: usize,
    queued: usize,
}

impl Uart16550 {
    /// Sets the port up for polled output; `None` if nothing answers there.
    pub fn open(port: &SerialPort) -> Option<Self> {
        Self::open_at(CpuPorts, port)
    }
}

impl<P: Ports> Uart16550<P> {
    /// As [`Uart16550::open`], over given ports.
    pub fn open_at(ports: P, port: &SerialPort) -> Option<Self> {
        let uart = Self {
            ports,
            base: port.io_base,
            interrupts: false,
            transmit_interrupt: false,
            stuck: false,
            ring: [0; RING],
            head: 0,
            queued: 0,
        };
        if !uart.is_present() {
            return None;
        }
        let line = line_control(port);
        uart.write_register(INTERRUPT_ENABLE, 0);
        if let Some(divisor) = divisor(port) {
            let [low, high] = divisor.to_le_bytes();
            uart.write_register(LINE_CONTROL, line | DIVISOR_ACCESS);
            uart.write_register(DATA, low);
            uart.write_register(INTERRUPT_ENABLE, high);
        }
        uart.write_register(LINE_CONTROL, line);
        uart.write_register(MODEM_CONTROL, DTR_RTS);
        uart.write_register(FIFO_CONTROL, FIFO_ENABLE);
        Some(uart)
    }

    fn read_register(&self, register: u16) -> u8 {
        self.ports.inb(self.base.wrapping_add(register))
    }

    fn write_register(&self, register: u16, value: u8) {
        self.ports.outb(self.base.wrapping_add(register), value);
    }

    /// In loopback mode the modem status echoes the modem control outputs; an absent port reads as ones.
    fn is_present(&self) -> bool {
        self.write_register(LINE_CONTROL, 0);
        let saved = self.read_register(MODEM_CONTROL);
        // RTS and OUT2 come back as CTS and DCD, then DTR and OUT1 as DSR and RI.
        self.write_register(MODEM_CONTROL, LOOPBACK | 0x0a);
        let first = self.read_register(MODEM_STATUS) & 0xf0;
        self.write_register(MODEM_CONTROL, LOOPBACK | 0x05);
        let second = self.read_register(MODEM_STATUS) & 0xf0;
        self.write_register(MODEM_CONTROL, saved & !LOOPBACK);
        first == 0x90 && second == 0x60
    }

    fn transmitter_ready(&self) -> bool {
        self.read_register(LINE_STATUS) & TRANSMIT_EMPTY != 0
    }

    /// Waits for the transmitter, within the bound.
    fn wait_ready(&mut self) -> bool {
        if self.transmitter_ready() {
            self.stuck = false;
            return true;
        }
        if self.stuck {
            return false;
        }
        for _ in 0..READY_POLLS {
            if self.transmitter_ready() {
                return true;
            }
            core::hint::spin_loop();
        }
        self.stuck = true;
        false
    }

    /// Moves queued bytes into an empty transmit FIFO.
    fn fill_fifo(&mut self) {
        for _ in 0..FIFO_SIZE.min(self.queued) {
            self.write_register(DATA, self.ring[self.head % RING]);
            self.head = (self.head + 1) % RING;
            self.queued -= 1;
        }
    }

    /// Sends bytes as they are.
    pub fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.queued == RING {
                if !self.wait_ready() {
                    continue;
                }
                self.fill_fifo();
            }
            self.ring[(self.head + self.queued) % RING] = byte;
            self.queued += 1;
        }
        if self.interrupts {
            while self.queued > 0 && self.transmitter_ready() {
                self.fill_fifo();
            }
            self.set_transmit_interrupt(self.queued > 0);
        } else {
            self.flush();
        }
    }

    /// Sends everything that waits, polling; what an unready port does not take is dropped.
    pub fn flush(&mut self) {
        while self.queued > 0 {
            if !self.wait_ready() {
                self.queued = 0;
                break;
            }
            self.fill_fifo();
        }
    }

    fn set_transmit_interrupt(&mut self, on: bool) {
        if on != self.transmit_interrupt {
            self.transmit_interrupt = on;
            let transmit = if on { ENABLE_TRANSMIT } else { 0 };
            self.write_register(INTERRUPT_ENABLE, ENABLE_RECEIVE | transmit);
        }
    }

    /// Goes over to interrupts; the caller has routed the port's line.
    pub fn enable_interrupts(&mut self) {
        self.flush();
        self.write_register(MODEM_CONTROL, DTR_RTS | OUT2);
        self.interrupts = true;
        self.transmit_interrupt = false;
        self.write_register(INTERRUPT_ENABLE, ENABLE_RECEIVE);
        // What is pending now would keep an edge-triggered line from rising.
        let _ = self.read_register(INTERRUPT_IDENT);
        let _ = self.read_register(LINE_STATUS);
        let _ = self.read_register(MODEM_STATUS);
    }

    /// Goes back to polling, for a machine that is about to stop.
    pub fn disable_interrupts(&mut self) {
        self.write_register(INTERRUPT_ENABLE, 0);
        self.interrupts = false;
        self.transmit_interrupt = false;
        self.flush();
    }

    /// Serves the port's interrupt: feeds the transmitter, hands received bytes to `received`.
    pub fn handle_interrupt(&mut self, mut received: impl FnMut(u8)) {
        // Bounded: a broken port must not keep a CPU here.
        for _ in 0..64 {
            if self.read_register(INTERRUPT_IDENT) & NO_INTERRUPT != 0 {
                break;
            }
            // Reading the line status also ends a line-status interrupt.
            for _ in 0..256 {
                match self.receive() {
                    Some(byte) => received(byte),
                    None => break,
                }
            }
            if self.transmitter_ready() {
                self.stuck = false;
                self.fill_fifo();
            }
            self.set_transmit_interrupt(self.queued > 0);
            let _ = self.read_register(MODEM_STATUS);
        }
    }

    /// The next received byte, if there is one.
    pub fn receive(&mut self) -> Option<u8> {
        let status = self.read_register(LINE_STATUS);
        // All ones: the port has gone.
        (status != 0xff && status & DATA_READY != 0).then(|| self.read_register(DATA))
    }

    /// First port.
    pub fn base(&self) -> u16 {
        self.base
    }

    /// Bytes that wait for the transmitter.
    pub fn queued(&self) -> usize {
        self.queued
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::vec::Vec;

    /// A model of the chip: a FIFO of 16 that empties when `drain` is called, or at once.
    #[derive(Default)]
    struct Chip {
        registers: [u8; 8],
        divisor: [u8; 2],
        fifo: usize,
        immediate: bool,
        sent: Vec<u8>,
        input: VecDeque<u8>,
        overruns: usize,
    }

    struct Model(RefCell<Chip>);

    impl Model {
        fn new(immediate: bool) -> Self {
            Self(RefCell::new(Chip {
                immediate,
                ..Chip::default()
            }))
        }
    }

    impl Ports for &Model {
        fn inb(&self, port: u16) -> u8 {
            let mut chip = self.0.borrow_mut();
            match port - 0x3f8 {
                DATA => chip.input.pop_front().unwrap_or(0),
                INTERRUPT_IDENT => {
                    let enabled = chip.registers[1];
                    if enabled & ENABLE_RECEIVE != 0 && !chip.input.is_empty() {
                        0xc4
                    } else if enabled & ENABLE_TRANSMIT != 0 && chip.fifo == 0 {
                        0xc2
                    } else {
                        0xc1
                    }
                }
                LINE_STATUS => {
                    u8::from(!chip.input.is_empty())
                        | if chip.fifo == 0 { TRANSMIT_EMPTY } else { 0 }
                }
                MODEM_STATUS if chip.registers[4] & LOOPBACK != 0 => {
                    let out = chip.registers[4];
                    (out & 2) << 3 | (out & 1) << 5 | (out & 4) << 4 | (out & 8) << 4
                }
                register => chip.registers[register as usize],
            }
        }

        fn outb(&self, port: u16, value: u8) {
            let mut chip = self.0.borrow_mut();
            let latch = chip.registers[3] & DIVISOR_ACCESS != 0;
            match port - 0x3f8 {
                register @ (0 | 1) if latch => chip.divisor[register as usize] = value,
                DATA => {
                    if chip.fifo == FIFO_SIZE {
                        chip.overruns += 1;
                    } else {
                        chip.sent.push(value);
                        if !chip.immediate {
                            chip.fifo += 1;
                        }
                    }
                }
                register => chip.registers[register as usize] = value,
            }
        }
    }

    struct Absent;

    impl Ports for Absent {
        fn inb(&self, _: u16) -> u8 {
            0xff
        }
        fn outb(&self, _: u16, _: u8) {}
    }

    fn config() -> SerialPort {
        SerialPort {
            baud: Baud::Rate(9600),
            parity: Parity::Even,
            data_bits: 7,
            stop_bits: 2,
            ..SerialPort::COM1
        }
    }

    #[test]
    fn absent_port_is_refused() {
        assert!(Uart16550::open_at(Absent, &config()).is_none());
    }

    #[test]
    fn line_settings() {
        let model = Model::new(true);
        let _uart = Uart16550::open_at(&model, &config()).unwrap();
        let chip = model.0.borrow();
        assert_eq!(chip.registers[3], 0x1e, "7 bits, even, 2 stop bits");
        assert_eq!(chip.divisor, [12, 0]);
    }

    #[test]
    fn polled_output_arrives_whole() {
        let model = Model::new(true);
        let mut uart = Uart16550::open_at(&model, &config()).unwrap();
        uart.write(b"hello, world, longer than one FIFO");
        assert_eq!(model.0.borrow().sent, b"hello, world, longer than one FIFO");
    }

    #[test]
    fn a_dead_transmitter_costs_one_wait() {
        let model = Model::new(false);
        let mut uart = Uart16550::open_at(&model, &config()).unwrap();
        uart.write(&[b'x'; 100]);
        assert!(uart.stuck);
        assert_eq!(uart.queued(), 0);
        assert_eq!(model.0.borrow().sent.len(), 16);
        uart.write(&[b'y'; 100]);
        assert_eq!(model.0.borrow().sent.len(), 16);
        model.0.borrow_mut().fifo = 0;
        uart.write(b"z");
        assert_eq!(
            model.0.borrow().sent.len(),
            17,
            "it recovers when the transmitter does"
        );
    }

    #[test]
    fn interrupts_drain_the_ring() {
        let model = Model::new(false);
        let mut uart = Uart16550::open_at(&model, &config()).unwrap();
        uart.enable_interrupts();
        let text: Vec<u8> = (0..100).collect();
        uart.write(&text);
        assert_eq!(uart.queued(), 84);
        assert_eq!(
            model.0.borrow().registers[1],
            ENABLE_RECEIVE | ENABLE_TRANSMIT
        );
        while uart.queued() > 0 {
            model.0.borrow_mut().fifo = 0;
            uart.handle_interrupt(|_| panic!("nothing was received"));
        }
        let chip = model.0.borrow();
        assert_eq!(chip.sent, text);
        assert_eq!(chip.overruns, 0);
        assert_eq!(chip.registers[1], ENABLE_RECEIVE);
    }

    #[test]
    fn received_bytes_are_handed_over() {
        let model = Model::new(true);
        let mut uart = Uart16550::open_at(&model, &config()).unwrap();
        uart.enable_interrupts();
        model.0.borrow_mut().input.extend(b"abc");
        let mut got = Vec::new();
        uart.handle_interrupt(|byte| got.push(byte));
        assert_eq!(got, b"abc");
        assert_eq!(uart.receive(), None);
    }
}
