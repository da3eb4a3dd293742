//! The state on disk: a snapshot, and a journal of what was committed since. Both have a generation's number; those
//! of the highest one that is complete count.
//!
//! The journal is a file of fixed length mapped into memory: appending is a copy, and then one store of the length
//! that counts. Memory shared with a file is the file's for all processes, so what was appended survives this process's
//! end at any instruction, without a system call for each change. (A crash of the machine needs no survivor: with domain 0
//! all domains end. State of an earlier boot is put aside.)
//!
//! When the journal is full a new generation begins: a snapshot, written beside and renamed, and an empty journal. A pair of
//! files is kept in reserve for that, with their blocks: on a full disk generations go on in them, in turns with the last.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation};
use xen_sys::{PAGE_SIZE, SharedPages};

const SNAPSHOT_MAGIC: u64 = u64::from_le_bytes(*b"XENOSNAP");
const JOURNAL_MAGIC: u64 = u64::from_le_bytes(*b"XENOJRNL");
/// Version of the frame around the core's bytes; those have their own.
const VERSION: u64 = 1;
/// A file's header: magic, version, generation, length and, in a snapshot, checksum of the bytes after it.
const HEADER: usize = 64;
const LENGTH_AT: usize = 24;
const BOOT_AT: usize = 40;
const BOOT_BYTES: usize = 16;
/// The least length of a journal.
const JOURNAL_LEAST: usize = 1 << 20;
/// What a snapshot's file has room for beyond it and a quarter of it: the next one on a full disk may be larger.
const SNAPSHOT_RESERVE: usize = 256 << 10;

/// What was found at the start.
#[derive(Debug, Default)]
pub struct Found {
    /// The core's snapshot; without one, the journal is from an empty store on.
    pub snapshot: Option<Vec<u8>>,
    /// The journal's records.
    pub journal: Vec<u8>,
    /// What was wrong with files that were not used.
    pub complaints: Vec<String>,
}

/// The directory with the state, locked for this process.
#[derive(Debug)]
pub struct StateDirectory {
    directory: PathBuf,
    boot: [u8; BOOT_BYTES],
    generation: u64,
    journal: Option<Journal>,
    /// Held for its lock.
    _lock: File,
}

/// The journal in memory.
#[derive(Debug)]
struct Journal {
    pages: SharedPages,
    length: usize,
}

