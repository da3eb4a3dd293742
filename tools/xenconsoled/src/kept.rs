//! What outlives the daemon: the backlog of a console and how far each of its readers is, in a file on a tmpfs.
//!
//! The daemon may be killed at any point. What was taken from a guest's ring is in the file before the guest is told
//! (the write is done once the kernel has it), and the file's `head` says how far the ring was read, whatever the ring
//! itself says. So a daemon that takes over neither loses nor repeats a byte of the backlog.
//!
//! | bytes | content |
//! |---|---|
//! | 0..8 | [`MAGIC`] |
//! | 8..16 | the backlog's capacity |
//! | 16..24 | the ring that the stream comes from: [`Source::ring`] |
//! | 24..32 | the ring's index at the stream's byte 0, modulo 2^32 |
//! | 32..40 | `head`: how many bytes the stream has |
//! | 40..48 | how many of them were logged |
//! | 48..56 | how many of them were written to the pty |
//! | 64..128 | the domain: [`Source::domain`], zeros at its end |
//! | 128.. | the last bytes, each at its number modulo the capacity |

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::backlog::Backlog;

const MAGIC: u64 = u64::from_le_bytes(*b"XenCons1");
const HEADER: usize = 128;
const CURSORS: u64 = 32;
const DOMAIN: usize = 64;

/// Where a stream comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// What no other domain has, however its number is reused.
    pub domain: String,
    /// What changes when the domain gets another ring.
    pub ring: u64,
}

/// How far everybody is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursors {
    /// How many bytes the stream has.
    pub head: u64,
    /// How many of them were logged.
    pub logged: u64,
    /// How many of them were written to the pty.
    pub shown: u64,
}

/// What a file held.
#[derive(Debug)]
pub struct Restored {
    /// The last bytes.
    pub backlog: Backlog,
    /// How far everybody was.
    pub cursors: Cursors,
    /// How far the ring was read, if it is still the same.
    pub consumed: Option<u32>,
}

/// The header of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    capacity: u64,
    source: Source,
    base: u32,
    cursors: Cursors,
}

impl Header {
    fn encode(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        let words = [
            MAGIC,
            self.capacity,
            self.source.ring,
            u64::from(self.base),
            self.cursors.head,
            self.cursors.logged,
            self.cursors.shown,
        ];
        for (slot, word) in bytes.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        for (slot, byte) in bytes
            .iter_mut()
            .skip(DOMAIN)
            .zip(self.source.domain.bytes())
        {
            *slot = byte;
        }
        bytes
    }

    /// Reads a header; `None` if it is none.
    pub fn decode(bytes: &[u8]) -> Option<Header> {
        let word = |index: usize| {
            let bytes = bytes.get(index * 8..index * 8 + 8)?;
            Some(u64::from_le_bytes(bytes.try_into().ok()?))
        };
        let domain = bytes.get(DOMAIN..HEADER)?;
        let length = domain
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(domain.len());
        let header = Header {
            capacity: word(1)?,
            source: Source {
                domain: String::from_utf8(domain.get(..length)?.to_vec()).ok()?,
                ring: word(2)?,
            },
            base: u32::try_from(word(3)?).ok()?,
            cursors: Cursors {
                head: word(4)?,
                logged: word(5)?,
                shown: word(6)?,
            },
        };
        let Cursors {
            head,
            logged,
            shown,
        } = header.cursors;
        let sound = word(0)? == MAGIC && header.capacity > 0 && logged <= head && shown <= head;
        sound.then_some(header)
    }
}

/// A file that keeps a console's stream.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    file: File,
    capacity: u64,
    cursors: Cursors,
}

impl Kept {
    /// Opens the file of a domain's console. What it held is given if it was this domain's.
    ///
    /// # Errors
    ///
    /// Those of making and reading it.
    pub fn open(
        path: &Path,
        source: &Source,
        capacity: usize,
    ) -> io::Result<(Kept, Option<Restored>)> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let mut kept = Kept {
            path: path.to_owned(),
            file,
            capacity: capacity.max(1) as u64,
            cursors: Cursors::default(),
        };
        let restored = kept.restore(source)?;
        if let Some(restored) = &restored {
            kept.cursors = restored.cursors;
        }
        Ok((kept, restored))
    }

    fn restore(&mut self, source: &Source) -> io::Result<Option<Restored>> {
        let mut header = [0; HEADER];
        if self.file.metadata()?.len() < HEADER as u64 {
            return Ok(None);
        }
        self.file.read_exact_at(&mut header, 0)?;
        let Some(header) = Header::decode(&header) else {
            return Ok(None);
        };
        if header.source.domain != cut(&source.domain) || header.capacity != self.capacity {
            return Ok(None);
        }
        let head = header.cursors.head;
        let count = head.min(self.capacity);
        // At most the capacity, which came as a usize.
        let mut last = vec![0; count as usize];
        let start = head - count;
        let middle = middle(last.len(), start, self.capacity);
        let (first, second) = last.split_at_mut(middle);
        // A hole at the end of the file reads as nothing: such a file was cut off, and is of no use.
        let read = self.file.read_exact_at(first, offset(start, self.capacity));
        if read
            .and_then(|()| self.file.read_exact_at(second, HEADER as u64))
            .is_err()
        {
            return Ok(None);
        }
        let same_ring = header.source.ring == source.ring;
        Ok(Some(Restored {
            backlog: Backlog::restore(self.capacity as usize, head, &last),
            cursors: header.cursors,
            consumed: same_ring.then(|| header.base.wrapping_add(head as u32)),
        }))
    }

    /// Begins to keep the stream of a ring that has been read up to the index `consumed`. What was restored goes on.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn begin(&mut self, source: &Source, consumed: u32) -> io::Result<()> {
        let header = Header {
            capacity: self.capacity,
            source: Source {
                domain: cut(&source.domain).to_owned(),
                ring: source.ring,
            },
            base: consumed.wrapping_sub(self.cursors.head as u32),
            cursors: self.cursors,
        };
        self.file.write_all_at(&header.encode(), 0)
    }

    /// Keeps bytes that were read from the ring: they are taken from now on.
    ///
    /// # Errors
    ///
    /// Those of writing: they are then not taken.
    pub fn add(&mut self, bytes: &[u8]) -> io::Result<()> {
        let head = self.cursors.head + bytes.len() as u64;
        let excess = bytes
            .len()
            .saturating_sub(usize::try_from(self.capacity).unwrap_or(usize::MAX));
        let (_, last) = bytes.split_at(excess);
        let start = head - last.len() as u64;
        let (first, second) = last.split_at(middle(last.len(), start, self.capacity));
        self.file
            .write_all_at(first, offset(start, self.capacity))?;
        self.file.write_all_at(second, HEADER as u64)?;
        self.file.write_all_at(&head.to_le_bytes(), CURSORS)?;
        self.cursors.head = head;
        Ok(())
    }

    /// Notes how far the log and the pty are.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub fn note(&mut self, logged: u64, shown: u64) -> io::Result<()> {
        if (self.cursors.logged, self.cursors.shown) == (logged, shown) {
            return Ok(());
        }
        let mut bytes = [0; 16];
        let (first, second) = bytes.split_at_mut(8);
        first.copy_from_slice(&logged.to_le_bytes());
        second.copy_from_slice(&shown.to_le_bytes());
        self.file.write_all_at(&bytes, CURSORS + 8)?;
        (self.cursors.logged, self.cursors.shown) = (logged, shown);
        Ok(())
    }

    /// Removes the file.
    pub fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// As much of a domain's identity as the header has room for.
