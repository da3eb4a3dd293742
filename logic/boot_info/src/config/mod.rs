//! The hypervisor's command line, typed.
//!
//! Syntax and meaning are those of Xen's `docs/misc/xen-command-line`: options are separated by spaces,
//! `no-` in front turns a boolean off, the last of several wins. A wrong value leaves the default and is
//! reported by the option's name, as is an option that does not exist.

mod dom0;
mod grants;
mod serial;
mod values;

pub use dom0::{Amount, Dom0Frames, Dom0Memory, Dom0MemoryError, VcpuRange};
pub use grants::Grants;
pub use serial::{Baud, Parity, SerialPort};

use core::fmt;
use values::{boolean, number};

/// All options.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Config {
    /// `console=`: where messages go.
    pub console: Consoles,
    /// `com1=`: the first serial port.
    pub com1: SerialPort,
    /// `com2=`: the second serial port.
    pub com2: SerialPort,
    /// `vga=`: the screen.
    pub vga: Vga,
    /// `dom0_mem=`: domain 0's memory.
    pub dom0_memory: Dom0Memory,
    /// `dom0_max_vcpus=`: domain 0's virtual CPUs.
    pub dom0_max_vcpus: VcpuRange,
    /// `loglvl=`: which of the hypervisor's messages are printed.
    pub log: Thresholds,
    /// `guest_loglvl=`: which messages about guests are printed.
    pub guest_log: Thresholds,
    /// `noreboot`: stop, do not restart, after a crash.
    pub noreboot: bool,
    /// `sched=`: the scheduler.
    pub scheduler: Scheduler,
    /// `gnttab=`: what grant tables may be.
    pub grants: Grants,
    /// `clocksource=`: the platform timer; the best one that is there if `None`.
    pub clock_source: Option<ClockSource>,
    /// `smp=`, `nosmp`: whether to start other CPUs.
    pub smp: bool,
    /// `watchdog`: whether CPUs look after each other; `watchdog=force` is the same here.
    pub watchdog: bool,
    /// `watchdog_timeout=`: seconds after which a CPU that does nothing is stuck.
    pub watchdog_timeout: u32,
    /// `test_keys`: debug keys that break things on purpose, for tests.
    pub test_keys: bool,
    /// `maxcpus=`: how many CPUs to use at most.
    pub max_cpus: Option<u32>,
}

/// Where messages go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Consoles {
    /// The first serial port.
    pub com1: bool,
    /// The second serial port.
    pub com2: bool,
    /// The screen.
    pub vga: bool,
}

/// The screen's mode and fate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Vga {
    /// Which mode is wanted.
    pub mode: VgaMode,
    /// Whether messages still go to the screen when domain 0 has it.
    pub keep: bool,
}

/// A mode of the screen. The boot loader sets modes; what it did not set stays as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum VgaMode {
    /// `current`: as the boot loader left it.
    Current,
    /// `ask`: the boot loader's menu.
    Ask,
    /// `text-80x<rows>`.
    Text {
        /// 25, 28, 30, 34, 43, 50 or 60.
        rows: u8,
    },
    /// `gfx-<width>x<height>x<depth>`.
    Graphics {
        /// Pixels in a line.
        width: u16,
        /// Lines.
        height: u16,
        /// Bits for a pixel.
        depth: u8,
    },
    /// `mode-<number>`.
    Number(u16),
}

/// How much a message matters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum LogLevel {
    /// Nothing.
    None = 0,
    /// Errors.
    Error = 1,
    /// Warnings.
    Warning = 2,
    /// Information.
    Info = 3,
    /// Everything.
    Debug = 4,
}

/// Messages up to `always` are printed; those up to `limited` too, but not too many of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Thresholds {
    /// Printed always.
    pub always: LogLevel,
    /// Printed with a limit on their rate; not below `always`.
    pub limited: LogLevel,
}

/// A scheduler by its name in Xen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scheduler {
    /// `credit`.
    Credit,
    /// `credit2`.
    Credit2,
    /// `rtds`.
    Rtds,
    /// `arinc653`.
    Arinc653,
    /// `null`.
    Null,
}

/// A platform timer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClockSource {
    /// `acpi`: the PM timer.
    Acpi,
    /// `hpet`.
    Hpet,
    /// `pit`.
    Pit,
    /// `tsc`.
    Tsc,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            console: Consoles {
                com1: true,
                com2: false,
                vga: true,
            },
            com1: SerialPort::COM1,
            com2: SerialPort::COM2,
            vga: Vga {
                mode: VgaMode::Current,
                keep: false,
            },
            dom0_memory: Dom0Memory::default(),
            dom0_max_vcpus: VcpuRange::default(),
            log: Thresholds {
                always: LogLevel::Warning,
                limited: LogLevel::Warning,
            },
            guest_log: Thresholds {
                always: LogLevel::None,
                limited: LogLevel::Warning,
            },
            noreboot: false,
            scheduler: Scheduler::Credit2,
            grants: Grants::default(),
            clock_source: None,
            smp: true,
            watchdog: false,
            watchdog_timeout: 5,
            test_keys: false,
            max_cpus: None,
        }
    }
}

