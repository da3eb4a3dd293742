//! Printing on the hypervisor's console.

use core::fmt::{self, Write};

/// The hypervisor's console.
pub struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        crate::hypercalls::console_write(text.as_bytes());
        Ok(())
    }
}

/// A line that is printed at once, so that vCPUs do not print into each other's.
struct Line {
    text: [u8; Line::ROOM],
    length: usize,
}

impl Line {
    /// What the hypervisor takes in one go.
    const ROOM: usize = 120;

    fn flush(&mut self) {
        crate::hypercalls::console_write(&self.text[..self.length]);
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

/// Prints on the hypervisor's console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {
        $crate::console::print(format_args!($($argument)*))
    };
}

/// Prints a line on the hypervisor's console.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {{
        $crate::print!("{}\n", format_args!($($argument)*));
    }};
}
