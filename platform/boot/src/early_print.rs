//! Output before there is a console: the first serial port, polled, and VGA's text screen.

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use platform_cpu::ports::{inb, outb};

const COM1: u16 = 0x3f8;
/// Line status register, and its bit "transmitter holding register empty".
const STATUS: u16 = COM1 + 5;
const READY: u8 = 0x20;
/// Turns to wait for a port that may not exist.
const PATIENCE: u32 = 100_000;

/// VGA's text buffer through the direct map, which maps the first MiB from the start to the end.
const TEXT: u64 = 0xffff_8300_000b_8000;
const COLUMNS: usize = 80;
const ROWS: usize = 25;
/// Light grey on black.
const ATTRIBUTE: u16 = 0x0700;

/// Whether the console has taken over.
static SILENT: AtomicBool = AtomicBool::new(false);
static ROW: AtomicUsize = AtomicUsize::new(0);
static COLUMN: AtomicUsize = AtomicUsize::new(0);

/// Writes to both.
pub struct EarlyPrint;

impl Write for EarlyPrint {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if byte == b'\n' {
                serial(b'\r');
            }
            serial(byte);
            screen(byte);
        }
        Ok(())
    }
}

/// Sets the port to 115200 baud, 8n1, without interrupts.
pub(crate) fn init() {
    for (register, value) in [
        (3, 0x80),
        (0, 1),
        (1, 0),
        (3, 0x03),
        (1, 0),
        (2, 0x07),
        (4, 0x03),
    ] {
        outb(COM1 + register, value);
    }
    for cell in 0..ROWS * COLUMNS {
        put(cell, ATTRIBUTE | u16::from(b' '));
    }
}

/// The console writes from now on. [`stop`] still prints.
pub fn take_over() {
    SILENT.store(true, Ordering::Relaxed);
}

/// Prints one line, whoever has the console, and stops the machine.
pub fn stop(message: fmt::Arguments<'_>) -> ! {
    let _ = write!(EarlyPrint, "Xenolith: {message}\nXenolith: stopped\n");
    platform_cpu::halt_forever()
}

/// Prints a line unless the console has taken over.
pub(crate) fn line(message: fmt::Arguments<'_>) {
    if !SILENT.load(Ordering::Relaxed) {
        let _ = writeln!(EarlyPrint, "{message}");
    }
}

/// Prints a line, whoever has the console.
pub(crate) fn crash_line(message: fmt::Arguments<'_>) {
    let _ = writeln!(EarlyPrint, "{message}");
}

fn serial(byte: u8) {
    for _ in 0..PATIENCE {
        if inb(STATUS) & READY != 0 {
            break;
        }
    }
    outb(COM1, byte);
}

fn put(cell: usize, value: u16) {
    if cell < ROWS * COLUMNS {
        // SAFETY: within the text buffer, which is mapped and holds no Rust object.
        unsafe { ((TEXT + cell as u64 * 2) as *mut u16).write_volatile(value) };
    }
}

fn get(cell: usize) -> u16 {
    // SAFETY: the caller stays below ROWS × COLUMNS.
    unsafe { ((TEXT + cell as u64 * 2) as *const u16).read_volatile() }
}

fn screen(byte: u8) {
    let (mut row, mut column) = (ROW.load(Ordering::Relaxed), COLUMN.load(Ordering::Relaxed));
    if byte != b'\n' && column < COLUMNS {
        put(row * COLUMNS + column, ATTRIBUTE | u16::from(byte));
        column += 1;
    } else if byte == b'\n' {
        column = 0;
        row += 1;
    }
    if row == ROWS {
        for cell in COLUMNS..ROWS * COLUMNS {
            put(cell - COLUMNS, get(cell));
        }
        for cell in (ROWS - 1) * COLUMNS..ROWS * COLUMNS {
            put(cell, ATTRIBUTE | u16::from(b' '));
        }
        row = ROWS - 1;
    }
    ROW.store(row, Ordering::Relaxed);
    COLUMN.store(column, Ordering::Relaxed);
}
