//! The daemon's start: on nothing, on what an earlier one left behind, or as the successor of one.

use std::collections::VecDeque;
use std::io;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Poll};
use xenstore_core::{Config, ConnectionId, Event, Level, Store};

use super::live_update::Handover;
use super::{BUFFER, Daemon, MACHINE};
use crate::log::{Log, Trace};
use crate::machine::{Machine, Simulated, Xen};
use crate::options::Options;
use crate::state::{Found, StateDirectory};

/// The memory that the kernel has, in bytes; 0 if it does not say.
fn machine_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kibibytes = text
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) << 10
}

/// The core's configuration that the options make.
fn config(options: &Options) -> Config {
    let mut config = Config {
        hard: options.hard,
        soft: options.soft,
        journal: options.state.is_some(),
        memory_max: options.memory_max.unwrap_or_else(|| machine_memory() / 4),
        ..Config::default()
    };
    if let Some(seconds) = options.event_timeout {
        config.event_timeout = u64::from(seconds) * 1000;
    }
    config
}

/// The store that the state makes which was found; an empty one if it makes none, with a complaint.
fn restore(options: &Options, found: &Found, handed_over: bool, log: &mut Log) -> Store {
    for complaint in &found.complaints {
        log.write(Level::Warning, complaint);
    }
    let result = match &found.snapshot {
        None => return Store::new(config(options)),
        // With sockets, and transactions that can still succeed.
        Some(snapshot) if handed_over => Store::restore(config(options), snapshot),
        Some(snapshot) => Store::recover(config(options), Some(snapshot), &found.journal).map(
            |(store, recovered)| {
                if let Some(problem) = recovered.problem {
                    log.write(Level::Warning, &format!("the journal: {problem}"));
                }
                log.write(
                    Level::Info,
                    &format!(
                        "continuing what was there: a snapshot and {} records",
                        recovered.records
                    ),
                );
                store
            },
        ),
    };
    result.unwrap_or_else(|problem| {
        log.write(
            Level::Error,
            &format!("the state is of no use, and the store empty: {problem}"),
        );
        Store::new(config(options))
    })
}

impl Daemon {
    /// Makes everything ready to serve.
    ///
    /// # Errors
    ///
    /// What is missing: the state's directory, Xen's devices, a socket.
    pub fn start(options: Options) -> io::Result<Self> {
        let mut log = Log::new(options.log_file.as_deref(), options.verbose)?;
        let handover = options.resume.map(Handover::read).transpose()?;
        let (state, found) = match &options.state {
            Some(directory) => {
                let (state, found) = StateDirectory::open(directory)?;
                (Some(state), found)
            }
            None => (None, Found::default()),
        };
        let found = match &handover {
            Some(handover) if options.state.is_none() => Found {
                snapshot: Some(handover.snapshot.clone()),
                ..Found::default()
            },
            _ => found,
        };
        let store = restore(&options, &found, handover.is_some(), &mut log);
        let machine: Box<dyn Machine> = match &options.simulate {
            Some(directory) => Box::new(Simulated::open(directory)?),
            None => Box::new(Xen::open()?),
        };
        let poll = Poll::new()?;
        poll.registry().register(
            &mut SourceFd(&machine.descriptor()),
            MACHINE,
            Interest::READABLE,
        )?;
        let mut trace = Trace::default();
        if let Some(path) = &options.trace_file {
            trace.set_path(path);
            trace.switch(true)?;
        }
        let now = Instant::now();
        let mut daemon = Self {
            options,
            poll,
            store,
            machine,
            state,
            log,
            trace,
            listeners: Default::default(),
            sockets: Default::default(),
            rings: Default::default(),
            effects: VecDeque::new(),
            ready_sockets: Vec::new(),
            ready_rings: Vec::new(),
            outputs: Vec::new(),
            closing: Vec::new(),
            buffer: vec![0; BUFFER],
            signals: Vec::new(),
            started: now,
            round_time: None,
            last_tick: now,
            degraded: false,
            journal_ended: false,
            update: Default::default(),
        };
        daemon.take_over(handover)?;
        Ok(daemon)
    }

    fn take_over(&mut self, handover: Option<Handover>) -> io::Result<()> {
        let mut handover = handover.unwrap_or_default();
        self.listen(handover.clients.take(), handover.metrics.take())?;
        self.restore_rings();
        let known: Vec<u64> = self
            .store
            .connections()
            .filter_map(|connection| match connection {
                ConnectionId::Socket(number) => Some(number),
                ConnectionId::Domain(_) => None,
            })
            .collect();
        for number in known {
            match handover.sockets.remove(&number) {
                Some(descriptor) => self.adopt_socket(number, descriptor),
                // It ended with the process that had it.
                None => self.step(Event::SocketClosed(number)),
            }
        }
        self.sockets.next = self.sockets.next.max(handover.next_socket);
        if let Some(connection) = handover.asker {
            self.answer(connection, Ok("OK".to_owned()));
        }
        if !self.options.no_domain_init {
            self.attach_own_kernel();
        }
        // Domains may have gone while nobody looked.
        self.look_at_domains();
        self.begin_generation(true);
        self.commit();
        self.do_effects();
        self.hand_out();
        self.commit();
        self.publish_rings();
        Ok(())
    }
}
