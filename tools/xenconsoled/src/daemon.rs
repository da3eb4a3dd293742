//! The daemon: waits for events of guests, viewers and the store, and gives each console its turn.

mod lives;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant, SystemTime};

use xen_abi::{DomId, EvtchnPort};
use xen_sys::{EventChannelDevice, GrantDevice, Privcmd};

use crate::console::Console;
use crate::hypervisor_log::HypervisorLog;
use crate::log::Log;
use crate::poll::{Interest, Name, Poll, Ready};
use crate::rotation::Rotation;
use crate::store::{Event, Request, Waker};

/// How long the viewers of a domain that is gone may read on.
const FAREWELL: Duration = Duration::from_secs(2);
/// How long after a lack of something it is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// What a backlog holds unless the store says less, in bytes.
const BACKLOG: usize = 1 << 20;

/// How the daemon is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// Log the guests' consoles.
    pub log_guests: bool,
    /// Log the hypervisor's console.
    pub log_hypervisor: bool,
    /// Where logs go.
    pub log_directory: PathBuf,
    /// Times in the guests' logs.
    pub stamp_guests: bool,
    /// Times in the hypervisor's log.
    pub stamp_hypervisor: bool,
    /// How logs are rotated.
    pub rotation: Rotation,
    /// Bytes a second of each console; 0 for no limit.
    pub rate: u64,
    /// Whether a full backlog makes the guest wait.
    pub keep_overflow: bool,
    /// Where sockets and backlogs are.
    pub run_directory: PathBuf,
}

/// Signals that the daemon minds.
#[derive(Debug)]
pub struct Signals {
    /// Readable when one of them came.
    pub pipe: std::os::unix::net::UnixStream,
    /// SIGHUP came: open the logs again.
    pub reopen: std::sync::Arc<std::sync::atomic::AtomicBool>,
    /// SIGTERM or SIGINT came.
    pub end: std::sync::Arc<std::sync::atomic::AtomicBool>,
}

/// The daemon.
#[derive(Debug)]
pub struct Daemon {
    options: Options,
    start: Instant,
    poll: Poll,
    events: EventChannelDevice,
    grants: Option<GrantDevice>,
    privcmd: Privcmd,
    hypervisor: Option<HypervisorLog>,
    from_store: Receiver<Event>,
    to_store: Sender<Request>,
    store: Waker,
    store_thread: Waker,
    signals: Signals,
    consoles: BTreeMap<u32, Console>,
    listeners: BTreeMap<u32, UnixListener>,
    /// The console of each domain that is there.
    by_domain: BTreeMap<DomId, u32>,
    by_port: BTreeMap<EvtchnPort, u32>,
    /// Consoles that have more to do, and may do it at once.
    unfinished: BTreeSet<u32>,
    /// Consoles that may go on later, and those to be done away with.
    later: BTreeSet<(Duration, u32)>,
    farewells: BTreeSet<(Duration, u32)>,
    retry: Option<Duration>,
    next_console: u32,
    next_viewer: u32,
    /// Given up for a moment when there are no descriptors left, to turn a viewer away.
    spare: Option<File>,
}

fn say(text: impl std::fmt::Display) {
    eprintln!("xenconsoled: {text}");
}

