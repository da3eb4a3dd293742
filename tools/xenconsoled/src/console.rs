//! A domain's console: its rings, its pty, its viewers, its log.
//!
//! Bytes from the guest go ring → file that outlives us → ring given back → backlog → log, pty, viewers. Each reader has
//! a place in the backlog, so a slow one holds up nobody. Bytes to the guest go through one bounded queue: what does
//! not fit is left where it is.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, SystemTime};

use xen_abi::{DomId, EvtchnPort};
use xen_sys::SharedPages;

use crate::backlog::Backlog;
use crate::kept::Kept;
use crate::log::Log;
use crate::pty::Pty;
use crate::rate::Bucket;
use crate::ring::{self, OUTPUT_SIZE, Page, Rings};
use crate::store::Settings;

/// How much of the past a new viewer is shown.
const HISTORY: u64 = 64 << 10;
/// How much may wait for the guest.
const INPUT_LIMIT: usize = 4096;
/// How much of one console is read before the others have their turn.
const TURN: u64 = 4 * OUTPUT_SIZE as u64;
/// How often one console's troubles are told.
const PATIENCE: Duration = Duration::from_secs(10);

impl Page for SharedPages {
    fn load(&self, offset: usize) -> u32 {
        self.load_u32(offset)
    }

    fn store(&self, offset: usize, value: u32) {
        self.store_u32(offset, value);
    }

    fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        SharedPages::copy_out(self, offset, bytes);
    }

    fn copy_in(&self, offset: usize, bytes: &[u8]) {
        SharedPages::copy_in(self, offset, bytes);
    }

    fn fence(&self) {
        SharedPages::fence(self);
    }
}

/// The connection to a guest.
#[derive(Debug)]
pub struct Link {
    /// The page of both rings.
    pub page: SharedPages,
    /// Our end of the event channel.
    pub port: EvtchnPort,
    /// `None` while the indices are wild.
    pub rings: Option<Rings>,
}

/// Somebody at the console's socket.
#[derive(Debug)]
pub struct Viewer {
    /// The connection; it does not block.
    pub stream: UnixStream,
    cursor: u64,
    /// Bytes of a notice that were not written yet.
    notice: VecDeque<u8>,
    /// Whether the stream is full.
    pub blocked: bool,
}

/// A console.
#[derive(Debug)]
pub struct Console {
    /// Whose it is.
    pub domain: DomId,
    /// What the store said of it last.
    pub settings: Settings,
    /// `None` once the domain is gone, or if its ring could not be mapped.
    pub link: Option<Link>,
    /// What the guest printed last.
    pub backlog: Backlog,
    /// Where that is kept; `None` if that failed.
    pub kept: Option<Kept>,
    /// The log, if there is one.
    pub log: Option<Log>,
    /// How far the log is.
    pub logged: u64,
    /// The pty; `None` if there was none to be had.
    pub pty: Option<Pty>,
    /// How far the pty is.
    pub shown: u64,
    /// Whether the pty is full.
    pub pty_blocked: bool,
    /// Those at the socket.
    pub viewers: BTreeMap<u32, Viewer>,
    /// What waits for the guest to read.
    pub input: VecDeque<u8>,
    /// What it may cost.
    pub bucket: Bucket,
    /// Whether a full backlog makes the guest wait, as `--overflow-data=keep` wants.
    pub keep_overflow: bool,
    told: Option<Duration>,
}

/// How a turn went.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Turn {
    /// How many bytes came.
    pub bytes: u64,
    /// Whether there are more.
    pub more: bool,
    /// Whether the guest is to be told that its ring changed.
    pub notify: bool,
    /// What a person should know.
    pub trouble: Option<String>,
}

impl Console {
    /// A console without a link, a pty or viewers.
    pub fn new(domain: DomId, settings: Settings, backlog: Backlog, bucket: Bucket) -> Console {
        let end = backlog.end();
        Console {
            domain,
            settings,
            link: None,
            backlog,
            kept: None,
            log: None,
            logged: end,
            pty: None,
            shown: end,
            pty_blocked: false,
            viewers: BTreeMap::new(),
            input: VecDeque::new(),
            bucket,
            keep_overflow: false,
            told: None,
        }
    }