impl StateDirectory {
    /// Takes the directory, and reads what is there. Nothing can be appended before [`StateDirectory::begin`].
    ///
    /// # Errors
    ///
    /// That it cannot be made or read, or that another process has it.
    pub fn open(directory: &Path) -> io::Result<(Self, Found)> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("{}: {error}", directory.display()))
        };
        fs::create_dir_all(directory).map_err(named)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(directory.join("lock"))
            .map_err(named)?;
        rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            named(io::Error::new(
                io::ErrorKind::AddrInUse,
                "another xenstored uses it",
            ))
        })?;
        let mut state = Self {
            directory: directory.to_owned(),
            boot: boot_id(),
            generation: 0,
            journal: None,
            _lock: lock,
        };
        let found = state.read().map_err(named)?;
        Ok((state, found))
    }

    fn path(&self, kind: &str, generation: u64) -> PathBuf {
        self.directory.join(format!("{kind}-{generation}"))
    }

    /// The generations of which there are files, the highest first.
    fn generations(&self) -> io::Result<Vec<u64>> {
        let mut generations: Vec<u64> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let name = entry?.file_name();
            let name = name.to_string_lossy();
            let number = name
                .strip_prefix("snapshot-")
                .or_else(|| name.strip_prefix("journal-"));
            if let Some(Ok(generation)) = number.map(str::parse) {
                generations.push(generation);
            }
        }
        generations.sort_unstable_by(|a, b| b.cmp(a));
        generations.dedup();
        Ok(generations)
    }

    fn read(&mut self) -> io::Result<Found> {
        let mut found = Found::default();
        let generations = self.generations()?;
        self.generation = generations.first().copied().unwrap_or(0);
        for generation in generations {
            let path = self.path("snapshot", generation);
            match read_file(&path, SNAPSHOT_MAGIC, &self.boot) {
                Ok(snapshot) => found.snapshot = Some(snapshot),
                // Its journal began before the snapshot was complete: an older generation counts.
                Err(error) => {
                    if error.kind() != io::ErrorKind::NotFound {
                        found
                            .complaints
                            .push(format!("{}: {error}", path.display()));
                    }
                    continue;
                }
            }
            let path = self.path("journal", generation);
            match read_file(&path, JOURNAL_MAGIC, &self.boot) {
                Ok(journal) => found.journal = journal,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found
                    .complaints
                    .push(format!("{}: {error}", path.display())),
            }
            break;
        }
        Ok(found)
    }

    /// Begins a new generation with the core's snapshot; the journal is empty then. Until this succeeds, the old one
    /// counts, and can be appended to if there is room.
    ///
    /// # Errors
    ///
    /// `StorageFull` and others of writing files.
    pub fn begin(&mut self, snapshot: &[u8]) -> io::Result<()> {
        let generation = self.generation + 1;
        let partial = self.path("partial", generation);
        let length = JOURNAL_LEAST
            .max(snapshot.len().saturating_mul(2))
            .next_multiple_of(PAGE_SIZE);
        let result = self.make_journal(generation, length).and_then(|journal| {
            let file = File::create(&partial)?;
            allocate(&file, snapshot_room(snapshot.len()))?;
            write_snapshot(&file, generation, &self.boot, snapshot)?;
            fs::rename(&partial, self.path("snapshot", generation))?;
            Ok(journal)
        });
        match result {
            Ok(journal) => {
                self.follow(generation, journal, |old| {
                    // They do not count any more.
                    let _ = fs::remove_file(old);
                });
                // Without a reserve all is well as long as the disk does not fill up; the next generation tries again.
                let _ = self.reserve(snapshot.len());
                Ok(())
            }
            Err(error) => {
                // What is left of them does not count, and takes space.
                let _ = fs::remove_file(&partial);
                let _ = fs::remove_file(self.path("journal", generation));
                Err(error)
            }
        }
    }

    /// The same without a block more of the disk: in the files of the reserve, which the last generation's become instead.
    ///
    /// # Errors
    ///
    /// That there is no reserve, or that it is too small.
    pub fn begin_in_reserve(&mut self, snapshot: &[u8]) -> io::Result<()> {
        let generation = self.generation + 1;
        let [kept_snapshot, kept_journal] = self.reserved();
        let open = |path: &Path| OpenOptions::new().read(true).write(true).open(path);
        let (snapshot_file, journal_file) = (open(&kept_snapshot)?, open(&kept_journal)?);
        let length = |file: &File| -> io::Result<usize> {
            Ok(usize::try_from(file.metadata()?.len()).unwrap_or(0))
        };
        let journal_length = length(&journal_file)? / PAGE_SIZE * PAGE_SIZE;
        if length(&snapshot_file)? < HEADER + snapshot.len() || journal_length < JOURNAL_LEAST {
            return Err(io::ErrorKind::StorageFull.into());
        }
        write_snapshot(&snapshot_file, generation, &self.boot, snapshot)?;
        let journal = self.map_journal(&journal_file, generation, journal_length)?;
        fs::rename(&kept_journal, self.path("journal", generation))?;
        // From here on the new one counts.
        fs::rename(&kept_snapshot, self.path("snapshot", generation))?;
        self.follow(generation, journal, |old| {
            let is_journal = old
                .file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("journal"));
            let place = if is_journal {
                &kept_journal
            } else {
                &kept_snapshot
            };
            // Without them there is no reserve until the disk has room again.
            let _ = fs::rename(old, place);
        });
        Ok(())
    }

    /// The files of the reserve: of a snapshot, of a journal.
    fn reserved(&self) -> [PathBuf; 2] {
        ["snapshot", "journal"].map(|kind| self.directory.join(format!("reserve-{kind}")))
    }

    /// Keeps files for a generation that begins when the disk is full.
    fn reserve(&self, snapshot: usize) -> io::Result<()> {
        // Smaller than usual, but not a snapshot for each few records.
        let journal = JOURNAL_LEAST.max((snapshot / 4).next_multiple_of(PAGE_SIZE));
        let lengths = [snapshot_room(snapshot), journal];
        for (path, length) in self.reserved().iter().zip(lengths) {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)?;
            allocate(&file, length)?;
        }
        Ok(())
    }

    /// Goes on with a generation that is complete. `discard` is given what the earlier ones had.
    fn follow(&mut self, generation: u64, journal: Journal, discard: impl Fn(&Path)) {
        self.journal = Some(journal);
        self.generation = generation;
        for old in self.generations().unwrap_or_default() {
            if old < generation {
                discard(&self.path("snapshot", old));
                discard(&self.path("journal", old));
            }
        }
    }

    fn make_journal(&self, generation: u64, length: usize) -> io::Result<Journal> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(self.path("journal", generation))?;
        // With its blocks, so that a full disk is an error here, and not a signal later.
        allocate(&file, length)?;
        self.map_journal(&file, generation, length)
    }

    /// An empty journal in a file that has its blocks.
    fn map_journal(&self, file: &File, generation: u64, length: usize) -> io::Result<Journal> {
        let pages = SharedPages::map_file(file, 0, length / PAGE_SIZE, true)?;
        let words = [
            (LENGTH_AT, 0),
            (0, JOURNAL_MAGIC),
            (8, VERSION),
            (16, generation),
        ];
        for (offset, word) in words {
            pages.store_u64(offset, word);
        }
        pages.copy_in(BOOT_AT, &self.boot);
        Ok(Journal { pages, length: 0 })
    }

    /// Bytes that can still be appended.
    pub fn room(&self) -> usize {
        self.journal
            .as_ref()
            .map_or(0, |journal| journal.pages.len() - HEADER - journal.length)
    }

    /// Appends records. They count, all together, when this returns.
    ///
    /// Returns false, and appends nothing, if there is no room.
    #[must_use]
    pub fn append(&mut self, records: &[u8]) -> bool {
        if records.len() > self.room() {
            return false;
        }
        if let Some(journal) = &mut self.journal {
            journal.pages.copy_in(HEADER + journal.length, records);
            journal.length += records.len();
            journal.pages.store_u64(LENGTH_AT, journal.length as u64);
        }
        true
    }

    /// The current snapshot's file.
    pub fn snapshot_path(&self) -> PathBuf {
        self.path("snapshot", self.generation)
    }
}

