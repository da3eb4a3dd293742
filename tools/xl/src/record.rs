//! What is written down of each domain: `/run/xenolith/domains/UUID`, found by name through the link
//! `/run/xenolith/names/NAME`. `/run/xenolith/numbers` has a byte for each number: 1 where the domain is one of these.
//!
//! A record is there from before the domain is until after it is gone. It says who builds the domain, so that
//! what a killed builder left is known, and its configuration, by which it is made anew when it reboots. Making the
//! link is what claims the name: of two that want it, one fails. Records change by renaming, all at once.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, symlink};
use std::path::PathBuf;
use std::time::Duration;

use domain_config::{DomainConfig, Source, Uuid};
use xen_control::DomId;

const DIRECTORY: &str = "/run/xenolith";
/// What a record begins with.
const FORM: &str = "# xenolith domain 1\n# ";

/// How far a domain is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Somebody makes it or ends it.
    Building,
    /// It is there.
    Running,
}

/// Who works on it: a process, and when it began, since numbers are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Worker {
    process: u32,
    began: u64,
}

impl Worker {
    /// This process.
    pub(crate) fn this() -> Self {
        let process = std::process::id();
        Self {
            process,
            began: began(process).unwrap_or(0),
        }
    }

    /// Whether it still works.
    pub(crate) fn is_alive(self) -> bool {
        began(self.process) == Some(self.began)
    }
}

/// When a process began, in ticks since boot (`proc(5)`, field 22 of `stat`).
fn began(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The second field, the name, is in parentheses and may have anything in it.
    let (_, after) = stat.rsplit_once(") ")?;
    after.split(' ').nth(19)?.parse().ok()
}

/// What is written down of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) worker: Worker,
    /// Its number, once it has one.
    pub(crate) domain: Option<DomId>,
    /// Its configuration, with everything chosen that its file left open.
    pub(crate) config: DomainConfig,
}

/// What is written down of a domain, with its configuration as it is: to understand that takes longest, and few need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) uuid: Uuid,
    pub(crate) name: String,
    pub(crate) state: State,
    pub(crate) worker: Worker,
    pub(crate) domain: Option<DomId>,
    config: String,
}

fn directory(name: &str) -> PathBuf {
    PathBuf::from(DIRECTORY).join(name)
}

fn path(uuid: Uuid) -> PathBuf {
    directory("domains").join(uuid.to_string())
}

fn link(name: &str) -> PathBuf {
    directory("names").join(name)
}

fn make_directory(name: &str) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory(name))
}

impl Head {
    /// Writes it, in place of what was there of this domain.
    pub(crate) fn save(&self) -> io::Result<()> {
        let path = path(self.uuid);
        let partial = path.with_extension(format!("partial-{}", std::process::id()));
        let mut file = match fs::File::create(&partial) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory("domains")?;
                fs::File::create(&partial)?
            }
            result => result?,
        };
        file.write_all(self.to_text().as_bytes())?;
        fs::rename(&partial, &path)
    }

    /// Forgets the domain, and gives up its name.
    pub(crate) fn remove(&self) {
        let own = format!("../domains/{}", self.uuid);
        let link = link(&self.name);
        // What fails here is found by `xl reconcile`.
        if fs::read_link(&link).is_ok_and(|target| target.as_os_str() == own.as_str()) {
            let _ = fs::remove_file(link);
        }
        // One that is ours and not known to be is only looked at more closely.
        let _ = self.domain.map(|domain| mark_number(domain, false));
        let _ = fs::remove_file(again(self.uuid));
        let _ = fs::remove_file(path(self.uuid));
    }

    fn to_text(&self) -> String {
        let state = match self.state {
            State::Building => "building",
            State::Running => "running",
        };
        let domain = self
            .domain
            .map_or_else(|| "-".to_owned(), |domain| domain.to_string());
        format!(
            "{FORM}{} {state} {domain} {} {} {}\n{}",
            self.uuid, self.worker.process, self.worker.began, self.name, self.config
        )
    }

    fn from_text(text: &str) -> Option<Self> {
        let (facts, config) = text.strip_prefix(FORM)?.split_once('\n')?;
        let mut words = facts.splitn(6, ' ');
        let uuid = words.next()?.parse().ok()?;
        let state = match words.next()? {
            "building" => State::Building,
            "running" => State::Running,
            _ => return None,
        };
        let domain = match words.next()? {
            "-" => None,
            number => Some(number.parse().ok()?),
        };
        let process = words.next()?.parse().ok()?;
        let began = words.next()?.parse().ok()?;
        let name = words.next()?.to_owned();
        Some(Self {
            uuid,
            name,
            state,
            worker: Worker { process, began },
            domain,
            config: config.to_owned(),
        })
    }
}

