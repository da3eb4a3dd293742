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

/// Prints on the hypervisor's console.
#[macro_export]
macro_rules! print {
    ($($argument:tt)*) => {{
        use core::fmt::Write as _;
        let _ = write!($crate::console::Console, $($argument)*);
    }};
}

/// Prints a line on the hypervisor's console.
#[macro_export]
macro_rules! println {
    ($($argument:tt)*) => {{
        $crate::print!($($argument)*);
        $crate::print!("\n");
    }};
}