/// Reads a snapshot's file, whatever boot it is of; gives the core's bytes.
///
/// # Errors
///
/// Those of reading, and `InvalidData` with what is wrong.
pub fn read_snapshot(path: &Path) -> io::Result<Vec<u8>> {
    let mut header = [0; HEADER];
    File::open(path)?.read_exact(&mut header)?;
    let mut boot = [0; BOOT_BYTES];
    boot.copy_from_slice(&header[BOOT_AT..BOOT_AT + BOOT_BYTES]);
    read_file(path, SNAPSHOT_MAGIC, &boot)
}

/// A snapshot's file in memory, as `--check` takes it.
pub fn framed(content: &[u8]) -> Vec<u8> {
    let mut file = header(0, &[0; BOOT_BYTES], content).to_vec();
    file.extend_from_slice(content);
    file
}

/// Bytes of a snapshot's file.
fn snapshot_room(snapshot: usize) -> usize {
    (HEADER + snapshot + snapshot / 4 + SNAPSHOT_RESERVE).next_multiple_of(PAGE_SIZE)
}

/// Gives a file its blocks, up to a length.
fn allocate(file: &File, length: usize) -> io::Result<()> {
    Ok(rustix::fs::fallocate(
        file,
        FallocateFlags::empty(),
        0,
        length as u64,
    )?)
}

