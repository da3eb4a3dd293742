//! An image as a disk.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use crate::clusters::{COPIED, Cluster, OFFSET};
use crate::header::{AUTOCLEAR_AT, Header};
use crate::refcounts::{Refcounts, read_table, write_table};
use crate::{ImageError, damaged};

/// Longest chain of backing files.
const MAX_CHAIN: u32 = 64;
/// L2 tables that are kept in memory before all are written and forgotten.
const MAX_TABLES: usize = 128;

/// What an image's own clusters lie on.
#[derive(Debug)]
enum Backing {
    Raw(File),
    Image(Box<Image>),
}

impl Backing {
    /// Fills `into`; beyond the end there are zeros.
    fn read(&mut self, mut into: &mut [u8], mut at: u64) -> io::Result<()> {
        match self {
            Self::Raw(file) => {
                while !into.is_empty() {
                    let count = file.read_at(into, at)?;
                    if count == 0 {
                        into.fill(0);
                        break;
                    }
                    at += count as u64;
                    into = into.get_mut(count..).unwrap_or_default();
                }
                Ok(())
            }
            Self::Image(image) => {
                let inside = image.size().saturating_sub(at).min(into.len() as u64) as usize;
                let (first, rest) = into.split_at_mut(inside);
                rest.fill(0);
                if inside == 0 {
                    return Ok(());
                }
                image.read(first, at)
            }
        }
    }
}

#[derive(Debug)]
struct L2Table {
    entries: Vec<u64>,
    is_dirty: bool,
}

/// An image that is open.
#[derive(Debug)]
pub struct Image {
    file: File,
    header: Header,
    backing: Option<Backing>,
    l1: Vec<u64>,
    is_l1_dirty: bool,
    /// By their offset.
    tables: HashMap<u64, L2Table>,
    /// None if it is not written.
    refcounts: Option<Refcounts>,
    /// Clusters that nothing points to after the next flush.
    released: Vec<u64>,
    /// The compressed cluster that was unpacked last.
    unpacked: Option<(u64, Vec<u8>)>,
}

impl Image {
    /// Opens an image and those below it.
    ///
    /// # Errors
    ///
    /// Files that cannot be opened, images that are damaged or of a kind that is not there; which says the text.
    pub fn open(path: &Path, writable: bool) -> Result<Self, ImageError> {
        Self::open_link(path, writable, 0)
    }

    fn open_link(path: &Path, writable: bool, depth: u32) -> Result<Self, ImageError> {
        let named = |error: ImageError| ImageError::Image(format!("{}: {error}", path.display()));
        if depth > MAX_CHAIN {
            return Err(ImageError::Image(
                "the chain of backing files is too long, or a ring".to_owned(),
            ));
        }
        let file = File::options()
            .read(true)
            .write(writable)
            .open(path)
            .map_err(|error| named(error.into()))?;
        let header = Header::read(&file).map_err(named)?;
        if writable && (header.is_dirty || header.refcount_order != 4) {
            return Err(named(ImageError::Image(
                if header.is_dirty {
                    "it was not closed: qemu-img check -r all"
                } else {
                    "its refcounts have not 16 bits"
                }
                .to_owned(),
            )));
        }
        let backing = match &header.backing {
            None => None,
            Some((name, format)) => {
                let below = path.parent().unwrap_or(Path::new("")).join(name);
                Some(match format.as_str() {
                    "raw" => Backing::Raw(File::open(&below).map_err(|error| {
                        ImageError::Image(format!("{}: {error}", below.display()))
                    })?),
                    "qcow2" => Backing::Image(Box::new(Self::open_link(&below, false, depth + 1)?)),
                    other => {
                        let text = format!("its backing file has the format {other}");
                        return Err(named(ImageError::Image(text)));
                    }
                })
            }
        };
        let l1 = read_table(&file, header.l1_at, header.l1_entries)
            .map_err(|error| named(error.into()))?;
        let refcounts = if writable {
            Some(Refcounts::read(&file, &header).map_err(|error| named(error.into()))?)
        } else {
            None
        };
        if writable && header.has_autoclear {
            // What these features describe is not kept up to date here.
            file.write_all_at(&[0; 8], AUTOCLEAR_AT)?;
        }
        Ok(Self {
            file,
            header,
            backing,
            l1,
            is_l1_dirty: false,
            tables: HashMap::new(),
            refcounts,
            released: Vec::new(),
            unpacked: None,
        })
    }

    /// The disk's size in bytes.
    pub fn size(&self) -> u64 {
        self.header.size
    }

    fn cluster(&self) -> u64 {
        1 << self.header.cluster_bits
    }

