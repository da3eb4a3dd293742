//! `xl dump-core`: a paravirtual domain's memory in a file, an ELF file of Xen's own kind.
//!
//! Source: Xen's `docs/misc/dump-core-format.txt`. Sections: notes, the vCPUs' contexts, the shared info page, the
//! p2m (frame of the domain, machine frame), and the pages in the p2m's order.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use xen_abi::shared_info::{ArchSharedInfo, SharedInfo};
use xen_abi::vcpu_context::VcpuGuestContext;
use xen_control::{Control, DomId, DomainInfo, VersionInfo};
use zerocopy::IntoBytes;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome};

const PAGE: usize = 4096;
/// Entries of a page of frame numbers.
const ENTRIES: u64 = 512;
/// Pages that are mapped at once.
const BATCH: usize = 1024;
/// What the p2m has for frames that are not there; the highest bit marks other domains' frames.
const INVALID: u64 = u64::MAX;
const FOREIGN: u64 = 1 << 63;

/// Options of `xl dump-core`.
#[derive(Args, Debug)]
pub(crate) struct DumpCore {
    /// The domain, by name or number
    domain: String,
    /// The file; in /var/lib/xen/dump if none
    file: Option<PathBuf>,
}

impl Run for DumpCore {
    const NAME: &'static str = "dump-core";
    const ABOUT: &'static str = "Core dump a domain";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let file = match self.file {
            Some(file) => file,
            None => automatic_path(&context.name_of(info.domain)?.unwrap_or_default()),
        };
        dump(context, info.domain, &file)
    }
}

/// Where the memory of a domain that crashed goes.
pub(crate) fn automatic_path(name: &str) -> PathBuf {
    let seconds = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    PathBuf::from(format!("/var/lib/xen/dump/{name}-{seconds}"))
}

/// Writes a domain's memory, while the domain does not run.
pub(crate) fn dump(context: &Context, domain: DomId, path: &Path) -> Outcome {
    let control = context.control()?;
    control.pause(domain)?;
    let result = write(context, control, domain, path);
    let resumed = control.unpause(domain);
    if result.is_err() {
        // Half a dump is of no use.
        let _ = std::fs::remove_file(path);
    }
    result?;
    Ok(resumed?)
}

fn write(context: &Context, control: &Control, domain: DomId, path: &Path) -> Outcome {
    let info = control
        .domain_info(domain)?
        .ok_or_else(|| Failure::new("the domain is gone"))?;
    let shared_info = control.view_frames(domain, &[info.shared_info])?;
    let shared_info = shared_info.to_vec(0, PAGE);
    let frames = frames(control, &info, &shared_info)?;
    let mut contexts = Vec::new();
    for vcpu in 0..info.vcpus {
        let is_online = control
            .vcpu_info(domain, vcpu)?
            .is_some_and(|vcpu| vcpu.is_online);
        if is_online {
            contexts.push(control.vcpu_context(domain, vcpu)?);
        }
    }
    let notes = notes(
        &control.version()?,
        contexts.len() as u64,
        frames.len() as u64,
    );
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let named = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(named)?);
    let layout = Layout::new(&notes, contexts.len(), frames.len());
    file.write_all(&layout.headers).map_err(named)?;
    file.write_all(&notes).map_err(named)?;
    for context in &contexts {
        file.write_all(context.as_bytes()).map_err(named)?;
    }
    file.write_all(&shared_info).map_err(named)?;
    for frame in &frames {
        file.write_all(frame.as_bytes()).map_err(named)?;
    }
    file.write_all(&layout.padding).map_err(named)?;
    let began = Instant::now();
    let mut told = 0;
    for (index, part) in frames.chunks(BATCH).enumerate() {
        let machine: Vec<u64> = part.iter().map(|[_, machine]| *machine).collect();
        let pages = control.view_frames(domain, &machine)?;
        file.write_all(&pages.to_vec(0, part.len() * PAGE))
            .map_err(named)?;
        if began.elapsed().as_secs() > told && !context.json {
            told = began.elapsed().as_secs();
            eprintln!("{} of {} MiB", index * BATCH / 256, frames.len() / 256);
        }
    }
    file.into_inner()
        .map_err(|error| named(error.into_error()))?
        .sync_all()
        .map_err(named)
}

