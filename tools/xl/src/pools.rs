//! `xl cpupool-*`.

use clap::Args;
use domain_config::{CpuSet, Source, bitmap_to_text, parse_settings};
use serde_json::json;
use xen_control::{Control, CpuPool, Scheduler};
use xenstore::TransactionId;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome, print_json};
use crate::domains::{pool_name, pool_named};
use crate::nodes;

/// Options of `xl cpupool-list`.
#[derive(Args, Debug)]
pub(crate) struct CpupoolList {
    /// Only this pool
    pool: Option<String>,
    /// Output list of CPUs used by a pool
    #[arg(short, long)]
    cpus: bool,
}

impl Run for CpupoolList {
    const NAME: &'static str = "cpupool-list";
    const ABOUT: &'static str = "List CPU pools on host";

    fn run(self, context: &Context) -> Outcome {
        let control = context.control()?;
        let wanted = match &self.pool {
            Some(name) => Some(pool_named(context, name)?),
            None => None,
        };
        let mut all = Vec::new();
        if !context.json {
            let rest = if self.cpus {
                "CPU list"
            } else {
                "CPUs   Sched     Active   Domain count"
            };
            println!("{:<18} {rest}", "Name");
        }
        for pool in control.cpu_pools()? {
            if wanted.is_some_and(|wanted| wanted != pool.id) {
                continue;
            }
            let name = pool_name(context, pool.id)?;
            let cpus = pool.cpu_numbers();
            if context.json {
                all.push(json!({
                    "id": pool.id, "name": name, "scheduler": pool.scheduler.to_string(),
                    "cpus": cpus, "domains": pool.domains,
                }));
            } else if self.cpus {
                let list: Vec<String> = cpus.iter().map(ToString::to_string).collect();
                println!("{name:<18} {}", list.join(","));
            } else {
                println!(
                    "{name:<18} {:>3} {:>9}       y       {:>4}",
                    cpus.len(),
                    pool.scheduler,
                    pool.domains
                );
            }
        }
        if context.json {
            print_json(&json!(all));
        }
        Ok(())
    }
}

/// Options of `xl cpupool-create`.
#[derive(Args, Debug)]
pub(crate) struct CpupoolCreate {
    /// The configuration file, and settings that replace its: `name="p"`, `sched="credit2"`, `cpus="2-3"`
    #[arg(value_name = "FILE|KEY=VALUE")]
    words: Vec<String>,
    /// The configuration file
    #[arg(short = 'f', long = "defconfig", value_name = "FILE")]
    file: Option<std::path::PathBuf>,
    /// Only say what would be made
    #[arg(short = 'n', long = "dryrun")]
    dry_run: bool,
}

/// What a pool's configuration says.
struct Wanted {
    name: String,
    scheduler: Scheduler,
    cpus: Option<CpuSet>,
}

fn wanted(sources: &[(String, String)]) -> Result<Wanted, Failure> {
    let (mut name, mut scheduler, mut cpus) = (None, None, None);
    for (source, text) in sources {
        let settings = parse_settings(Source { name: source, text });
        for setting in settings.map_err(|error| Failure::new(error.to_string()))? {
            let place = setting.value.place.clone();
            let fail = |problem: String| Failure::new(format!("{place}: {problem}"));
            let words = |value: &domain_config::Value| match &value.content {
                domain_config::Content::Text(text) => text.clone(),
                domain_config::Content::Number(number) => number.to_string(),
                domain_config::Content::List(_) => String::new(),
            };
            let text = match &setting.value.content {
                domain_config::Content::List(list) => {
                    list.iter().map(words).collect::<Vec<_>>().join(",")
                }
                _ => words(&setting.value),
            };
            match setting.name.as_str() {
                "name" => name = Some(text),
                "sched" => {
                    let known = Scheduler::named(&text);
                    scheduler =
                        Some(known.ok_or_else(|| fail(format!("there is no scheduler `{text}`")))?);
                }
                "cpus" => cpus = Some(text.parse().map_err(|error| fail(format!("{error}")))?),
                other => eprintln!("{place}: warning: `{other}` is not known and has no effect"),
            }
        }
    }
    Ok(Wanted {
        name: name.ok_or_else(|| Failure::new("the CPU pool has no name"))?,
        scheduler: scheduler.unwrap_or(Scheduler::CREDIT2),
        cpus,
    })
}

impl Run for CpupoolCreate {
    const NAME: &'static str = "cpupool-create";
    const ABOUT: &'static str = "Create a new CPU pool";

