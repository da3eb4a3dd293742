//! What follows when domains stop: one program looks after all of them.
//!
//! It keeps nothing of its own: which domains there are is the hypervisor's knowledge, and what is to be done is in
//! their records. So it can be killed and started again at any time, and only one works at a time (a lock).
//! `xl create` starts it if there is none.

use std::fs::File;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use domain_config::{Action, DomainConfig, Uuid};
use serde_json::json;
use xen_control::{DomId, DomainInfo, ShutdownReason};
use xenstore::ClientError;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome, print_json};
use crate::record::{self, Record, State, Worker};
use crate::{create, destroy, dump_core, identity, nodes};

/// The watch that tells of domains that stopped or are gone.
const RELEASE: &str = "@releaseDomain";
/// What the watch is called.
const TOKEN: &str = "monitor";
/// A domain that was made again stays stopped until this time has passed, so that one that always stops at once leaves
/// the others some time; Xen's `xl` waits as long.
const SHORTEST_LIFE: Duration = Duration::from_secs(2);
/// How long after something is told it is looked what it was: the end of a domain is told twice or more often.
const PATIENCE: Duration = Duration::from_millis(20);
/// A crash that is not told by xenstored is seen after this time.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Options of `xl monitor`.
#[derive(Args, Debug)]
pub(crate) struct Monitor {
    /// In the background
    #[arg(long)]
    background: bool,
}

impl Run for Monitor {
    const NAME: &'static str = "monitor";
    const ABOUT: &'static str = "Look after domains: what follows when they stop";

    fn run(self, context: &Context) -> Outcome {
        if self.background {
            return ensure().map_err(Into::into);
        }
        let lock = lock_file()?;
        if lock.try_lock().is_err() {
            context.detail("there is a monitor already");
            return Ok(());
        }
        // Its own session: it outlives the terminal of whoever made the first domain. If it is a leader already,
        // there is nothing to do.
        let _ = rustix::process::setsid();
        // Who makes the first domain is not done yet.
        std::thread::sleep(PATIENCE);
        loop {
            if let Err(failure) = watch(context) {
                log(&format!("{failure}"));
                // xenstored may be starting again; the connection is no use any more.
                std::thread::sleep(Duration::from_secs(1));
                return again();
            }
        }
    }
}

/// Becomes a new monitor, with new connections.
fn again() -> Outcome {
    use std::os::unix::process::CommandExt;
    let error = Command::new(std::env::current_exe()?).arg("monitor").exec();
    Err(error.into())
}

fn lock_file() -> io::Result<File> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(record::run_file("monitor.lock")?)
}

/// Starts the monitor if there is none.
pub(crate) fn ensure() -> io::Result<()> {
    let lock = lock_file()?;
    match lock.try_lock() {
        // Somebody has it.
        Err(_) => return Ok(()),
        Ok(()) => lock.unlock()?,
    }
    let output = File::options()
        .create(true)
        .append(true)
        .open("/var/log/xen/xl-monitor.log")
        .map_or_else(|_| Stdio::null(), Stdio::from);
    Command::new(std::env::current_exe()?)
        .arg("monitor")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output)
        .spawn()
        .map(drop)
}

fn log(text: &str) {
    // Nothing can be done if it cannot be written.
    let _ = writeln!(io::stderr(), "xl monitor: {text}");
}

/// Looks after domains until the connection ends.
fn watch(context: &Context) -> Outcome {
    context.store()?.watch(RELEASE, TOKEN)?;
    loop {
        let patience = look(context)?;
        match context.store()?.next_event(Some(patience)) {
            Ok(_) | Err(ClientError::Store(_)) => {}
            Err(error) => return Err(error.into()),
        }
        std::thread::sleep(PATIENCE);
        while context.store()?.next_event(Some(Duration::ZERO))?.is_some() {}
    }
}

