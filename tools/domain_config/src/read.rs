//! From settings to a [`DomainConfig`].

use std::str::FromStr;

use crate::cpus::CpuSet;
use crate::domain::{Action, Boot, DomainConfig, Kind};
use crate::error::{ConfigError, Warning};
use crate::settings::Settings;
use crate::syntax::{Content, Source, parse_settings};

/// Bytes of the longest name of a domain.
const MAX_NAME: usize = 255;
/// The most memory that is believed, in MiB: 16 TiB.
const MAX_MEMORY: i64 = 16 << 20;
/// The most vCPUs of a paravirtual domain.
const MAX_VCPUS: i64 = 8192;

/// A configuration and what is odd about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parsed {
    /// What it says.
    pub config: DomainConfig,
    /// Settings without effect.
    pub warnings: Vec<Warning>,
}

/// Devices and settings that Xen's `xl` knows and that do not exist here: refused when they ask for something, since
/// the guest would miss it.
const ABSENT: [(&str, &str); 11] = [
    ("pci", "passing devices through"),
    ("vtpm", "virtual TPMs"),
    ("p9", "9p file systems"),
    ("pvcalls", "PV calls"),
    ("vdispl", "virtual displays"),
    ("vsnd", "virtual sound"),
    ("usbctrl", "USB"),
    ("usbdev", "USB"),
    ("channel", "channels"),
    ("vnuma", "virtual NUMA"),
    ("ioports", "access to ports"),
];

/// Settings of Xen's `xl` that do nothing for paravirtual guests here, and do no harm.
const IGNORED: [&str; 32] = [
    "acpi",
    "acpi_firmware",
    "apic",
    "bios",
    "boot",
    "builder",
    "claim_mode",
    "cpuid",
    "device_model",
    "device_model_version",
    "gfx_passthru",
    "hap",
    "hpet",
    "init_seclabel",
    "keymap",
    "localtime",
    "nestedhvm",
    "nomigrate",
    "nx",
    "pae",
    "rtc_timeoffset",
    "sdl",
    "seclabel",
    "serial",
    "shadow_memory",
    "spice",
    "stdvga",
    "usb",
    "viridian",
    "vnc",
    "vnclisten",
    "passthrough",
];