    fn run(self, context: &Context) -> Outcome {
        let mut words = self.words.iter();
        let mut sources = Vec::new();
        let file = match self.file {
            Some(file) => Some(file),
            None => words
                .clone()
                .next()
                .filter(|word| !word.contains('='))
                .map(|word| {
                    words.next();
                    word.into()
                }),
        };
        if let Some(file) = file {
            let text = std::fs::read_to_string(&file).map_err(|error| {
                Failure::new(format!("{}: {error}", file.display())).with_code(3)
            })?;
            sources.push((file.display().to_string(), text));
        }
        let more: Vec<&str> = words.map(String::as_str).collect();
        sources.push(("command line".to_owned(), more.join("\n")));
        let wanted = wanted(&sources)?;
        let control = context.control()?;
        if pool_named(context, &wanted.name).is_ok() {
            return Err(Failure::new(format!(
                "pool name \"{}\" already exists",
                wanted.name
            )));
        }
        let most = control.machine()?.info.max_cpu_id + 1;
        let free = numbers(&control.free_cpus()?, most);
        let cpus: Vec<u32> = match &wanted.cpus {
            Some(set) => (0..most).filter(|&cpu| set.contains(cpu)).collect(),
            None => free.first().copied().into_iter().collect(),
        };
        if cpus.is_empty() {
            return Err(Failure::new("no free cpu found"));
        }
        if let Some(taken) = cpus.iter().find(|cpu| !free.contains(cpu)) {
            return Err(Failure::new(format!(
                "cpu {taken} is not free: it is in another CPU pool"
            )));
        }
        if !context.json {
            println!(
                "Using config file \"{}\"",
                sources.first().map_or("", |(name, _)| name)
            );
            println!(
                "cpupool name:   {}\nscheduler:      {}\nnumber of cpus: {}",
                wanted.name,
                wanted.scheduler,
                cpus.len()
            );
        }
        if self.dry_run || context.dry_run {
            return Ok(());
        }
        let pool = control.create_cpu_pool(wanted.scheduler)?;
        let filled = fill(context, control, pool, &wanted.name, &cpus);
        if let Err(failure) = filled {
            empty(control, pool)?;
            control.destroy_cpu_pool(pool)?;
            return Err(failure);
        }
        Ok(())
    }
}

fn fill(context: &Context, control: &Control, pool: u32, name: &str, cpus: &[u32]) -> Outcome {
    for cpu in cpus {
        control.add_cpu_to_pool(pool, *cpu)?;
    }
    write_name(context, pool, name)
}

fn write_name(context: &Context, pool: u32, name: &str) -> Outcome {
    let path = format!("/local/pool/{pool}/name");
    context.store()?.write(&path, name)?;
    Ok(())
}

/// Takes all CPUs out of a pool.
fn empty(control: &Control, pool: u32) -> Outcome {
    let found = control
        .cpu_pools()?
        .into_iter()
        .find(|found| found.id == pool);
    for cpu in found.iter().flat_map(CpuPool::cpu_numbers) {
        control.remove_cpu_from_pool(pool, cpu)?;
    }
    Ok(())
}

fn numbers(bitmap: &[u8], most: u32) -> Vec<u32> {
    (0..most)
        .filter(|cpu| {
            bitmap
                .get(*cpu as usize / 8)
                .is_some_and(|byte| byte >> (cpu % 8) & 1 != 0)
        })
        .collect()
}

/// Options of `xl cpupool-destroy`.
#[derive(Args, Debug)]
pub(crate) struct CpupoolDestroy {
    /// The pool, by name or number
    pool: String,
}

impl Run for CpupoolDestroy {
    const NAME: &'static str = "cpupool-destroy";
    const ABOUT: &'static str = "Deactivates a CPU pool";

    fn run(self, context: &Context) -> Outcome {
        let pool = pool_named(context, &self.pool)?;
        let control = context.control()?;
        let found = control
            .cpu_pools()?
            .into_iter()
            .find(|found| found.id == pool);
        let found =
            found.ok_or_else(|| Failure::new(format!("unknown cpupool '{}'", self.pool)))?;
        if found.domains > 0 {
            return Err(Failure::new(format!(
                "Can't destroy cpupool '{}': there are {} domains in it",
                self.pool, found.domains
            )));
        }
        empty(control, pool)?;
        control.destroy_cpu_pool(pool)?;
        let mut requests = nodes::Requests::new();
        nodes::remove(&mut requests, &format!("/local/pool/{pool}"));
        context.store()?.batch(TransactionId::NONE, &requests)?;
        Ok(())
    }
}

/// Options of `xl cpupool-rename`.
#[derive(Args, Debug)]
pub(crate) struct CpupoolRename {
    /// The pool, by name or number
    pool: String,
    /// Its new name
    name: String,
}

impl Run for CpupoolRename {
    const NAME: &'static str = "cpupool-rename";
    const ABOUT: &'static str = "Renames a CPU pool";

