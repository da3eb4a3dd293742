//! `xl create`.

use std::fs;
use std::io::{self, ErrorKind, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use domain_builder::cache::Cache;
use domain_builder::{BuildPlan, Kernel, Ports};
use domain_config::{Boot, DomainConfig, Mac, Source, Uuid};
use serde_json::json;
use xen_control::{Affinity, Control, ControlError, Credit2, DomId, Errno, NewDomain};
use xenstore::TransactionId;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome, print_json};
use crate::nodes::NewDomainNodes;
use crate::record::{Record, State, Worker};
use crate::{console, destroy, devices, monitor};

/// KiB that a domain may have beyond its memory, as with libxl: for pages that are not the guest's to count.
const SLACK_KIB: u64 = 1024;
/// Event channels of a domain, unless told.
const EVENT_CHANNELS: u32 = 1023;
/// Exit code for a file that cannot be read, as with Xen's `xl`.
const CODE_FAIL: u8 = 3;
/// Exit code for no file at all.
const CODE_NO_FILE: u8 = 6;

/// Options of `xl create`.
#[derive(Args, Debug)]
pub(crate) struct Create {
    /// The configuration file, and settings that replace its: `memory=64`, `disk=['…']`
    #[arg(value_name = "FILE|KEY=VALUE")]
    words: Vec<String>,
    /// Leave the domain paused
    #[arg(short)]
    paused: bool,
    /// Connect to its console
    #[arg(short)]
    console: bool,
    /// Only print the configuration
    #[arg(short = 'n', long = "dryrun")]
    dry_run: bool,
    /// Say nothing
    #[arg(short, long)]
    quiet: bool,
    /// Do not look after its end
    #[arg(short = 'e')]
    unattended: bool,
    /// Stay until it ends
    #[arg(short = 'F')]
    foreground: bool,
    /// The configuration file
    #[arg(short = 'f', long = "defconfig", value_name = "FILE")]
    file: Option<PathBuf>,
    /// Of Xen's xl: more messages
    #[arg(short = 'd', hide = true)]
    debug: bool,
}

impl Run for Create {
    const NAME: &'static str = "create";
    const ABOUT: &'static str = "Create a domain from config file <filename>";

    fn run(self, context: &Context) -> Outcome {
        let (file, overrides) = self.sources()?;
        let text = fs::read_to_string(&file).map_err(|error| {
            let reason = plain(&error);
            Failure::new(format!(
                "Failed to read config file: {}: {reason}",
                file.display()
            ))
            .with_code(CODE_FAIL)
        })?;
        let dry_run = self.dry_run || context.dry_run;
        if !self.quiet && !context.json {
            eprintln!("Parsing config from {}", file.display());
        }
        let config = parse(&file.display().to_string(), &text, &overrides)?;
        if dry_run {
            print_json(&config.to_json());
            return Ok(());
        }
        let domain = create(context, config, !self.unattended)?;
        if context.json {
            print_json(&json!({ "domid": domain }));
        }
        if self.console {
            // The console is connected before the domain says its first word.
            let viewer = console::spawn(domain)?;
            if !self.paused {
                context.control()?.unpause(domain)?;
            }
            return console::wait(viewer);
        }
        if !self.paused {
            context.control()?.unpause(domain)?;
        }
        if self.foreground {
            monitor::wait(context, &[domain], monitor::Until::Over)?;
        }
        Ok(())
    }
}

impl Create {
    /// The file, and the text of the settings that replace its.
    fn sources(&self) -> Result<(PathBuf, String), Failure> {
        let mut words = self.words.iter();
        let file = match &self.file {
            Some(file) => Some(file.clone()),
            None => words
                .clone()
                .next()
                .filter(|word| !word.contains('='))
                .map(PathBuf::from)
                .inspect(|_| {
                    words.next();
                }),
        };
        let file = file.ok_or_else(|| {
            Failure::new("Config file not specified and none in save file").with_code(CODE_NO_FILE)
        })?;
        let overrides: Vec<&str> = words.map(String::as_str).collect();
        Ok((file, overrides.join("\n")))
    }
}

/// An error's words without Rust's number.
fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((words, _)) => words.to_owned(),
        None => text,
    }
}

/// Reads a configuration; warnings go to the standard error.
pub(crate) fn parse(name: &str, text: &str, overrides: &str) -> Result<DomainConfig, Failure> {
    let sources = [
        Source { name, text },
        Source {
            name: "command line",
            text: overrides,
        },
    ];
    let count = if overrides.is_empty() { 1 } else { 2 };
    let parsed = domain_config::parse(sources.get(..count).unwrap_or(&sources));
    match parsed {
        Ok(parsed) => {
            for warning in &parsed.warnings {
                eprintln!("{}: warning: {}", warning.place, warning.problem);
            }
            Ok(parsed.config)
        }
        Err(errors) => {
            let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Err(Failure::new(lines.join("\n")))
        }
    }
}