impl Record {
    /// Writes it, in place of what was there of this domain.
    pub(crate) fn save(&self) -> io::Result<()> {
        self.head().save()
    }

    fn head(&self) -> Head {
        Head {
            uuid: self.uuid,
            name: self.name.clone(),
            state: self.state,
            worker: self.worker,
            domain: self.domain,
            config: self.config.to_text(),
        }
    }

    /// Claims the name, and writes the record.
    ///
    /// # Errors
    ///
    /// `AlreadyExists` if another has the name.
    pub(crate) fn claim(&self) -> io::Result<()> {
        self.save()?;
        let result = self.claim_name(&self.name);
        if result.is_err() {
            let _ = fs::remove_file(path(self.uuid));
        }
        result
    }

    fn claim_name(&self, name: &str) -> io::Result<()> {
        let target = format!("../domains/{}", self.uuid);
        let link = link(name);
        match symlink(&target, &link) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                make_directory("names")?;
                symlink(&target, &link)
            }
            // What is there may be left from a domain that is gone.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !link.exists() => {
                fs::remove_file(&link)?;
                symlink(&target, &link)
            }
            result => result,
        }
    }

    /// Notes the domain's number, now that it has one.
    pub(crate) fn note_number(&mut self, domain: DomId) -> io::Result<()> {
        self.domain = Some(domain);
        self.save()?;
        mark_number(domain, true)
    }

    /// Gives the domain another name.
    pub(crate) fn rename(&mut self, name: &str) -> io::Result<()> {
        self.claim_name(name)?;
        let old = std::mem::replace(&mut self.name, name.to_owned());
        self.config.name = name.to_owned();
        self.save()?;
        fs::remove_file(link(&old))
    }

    /// Forgets the domain, and gives up its name.
    pub(crate) fn remove(&self) {
        self.head().remove();
    }

    fn from_text(text: &str) -> Option<Self> {
        let Head {
            uuid,
            name,
            state,
            worker,
            domain,
            ..
        } = Head::from_text(text)?;
        let source = Source {
            name: "record",
            text,
        };
        let config = domain_config::parse(&[source]).ok()?.config;
        Some(Self {
            uuid,
            name,
            state,
            worker,
            domain,
            config,
        })
    }
}

/// The record of a domain, by its UUID.
pub(crate) fn of_uuid(uuid: Uuid) -> Option<Record> {
    Record::from_text(&fs::read_to_string(path(uuid)).ok()?)
}

/// The same without its configuration.
pub(crate) fn head_of_uuid(uuid: Uuid) -> Option<Head> {
    Head::from_text(&fs::read_to_string(path(uuid)).ok()?)
}

/// What is written down of the domain of a name.
pub(crate) fn of_name(name: &str) -> Option<Head> {
    if name.contains('/') {
        return None;
    }
    Head::from_text(&fs::read_to_string(link(name)).ok()?)
}

/// Changes what is written down of a domain's configuration, if anything is.
pub(crate) fn change(handle: [u8; 16], change: impl FnOnce(&mut DomainConfig)) -> io::Result<()> {
    let Some(mut record) = of_uuid(Uuid(handle)) else {
        return Ok(());
    };
    change(&mut record.config);
    record.save()
}

/// The UUIDs of all domains that are written down, in ascending order.
pub(crate) fn recorded() -> Vec<[u8; 16]> {
    let entries = fs::read_dir(directory("domains"))
        .into_iter()
        .flatten()
        .flatten();
    let mut all: Vec<[u8; 16]> = entries
        .filter_map(|entry| Some(entry.file_name().to_str()?.parse::<Uuid>().ok()?.0))
        .collect();
    all.sort_unstable();
    all
}

