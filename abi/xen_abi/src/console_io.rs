//! The hypervisor console, `__HYPERVISOR_console_io`.
//!
//! Source: `public/xen.h`.

crate::macros::constants! { u32;
    WRITE = 0, "CONSOLEIO_write";
    READ = 1, "CONSOLEIO_read";
}