    /// Reads what the guest printed, up to a turn's worth.
    pub fn read_guest(&mut self, now: Duration) -> Turn {
        let mut turn = Turn::default();
        let mut bytes = Vec::with_capacity(OUTPUT_SIZE as usize);
        while turn.bytes < TURN {
            bytes.clear();
            let room = self.room();
            let Some(link) = &mut self.link else {
                return turn;
            };
            let Some(rings) = &mut link.rings else {
                self.try_again(now, &mut turn);
                return turn;
            };
            let count = match rings.peek(&link.page, &mut bytes) {
                Ok(count) => count.min(room),
                Err(wild) => {
                    link.rings = None;
                    self.tell(
                        now,
                        &mut turn,
                        format!("its {wild}: left alone until they make sense"),
                    );
                    return turn;
                }
            };
            bytes.truncate(count as usize);
            if count == 0 {
                return turn;
            }
            if let Some(kept) = &mut self.kept
                && let Err(error) = kept.add(&bytes)
            {
                self.forget(now, &mut turn, &error);
            }
            let Some(Link {
                page,
                rings: Some(rings),
                ..
            }) = &mut self.link
            else {
                return turn;
            };
            rings.take(page, count);
            turn.notify = true;
            turn.bytes += u64::from(count);
            self.backlog.push(&bytes);
        }
        turn.more = true;
        turn
    }

    /// How much may be read of the ring without pushing out what the pty has not seen.
    fn room(&self) -> u32 {
        if !self.keep_overflow || self.pty.is_none() {
            return OUTPUT_SIZE;
        }
        let unseen = self.backlog.end().saturating_sub(self.shown);
        let room = (self.backlog.capacity() as u64).saturating_sub(unseen);
        u32::try_from(room).unwrap_or(u32::MAX).min(OUTPUT_SIZE)
    }

    /// Looks whether the indices make sense again.
    fn try_again(&mut self, now: Duration, turn: &mut Turn) {
        let Some(link) = &mut self.link else { return };
        let Ok(rings) = Rings::adopt(&link.page) else {
            return;
        };
        link.rings = Some(rings);
        if let Some(kept) = &mut self.kept
            && let Err(error) = kept.begin(&source(&self.settings), rings.consumed())
        {
            self.forget(now, turn, &error);
        }
        self.tell(now, turn, "its ring makes sense again".to_owned());
        turn.more = true;
    }

    /// Goes on without the file that outlives us.
    fn forget(&mut self, now: Duration, turn: &mut Turn, error: &io::Error) {
        if let Some(kept) = self.kept.take() {
            kept.remove();
        }
        self.tell(
            now,
            turn,
            format!("its backlog is not kept over a restart: {error}"),
        );
    }

    /// Tells of trouble, not too often.
    fn tell(&mut self, now: Duration, turn: &mut Turn, text: String) {
        if self
            .told
            .is_some_and(|told| now.saturating_sub(told) < PATIENCE)
        {
            return;
        }
        self.told = Some(now);
        turn.trouble = Some(format!(
            "domain {} ({}): {text}",
            self.domain, self.settings.name
        ));
    }

    /// Passes on what has come: to the log, the pty and the viewers. Gives troubles, and viewers that are gone.
    pub fn pass_on(&mut self, now: SystemTime) -> (Option<String>, Vec<u32>) {
        let trouble = self.write_log(now);
        self.write_pty();
        if let Some(kept) = &mut self.kept {
            // What is not noted is logged or shown again after a restart.
            let _ = kept.note(self.logged, self.shown);
        }
        let gone = self
            .viewers
            .iter_mut()
            .filter_map(|(number, viewer)| viewer.catch_up(&self.backlog).err().map(|_| *number))
            .collect();
        (trouble, gone)
    }

    fn write_log(&mut self, now: SystemTime) -> Option<String> {
        let waiting = self.backlog.after(self.logged);
        let Some(log) = &mut self.log else {
            self.logged = self.backlog.end();
            return None;
        };
        let mut trouble = None;
        for piece in [waiting.pieces.0, waiting.pieces.1] {
            if let Err(text) = log.write(piece, now) {
                trouble = Some(text);
            }
        }
        self.logged = self.backlog.end();
        trouble
    }

    fn write_pty(&mut self) {
        let Some(pty) = &self.pty else {
            return;
        };
        self.pty_blocked = false;
        loop {
            let waiting = self.backlog.after(self.shown);
            self.shown = self.backlog.end() - waiting.len() as u64;
            let piece = first_piece(&waiting.pieces);
            if piece.is_empty() {
                return;
            }
            match pty.write(piece) {
                Ok(count) => self.shown += count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Another error than a full pty is not to be expected, and as well tried again later.
                Err(_) => {
                    self.pty_blocked = true;
                    return;
                }
            }
        }
    }

