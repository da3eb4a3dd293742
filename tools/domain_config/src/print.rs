//! Prints a configuration as a file.

use std::fmt::Write as _;

use crate::cpus::CpuSet;
use crate::domain::{Boot, DomainConfig};

/// A string in quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            character if character.is_ascii_control() => {
                let _ = write!(quoted, "\\x{:02x}", u32::from(character));
            }
            character => quoted.push(character),
        }
    }
    quoted.push('"');
    quoted
}

struct Printer(String);

impl Printer {
    fn line(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "{name} = {value}");
    }

    fn text(&mut self, name: &str, value: &str) {
        self.line(name, quoted(value));
    }

    fn maybe(&mut self, name: &str, value: Option<impl std::fmt::Display>) {
        if let Some(value) = value {
            self.line(name, value);
        }
    }

    fn list<T: std::fmt::Display>(&mut self, name: &str, items: &[T]) {
        if items.is_empty() {
            return;
        }
        let _ = writeln!(self.0, "{name} = [");
        for item in items {
            let _ = writeln!(self.0, "    {},", quoted(&item.to_string()));
        }
        self.0.push_str("]\n");
    }

    fn cpus(&mut self, name: &str, sets: &[CpuSet]) {
        match sets {
            [one] => self.text(name, &one.to_string()),
            sets => self.list(name, sets),
        }
    }
}

impl DomainConfig {
    /// The configuration as a file's text; what is as by default and not important is left out.
    pub fn to_text(&self) -> String {
        let default = Self::new("");
        let mut out = Printer(String::new());
        out.text("name", &self.name);
        if let Some(uuid) = self.uuid {
            out.text("uuid", &uuid.to_string());
        }
        out.text("type", self.kind.name());
        out.line("memory", self.memory);
        out.line("maxmem", self.maxmem);
        out.line("vcpus", self.vcpus);
        out.line("maxvcpus", self.maxvcpus);
        out.cpus("cpus", &self.cpus);
        out.cpus("cpus_soft", &self.cpus_soft);
        out.maybe("cpu_weight", self.cpu_weight);
        out.maybe("cap", self.cap);
        out.maybe("pool", self.pool.as_deref().map(quoted));
        match &self.boot {
            Boot::Kernel { kernel, ramdisk } => {
                out.text("kernel", kernel);
                out.maybe("ramdisk", ramdisk.as_deref().map(quoted));
            }
            Boot::Bootloader { program, arguments } => {
                out.text("bootloader", program);
                out.list("bootloader_args", arguments);
            }
            Boot::Nothing => {}
        }
        out.maybe("cmdline", self.cmdline.as_deref().map(quoted));
        out.list("disk", &self.disks);
        out.list("vif", &self.vifs);
        for (name, action) in [
            ("on_poweroff", self.on_poweroff),
            ("on_reboot", self.on_reboot),
            ("on_watchdog", self.on_watchdog),
            ("on_crash", self.on_crash),
            ("on_soft_reset", self.on_soft_reset),
        ] {
            out.text(name, action.name());
        }
        out.maybe("max_grant_frames", self.max_grant_frames);
        out.maybe("max_maptrack_frames", self.max_maptrack_frames);
        out.maybe("max_grant_version", self.max_grant_version);
        out.maybe("event_channels", self.event_channels);
        out.maybe("tsc_mode", self.tsc_mode);
        if self.msr_relaxed != default.msr_relaxed {
            out.line("msr_relaxed", u8::from(self.msr_relaxed));
        }
        if self.driver_domain != default.driver_domain {
            out.line("driver_domain", u8::from(self.driver_domain));
        }
        out.0
    }
}