/// Writes a snapshot at a file's beginning.
fn write_snapshot(
    mut file: &File,
    generation: u64,
    boot: &[u8; BOOT_BYTES],
    content: &[u8],
) -> io::Result<()> {
    file.write_all(&header(generation, boot, content))?;
    file.write_all(content)
}

/// A snapshot's header.
fn header(generation: u64, boot: &[u8; BOOT_BYTES], content: &[u8]) -> [u8; HEADER] {
    let mut header = [0; HEADER];
    let words = [
        SNAPSHOT_MAGIC,
        VERSION,
        generation,
        content.len() as u64,
        checksum(content),
    ];
    for (place, word) in header.chunks_exact_mut(8).zip(words) {
        place.copy_from_slice(&word.to_le_bytes());
    }
    header[BOOT_AT..BOOT_AT + BOOT_BYTES].copy_from_slice(boot);
    header
}

fn read_file(path: &Path, magic: u64, boot: &[u8; BOOT_BYTES]) -> io::Result<Vec<u8>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut bytes = fs::read(path)?;
    let word = |index: usize| {
        let bytes = bytes.get(index * 8..index * 8 + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    if word(0) != Some(magic) {
        return Err(bad("not such a file"));
    }
    if word(1) != Some(VERSION) {
        return Err(bad("of a version that is not known here"));
    }
    if bytes.get(BOOT_AT..BOOT_AT + BOOT_BYTES) != Some(boot) {
        return Err(bad("of an earlier boot"));
    }
    let length = word(3).and_then(|length| usize::try_from(length).ok());
    let expected = word(4);
    let (Some(length), Some(_)) = (length, bytes.get(HEADER..)) else {
        return Err(bad("cut off"));
    };
    let end = HEADER.checked_add(length).filter(|end| *end <= bytes.len());
    let Some(end) = end else {
        return Err(bad("cut off"));
    };
    bytes.truncate(end);
    bytes.drain(..HEADER);
    if magic == SNAPSHOT_MAGIC && expected != Some(checksum(&bytes)) {
        return Err(bad("its checksum does not match"));
    }
    Ok(bytes)
}

/// A sum over 64-bit words that any single change changes (FNV-1a's steps, a word at a time).
fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    words
        .iter()
        .chain([&last])
        .fold(0xcbf2_9ce4_8422_2325 ^ bytes.len() as u64, |sum, word| {
            (sum ^ u64::from_le_bytes(*word))
                .wrapping_mul(0x0000_0100_0000_01b3)
                .rotate_left(23)
        })
}