    /// Takes what was typed at the pty.
    pub fn read_pty(&mut self) {
        let mut bytes = [0; 1024];
        let Some(pty) = &self.pty else { return };
        let (room, _) = bytes.split_at_mut(INPUT_LIMIT.saturating_sub(self.input.len()).min(1024));
        if room.is_empty() {
            return;
        }
        if let Ok(count) = pty.read(room) {
            self.input.extend(room.iter().take(count));
        }
    }

    /// Takes what a viewer typed; false if it is gone.
    pub fn read_viewer(&mut self, number: u32) -> bool {
        let mut bytes = [0; 1024];
        let Some(viewer) = self.viewers.get_mut(&number) else {
            return false;
        };
        let (room, _) = bytes.split_at_mut(INPUT_LIMIT.saturating_sub(self.input.len()).min(1024));
        if room.is_empty() {
            return true;
        }
        match viewer.stream.read(room) {
            Ok(0) => false,
            Ok(count) => {
                self.input.extend(room.iter().take(count));
                true
            }
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
            ),
        }
    }

    /// Whether there is room for more to be typed.
    pub fn takes_input(&self) -> bool {
        self.link.is_some() && self.input.len() < INPUT_LIMIT
    }

    /// Tells the guest what was typed, as much as it has room for.
    pub fn write_guest(&mut self, now: Duration) -> Turn {
        let mut turn = Turn::default();
        let Some(link) = &mut self.link else {
            self.input.clear();
            return turn;
        };
        let Some(rings) = &mut link.rings else {
            return turn;
        };
        let mut wild = None;
        while !self.input.is_empty() {
            match rings.tell(&link.page, self.input.as_slices().0) {
                Ok(0) => break,
                Ok(count) => {
                    self.input.drain(..count);
                    turn.notify = true;
                }
                Err(error) => {
                    wild = Some(error);
                    break;
                }
            }
        }
        if let Some(wild) = wild {
            link.rings = None;
            self.tell(
                now,
                &mut turn,
                format!("its {wild}: left alone until they make sense"),
            );
        }
        turn
    }

    /// Adds a viewer, which is shown the last of what there was.
    pub fn add_viewer(&mut self, number: u32, stream: UnixStream) {
        let cursor = self
            .backlog
            .start()
            .max(self.backlog.end().saturating_sub(HISTORY));
        let viewer = Viewer {
            stream,
            cursor,
            notice: VecDeque::new(),
            blocked: false,
        };
        self.viewers.insert(number, viewer);
    }

    /// Whether everybody has seen everything.
    pub fn is_seen(&self) -> bool {
        let end = self.backlog.end();
        self.viewers.values().all(|viewer| viewer.cursor == end)
    }
}

impl Viewer {
    /// Shows what is new.
    ///
    /// # Errors
    ///
    /// Those of the stream: the viewer is gone.
    fn catch_up(&mut self, backlog: &Backlog) -> io::Result<()> {
        self.blocked = false;
        loop {
            let waiting = backlog.after(self.cursor);
            if waiting.lost > 0 {
                self.cursor += waiting.lost;
                let text = format!("\r\n[{} bytes are missing here]\r\n", waiting.lost);
                self.notice.extend(text.as_bytes());
            }
            let notice = self.notice.as_slices().0;
            let piece = if notice.is_empty() {
                first_piece(&waiting.pieces)
            } else {
                notice
            };
            if piece.is_empty() {
                return Ok(());
            }
            match self.stream.write(piece) {
                Ok(count) if self.notice.is_empty() => self.cursor += count as u64,
                Ok(count) => drop(self.notice.drain(..count)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

fn first_piece<'a>(pieces: &(&'a [u8], &'a [u8])) -> &'a [u8] {
    if pieces.0.is_empty() {
        pieces.1
    } else {
        pieces.0
    }
}

/// Where a console's stream comes from.
pub fn source(settings: &Settings) -> crate::kept::Source {
    crate::kept::Source {
        domain: settings.identity.clone(),
        ring: settings.frame << 24 ^ u64::from(settings.port),
    }
}

/// Adopts a ring, from where it was read last if that is known.
///
/// # Errors
///
/// That its indices are wild.
pub fn adopt(page: &SharedPages, consumed: Option<u32>) -> Result<Rings, ring::Wild> {
    match consumed {
        // A guest that made a fresh ring of the same page cannot be where it was.
        Some(consumed) => Rings::resume(page, consumed).or_else(|_| Rings::adopt(page)),
        None => Rings::adopt(page),
    }
}