/// Does what is due for each domain; tells when to look again.
fn look(context: &Context) -> Result<Duration, Failure> {
    let mut patience = LOOK_AGAIN;
    let domains = context.control()?.domains()?;
    for info in &domains {
        let Some(reason) = info.shutdown.filter(|_| !info.is_dying) else {
            continue;
        };
        let Some(record) = record::of_uuid(Uuid(info.handle)) else {
            continue;
        };
        if record.state != State::Running || record.domain != Some(info.domain) {
            continue;
        }
        let action = action(&record.config, reason);
        if action.is_some_and(makes_again)
            && let Some(left) =
                record::made_again(record.uuid).and_then(|age| SHORTEST_LIFE.checked_sub(age))
        {
            patience = patience.min(left);
            continue;
        }
        let name = record.name.clone();
        if let Err(failure) = follow(context, info, reason, record) {
            log(&format!("domain {} ({name}): {failure}", info.domain));
        }
    }
    // Domains that somebody else ended.
    let mut there: Vec<[u8; 16]> = domains.iter().map(|info| info.handle).collect();
    there.sort_unstable();
    for uuid in record::recorded() {
        if there.binary_search(&uuid).is_err()
            && let Some(record) = record::head_of_uuid(Uuid(uuid))
            && !record.worker.is_alive()
            && let Some(domain) = record.domain
            && let Err(failure) = destroy::remove(context, domain, record.uuid)
        {
            log(&format!("what domain {domain} left: {failure}"));
        }
    }
    Ok(patience)
}

/// What the configuration says for a domain that stopped, if there is anything to do.
fn action(config: &DomainConfig, reason: ShutdownReason) -> Option<Action> {
    Some(match reason {
        ShutdownReason::PowerOff => config.on_poweroff,
        ShutdownReason::Reboot => config.on_reboot,
        ShutdownReason::Crash | ShutdownReason::Other(_) => config.on_crash,
        ShutdownReason::Watchdog => config.on_watchdog,
        ShutdownReason::SoftReset => config.on_soft_reset,
        // Whoever suspended it goes on with it.
        ShutdownReason::Suspend => return None,
    })
}

fn makes_again(action: Action) -> bool {
    matches!(
        action,
        Action::Restart | Action::RenameRestart | Action::CoredumpRestart
    )
}

/// Does what the configuration says for a domain that stopped.
fn follow(context: &Context, info: &DomainInfo, reason: ShutdownReason, record: Record) -> Outcome {
    let Some(action) = action(&record.config, reason) else {
        return Ok(());
    };
    log(&format!(
        "domain {} ({}) stopped: {reason}; {}",
        info.domain,
        record.name,
        action.name()
    ));
    match action {
        Action::Preserve => Ok(()),
        Action::Destroy => destroy::remove(context, info.domain, record.uuid),
        Action::Restart => restart(context, info, record),
        Action::RenameRestart => {
            rename_away(context, info, &record)?;
            make_again(context, record)
        }
        Action::CoredumpDestroy | Action::CoredumpRestart => {
            let path = dump_core::automatic_path(&record.name);
            if let Err(failure) = dump_core::dump(context, info.domain, &path) {
                log(&format!("its memory is not dumped: {failure}"));
            }
            if action == Action::CoredumpDestroy {
                destroy::remove(context, info.domain, record.uuid)
            } else {
                restart(context, info, record)
            }
        }
        Action::SoftReset => Err(Failure::new(
            "a soft reset is not possible; it stays as it is",
        )),
    }
}

fn restart(context: &Context, info: &DomainInfo, record: Record) -> Outcome {
    destroy::remove(context, info.domain, record.uuid)?;
    make_again(context, record)
}

/// Makes a domain again that was removed.
fn make_again(context: &Context, record: Record) -> Outcome {
    let began = Instant::now();
    let uuid = record.uuid;
    let domain = create::create(context, record.config, false)?;
    record::note_made_again(uuid)?;
    context.control()?.unpause(domain)?;
    log(&format!(
        "made again as domain {domain} in {} ms",
        began.elapsed().as_millis()
    ));
    Ok(())
}

/// Leaves a stopped domain under another name and UUID.
fn rename_away(context: &Context, info: &DomainInfo, record: &Record) -> Outcome {
    let control = context.control()?;
    let mut random = [0_u8; 16];
    {
        use std::io::Read;
        File::open("/dev/urandom")?.read_exact(&mut random)?;
    }
    let uuid = Uuid::random(random);
    let name = format!("{}-{:x}", record.name, info.domain);
    control.set_handle(info.domain, uuid.0)?;
    identity::rename(context, info.domain, Uuid::NIL, &name)?;
    // It is nobody's to look after from now on; the new domain takes name and UUID.
    record.remove();
    let mut requests = nodes::Requests::new();
    nodes::remove(&mut requests, &format!("/vm/{}", record.uuid));
    context
        .store()?
        .batch(xenstore::TransactionId::NONE, &requests)?;
    Ok(())
}

