//! The daemon's view of xenstore, in a thread of its own: which domains have consoles, and where. Which are gone the
//! hypervisor says, when the store tells that one is.
//!
//! A store that goes away is waited for; consoles go on meanwhile. When it is back, everything is read again.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use xen_abi::DomId;
use xen_control::Control;
use xenstore::wire::Operation;
use xenstore::{Client, ClientError, TransactionId, WatchEvent};

const INTRODUCE: &str = "@introduceDomain";
const RELEASE: &str = "@releaseDomain";
/// How long after the end of a domain is told it is looked for who is gone: an end is told twice or more often, and where
/// many end, one look finds them all.
const PATIENCE: Duration = Duration::from_millis(100);

/// What xenstore says of a domain's console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What no other domain has: its path below `/vm`.
    pub identity: String,
    /// The domain's name.
    pub name: String,
    /// `ring-ref`: the ring's frame.
    pub frame: u64,
    /// `port`: the guest's end of the event channel.
    pub port: u32,
    /// `limit`: how many bytes are kept.
    pub limit: Option<usize>,
}

/// What the daemon is told.
#[derive(Debug)]
pub enum Event {
    /// A domain's console is there, or has other settings.
    Console(DomId, Settings),
    /// A domain is gone.
    Gone(DomId),
    /// These are all the domains that there were when the store was first asked.
    Listed(BTreeSet<DomId>),
    /// Something that a person should know.
    Trouble(String),
}

/// What the daemon wants.
#[derive(Debug)]
pub enum Request {
    /// Write where a console's pty is.
    Tty(DomId, String),
}

/// Wakes a thread that polls.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

impl Waker {
    /// A new one.
    ///
    /// # Errors
    ///
    /// Those of `eventfd`.
    pub fn new() -> std::io::Result<Waker> {
        let flags = EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC;
        Ok(Waker(Arc::new(rustix::event::eventfd(0, flags)?)))
    }

    /// Makes the descriptor readable.
    pub fn wake(&self) {
        // It fails only if it has been woken 2^64 times.
        let _ = rustix::io::write(&*self.0, &1_u64.to_ne_bytes());
    }

    /// Makes it unreadable again.
    pub fn clear(&self) {
        let _ = rustix::io::read(&*self.0, &mut [0_u8; 8]);
    }

    /// What to poll.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.0
    }
}

/// The thread's ends of its channels.
#[derive(Debug)]
pub struct Channels {
    /// To the daemon.
    pub events: Sender<Event>,
    /// Wakes the daemon.
    pub daemon: Waker,
    /// From the daemon.
    pub requests: Receiver<Request>,
    /// Woken by the daemon.
    pub waker: Waker,
}

/// Starts the thread. It ends with the daemon.
///
/// # Errors
///
/// Those of starting a thread.
pub fn start(channels: Channels, control: Control) -> std::io::Result<()> {
    let watcher = Watcher {
        channels,
        control,
        known: BTreeMap::new(),
        waiting: Vec::new(),
        listed: false,
        look_for_gone: None,
    };
    thread::Builder::new()
        .name("store".to_owned())
        .spawn(move || watcher.run())
        .map(drop)
}

struct Watcher {
    channels: Channels,
    control: Control,
    /// The domains whose consoles are watched, and what the daemon knows of them.
    known: BTreeMap<DomId, Option<Settings>>,
    /// Requests that the store has not taken yet.
    waiting: Vec<Request>,
    listed: bool,
    /// When to look who is gone.
    look_for_gone: Option<Instant>,
}

