//! Printing: on the hypervisor's console as domain 0, else on the ring that the domain's builder gave it
//! (public/io/console.h).

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use xen_abi::start_info::{SIF_INITDOMAIN, StartInfo};

/// Address of the ring; 0 for the hypervisor's console.
static RING: AtomicU64 = AtomicU64::new(0);
/// The port that says that something was written.
static PORT: AtomicU32 = AtomicU32::new(0);

/// Offsets in `struct xencons_interface`.
const OUT: u64 = 1024;
const OUT_BYTES: u32 = 2048;
const OUT_CONS: u64 = 3080;
const OUT_PROD: u64 = 3084;

/// Finds the console. Once, before anything is printed.
pub(crate) fn init(info: &StartInfo) {
    /// Of the structure: frame and port of a guest's console.
    const CONSOLE_FRAME: usize = core::mem::offset_of!(StartInfo, console);
    if info.flags & SIF_INITDOMAIN != 0 {
        return;
    }
    let start = core::ptr::from_ref(info).cast::<u8>();
    // SAFETY: the union's two members of a guest, within the structure.
    let (frame, port) = unsafe {
        let console = start.add(CONSOLE_FRAME);
        (
            console.cast::<u64>().read_unaligned(),
            console.add(8).cast::<u32>().read_unaligned(),
        )
    };
    PORT.store(port, Ordering::Relaxed);
    // Guests are linked at 0: what the builder mapped is at its own number.
    RING.store(crate::memory::pfn_of(frame) << 12, Ordering::Relaxed);
}

/// Whether the console is a ring: the guest is not domain 0.
pub(crate) fn is_ring() -> bool {
    RING.load(Ordering::Relaxed) != 0
}

/// A word of the ring.
fn word(ring: u64, offset: u64) -> &'static AtomicU32 {
    // SAFETY: the ring is a page of this guest's, mapped for good.
    unsafe { &*((ring + offset) as *const AtomicU32) }
}

fn write_ring(ring: u64, bytes: &[u8]) {
    /// A reader that does not come is not waited for for ever.
    const PATIENCE: u32 = 1 << 16;
    let (consumed, produced) = (word(ring, OUT_CONS), word(ring, OUT_PROD));
    for byte in bytes {
        let at = produced.load(Ordering::Relaxed);
        let mut patience = PATIENCE;
        while at.wrapping_sub(consumed.load(Ordering::Acquire)) >= OUT_BYTES {
            patience -= 1;
            if patience == 0 {
                return;
            }
            crate::hypercalls::yield_now();
        }
        let place = ring + OUT + u64::from(at % OUT_BYTES);
        // SAFETY: within the ring's page, as above.
        unsafe { (place as *mut u8).write_volatile(*byte) };
        produced.store(at.wrapping_add(1), Ordering::Release);
    }
    let port = PORT.load(Ordering::Relaxed);
    let send = u64::from(xen_abi::event_channel::SEND);
    crate::hypercalls::call(
        xen_abi::hypercall::EVENT_CHANNEL_OP,
        &[send, (&raw const port) as u64],
    );
}

/// The guest's console.
pub struct Console;

impl Console {
    fn write(&self, bytes: &[u8]) {
        match RING.load(Ordering::Relaxed) {
            0 => crate::hypercalls::console_write(bytes),
            ring => write_ring(ring, bytes),
        }
    }
}

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

/// A line that is printed at once, so that vCPUs do not print into each other's.
struct Line {
    text: [u8; Line::ROOM],
    length: usize,
}

impl Line {
    /// What a console takes in one go.
    const ROOM: usize = 120;

    fn flush(&mut self) {
        Console.write(&self.text[..self.length]);
        self.length = 0;
    }
}

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.length == Self::ROOM {
                self.flush();
            }
            self.text[self.length] = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Prints what `print!` is given.
pub fn print(arguments: fmt::Arguments<'_>) {
    let mut line = Line {
        text: [0; Line::ROOM],
        length: 0,
    };
    // A line takes everything.
    let _ = line.write_fmt(arguments);
    line.flush();
}

/// Prints on the guest's console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {
        $crate::console::print(format_args!($($argument)*))
    };
}

/// Prints a line on the guest's console.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {{
        $crate::print!("{}\n", format_args!($($argument)*));
    }};
}