impl Daemon {
    /// Opens what it needs.
    ///
    /// # Errors
    ///
    /// That a device cannot be opened.
    pub fn new(
        options: Options,
        signals: Signals,
        from_store: Receiver<Event>,
        store: Waker,
        to_store: Sender<Request>,
        store_thread: Waker,
    ) -> anyhow::Result<Daemon> {
        let events = EventChannelDevice::open()?;
        let mut poll = Poll::new()?;
        let read = Interest {
            read: true,
            write: false,
        };
        poll.set(Name::Events, &events, read)?;
        poll.set(Name::Store, store.descriptor(), read)?;
        poll.set(Name::Signal, &signals.pipe, read)?;
        let grants = GrantDevice::open().ok();
        // Before the first domain is there, whose making would wait for it. That there is no room is seen then.
        let _ = grants.as_ref().map(GrantDevice::make_room);
        let mut daemon = Daemon {
            grants,
            privcmd: Privcmd::open()?,
            hypervisor: None,
            options,
            start: Instant::now(),
            poll,
            events,
            from_store,
            to_store,
            store,
            store_thread,
            signals,
            consoles: BTreeMap::new(),
            listeners: BTreeMap::new(),
            by_domain: BTreeMap::new(),
            by_port: BTreeMap::new(),
            unfinished: BTreeSet::new(),
            later: BTreeSet::new(),
            farewells: BTreeSet::new(),
            retry: None,
            next_console: 0,
            next_viewer: 0,
            spare: File::open("/dev/null").ok(),
        };
        daemon.start_hypervisor_log();
        Ok(daemon)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn log(&self, name: &str, stamped: bool) -> Log {
        let path = self.options.log_directory.join(format!("{name}.log"));
        Log::new(path, self.options.rotation, stamped)
    }

    fn start_hypervisor_log(&mut self) {
        if !self.options.log_hypervisor {
            return;
        }
        let log = self.log("hypervisor", self.options.stamp_hypervisor);
        let index = self.options.run_directory.join("hypervisor.index");
        match HypervisorLog::start(&self.events, log, index) {
            Ok(hypervisor) => self.hypervisor = Some(hypervisor),
            Err(error) => say(format_args!(
                "the hypervisor's console is not logged: {error}"
            )),
        }
        self.read_hypervisor();
    }

    fn read_hypervisor(&mut self) {
        let Some(hypervisor) = &mut self.hypervisor else {
            return;
        };
        if let Err(text) = hypervisor.read() {
            say(text);
        }
        self.unmask(self.hypervisor.as_ref().map(HypervisorLog::port));
    }

    fn unmask(&self, port: Option<EvtchnPort>) {
        if let Some(port) = port
            && let Err(error) = self.events.unmask(&[port])
        {
            say(error);
        }
    }

    /// Runs until a signal says otherwise.
    ///
    /// # Errors
    ///
    /// That the kernel does not let it wait.
    pub fn run(&mut self) -> anyhow::Result<()> {
        loop {
            for ready in self.poll.wait(self.patience())? {
                self.on_ready(ready);
            }
            if self.on_signals() {
                self.end();
                return Ok(());
            }
            self.on_time();
            for console in std::mem::take(&mut self.unfinished) {
                self.turn(console);
            }
        }
    }

    /// How long there is nothing to do but wait.
    fn patience(&self) -> Option<Duration> {
        if !self.unfinished.is_empty() {
            return Some(Duration::ZERO);
        }
        let next = [
            self.later.first().map(|(time, _)| *time),
            self.farewells.first().map(|(time, _)| *time),
            self.retry,
        ];
        let now = self.now();
        next.into_iter()
            .flatten()
            .min()
            // Rounded up, so that it is due when we wake.
            .map(|time| time.saturating_sub(now) + Duration::from_millis(1))
    }

    fn on_ready(&mut self, ready: Ready) {
        match ready.name {
            Name::Events => self.on_events(),
            Name::Store => {
                self.store.clear();
                while let Ok(event) = self.from_store.try_recv() {
                    self.on_store(event);
                }
            }
            Name::Signal => {
                let mut bytes = [0; 64];
                let _ = io::Read::read(&mut &self.signals.pipe, &mut bytes);
            }
            Name::Pty(number) => {
                if let Some(console) = self.consoles.get_mut(&number)
                    && ready.read
                {
                    console.read_pty();
                }
                self.unfinished.insert(number);
            }
            Name::Listener(number) => self.accept(number),
            Name::Viewer(number, viewer) => {
                if let Some(console) = self.consoles.get_mut(&number)
                    && ready.read
                    && !console.read_viewer(viewer)
                {
                    self.drop_viewer(number, viewer);
                }
                self.unfinished.insert(number);
            }
        }
    }

    fn on_events(&mut self) {
        let mut ports = Vec::new();
        if let Err(error) = self.events.pending(&mut ports) {
            say(error);
            ports.extend(self.by_port.keys().copied());
        }
        for port in ports {
            if self
                .hypervisor
                .as_ref()
                .is_some_and(|log| log.port() == port)
            {
                self.read_hypervisor();
            } else if let Some(console) = self.by_port.get(&port) {
                self.unfinished.insert(*console);
            }
        }
    }

    fn on_signals(&mut self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        if self.signals.reopen.swap(false, Relaxed) {
            for console in self.consoles.values_mut() {
                console.log.iter_mut().for_each(Log::reopen);
            }
            if let Some(hypervisor) = &mut self.hypervisor {
                hypervisor.log().reopen();
            }
        }
        self.signals.end.load(Relaxed)
    }

    fn on_time(&mut self) {
        let now = self.now();
        while let Some(&(time, console)) = self.later.first()
            && time <= now
        {
            self.later.pop_first();
            self.unfinished.insert(console);
        }
        while let Some(&(time, console)) = self.farewells.first()
            && time <= now
        {
            self.farewells.pop_first();
            self.remove(console);
        }
        if self.retry.is_some_and(|time| time <= now) {
            self.retry = None;
            for number in self.by_domain.values().copied().collect::<Vec<_>>() {
                self.complete(number);
                self.unfinished.insert(number);
            }
        }
    }

    /// Lets a console do what it can, and says what it waits for.
    fn turn(&mut self, number: u32) {
        if self.later.iter().any(|(_, later)| *later == number) {
            // It has spent what it may.
            return;
        }
        let now = self.now();
        let Some(console) = self.consoles.get_mut(&number) else {
            return;
        };
        let read = console.read_guest(now);
        let written = console.write_guest(now);
        let (trouble, gone) = console.pass_on(SystemTime::now());
        for text in [read.trouble, written.trouble, trouble]
            .into_iter()
            .flatten()
        {
            say(text);
        }
        if let Some(link) = &console.link {
            let port = link.port;
            if (read.notify || written.notify)
                && let Err(error) = self.events.notify(port)
            {
                say(format_args!("domain {}: {error}", console.domain));
            }
            match console.bucket.pay(read.bytes, now) {
                // The event channel stays masked.
                Some(time) => {
                    self.later.insert((time, number));
                }
                None if read.more => {
                    self.unfinished.insert(number);
                }
                None => self.unmask(Some(port)),
            }
        }
        for viewer in gone {
            self.drop_viewer(number, viewer);
        }
        self.set_interests(number);
    }

    fn set_interests(&mut self, number: u32) {
        let Some(console) = self.consoles.get(&number) else {
            return;
        };
        let read = console.takes_input();
        let mut result = Ok(());
        if let Some(pty) = &console.pty {
            let interest = Interest {
                read,
                write: console.pty_blocked,
            };
            result = result.and(self.poll.set(Name::Pty(number), pty, interest));
        }
        for (viewer_number, viewer) in &console.viewers {
            let name = Name::Viewer(number, *viewer_number);
            let interest = Interest {
                read,
                write: viewer.blocked,
            };
            result = result.and(self.poll.set(name, &viewer.stream, interest));
        }
        if let Err(error) = result {
            say(format_args!(
                "domain {}: cannot wait: {error}",
                console.domain
            ));
        }
    }

    fn on_store(&mut self, event: Event) {
        match event {
            Event::Trouble(text) => say(text),
            Event::Gone(domain) => self.say_farewell(domain),
            Event::Listed(domains) => self.clean_up(&domains),
            Event::Console(domain, settings) => {
                let known = self.by_domain.get(&domain);
                let console = known.and_then(|number| self.consoles.get(number));
                match console.map(|console| console.settings.clone()) {
                    Some(known) if known == settings => {}
                    // The same domain has another ring.
                    Some(known) if known.identity == settings.identity => {
                        self.relink(domain, settings);
                    }
                    Some(_) => {
                        self.say_farewell(domain);
                        self.add(domain, settings);
                    }
                    None => self.add(domain, settings),
                }
            }
        }
    }

    /// Removes what a daemon before us left of domains that are gone.
    fn clean_up(&self, domains: &BTreeSet<DomId>) {
        let entries = fs::read_dir(&self.options.run_directory);
        for entry in entries.into_iter().flatten().flatten() {
            let name = entry.file_name();
            let domain = name.to_str().and_then(|name| {
                let (number, kind) = name.split_once('.')?;
                matches!(kind, "kept" | "socket").then(|| number.parse::<DomId>().ok())?
            });
            if domain.is_some_and(|domain| !domains.contains(&domain)) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn accept(&mut self, number: u32) {
        let Some(listener) = self.listeners.get(&number) else {
            return;
        };
        let accepted = listener.accept().and_then(|(stream, _)| {
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        match accepted {
            Ok(stream) => {
                let viewer = self.next_viewer;
                self.next_viewer = self.next_viewer.wrapping_add(1);
                if let Some(console) = self.consoles.get_mut(&number) {
                    console.add_viewer(viewer, stream);
                }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => {
                say(format_args!("a viewer was turned away: {error}"));
                // Else it would stand at the door, and wake us, forever.
                self.spare = None;
                let _ = listener.accept();
                self.spare = File::open("/dev/null").ok();
            }
        }
        self.unfinished.insert(number);
    }

    fn drop_viewer(&mut self, number: u32, viewer: u32) {
        self.poll.forget(Name::Viewer(number, viewer));
        if let Some(console) = self.consoles.get_mut(&number) {
            console.viewers.remove(&viewer);
        }
    }

    /// Ends in order. Backlogs stay for the next one.
    fn end(&mut self) {
        for console in self.consoles.values_mut() {
            let _ = console.pass_on(SystemTime::now());
        }
        for domain in self.by_domain.keys() {
            let _ = fs::remove_file(socket(&self.options.run_directory, *domain));
        }
    }
}

/// The socket of a domain's console.
pub fn socket(run_directory: &Path, domain: DomId) -> PathBuf {
    run_directory.join(format!("{domain}.socket"))
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