/// What a domain is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// It has stopped.
    Stopped,
    /// It has stopped for good: it is gone, or stays because its configuration says so.
    Over,
    /// It is gone.
    Gone,
}

/// Waits for domains.
pub(crate) fn wait(context: &Context, domains: &[DomId], until: Until) -> Outcome {
    const TOKEN: &str = "wait";
    let _working = context.working("waiting for domains to stop");
    let control = context.control()?;
    let mut left = domains.to_vec();
    context.store()?.watch(RELEASE, TOKEN)?;
    while !left.is_empty() {
        let mut still = Vec::new();
        for domain in left {
            let is_there = control
                .domain_info(domain)?
                .filter(|info| !info.is_dying)
                .is_some_and(|info| !is_reached(&info, until));
            if is_there {
                still.push(domain);
            }
        }
        left = still;
        if !left.is_empty() {
            context.store()?.next_event(Some(Duration::from_secs(1)))?;
        }
    }
    context.store()?.unwatch(RELEASE, TOKEN)?;
    while context.store()?.pending_event().is_some() {}
    Ok(())
}

fn is_reached(info: &DomainInfo, until: Until) -> bool {
    let Some(reason) = info.shutdown else {
        return false;
    };
    match until {
        Until::Stopped => true,
        Until::Gone => false,
        Until::Over => record::of_uuid(Uuid(info.handle))
            .is_none_or(|record| action(&record.config, reason) == Some(Action::Preserve)),
    }
}

/// Options of `xl reconcile`.
#[derive(Args, Debug)]
pub(crate) struct Reconcile {}

impl Run for Reconcile {
    const NAME: &'static str = "reconcile";
    const ABOUT: &'static str = "Clean up what killed commands left";

    fn run(self, context: &Context) -> Outcome {
        let done = reconcile(context)?;
        if context.json {
            print_json(&json!(done));
        } else {
            for line in &done {
                println!("{line}");
            }
        }
        Ok(())
    }
}

/// Removes what belongs to no domain and no worker; tells what it was.
fn reconcile(context: &Context) -> Result<Vec<String>, Failure> {
    let control = context.control()?;
    let mut done = Vec::new();
    for mut record in record::all() {
        if record.state == State::Building && record.worker.is_alive() {
            continue;
        }
        let domains = control.domains()?;
        let info = domains.iter().find(|info| info.handle == record.uuid.0);
        if record.state == State::Running && info.is_some() {
            continue;
        }
        // It may have been killed between the making of the domain and the noting of its number.
        let domain = info.map(|info| info.domain).or(record.domain);
        record.worker = Worker::this();
        match domain {
            Some(domain) => {
                destroy::remove(context, domain, record.uuid)?;
                done.push(format!(
                    "removed domain {domain} ({}), which was not finished",
                    record.name
                ));
            }
            None => done.push(format!(
                "removed the record of {}, of which nothing was made",
                record.name
            )),
        }
        record.remove();
    }
    done.extend(orphans(context)?);
    let swept = record::sweep();
    if swept > 0 {
        done.push(format!("removed {swept} files of no domain"));
    }
    Ok(done)
}

/// Removes nodes of xenstore that belong to domains that do not exist.
fn orphans(context: &Context) -> Result<Vec<String>, Failure> {
    let known: Vec<DomId> = context
        .control()?
        .domains()?
        .iter()
        .map(|info| info.domain)
        .collect();
    let mut numbers = Vec::new();
    for parent in ["/local/domain", "/libxl"] {
        for child in context.children(parent)? {
            numbers.extend(child.parse::<DomId>().ok());
        }
    }
    for kind in context.children("/local/domain/0/backend")? {
        for child in context.children(&format!("/local/domain/0/backend/{kind}"))? {
            numbers.extend(child.parse::<DomId>().ok());
        }
    }
    numbers.sort_unstable();
    numbers.dedup();
    let mut done = Vec::new();
    for domain in numbers {
        if known.contains(&domain) {
            continue;
        }
        let vm = context.read(&format!("/local/domain/{domain}/vm"))?;
        let uuid = vm.and_then(|vm| vm.strip_prefix("/vm/")?.parse().ok());
        destroy::remove(context, domain, uuid.unwrap_or(Uuid::NIL))?;
        done.push(format!(
            "removed the nodes of domain {domain}, which does not exist"
        ));
    }
    Ok(done)
}