/// Makes a configuration of sources; settings in later ones replace those in earlier ones.
///
/// # Errors
///
/// All errors that are found: one, if the syntax is wrong.
pub fn parse(sources: &[Source<'_>]) -> Result<Parsed, Vec<ConfigError>> {
    let mut all = Vec::new();
    for source in sources {
        all.extend(parse_settings(*source).map_err(|error| vec![error])?);
    }
    let mut settings = Settings::new(all);
    let end = sources.last().map_or("no file", |source| source.name);
    let config = read(&mut settings, end);
    let warnings = settings.unknown();
    match config {
        Some(config) if settings.errors.is_empty() => Ok(Parsed { config, warnings }),
        _ => Err(settings.errors),
    }
}

fn read(settings: &mut Settings, last_source: &str) -> Option<DomainConfig> {
    let name = name(settings, last_source);
    let mut config = DomainConfig::new(name.as_deref().unwrap_or_default());
    if let Some((text, place)) = settings.text("uuid") {
        match text.parse() {
            Ok(uuid) => config.uuid = Some(uuid),
            Err(error) => settings.fail(&place, format!("`uuid` is `{text}`: {error}")),
        }
    }
    config.kind = kind(settings);
    memory(settings, &mut config);
    cpus(settings, &mut config);
    boot(settings, &mut config);
    devices(settings, &mut config);
    actions(settings, &mut config);
    limits(settings, &mut config);
    for name in IGNORED {
        settings.take(name);
    }
    name.map(|_| config)
}

fn name(settings: &mut Settings, last_source: &str) -> Option<String> {
    let Some((name, place)) = settings.text("name") else {
        if settings.place("name").is_none() {
            settings.errors.push(ConfigError {
                place: crate::Place {
                    file: last_source.into(),
                    line: 1,
                    column: 1,
                },
                problem: "the domain has no name: `name` is not set".to_owned(),
            });
        }
        return None;
    };
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > MAX_NAME {
        format!("has {} bytes, at most {MAX_NAME} are possible", name.len())
    } else if name.contains(['/', '\n', '\t', ' ']) || name.contains(char::is_control) {
        "may not have blanks, slashes or control characters".to_owned()
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        "is a number, which would be taken for a domain's number".to_owned()
    } else {
        return Some(name);
    };
    settings.fail(&place, format!("`name` {problem}"));
    None
}

fn kind(settings: &mut Settings) -> Kind {
    // The older setting is for files that set both.
    let builder = settings.choice(
        "builder",
        &[
            ("generic", Kind::Pv),
            ("linux", Kind::Pv),
            ("hvm", Kind::Hvm),
        ],
    );
    let kinds = [("pv", Kind::Pv), ("pvh", Kind::Pvh), ("hvm", Kind::Hvm)];
    let pvh = settings.flag("pvh") == Some(true);
    settings
        .choice("type", &kinds)
        .or(pvh.then_some(Kind::Pvh))
        .or(builder)
        .unwrap_or_default()
}

fn memory(settings: &mut Settings, config: &mut DomainConfig) {
    let memory = settings.number("memory", 1, MAX_MEMORY);
    let maxmem = settings.number("maxmem", 1, MAX_MEMORY);
    // One that is missing is as the other; 32 MiB if both are.
    let memory_mib = memory.or(maxmem).unwrap_or(32) as u64;
    config.memory = memory_mib;
    config.maxmem = maxmem.map_or(memory_mib, |maxmem| maxmem as u64);
    if config.maxmem < config.memory
        && let Some(place) = settings.place("maxmem")
    {
        settings.fail(
            &place,
            format!(
                "`maxmem` is {} MiB, less than `memory`, which is {} MiB",
                config.maxmem, config.memory
            ),
        );
    }
}

fn cpus(settings: &mut Settings, config: &mut DomainConfig) {
    let vcpus = settings.number("vcpus", 1, MAX_VCPUS);
    let maxvcpus = settings.number("maxvcpus", 1, MAX_VCPUS);
    config.vcpus = vcpus.or(maxvcpus).unwrap_or(1) as u32;
    config.maxvcpus = maxvcpus.map_or(config.vcpus, |maxvcpus| maxvcpus as u32);
    if config.maxvcpus < config.vcpus
        && let Some(place) = settings.place("maxvcpus")
    {
        settings.fail(
            &place,
            format!(
                "`maxvcpus` is {}, less than `vcpus`, which is {}",
                config.maxvcpus, config.vcpus
            ),
        );
    }
    config.cpus = cpu_sets(settings, "cpus", config.maxvcpus);
    config.cpus_soft = cpu_sets(settings, "cpus_soft", config.maxvcpus);
    config.cpu_weight = settings
        .number("cpu_weight", 1, 65535)
        .map(|weight| weight as u16);
    config.cap = settings.number("cap", 0, 65535).map(|cap| cap as u16);
    config.pool = settings.text("pool").map(|(pool, _)| pool);
}

/// A string is a set for all vCPUs, a list has a set for each.
fn cpu_sets(settings: &mut Settings, name: &str, vcpus: u32) -> Vec<CpuSet> {
    let Some(texts) = settings.texts_or_number(name) else {
        return Vec::new();
    };
    let mut sets = Vec::new();
    for (text, place) in &texts {
        match text.parse() {
            Ok(set) => sets.push(set),
            Err(error) => settings.fail(place, format!("`{name}`: {error}")),
        }
    }
    if sets.len() > vcpus as usize
        && let Some(place) = settings.place(name)
    {
        settings.fail(
            &place,
            format!(
                "`{name}` has {} sets, but there are {vcpus} vCPUs",
                sets.len()
            ),
        );
    }
    sets
}

fn boot(settings: &mut Settings, config: &mut DomainConfig) {
    let text = |settings: &mut Settings, name| settings.text(name).map(|(text, _)| text);
    let kernel = text(settings, "kernel");
    let ramdisk = text(settings, "ramdisk");
    let bootloader = text(settings, "bootloader");
    let arguments = settings.take("bootloader_args");
    let cmdline = text(settings, "cmdline");
    let root = text(settings, "root");
    let extra = text(settings, "extra");
    config.cmdline = cmdline.or(match (root, extra) {
        (None, extra) => extra,
        (Some(root), None) => Some(format!("root={root}")),
        (Some(root), Some(extra)) => Some(format!("root={root} {extra}")),
    });
    config.boot = match (kernel, bootloader) {
        (Some(kernel), None) => Boot::Kernel { kernel, ramdisk },
        (None, Some(program)) => Boot::Bootloader {
            program,
            arguments: bootloader_arguments(settings, arguments),
        },
        (None, None) => Boot::Nothing,
        (Some(_), Some(_)) => {
            if let Some(place) = settings.place("bootloader") {
                settings.fail(&place, "both `kernel` and `bootloader` are set");
            }
            Boot::Nothing
        }
    };
}

fn bootloader_arguments(settings: &mut Settings, value: Option<crate::Value>) -> Vec<String> {
    let Some(value) = value else {
        return Vec::new();
    };
    match value.content {
        Content::Text(text) => text.split_whitespace().map(str::to_owned).collect(),
        _ => settings
            .texts("bootloader_args", true)
            .unwrap_or_default()
            .into_iter()
            .map(|(text, _)| text)
            .collect(),
    }
}

fn devices(settings: &mut Settings, config: &mut DomainConfig) {
    config.disks = specifications(settings, "disk");
    config.vifs = specifications(settings, "vif");
    let mut numbers = Vec::new();
    let mut twice = None;
    for disk in &config.disks {
        if numbers.contains(&disk.device.number) {
            twice = Some(disk.device.name.clone());
        }
        numbers.push(disk.device.number);
    }
    if let (Some(name), Some(place)) = (twice, settings.place("disk")) {
        settings.fail(&place, format!("two disks are called {name}"));
    }
    let asks = |content: &Content| match content {
        Content::List(list) => !list.is_empty(),
        Content::Text(text) => !text.is_empty(),
        Content::Number(number) => *number != 0,
    };
    for (name, what) in ABSENT {
        if let Some(value) = settings.take(name)
            && asks(&value.content)
        {
            settings.fail(&value.place, format!("`{name}`: {what} cannot be had yet"));
        }
    }
    // A frame buffer is only a convenience; the guest has a console.
    settings.take("vfb");
    settings.take("vkb");
}

fn specifications<T: FromStr<Err: std::fmt::Display>>(
    settings: &mut Settings,
    name: &str,
) -> Vec<T> {
    let mut all = Vec::new();
    for (text, place) in settings.texts(name, false).unwrap_or_default() {
        match text.parse() {
            Ok(one) => all.push(one),
            Err(error) => settings.fail(&place, format!("`{name}`: {error}")),
        }
    }
    all
}

fn actions(settings: &mut Settings, config: &mut DomainConfig) {
    for (name, action) in [
        ("on_poweroff", &mut config.on_poweroff),
        ("on_reboot", &mut config.on_reboot),
        ("on_watchdog", &mut config.on_watchdog),
        ("on_crash", &mut config.on_crash),
        ("on_soft_reset", &mut config.on_soft_reset),
    ] {
        if let Some(chosen) = settings.choice(name, &Action::NAMES) {
            *action = chosen;
        }
    }
}

fn limits(settings: &mut Settings, config: &mut DomainConfig) {
    let mut number = |name, most| settings.number(name, 0, most).map(|number| number as u32);
    config.max_grant_frames = number("max_grant_frames", 1 << 20);
    config.max_maptrack_frames = number("max_maptrack_frames", 1 << 20);
    config.max_grant_version = number("max_grant_version", 2);
    config.event_channels = number("event_channels", 1 << 17);
    config.tsc_mode = settings.take("tsc_mode").and_then(|value| {
        let modes = ["default", "always_emulate", "native", "native_paravirt"];
        let mode = match &value.content {
            Content::Text(text) => modes.iter().position(|mode| mode == text),
            Content::Number(number) => usize::try_from(*number).ok(),
            Content::List(_) => None,
        };
        match mode {
            Some(mode @ 0..3) => Some(mode as u32),
            _ => {
                let problem = "`tsc_mode` can be default, always_emulate, native";
                settings.fail(&value.place, problem);
                None
            }
        }
    });
    config.msr_relaxed = settings.flag("msr_relaxed").unwrap_or(false);
    config.driver_domain = settings.flag("driver_domain").unwrap_or(false);
}