    fn check_range(&self, at: u64, length: usize) -> io::Result<()> {
        match at.checked_add(length as u64) {
            Some(end) if end <= self.size() => Ok(()),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "beyond the end of the disk",
            )),
        }
    }

    /// Index in the L1 table, and in the L2 table, of an address of the disk.
    fn indices(&self, at: u64) -> (usize, usize) {
        let bits = self.header.cluster_bits - 3;
        let number = at >> self.header.cluster_bits;
        (
            (number >> bits) as usize,
            (number & ((1 << bits) - 1)) as usize,
        )
    }

    /// The L2 table at an offset.
    fn table(&mut self, at: u64) -> io::Result<&mut L2Table> {
        if !self.tables.contains_key(&at) {
            if self.tables.len() >= MAX_TABLES {
                self.flush()?;
                self.tables.clear();
            }
            if !at.is_multiple_of(self.cluster()) {
                return Err(damaged("an L2 table is not aligned"));
            }
            let entries = read_table(&self.file, at, self.cluster() as usize / 8)?;
            let table = L2Table {
                entries,
                is_dirty: false,
            };
            self.tables.insert(at, table);
        }
        self.tables.get_mut(&at).ok_or_else(|| damaged("a table"))
    }

    /// What there is of the cluster at an address of the disk.
    fn look_up(&mut self, at: u64) -> io::Result<Cluster> {
        let (upper, lower) = self.indices(at);
        let table_at = self.l1.get(upper).map_or(0, |entry| entry & OFFSET);
        if table_at == 0 {
            return Ok(Cluster::Backing);
        }
        let entry = self.table(table_at)?.entries.get(lower).copied();
        let (version, bits) = (self.header.version, self.header.cluster_bits);
        let cluster = Cluster::of_entry(entry.unwrap_or(0), version, bits);
        if let Cluster::Data { at, .. } = cluster
            && !at.is_multiple_of(self.cluster())
        {
            return Err(damaged("a cluster is not aligned"));
        }
        Ok(cluster)
    }

    /// Reads from the disk.
    ///
    /// # Errors
    ///
    /// Beyond the end; the file's; damage.
    pub fn read(&mut self, into: &mut [u8], at: u64) -> io::Result<()> {
        self.check_range(at, into.len())?;
        let mut done = 0;
        while done < into.len() {
            let here = at + done as u64;
            let inside = here % self.cluster();
            let count = (into.len() - done).min((self.cluster() - inside) as usize);
            let Some(part) = into.get_mut(done..done + count) else {
                break;
            };
            self.read_part(part, here, inside)?;
            done += count;
        }
        Ok(())
    }

    /// Reads from a single cluster.
    fn read_part(&mut self, into: &mut [u8], at: u64, inside: u64) -> io::Result<()> {
        match self.look_up(at)? {
            Cluster::Backing => match &mut self.backing {
                Some(backing) => backing.read(into, at),
                None => {
                    into.fill(0);
                    Ok(())
                }
            },
            Cluster::Zero(_) => {
                into.fill(0);
                Ok(())
            }
            Cluster::Data { at, .. } => self.file.read_exact_at(into, at + inside),
            Cluster::Compressed { at, length } => {
                let content = self.unpack(at, length)?;
                let inside = inside as usize;
                let part = content.get(inside..inside + into.len());
                into.copy_from_slice(part.ok_or_else(|| damaged("a compressed cluster"))?);
                Ok(())
            }
        }
    }

    fn unpack(&mut self, at: u64, length: u64) -> io::Result<&[u8]> {
        if self.unpacked.as_ref().is_none_or(|(place, _)| *place != at) {
            let cluster = self.cluster() as usize;
            let mut packed = vec![0; length as usize];
            let mut count = 0;
            // The last one may end before its last sector does.
            while let Some(rest) = packed.get_mut(count..).filter(|rest| !rest.is_empty()) {
                match self.file.read_at(rest, at + count as u64)? {
                    0 => break,
                    more => count += more,
                }
            }
            let mut content = vec![0; cluster];
            let mut state = miniz_oxide::inflate::core::DecompressorOxide::new();
            let flags =
                miniz_oxide::inflate::core::inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
            let (_, _, written) =
                miniz_oxide::inflate::core::decompress(&mut state, &packed, &mut content, 0, flags);
            // Behind the data may be anything, so only what came out counts.
            if written != cluster {
                return Err(damaged("a compressed cluster"));
            }
            self.unpacked = Some((at, content));
        }
        match &self.unpacked {
            Some((_, content)) => Ok(content),
            None => Err(damaged("a compressed cluster")),
        }
    }

    /// Writes to the disk. It is lasting after [`Image::flush`].
    ///
    /// # Errors
    ///
    /// Beyond the end; `ReadOnlyFilesystem` if it was not opened for that; the file's; damage.
    pub fn write(&mut self, from: &[u8], at: u64) -> io::Result<()> {
        self.check_range(at, from.len())?;
        if self.refcounts.is_none() {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let mut done = 0;
        while done < from.len() {
            let here = at + done as u64;
            let inside = here % self.cluster();
            let count = (from.len() - done).min((self.cluster() - inside) as usize);
            let Some(part) = from.get(done..done + count) else {
                break;
            };
            self.write_part(part, here, inside)?;
            done += count;
        }
        Ok(())
    }

    fn write_part(&mut self, from: &[u8], at: u64, inside: u64) -> io::Result<()> {
        let old = self.look_up(at)?;
        if let Cluster::Data { at, is_own: true } = old {
            return self.file.write_all_at(from, at + inside);
        }
        // The whole cluster, as it was with the new part in it, goes to a new place.
        let cluster = self.cluster();
        let mut content = vec![0; cluster as usize];
        if from.len() as u64 != cluster {
            let begin = at - inside;
            let count = cluster.min(self.size() - begin) as usize;
            if let Some(before) = content.get_mut(..count) {
                self.read_part(before, begin, 0)?;
            }
        }
        let inside = inside as usize;
        if let Some(part) = content.get_mut(inside..inside + from.len()) {
            part.copy_from_slice(from);
        }
        let table_at = self.own_table(at)?;
        let new = self.allocate()?;
        self.file.write_all_at(&content, new)?;
        let (_, lower) = self.indices(at);
        let table = self.table(table_at)?;
        if let Some(entry) = table.entries.get_mut(lower) {
            *entry = new | COPIED;
            table.is_dirty = true;
        }
        match old {
            Cluster::Backing | Cluster::Zero(0) => {}
            Cluster::Zero(at) | Cluster::Data { at, .. } => self.released.push(at),
            Cluster::Compressed { at, length } => {
                // It counts in every cluster that it touches.
                let first = at / cluster;
                let last = (at + length - 1) / cluster;
                self.released
                    .extend((first..=last).map(|number| number * cluster));
            }
        }
        Ok(())
    }

    /// Gives back the space of a part of the disk whose content does not matter any more: where it lies in clusters that
    /// are this image's alone, it becomes a hole in the file and is zeros from then on; elsewhere it stays as it is.
    ///
    /// # Errors
    ///
    /// Beyond the end; `ReadOnlyFilesystem` if it was not opened for that; the file's; damage.
    pub fn discard(&mut self, at: u64, length: usize) -> io::Result<()> {
        self.check_range(at, length)?;
        if self.refcounts.is_none() {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let end = at + length as u64;
        let mut here = at;
        while here < end {
            let inside = here % self.cluster();
            let count = (end - here).min(self.cluster() - inside);
            if let Cluster::Data { at, is_own: true } = self.look_up(here)? {
                let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
                match rustix::fs::fallocate(&self.file, flags, at + inside, count) {
                    // The file's own file system has no holes.
                    Ok(()) | Err(Errno::OPNOTSUPP) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            here += count;
        }
        Ok(())
    }

    fn allocate(&mut self) -> io::Result<u64> {
        match &mut self.refcounts {
            Some(refcounts) => refcounts.allocate(&self.file),
            None => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
        }
    }

    /// The L2 table for an address, which may be written: where it is.
    fn own_table(&mut self, at: u64) -> io::Result<u64> {
        let (upper, _) = self.indices(at);
        let entry = self.l1.get(upper).copied().unwrap_or(0);
        let old = entry & OFFSET;
        if old != 0 && entry & COPIED != 0 {
            return Ok(old);
        }
        let entries = if old == 0 {
            vec![0; self.cluster() as usize / 8]
        } else {
            // A snapshot has it as well; clusters that both point to are counted for both already.
            self.table(old)?.entries.clone()
        };
        let new = self.allocate()?;
        let table = L2Table {
            entries,
            is_dirty: true,
        };
        self.tables.insert(new, table);
        if let Some(entry) = self.l1.get_mut(upper) {
            *entry = new | COPIED;
        }
        self.is_l1_dirty = true;
        if old != 0 {
            self.released.push(old);
        }
        Ok(new)
    }

    /// Brings everything that was written to the disk.
    ///
    /// # Errors
    ///
    /// The file's.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.refcounts.is_none() {
            return Ok(());
        }
        // Data and counts, before anything points to them.
        self.file.sync_data()?;
        let mut is_changed = false;
        for (at, table) in self.tables.iter_mut().filter(|(_, table)| table.is_dirty) {
            write_table(&self.file, *at, &table.entries)?;
            table.is_dirty = false;
            is_changed = true;
        }
        if self.is_l1_dirty {
            self.file.sync_data()?;
            write_table(&self.file, self.header.l1_at, &self.l1)?;
            self.is_l1_dirty = false;
        }
        if is_changed {
            self.file.sync_data()?;
        }
        if let Some(refcounts) = &mut self.refcounts {
            for at in self.released.drain(..) {
                refcounts.change(&self.file, at, -1)?;
            }
        }
        Ok(())
    }
}
