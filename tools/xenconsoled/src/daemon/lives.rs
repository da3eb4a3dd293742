//! How consoles come, get what they need, and go.

use std::fs;
use std::time::SystemTime;

use xen_abi::DomId;
use xen_sys::SharedPages;

use super::{BACKLOG, Daemon, FAREWELL, RETRY, listen, say, socket};
use crate::backlog::Backlog;
use crate::console::{Console, Link, adopt, source};
use crate::kept::Kept;
use crate::poll::{Interest, Name};
use crate::pty::Pty;
use crate::rate::Bucket;
use crate::rotation::file_name;
use crate::store::{Request, Settings};

impl Daemon {
    pub(super) fn add(&mut self, domain: DomId, settings: Settings) {
        let number = self.next_console;
        self.next_console = self.next_console.wrapping_add(1) & 0x0fff_ffff;
        let capacity = settings
            .limit
            .map_or(BACKLOG, |limit| limit.clamp(4096, BACKLOG));
        let burst = (self.options.rate / 2).max(64 << 10);
        let bucket = Bucket::new(self.options.rate, burst, self.now());
        let path = self.options.run_directory.join(format!("{domain}.kept"));
        let (kept, restored) = match Kept::open(&path, &source(&settings), capacity) {
            Ok((kept, restored)) => (Some(kept), restored),
            Err(error) => {
                let path = path.display();
                say(format_args!(
                    "domain {domain}: {path}: {error}: its backlog is not kept over a restart"
                ));
                (None, None)
            }
        };
        let mut console = Console::new(domain, settings, Backlog::new(capacity), bucket);
        let mut consumed = None;
        if let Some(restored) = restored {
            console.backlog = restored.backlog;
            console.logged = restored.cursors.logged;
            console.shown = restored.cursors.shown;
            consumed = restored.consumed;
        }
        console.kept = kept;
        console.keep_overflow = self.options.keep_overflow;
        if self.options.log_guests {
            let name = format!("guest-{}", file_name(&console.settings.name, domain));
            console.log = Some(self.log(&name, self.options.stamp_guests));
        }
        self.link(&mut console, number, consumed);
        self.consoles.insert(number, console);
        self.by_domain.insert(domain, number);
        self.complete(number);
        self.unfinished.insert(number);
    }

    /// Gives a console what it lacks: a pty, a socket.
    pub(super) fn complete(&mut self, number: u32) {
        let Some(console) = self.consoles.get_mut(&number) else {
            return;
        };
        let domain = console.domain;
        if console.pty.is_none() {
            match Pty::open() {
                Ok(pty) => {
                    let request = Request::Tty(domain, pty.path().to_owned());
                    console.pty = Some(pty);
                    // Without its thread there is no store either.
                    let _ = self.to_store.send(request);
                    self.store_thread.wake();
                }
                Err(error) => {
                    say(format_args!(
                        "domain {domain}: there is no pty for it: {error}"
                    ));
                    self.retry = Some(self.start.elapsed() + RETRY);
                }
            }
        }
        if let std::collections::btree_map::Entry::Vacant(entry) = self.listeners.entry(number) {
            let path = socket(&self.options.run_directory, domain);
            match listen(&path) {
                Ok(listener) => {
                    let interest = Interest {
                        read: true,
                        write: false,
                    };
                    if let Err(error) = self.poll.set(Name::Listener(number), &listener, interest) {
                        say(format_args!("{}: {error}", path.display()));
                    }
                    entry.insert(listener);
                }
                Err(error) => {
                    say(format_args!("{}: {error}", path.display()));
                    self.retry = Some(self.start.elapsed() + RETRY);
                }
            }
        }
    }

    pub(super) fn relink(&mut self, domain: DomId, settings: Settings) {
        let Some(number) = self.by_domain.get(&domain).copied() else {
            return;
        };
        let Some(mut console) = self.consoles.remove(&number) else {
            return;
        };
        let same_ring = source(&console.settings) == source(&settings);
        console.settings = settings;
        if !same_ring {
            self.unlink(&mut console);
            self.link(&mut console, number, None);
        }
        self.consoles.insert(number, console);
        self.unfinished.insert(number);
    }

    /// Maps a console's ring and binds its event channel.
    pub(super) fn link(&mut self, console: &mut Console, number: u32, consumed: Option<u32>) {
        let domain = console.domain;
        let page = match self.map(domain, console.settings.frame) {
            Ok(page) => page,
            Err(error) => {
                say(format_args!(
                    "domain {domain}: its console cannot be mapped: {error}"
                ));
                return;
            }
        };
        let port = match self.events.bind_interdomain(domain, console.settings.port) {
            Ok(port) => port,
            Err(error) => {
                say(format_args!(
                    "domain {domain}: its console has no event channel: {error}"
                ));
                return;
            }
        };
        let rings = match adopt(&page, consumed) {
            Ok(rings) => Some(rings),
            Err(wild) => {
                say(format_args!(
                    "domain {domain}: its {wild}: left alone until they make sense"
                ));
                None
            }
        };
        if let (Some(kept), Some(rings)) = (&mut console.kept, rings)
            && let Err(error) = kept.begin(&source(&console.settings), rings.consumed())
        {
            say(format_args!(
                "domain {domain}: its backlog is not kept over a restart: {error}"
            ));
            console.kept.take().into_iter().for_each(Kept::remove);
        }
        console.link = Some(Link { page, port, rings });
        self.by_port.insert(port, number);
    }

    /// By the grant that every domain has for its console, else by its frame.
    fn map(&self, domain: DomId, frame: u64) -> Result<SharedPages, xen_sys::DeviceError> {
        const CONSOLE: u32 = xen_abi::grant_table::GNTTAB_RESERVED_CONSOLE;
        let granted = self
            .grants
            .as_ref()
            .map(|grants| grants.map(domain, &[CONSOLE], true));
        match granted {
            Some(Ok(page)) => Ok(page),
            _ => self.privcmd.map_foreign_page(domain, frame, true),
        }
    }

    pub(super) fn unlink(&mut self, console: &mut Console) {
        let Some(link) = console.link.take() else {
            return;
        };
        self.by_port.remove(&link.port);
        if let Err(error) = self.events.unbind(link.port) {
            say(format_args!("domain {}: {error}", console.domain));
        }
    }

    /// A domain is gone: its last words are passed on, and its pages given back.
    pub(super) fn say_farewell(&mut self, domain: DomId) {
        let Some(number) = self.by_domain.remove(&domain) else {
            return;
        };
        self.later.retain(|(_, later)| *later != number);
        let Some(mut console) = self.consoles.remove(&number) else {
            return;
        };
        let now = self.now();
        // A dead guest prints no more: this ends.
        while console.read_guest(now).more {}
        let (trouble, _) = console.pass_on(SystemTime::now());
        trouble.into_iter().for_each(say);
        self.unlink(&mut console);
        console.kept.take().into_iter().for_each(Kept::remove);
        if self.listeners.remove(&number).is_some() {
            self.poll.forget(Name::Listener(number));
            let _ = fs::remove_file(socket(&self.options.run_directory, domain));
        }
        self.consoles.insert(number, console);
        self.set_interests(number);
        self.farewells.insert((now + FAREWELL, number));
    }

    pub(super) fn remove(&mut self, number: u32) {
        if let Some(console) = self.consoles.remove(&number) {
            self.poll.forget(Name::Pty(number));
            for viewer in console.viewers.keys() {
                self.poll.forget(Name::Viewer(number, *viewer));
            }
        }
    }
}
