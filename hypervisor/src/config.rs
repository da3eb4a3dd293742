//! The boot parameters, parsed once and read everywhere.

use boot_info::config::{Config, ConfigProblem};
use platform_cpu::lock::Once;

static CONFIG: Once<Config> = Once::new();
static COMMAND_LINE: Once<&'static str> = Once::new();

/// Parses the hypervisor's command line. Problems are remembered by the caller through `report`, since the
/// console that would show them is set up from the result.
pub fn init(line: &'static [u8], report: impl FnMut(ConfigProblem<'_>)) -> &'static Config {
    // Boot calls this once; a second call would find the same line.
    let text = core::str::from_utf8(line).unwrap_or("(not UTF-8)");
    let _ = COMMAND_LINE.set(text);
    let _ = CONFIG.set(Config::parse(line, report));
    get()
}

/// The boot parameters.
///
/// # Panics
/// Before [`init`], which is the first thing that boot does.
pub fn get() -> &'static Config {
    CONFIG.get().expect("boot parameters are parsed first")
}

/// The command line as the boot loader gave it.
pub fn command_line() -> &'static str {
    COMMAND_LINE.get().copied().unwrap_or("")
}