/// Random bytes.
fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// An address of Xen's range for a network interface.
pub(crate) fn random_mac() -> io::Result<Mac> {
    Ok(Mac::of_xen(u32::from_be_bytes(random()?)))
}

/// Chooses what the configuration leaves open, so that a reboot makes the same domain.
pub(crate) fn choose(config: &mut DomainConfig) -> io::Result<Uuid> {
    let uuid = match config.uuid {
        Some(uuid) => uuid,
        None => Uuid::random(random()?),
    };
    config.uuid = Some(uuid);
    // Who makes it again may be elsewhere.
    if let Boot::Kernel { kernel, ramdisk } = &mut config.boot {
        for path in [Some(kernel), ramdisk.as_mut()].into_iter().flatten() {
            make_absolute(path)?;
        }
    }
    for disk in config.disks.iter_mut().filter(|disk| disk.script.is_none()) {
        if let Some(target) = &mut disk.target
            && Path::new(target).exists()
        {
            make_absolute(target)?;
        }
    }
    for (index, vif) in config.vifs.iter_mut().enumerate() {
        if vif.mac.is_none() {
            vif.mac = Some(random_mac()?);
        }
        vif.number.get_or_insert(index as u32);
    }
    Ok(uuid)
}

fn make_absolute(path: &mut String) -> io::Result<()> {
    if !path.is_empty() && !path.starts_with('/') {
        *path = std::path::absolute(&*path)?.display().to_string();
    }
    Ok(())
}

/// Where unpacked kernels are kept.
fn cache() -> Cache {
    match std::env::var_os("XENOLITH_CACHE") {
        Some(directory) if directory.is_empty() => Cache::none(),
        Some(directory) => Cache::new(directory),
        None => Cache::new("/var/cache/xenolith"),
    }
}

/// Makes a domain, paused. What was made is undone if anything fails.
pub(crate) fn create(
    context: &Context,
    mut config: DomainConfig,
    attended: bool,
) -> Result<DomId, Failure> {
    let fail = |error: &dyn std::fmt::Display| Failure::new(error.to_string()).with_code(CODE_FAIL);
    config.check_supported().map_err(|error| {
        let failure = fail(&error);
        if config.boot == Boot::Nothing {
            failure.with_code(1)
        } else {
            failure
        }
    })?;
    let uuid = choose(&mut config)?;
    // All that can be known to be wrong is found before anything is made.
    let control = context.control()?;
    context.detail("the configuration is read");
    let plan = plan(&config)?;
    context.detail("the plan is made");
    let pool = match &config.pool {
        Some(name) => crate::domains::pool_named(context, name)?,
        None => 0,
    };
    devices::check(context, &config)?;
    if let Some(other) = context.holder_of(&config.name)? {
        return Err(fail(&format!(
            "Domain with name \"{}\" already exists: its number is {other}",
            config.name
        )));
    }

    let mut record = Record {
        uuid,
        name: config.name.clone(),
        state: State::Building,
        worker: Worker::this(),
        domain: None,
        config,
    };
    record.claim().map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => fail(&format!(
            "another domain with name \"{}\" is being made, or was when somebody was killed: xl reconcile",
            record.name
        )),
        _ => fail(&format!("cannot write the record of the domain: {error}")),
    })?;
    context.detail("the name is claimed");
    let result = make(context, control, &mut record, &plan, pool);
    match result {
        Ok(domain) => {
            record.state = State::Running;
            if let Err(error) = record.save() {
                destroy::remove(context, domain, uuid)?;
                return Err(error.into());
            }
            if attended {
                monitor::ensure()?;
            }
            context.detail("it is looked after");
            Ok(domain)
        }
        Err(failure) => {
            context.detail("undoing what was made");
            let undone = match record.domain {
                Some(domain) => destroy::remove(context, domain, uuid),
                None => {
                    record.remove();
                    Ok(())
                }
            };
            Err(match undone {
                Ok(()) => failure,
                Err(other) => Failure {
                    message: format!(
                        "{failure}\nand what was made could not be undone (xl reconcile tries again): {other}"
                    ),
                    ..failure
                },
            })
        }
    }
}

fn plan(config: &DomainConfig) -> Result<BuildPlan, Failure> {
    let Boot::Kernel { kernel, ramdisk } = &config.boot else {
        return Err(Failure::new(
            "boot loaders in domain 0 cannot be used yet: set `kernel`, for instance to grub-xen's image",
        )
        .with_code(CODE_FAIL));
    };
    let kernel = Kernel::load(Path::new(kernel), &cache(), |bytes| {
        if std::io::stderr().is_terminal() {
            eprintln!(
                "unpacking {kernel} ({} MiB), which is done once",
                bytes >> 20
            );
        }
    })?;
    Ok(BuildPlan::new(
        kernel,
        ramdisk.as_deref().map(Path::new),
        config.cmdline.as_deref().unwrap_or_default(),
        config.memory * 256,
    )?)
}