fn cut(domain: &str) -> &str {
    let end = (0..=domain.len().min(HEADER - DOMAIN))
        .rev()
        .find(|&end| domain.is_char_boundary(end))
        .unwrap_or(0);
    domain.get(..end).unwrap_or_default()
}

fn offset(number: u64, capacity: u64) -> u64 {
    HEADER as u64 + number % capacity
}

/// Where bytes, the first of which has the number `start`, are to be split because the file ends.
fn middle(length: usize, start: u64, capacity: u64) -> usize {
    length.min(usize::try_from(capacity - start % capacity).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("xenconsoled-kept-{name}-{}", std::process::id()))
    }

    fn source(domain: &str, ring: u64) -> Source {
        Source {
            domain: domain.to_owned(),
            ring,
        }
    }

    fn bytes(restored: &Restored) -> Vec<u8> {
        let pieces = restored.backlog.after(0).pieces;
        [pieces.0, pieces.1].concat()
    }

    #[test]
    fn another_domain_finds_nothing() {
        let path = path("another");
        let (mut kept, restored) = Kept::open(&path, &source("a", 1), 10).unwrap();
        assert!(restored.is_none());
        kept.begin(&source("a", 1), u32::MAX).unwrap();
        kept.add(b"hello").unwrap();
        kept.note(5, 3).unwrap();
        let restored = Kept::open(&path, &source("a", 1), 10).unwrap().1.unwrap();
        assert_eq!(bytes(&restored), b"hello");
        assert_eq!(restored.consumed, Some(4));
        let cursors = Cursors {
            head: 5,
            logged: 5,
            shown: 3,
        };
        assert_eq!(restored.cursors, cursors);
        // The same domain with another ring has the same past.
        let restored = Kept::open(&path, &source("a", 2), 10).unwrap().1.unwrap();
        assert_eq!(
            (bytes(&restored), restored.consumed),
            (b"hello".to_vec(), None)
        );
        assert!(Kept::open(&path, &source("b", 1), 10).unwrap().1.is_none());
        assert!(Kept::open(&path, &source("a", 1), 11).unwrap().1.is_none());
        kept.remove();
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_was_cut_off_is_nothing() {
        let path = path("cut");
        let (mut kept, _) = Kept::open(&path, &source("a", 1), 100).unwrap();
        kept.begin(&source("a", 1), 0).unwrap();
        kept.add(&[7; 50]).unwrap();
        for length in [0, 20, HEADER as u64, HEADER as u64 + 49] {
            OpenOptions::new()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(length)
                .unwrap();
            assert!(Kept::open(&path, &source("a", 1), 100).unwrap().1.is_none());
        }
        kept.remove();
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_or_none(bytes: Vec<u8>) {
            let _ = Header::decode(&bytes);
        }

        /// However the stream was cut into pieces, and wherever the daemon ended, its end is there.
        #[test]
        fn the_end_of_the_stream_is_there(
            capacity in 1_usize..60,
            base: u32,
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 0..12),
        ) {
            let path = path("stream");
            let _ = std::fs::remove_file(&path);
            let from = source("d", 1);
            let mut stream = Vec::new();
            Kept::open(&path, &from, capacity).unwrap().0.begin(&from, base).unwrap();
            for piece in pieces {
                let (mut kept, restored) = Kept::open(&path, &from, capacity).unwrap();
                let restored = restored.unwrap();
                prop_assert_eq!(bytes(&restored), &stream[stream.len().saturating_sub(capacity)..]);
                prop_assert_eq!(restored.consumed, Some(base.wrapping_add(stream.len() as u32)));
                kept.add(&piece).unwrap();
                stream.extend(piece);
            }
            std::fs::remove_file(&path).unwrap();
        }
    }
}