    fn run(self, context: &Context) -> Outcome {
        let pool = pool_named(context, &self.pool)?;
        if pool_named(context, &self.name).is_ok() {
            return Err(Failure::new(format!(
                "pool name \"{}\" already exists",
                self.name
            )));
        }
        write_name(context, pool, &self.name)
    }
}

/// CPUs as the commands take them: `3`, `0-3,^1`, or `node:0`.
fn chosen_cpus(control: &Control, text: &str) -> Result<Vec<u32>, Failure> {
    if let Some(node) = text.strip_prefix("node:") {
        let node: u32 = node
            .parse()
            .map_err(|_| Failure::new(format!("invalid node: {node}")))?;
        let cpus = control.cpu_topology()?;
        return Ok(cpus
            .iter()
            .filter(|cpu| cpu.node == node)
            .map(|cpu| cpu.cpu)
            .collect());
    }
    let set: CpuSet = text
        .parse()
        .map_err(|error| Failure::new(format!("{error}")))?;
    let most = control.machine()?.info.max_cpu_id + 1;
    Ok((0..most).filter(|&cpu| set.contains(cpu)).collect())
}

/// Options of `xl cpupool-cpu-add`.
#[derive(Args, Debug)]
pub(crate) struct CpupoolCpuAdd {
    /// The pool, by name or number
    pool: String,
    /// CPUs: `3`, `0-3,^1`, `node:0`
    cpus: String,
}

impl Run for CpupoolCpuAdd {
    const NAME: &'static str = "cpupool-cpu-add";
    const ABOUT: &'static str = "Adds a CPU to a CPU pool";

    fn run(self, context: &Context) -> Outcome {
        let pool = pool_named(context, &self.pool)?;
        let control = context.control()?;
        for cpu in chosen_cpus(control, &self.cpus)? {
            control.add_cpu_to_pool(pool, cpu)?;
        }
        Ok(())
    }
}

/// Options of `xl cpupool-cpu-remove`.
#[derive(Args, Debug)]
pub(crate) struct CpupoolCpuRemove {
    /// The pool, by name or number
    pool: String,
    /// CPUs: `3`, `0-3,^1`, `node:0`
    cpus: String,
}

impl Run for CpupoolCpuRemove {
    const NAME: &'static str = "cpupool-cpu-remove";
    const ABOUT: &'static str = "Removes a CPU from a CPU pool";

    fn run(self, context: &Context) -> Outcome {
        let pool = pool_named(context, &self.pool)?;
        let control = context.control()?;
        for cpu in chosen_cpus(control, &self.cpus)? {
            control.remove_cpu_from_pool(pool, cpu)?;
        }
        Ok(())
    }
}

/// Options of `xl cpupool-migrate`.
#[derive(Args, Debug)]
pub(crate) struct CpupoolMigrate {
    /// The domain, by name or number
    domain: String,
    /// The pool, by name or number
    pool: String,
}

impl Run for CpupoolMigrate {
    const NAME: &'static str = "cpupool-migrate";
    const ABOUT: &'static str = "Moves a domain into a CPU pool";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let pool = pool_named(context, &self.pool)?;
        Ok(context.control()?.move_domain_to_pool(pool, info.domain)?)
    }
}

/// Options of `xl cpupool-numa-split`.
#[derive(Args, Debug)]
pub(crate) struct CpupoolNumaSplit {}

impl Run for CpupoolNumaSplit {
    const NAME: &'static str = "cpupool-numa-split";
    const ABOUT: &'static str = "Splits up the machine into one CPU pool per NUMA node";

    fn run(self, context: &Context) -> Outcome {
        let control = context.control()?;
        let pools = control.cpu_pools()?;
        let [first] = pools.as_slice() else {
            return Err(Failure::new(
                "splitting not possible, already cpupools in use",
            ));
        };
        let cpus = control.cpu_topology()?;
        let mut nodes: Vec<u32> = cpus.iter().map(|cpu| cpu.node).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let mut nodes = nodes.into_iter();
        if let Some(node) = nodes.next() {
            write_name(context, first.id, &format!("Pool-node{node}"))?;
        }
        for node in nodes {
            let own: Vec<u32> = cpus
                .iter()
                .filter(|cpu| cpu.node == node)
                .map(|cpu| cpu.cpu)
                .collect();
            for cpu in &own {
                control.remove_cpu_from_pool(first.id, *cpu)?;
            }
            let pool = control.create_cpu_pool(first.scheduler)?;
            fill(context, control, pool, &format!("Pool-node{node}"), &own)?;
        }
        context.detail(bitmap_to_text(
            &first.cpus,
            control.machine()?.info.max_cpu_id + 1,
        ));
        Ok(())
    }
}