/// Makes what was planned, step by step; whatever is made is noted in the record before.
fn make(
    context: &Context,
    control: &Control,
    record: &mut Record,
    plan: &BuildPlan,
    pool: u32,
) -> Result<DomId, Failure> {
    let config = record.config.clone();
    let limit = |value: Option<u32>| value.map_or(-1, |value| value.min(i32::MAX as u32) as i32);
    let domain = control.create_domain(&NewDomain {
        handle: record.uuid.0,
        max_vcpus: config.maxvcpus,
        max_port: config.event_channels.unwrap_or(EVENT_CHANNELS),
        max_grant_frames: limit(config.max_grant_frames),
        max_maptrack_frames: limit(config.max_maptrack_frames),
        max_grant_version: match config.max_grant_version {
            Some(version) => version,
            None => control.machine()?.max_grant_version(),
        },
        cpu_pool: pool,
        msr_relaxed: config.msr_relaxed,
    })?;
    record.note_number(domain)?;
    context.detail(format_args!("domain {domain} is there"));

    control.set_max_vcpus(domain, config.maxvcpus)?;
    control.set_max_memory(domain, config.maxmem * 1024 + SLACK_KIB)?;
    set_shares(control, domain, &config)?;
    if let Some(mode) = config.tsc_mode {
        control.set_tsc_mode(domain, mode)?;
    }
    let ports = Ports {
        store: control.allocate_port(domain, 0)?,
        console: control.allocate_port(domain, 0)?,
    };
    claim(control, domain, config.memory * 256)?;
    context.detail("its limits are set");
    let working = context.working(format_args!("domain {domain} gets its memory"));
    let built = plan.apply(control, domain, ports)?;
    drop(working);
    context.detail(format_args!("domain {domain} has its memory"));

    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let start_time = format!("{}.{:02}", now.as_secs(), now.subsec_millis() / 10);
    let requests = NewDomainNodes {
        domain,
        uuid: record.uuid,
        config: &config,
        store: (built.store, ports.store),
        console: (built.console, ports.console),
        start_time: &start_time,
    }
    .requests();
    let answers = context.store()?.batch(TransactionId::NONE, &requests)?;
    for ((operation, payload), answer) in requests.iter().zip(answers) {
        if let Err(error) = answer
            && *operation != xenstore::wire::Operation::Remove
        {
            let path = payload.split(|byte| *byte == 0).next().unwrap_or_default();
            return Err(Failure::new(format!(
                "xenstore: {operation:?} {}: {error}",
                String::from_utf8_lossy(path)
            ))
            .with_code(CODE_FAIL));
        }
    }
    context.detail("xenstore knows it");
    let working = context.working(format_args!("domain {domain} gets its devices"));
    devices::attach_all(context, domain, &config)?;
    drop(working);
    context.detail("its devices are there");
    Ok(domain)
}

/// Keeps the memory free for the domain, so that it is known at once whether there is enough.
fn claim(control: &Control, domain: DomId, pages: u64) -> Result<(), Failure> {
    match control.claim(domain, pages) {
        Ok(()) => Ok(()),
        Err(error) if error.errno == Errno::ENOMEM => {
            let free = control
                .machine()
                .map_or(0, |machine| machine.info.free_pages);
            Err(Failure::new(format!(
                "there is not enough free memory: the domain needs {} MiB, {} MiB are free",
                pages / 256,
                free / 256
            ))
            .with_code(CODE_FAIL))
        }
        // It is only a precaution.
        Err(error) if matches!(error.errno, Errno::ENOSYS | Errno::EOPNOTSUPP) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Where the vCPUs may run, and how much.
fn set_shares(control: &Control, domain: DomId, config: &DomainConfig) -> Result<(), ControlError> {
    if !config.cpus.is_empty() || !config.cpus_soft.is_empty() {
        let cpus = control.machine()?.info.max_cpu_id + 1;
        for vcpu in 0..config.maxvcpus {
            let bits = |sets: &[domain_config::CpuSet]| {
                // One set is for all vCPUs; those without a set of their own may run anywhere.
                let set = if sets.len() == 1 {
                    sets.first()
                } else {
                    sets.get(vcpu as usize)
                };
                set.map(|set| set.to_bitmap(cpus))
            };
            let Affinity { hard, soft } = Affinity {
                hard: bits(&config.cpus).unwrap_or_default(),
                soft: bits(&config.cpus_soft).unwrap_or_default(),
            };
            let some = |bits: &Vec<u8>| (!bits.is_empty()).then(|| bits.clone());
            if hard.is_empty() && soft.is_empty() {
                continue;
            }
            control.set_affinity(
                domain,
                vcpu,
                some(&hard).as_deref(),
                some(&soft).as_deref(),
                false,
            )?;
        }
    }
    if config.cpu_weight.is_some() || config.cap.is_some() {
        let now = control.credit2(domain)?;
        control.set_credit2(
            domain,
            Credit2 {
                weight: config.cpu_weight.unwrap_or(now.weight),
                cap: config.cap.unwrap_or(now.cap),
            },
        )?;
    }
    Ok(())
}