/// The domain's frames and their machine frames, by the domain's own table.
fn frames(
    control: &Control,
    info: &DomainInfo,
    shared_info: &[u8],
) -> Result<Vec<[u64; 2]>, Failure> {
    let word = |at: usize| {
        let bytes = shared_info
            .get(at..at + 8)
            .and_then(|bytes| bytes.try_into().ok());
        bytes.map_or(0, u64::from_le_bytes)
    };
    let arch = offset_of!(SharedInfo, arch);
    let count = word(arch + offset_of!(ArchSharedInfo, max_pfn));
    let top = word(arch + offset_of!(ArchSharedInfo, pfn_to_mfn_frame_list_list));
    if top == 0 || count == 0 || count > 1 << 32 {
        return Err(Failure::new(format!(
            "domain {}: it does not tell (yet) where its memory is",
            info.domain
        )));
    }
    let read = |frames: &[u64]| -> Result<Vec<u64>, Failure> {
        let pages = control.view_frames(info.domain, frames)?;
        let bytes = pages.to_vec(0, frames.len() * PAGE);
        let words = bytes
            .chunks_exact(8)
            .filter_map(|word| word.try_into().ok());
        Ok(words.map(u64::from_le_bytes).collect())
    };
    let mut tables = vec![top];
    // The top is a page of frames of pages of frames of the table's pages.
    for level in [2, 1, 0] {
        let needed = count.div_ceil(ENTRIES.pow(level));
        let mut next = Vec::new();
        for part in tables.chunks(BATCH) {
            next.extend(read(part)?);
        }
        next.truncate(usize::try_from(needed).unwrap_or(usize::MAX));
        tables = next;
    }
    let is_there = |machine: &u64| *machine != INVALID && machine & FOREIGN == 0;
    Ok((0..)
        .zip(tables)
        .filter(|(_, machine)| is_there(machine))
        .map(|(frame, machine)| [frame, machine])
        .collect())
}

/// A note of Xen's.
fn note(notes: &mut Vec<u8>, kind: u32, content: &[u8]) {
    for word in [4, content.len() as u32, kind] {
        notes.extend_from_slice(&word.to_le_bytes());
    }
    notes.extend_from_slice(b"Xen\0");
    notes.extend_from_slice(content);
    notes.resize(notes.len().next_multiple_of(4), 0);
}

fn notes(version: &VersionInfo, vcpus: u64, pages: u64) -> Vec<u8> {
    const NONE: u32 = 0x0200_0000;
    /// Marks a paravirtual domain.
    const MAGIC: u64 = 0xf00f_ebed;
    let mut notes = Vec::new();
    note(&mut notes, NONE, &[]);
    let header = [MAGIC, vcpus, pages, PAGE as u64];
    note(&mut notes, NONE + 1, header.as_bytes());
    let mut content = Vec::new();
    for word in [u64::from(version.major), u64::from(version.minor)] {
        content.extend_from_slice(&word.to_le_bytes());
    }
    for (text, length) in [
        (&version.extra, 16),
        (&version.compiler, 64),
        (&version.compiled_by, 16),
        (&version.compile_domain, 32),
        (&version.compile_date, 32),
        (&version.capabilities, 1024),
        (&version.changeset, 64),
    ] {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(length, 0);
        content.extend_from_slice(&bytes);
    }
    for word in [version.virtual_start, version.page_size] {
        content.extend_from_slice(&word.to_le_bytes());
    }
    note(&mut notes, NONE + 2, &content);
    note(&mut notes, NONE + 3, &1_u64.to_le_bytes());
    notes
}

/// Where everything is in the file.
struct Layout {
    /// The ELF header and the section headers, and the sections' names.
    headers: Vec<u8>,
    /// What is between the p2m and the pages, which begin at a page.
    padding: Vec<u8>,
}