impl Watcher {
    fn run(mut self) {
        let mut was_there = true;
        loop {
            let error = match Client::connect_to_socket() {
                Ok(client) => {
                    if !was_there {
                        self.trouble("xenstored is back".to_owned());
                    }
                    was_there = true;
                    match self.serve(client) {
                        Ok(()) => return,
                        Err(error) => error,
                    }
                }
                Err(error) => error,
            };
            if std::mem::replace(&mut was_there, false) {
                self.trouble(format!("xenstored is not there, and waited for: {error}"));
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn tell(&self, event: Event) {
        // Without a daemon this thread does not live on.
        let _ = self.channels.events.send(event);
        self.channels.daemon.wake();
    }

    fn trouble(&self, text: String) {
        self.tell(Event::Trouble(text));
    }

    /// Serves until the daemon ends, or the connection.
    fn serve(&mut self, mut client: Client) -> Result<(), ClientError> {
        for (domain, _) in std::mem::take(&mut self.known) {
            // Those that are gone have to be told of; the others are found again.
            self.known.insert(domain, None);
            self.watch_console(&mut client, domain)?;
        }
        client.watch(INTRODUCE, "introduce")?;
        client.watch(RELEASE, "release")?;
        loop {
            loop {
                match self.channels.requests.try_recv() {
                    Ok(request) => self.waiting.push(request),
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return Ok(()),
                }
            }
            while let Some(request) = self.waiting.last() {
                self.fulfil(&mut client, request)?;
                self.waiting.pop();
            }
            while let Some(event) = client.next_event(Some(Duration::ZERO))? {
                self.on_event(&mut client, &event)?;
            }
            let mut descriptors = [
                PollFd::new(&client, PollFlags::IN),
                PollFd::from_borrowed_fd(self.channels.waker.0.as_fd(), PollFlags::IN),
            ];
            let left = self
                .look_for_gone
                .map(|time| time.saturating_duration_since(Instant::now()));
            let patience = left.and_then(|left| left.try_into().ok());
            // An interruption is as good as an event.
            let _ = rustix::event::poll(&mut descriptors, patience.as_ref());
            self.channels.waker.clear();
            if self
                .look_for_gone
                .is_some_and(|time| time <= Instant::now())
            {
                self.look_for_gone = None;
                self.find_gone(&mut client)?;
            }
        }
    }

    fn on_event(&mut self, client: &mut Client, event: &WatchEvent) -> Result<(), ClientError> {
        match event.path.as_str() {
            INTRODUCE => self.find_domains(client),
            RELEASE => {
                self.look_for_gone
                    .get_or_insert_with(|| Instant::now() + PATIENCE);
                Ok(())
            }
            _ => match event.token.parse() {
                Ok(domain) if self.known.contains_key(&domain) => self.look_at(client, domain),
                _ => Ok(()),
            },
        }
    }

    fn find_domains(&mut self, client: &mut Client) -> Result<(), ClientError> {
        let listed: BTreeSet<DomId> = or_nothing(client.directory("/local/domain"))?
            .unwrap_or_default()
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect();
        for domain in listed {
            if domain != 0 && !self.known.contains_key(&domain) && client.is_introduced(domain)? {
                self.known.insert(domain, None);
                self.watch_console(client, domain)?;
            }
        }
        if !std::mem::replace(&mut self.listed, true) {
            self.tell(Event::Listed(self.known.keys().copied().collect()));
        }
        Ok(())
    }

    /// The event that a watch begins with makes us look.
    fn watch_console(&self, client: &mut Client, domain: DomId) -> Result<(), ClientError> {
        let path = format!("/local/domain/{domain}/console");
        or_nothing(client.watch(&path, &domain.to_string())).map(drop)
    }

    /// The hypervisor is asked for all domains at once: to ask the store for each takes longer the more there are, at the
    /// end of every one. Another domain of the same number is told by the watch on its console.
    fn find_gone(&mut self, client: &mut Client) -> Result<(), ClientError> {
        let alive: BTreeSet<DomId> = match self.control.domains() {
            Ok(domains) => domains
                .iter()
                .filter(|info| !info.is_dying)
                .map(|info| info.domain)
                .collect(),
            Err(error) => {
                self.trouble(error.to_string());
                return Ok(());
            }
        };
        let gone: Vec<DomId> = self
            .known
            .keys()
            .filter(|domain| !alive.contains(domain))
            .copied()
            .collect();
        for domain in gone {
            let path = format!("/local/domain/{domain}/console");
            or_nothing(client.unwatch(&path, &domain.to_string()))?;
            self.known.remove(&domain);
            self.tell(Event::Gone(domain));
        }
        Ok(())
    }

    fn look_at(&mut self, client: &mut Client, domain: DomId) -> Result<(), ClientError> {
        let Some(settings) = read_settings(client, domain)? else {
            return Ok(());
        };
        let known = self.known.entry(domain).or_default();
        if known.as_ref() != Some(&settings) {
            *known = Some(settings.clone());
            self.tell(Event::Console(domain, settings));
        }
        Ok(())
    }

    fn fulfil(&self, client: &mut Client, request: &Request) -> Result<(), ClientError> {
        let Request::Tty(domain, path) = request;
        let console = format!("/local/domain/{domain}/console");
        // Not if the domain is gone meanwhile: nobody would remove it again.
        let written = client.transaction(|transaction| {
            if transaction.exists(&format!("{console}/ring-ref"))? {
                transaction.write(&format!("{console}/tty"), path)?;
            }
            Ok(())
        });
        match written {
            Err(error @ ClientError::Store(_)) => {
                self.trouble(format!(
                    "domain {domain}: cannot write {console}/tty: {error}"
                ));
                Ok(())
            }
            result => result,
        }
    }
}

fn read_settings(client: &mut Client, domain: DomId) -> Result<Option<Settings>, ClientError> {
    let names = [
        "console/type",
        "console/ring-ref",
        "console/port",
        "vm",
        "name",
        "console/limit",
    ];
    let question = |name: &&str| {
        let payload = format!("/local/domain/{domain}/{name}\0").into_bytes();
        (Operation::Read, payload)
    };
    // All in one go: each answer that is waited for costs more than the answer itself.
    let questions: Vec<_> = names.iter().map(question).collect();
    let answers = client.batch(TransactionId::NONE, &questions)?;
    let mut values = answers
        .into_iter()
        .map(|answer| Some(String::from_utf8_lossy(&answer.ok()?).into_owned()));
    let mut next = || values.next().flatten();
    let (kind, frame, port, vm, name, limit) = (next(), next(), next(), next(), next(), next());
    let number = |text: Option<String>| text.and_then(|text| text.trim().parse::<u64>().ok());
    // Without a type it is ours; `ioemu` is a device model's.
    if kind.is_some_and(|kind| kind != "xenconsoled") {
        return Ok(None);
    }
    let (frame, port) = (number(frame), number(port));
    let (Some(frame), Some(port)) = (frame, port.and_then(|port| u32::try_from(port).ok())) else {
        return Ok(None);
    };
    Ok(Some(Settings {
        identity: vm.unwrap_or_default(),
        name: name.unwrap_or_default(),
        frame,
        port,
        limit: number(limit).and_then(|limit| usize::try_from(limit).ok()),
    }))
}

/// What the store refuses is not there for us; what ends the connection is an error.
fn or_nothing<T>(result: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(ClientError::Store(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