/// What tells this boot of the machine from others; zeros where the kernel does not say.
fn boot_id() -> [u8; BOOT_BYTES] {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).unwrap_or(0);
    number.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that goes with its value.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("xenstored-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_was_appended_is_found() {
        let scratch = Scratch::new("append");
        let (mut state, found) = StateDirectory::open(&scratch.0).unwrap();
        assert!(found.snapshot.is_none() && found.journal.is_empty());
        assert!(!state.append(b"too early"));
        state.begin(b"one").unwrap();
        assert!(state.append(b"first, "));
        assert!(state.append(b"second"));
        assert!(StateDirectory::open(&scratch.0).is_err(), "locked");
        drop(state);
        let (mut state, found) = StateDirectory::open(&scratch.0).unwrap();
        assert_eq!(found.snapshot.as_deref(), Some(&b"one"[..]));
        assert_eq!(found.journal, b"first, second");
        state.begin(b"two").unwrap();
        drop(state);
        let (_, found) = StateDirectory::open(&scratch.0).unwrap();
        assert_eq!(found.snapshot.as_deref(), Some(&b"two"[..]));
        assert!(found.journal.is_empty());
    }

    #[test]
    fn a_generation_that_is_not_complete_does_not_count() {
        let scratch = Scratch::new("partial");
        let (mut state, _) = StateDirectory::open(&scratch.0).unwrap();
        state.begin(b"one").unwrap();
        assert!(state.append(b"more"));
        // As if killed before the rename.
        state.make_journal(2, JOURNAL_LEAST).unwrap();
        fs::write(state.path("partial", 2), b"half").unwrap();
        drop(state);
        let (mut state, found) = StateDirectory::open(&scratch.0).unwrap();
        assert_eq!(found.snapshot.as_deref(), Some(&b"one"[..]));
        assert_eq!(found.journal, b"more");
        state.begin(b"three").unwrap();
        assert_eq!(state.snapshot_path(), scratch.0.join("snapshot-3"));
    }

    #[test]
    fn a_damaged_snapshot_is_complained_about() {
        let scratch = Scratch::new("damage");
        let (mut state, _) = StateDirectory::open(&scratch.0).unwrap();
        state.begin(b"some content").unwrap();
        let path = state.snapshot_path();
        assert_eq!(read_snapshot(&path).unwrap(), b"some content");
        drop(state);
        let good = fs::read(&path).unwrap();
        for place in 0..HEADER + "some content".len() {
            let mut bytes = good.clone();
            bytes[place] ^= 1;
            // The generation is told by the name, and three bytes at the end are for later.
            if (16..24).contains(&place) || (56..64).contains(&place) {
                continue;
            }
            fs::write(&path, &bytes).unwrap();
            let (_, found) = StateDirectory::open(&scratch.0).unwrap();
            assert_eq!(found.snapshot, None, "byte {place}");
            assert_eq!(found.complaints.len(), 1);
        }
        fs::write(&path, &good[..HEADER + "some content".len() - 1]).unwrap();
        assert!(read_snapshot(&path).is_err());
    }

    #[test]
    fn generations_go_on_in_the_reserve() {
        let scratch = Scratch::new("reserve");
        let blocks = |directory: &Path| -> u64 {
            use std::os::unix::fs::MetadataExt;
            let entries = fs::read_dir(directory).unwrap();
            let files = entries.map(|entry| entry.unwrap().metadata().unwrap().blocks());
            files.sum()
        };
        let (mut state, _) = StateDirectory::open(&scratch.0).unwrap();
        assert!(state.begin_in_reserve(b"none").is_err());
        state.begin(b"first").unwrap();
        assert!(state.append(b"old records"));
        let before = blocks(&scratch.0);
        for number in 0..5 {
            let snapshot = format!("snapshot {number}").repeat(number * 1000);
            state.begin_in_reserve(snapshot.as_bytes()).unwrap();
            assert!(state.append(format!("records {number}").as_bytes()));
            assert_eq!(blocks(&scratch.0), before);
            drop(state);
            let found;
            (state, found) = StateDirectory::open(&scratch.0).unwrap();
            assert_eq!(found.complaints, [""; 0]);
            assert_eq!(found.snapshot.as_deref(), Some(snapshot.as_bytes()));
            assert_eq!(found.journal, format!("records {number}").as_bytes());
        }
        // More than it was meant for.
        let large = vec![b'x'; 2 << 20];
        assert_eq!(
            state.begin_in_reserve(&large).unwrap_err().kind(),
            io::ErrorKind::StorageFull
        );
        state.begin(&large).unwrap();
        state.begin_in_reserve(&large).unwrap();
        drop(state);
        let (_, found) = StateDirectory::open(&scratch.0).unwrap();
        assert_eq!(found.snapshot, Some(large));
    }

    #[test]
    fn a_full_journal_takes_nothing_in_part() {
        let scratch = Scratch::new("full");
        let (mut state, _) = StateDirectory::open(&scratch.0).unwrap();
        state.begin(b"").unwrap();
        let room = state.room();
        assert!(state.append(&vec![1; room - 3]));
        assert!(!state.append(&[2; 4]));
        assert!(state.append(&[2; 3]));
        assert_eq!(state.room(), 0);
        drop(state);
        let (_, found) = StateDirectory::open(&scratch.0).unwrap();
        assert_eq!(found.journal.len(), room);
    }
}