impl Layout {
    fn new(notes: &[u8], vcpus: usize, pages: usize) -> Self {
        const ELF_HEADER: usize = 64;
        const SECTION_HEADER: usize = 64;
        const STRINGS: u32 = 3;
        const PROGRAM_BITS: u32 = 1;
        const NOTE: u32 = 7;
        let names = [
            "",
            ".shstrtab",
            ".note.Xen",
            ".xen_prstatus",
            ".xen_shared_info",
            ".xen_p2m",
            ".xen_pages",
        ];
        let mut strings = Vec::new();
        let mut name_at = Vec::new();
        for name in names {
            name_at.push(strings.len() as u32);
            strings.extend_from_slice(name.as_bytes());
            strings.push(0);
        }
        strings.resize(strings.len().next_multiple_of(8), 0);
        let strings_at = ELF_HEADER + SECTION_HEADER * names.len();
        let notes_at = strings_at + strings.len();
        let contexts_at = notes_at + notes.len();
        let context = size_of::<VcpuGuestContext>();
        let shared_at = contexts_at + vcpus * context;
        let p2m_at = shared_at + PAGE;
        let p2m_end = p2m_at + pages * 16;
        let pages_at = p2m_end.next_multiple_of(PAGE);
        let sections = [
            (0, 0, 0, 0),
            (STRINGS, strings_at, strings.len(), 0),
            (NOTE, notes_at, notes.len(), 0),
            (PROGRAM_BITS, contexts_at, vcpus * context, context),
            (PROGRAM_BITS, shared_at, PAGE, PAGE),
            (PROGRAM_BITS, p2m_at, pages * 16, 16),
            (PROGRAM_BITS, pages_at, pages * PAGE, PAGE),
        ];
        let mut headers = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
        headers.resize(16, 0);
        // A core file for x86-64, version 1.
        headers.extend_from_slice(&4_u16.to_le_bytes());
        headers.extend_from_slice(&62_u16.to_le_bytes());
        headers.extend_from_slice(&1_u32.to_le_bytes());
        // Entry, program headers (none), section headers.
        for word in [0, 0, ELF_HEADER as u64] {
            headers.extend_from_slice(&word.to_le_bytes());
        }
        headers.extend_from_slice(&0_u32.to_le_bytes());
        let halves = [ELF_HEADER, 0, 0, SECTION_HEADER, sections.len(), 1];
        for half in halves {
            headers.extend_from_slice(&(half as u16).to_le_bytes());
        }
        for ((kind, offset, size, entry), name) in sections.into_iter().zip(name_at) {
            headers.extend_from_slice(&name.to_le_bytes());
            headers.extend_from_slice(&u32::to_le_bytes(kind));
            for word in [0, 0, offset, size] {
                headers.extend_from_slice(&(word as u64).to_le_bytes());
            }
            headers.extend_from_slice(&[0; 8]);
            for word in [if kind == 0 { 0 } else { 8 }, entry] {
                headers.extend_from_slice(&(word as u64).to_le_bytes());
            }
        }
        headers.extend_from_slice(&strings);
        Self {
            headers,
            padding: vec![0; pages_at - p2m_end],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Layout, PAGE, note};

    #[test]
    fn sections_follow_each_other() {
        let mut notes = Vec::new();
        note(&mut notes, 7, &[1, 2, 3, 4, 5]);
        assert_eq!(notes.len(), 12 + 4 + 8);
        let layout = Layout::new(&notes, 2, 3);
        let word = |at: usize| u64::from_le_bytes(layout.headers[at..at + 8].try_into().unwrap());
        let section = |index: usize| {
            (
                word(64 + index * 64 + 24) as usize,
                word(64 + index * 64 + 32) as usize,
            )
        };
        let mut at = layout.headers.len();
        for index in 2..6 {
            let (offset, size) = section(index);
            assert_eq!(offset, at, "section {index}");
            at += size;
        }
        assert_eq!(section(6), (at + layout.padding.len(), 3 * PAGE));
        assert_eq!(section(6).0 % PAGE, 0);
        assert_eq!(layout.headers.len(), section(1).0 + section(1).1);
    }
}