/// Notes whether the domain of a number is one of ours.
fn mark_number(domain: DomId, is_ours: bool) -> io::Result<()> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(run_file("numbers")?)?
        .write_all_at(&[u8::from(is_ours)], domain.into())
}

/// Those of some domains that are not written down here.
pub(crate) fn not_ours(domains: &[DomId]) -> Vec<DomId> {
    // There is none before the first.
    let marks = fs::read(directory("numbers")).unwrap_or_default();
    let is_ours = |domain: DomId| {
        marks
            .get(usize::from(domain))
            .is_some_and(|mark| *mark != 0)
    };
    domains
        .iter()
        .copied()
        .filter(|domain| !is_ours(*domain))
        .collect()
}

/// All records.
pub(crate) fn all() -> Vec<Record> {
    let entries = fs::read_dir(directory("domains"))
        .into_iter()
        .flatten()
        .flatten();
    entries
        .filter_map(|entry| Record::from_text(&fs::read_to_string(entry.path()).ok()?))
        .collect()
}

/// Where it is written down when a domain was made again: by the file's own time.
fn again(uuid: Uuid) -> PathBuf {
    directory("again").join(uuid.to_string())
}

/// Notes that the monitor made a domain again.
pub(crate) fn note_made_again(uuid: Uuid) -> io::Result<()> {
    make_directory("again")?;
    fs::write(again(uuid), "")
}

/// How long ago the monitor made a domain again, if it did.
pub(crate) fn made_again(uuid: Uuid) -> Option<Duration> {
    let modified = fs::metadata(again(uuid)).ok()?.modified().ok()?;
    // A clock that was set back would keep it waiting.
    Some(modified.elapsed().unwrap_or(Duration::MAX))
}

/// Removes links to no record, and records that were never finished. Gives how many.
pub(crate) fn sweep() -> usize {
    let mut count = 0;
    let known: Vec<DomId> = all().iter().filter_map(|record| record.domain).collect();
    let marks = fs::read(directory("numbers")).unwrap_or_default();
    for (domain, mark) in (0..).zip(marks) {
        if mark != 0 && !known.contains(&domain) {
            let _ = mark_number(domain, false);
        }
    }
    let entries = |name| {
        fs::read_dir(directory(name))
            .into_iter()
            .flatten()
            .flatten()
    };
    for entry in entries("names") {
        if !entry.path().exists() && fs::remove_file(entry.path()).is_ok() {
            count += 1;
        }
    }
    for entry in entries("domains") {
        let path = entry.path();
        let extension = path
            .extension()
            .map(|extension| extension.to_string_lossy().into_owned());
        let writer = extension
            .as_deref()
            .and_then(|extension| extension.strip_prefix("partial-")?.parse().ok());
        if let Some(writer) = writer
            && began(writer).is_none()
            && fs::remove_file(&path).is_ok()
        {
            count += 1;
        }
    }
    count
}

/// A file of the run-time directory.
pub(crate) fn run_file(name: &str) -> io::Result<PathBuf> {
    make_directory("")?;
    Ok(directory(name))
}

#[cfg(test)]
mod tests {
    use super::{Head, Record, State, Worker};
    use domain_config::{DomainConfig, Uuid};

    #[test]
    fn text() {
        let mut config = DomainConfig::new("web1");
        config.memory = 64;
        config.maxmem = 64;
        let record = Record {
            uuid: Uuid([7; 16]),
            name: "web1--incoming".to_owned(),
            state: State::Building,
            worker: Worker::this(),
            domain: Some(5),
            config,
        };
        let text = record.head().to_text();
        assert_eq!(Record::from_text(&text), Some(record.clone()));
        assert_eq!(Head::from_text(&text), Some(record.head()));
        assert!(record.worker.is_alive());
        assert!(
            !Worker {
                process: std::process::id(),
                began: 1
            }
            .is_alive()
        );
        for damaged in [
            "",
            "# xenolith domain 1\n",
            "# xenolith domain 1\n# x building - 1 1 n\n",
        ] {
            assert_eq!(Record::from_text(damaged), None);
        }
    }
}