/// What is wrong with one option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConfigProblem<'a> {
    /// There is no such option.
    Unknown {
        /// Its name.
        name: &'a [u8],
    },
    /// The value makes no sense.
    Malformed {
        /// The option's name.
        name: &'a [u8],
        /// The value.
        value: &'a [u8],
        /// What a value looks like.
        expected: &'static str,
    },
}

impl fmt::Display for ConfigProblem<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name } => {
                write!(
                    f,
                    "command line: unknown option \"{}\"",
                    name.escape_ascii()
                )
            }
            Self::Malformed {
                name,
                value,
                expected,
            } => write!(
                f,
                "command line: {}=\"{}\" is not {expected}",
                name.escape_ascii(),
                value.escape_ascii()
            ),
        }
    }
}

/// What an option's parser answers if it cannot: what it expects.
type Expected = &'static str;

/// What GRUB's scripts add for Xen and has no meaning any more.
const IGNORED: [&[u8]; 4] = [b"placeholder", b"real-mode", b"edd", b"edid"];

impl Config {
    /// Parses a command line. `report` gets each problem, in the order of the options.
    pub fn parse(line: &[u8], mut report: impl FnMut(ConfigProblem<'_>)) -> Self {
        let (line, _) = split_dom0_arguments(line);
        let mut config = Self::default();
        for option in line
            .split(|&byte| byte == b' ')
            .filter(|option| !option.is_empty())
        {
            let mut parts = option.splitn(2, |&byte| byte == b'=');
            let name = parts.next().unwrap_or(option);
            let value = parts.next();
            match config.set(name, value) {
                Some(Ok(())) => {}
                Some(Err(expected)) => {
                    let value = value.unwrap_or(b"");
                    report(ConfigProblem::Malformed {
                        name,
                        value,
                        expected,
                    });
                }
                None => report(ConfigProblem::Unknown { name }),
            }
        }
        config
    }

    /// Applies one option; `None` if there is none of that name.
    fn set(&mut self, name: &[u8], value: Option<&[u8]>) -> Option<Result<(), Expected>> {
        let text = value.unwrap_or(b"");
        Some(match name {
            b"console" => assign(&mut self.console, Consoles::parse(text)),
            b"com1" => assign(&mut self.com1, SerialPort::COM1.parse(text)),
            b"com2" => assign(&mut self.com2, SerialPort::COM2.parse(text)),
            b"vga" => assign(&mut self.vga, Vga::parse(text)),
            b"dom0_mem" => {
                let changed = self.dom0_memory.parse(text);
                assign(&mut self.dom0_memory, changed)
            }
            b"dom0_max_vcpus" => assign(&mut self.dom0_max_vcpus, VcpuRange::parse(text)),
            b"loglvl" => assign(&mut self.log, Thresholds::parse(text)),
            b"guest_loglvl" => assign(&mut self.guest_log, Thresholds::parse(text)),
            b"sched" => assign(&mut self.scheduler, Scheduler::parse(text)),
            b"gnttab" => {
                let changed = self.grants.parse(text);
                assign(&mut self.grants, changed)
            }
            b"clocksource" => assign(&mut self.clock_source, ClockSource::parse(text).map(Some)),
            // Xen starts its watchdog later, unless it is forced to; here it is the same.
            b"watchdog" if text == b"force" => {
                self.watchdog = true;
                Ok(())
            }
            b"watchdog_timeout" => match number::<u32>(text) {
                // As in Xen, a time-out is what the watchdog is wanted for, and 0 is for none.
                Some(seconds) => {
                    self.watchdog = seconds != 0;
                    self.watchdog_timeout = seconds.max(1);
                    Ok(())
                }
                None => Err("a number of seconds"),
            },
            b"maxcpus" => {
                let count = number(text).filter(|&count| count > 0);
                assign(
                    &mut self.max_cpus,
                    count.map(Some).ok_or("a number above 0"),
                )
            }
            _ => return self.set_boolean(name, value),
        })
    }

    fn set_boolean(&mut self, name: &[u8], value: Option<&[u8]>) -> Option<Result<(), Expected>> {
        let (name, negated) = match name.strip_prefix(b"no-") {
            Some(name) => (name, true),
            None => (name, false),
        };
        if IGNORED.contains(&name) {
            return Some(Ok(()));
        }
        let inverse = name == b"nosmp";
        let field = match name {
            b"noreboot" => &mut self.noreboot,
            b"watchdog" => &mut self.watchdog,
            b"test_keys" => &mut self.test_keys,
            b"smp" | b"nosmp" => &mut self.smp,
            _ => return None,
        };
        let value = match value {
            // A value and `no-` at once contradict each other.
            Some(_) if negated => None,
            Some(text) => boolean(text),
            None => Some(!negated),
        };
        Some(match value {
            Some(value) => {
                *field = value != inverse;
                Ok(())
            }
            None => Err("a boolean (yes or no)"),
        })
    }
}

fn assign<T>(field: &mut T, value: Result<T, Expected>) -> Result<(), Expected> {
    *field = value?;
    Ok(())
}

/// Splits off what follows ` -- `: arguments to be added to domain 0's.
pub fn split_dom0_arguments(line: &[u8]) -> (&[u8], Option<&[u8]>) {
    const MARK: &[u8] = b" -- ";
    let Some(at) = line.windows(MARK.len()).position(|window| window == MARK) else {
        return (line, None);
    };
    let extra = line.get(at + MARK.len()..).unwrap_or(&[]);
    let start = extra
        .iter()
        .position(|&byte| byte != b' ')
        .unwrap_or(extra.len());
    (line.get(..at).unwrap_or(line), extra.get(start..))
}

impl Consoles {
    fn parse(text: &[u8]) -> Result<Self, Expected> {
        let mut consoles = Self {
            com1: false,
            com2: false,
            vga: false,
        };
        for item in text.split(|&byte| byte == b',') {
            match item {
                // H and L share a port between two users by the top bit; there is one user here.
                b"com1" | b"com1H" | b"com1L" => consoles.com1 = true,
                b"com2" | b"com2H" | b"com2L" => consoles.com2 = true,
                b"vga" => consoles.vga = true,
                b"none" => {}
                _ => return Err("a list of com1, com2, vga, none"),
            }
        }
        Ok(consoles)
    }
}

impl Vga {
    fn parse(text: &[u8]) -> Result<Self, Expected> {
        let mut vga = Self {
            mode: VgaMode::Current,
            keep: false,
        };
        for item in text.split(|&byte| byte == b',') {
            match item {
                b"keep" => vga.keep = true,
                mode => {
                    vga.mode = VgaMode::parse(mode).ok_or(
                        "ask, current, text-80x<rows>, gfx-<w>x<h>x<depth> or mode-<number>, and keep",
                    )?;
                }
            }
        }
        Ok(vga)
    }
}

impl VgaMode {
    fn parse(text: &[u8]) -> Option<Self> {
        if let Some(rows) = text.strip_prefix(b"text-80x") {
            let rows = number(rows)?;
            return matches!(rows, 25 | 28 | 30 | 34 | 43 | 50 | 60).then_some(Self::Text { rows });
        }
        if let Some(sizes) = text.strip_prefix(b"gfx-") {
            let mut sizes = sizes.split(|&byte| byte == b'x');
            let (width, height) = (number(sizes.next()?)?, number(sizes.next()?)?);
            let depth = number(sizes.next()?)?;
            return sizes.next().is_none().then_some(Self::Graphics {
                width,
                height,
                depth,
            });
        }
        if let Some(mode) = text.strip_prefix(b"mode-") {
            return number(mode).map(Self::Number);
        }
        match text {
            b"current" => Some(Self::Current),
            b"ask" => Some(Self::Ask),
            _ => None,
        }
    }
}

impl LogLevel {
    fn parse(text: &[u8]) -> Result<Self, Expected> {
        Ok(match text {
            b"none" => Self::None,
            b"error" => Self::Error,
            b"warning" => Self::Warning,
            b"info" => Self::Info,
            b"debug" | b"all" => Self::Debug,
            _ => {
                return Err(
                    "none, error, warning, info, debug or all, at most two with a / between",
                );
            }
        })
    }
}

impl Thresholds {
    fn parse(text: &[u8]) -> Result<Self, Expected> {
        let mut parts = text.splitn(2, |&byte| byte == b'/');
        let always = LogLevel::parse(parts.next().unwrap_or(text))?;
        let limited = parts.next().map_or(Ok(always), LogLevel::parse)?;
        // A limit below what is printed always limits nothing.
        Ok(Self {
            always,
            limited: limited.max(always),
        })
    }
}

impl Scheduler {
    fn parse(text: &[u8]) -> Result<Self, Expected> {
        Ok(match text {
            b"credit" => Self::Credit,
            b"credit2" => Self::Credit2,
            b"rtds" => Self::Rtds,
            b"arinc653" => Self::Arinc653,
            b"null" => Self::Null,
            _ => return Err("credit, credit2, rtds, arinc653 or null"),
        })
    }
}

impl ClockSource {
    fn parse(text: &[u8]) -> Result<Self, Expected> {
        Ok(match text {
            b"acpi" => Self::Acpi,
            b"hpet" => Self::Hpet,
            b"pit" => Self::Pit,
            b"tsc" => Self::Tsc,
            _ => return Err("acpi, hpet, pit or tsc"),
        })
    }
}

#[cfg(test)]
mod tests;
