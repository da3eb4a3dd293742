//! Page faults, and changes of mappings.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::process::Command;

use fork::Fork;
use memmap2::{Advice, MmapMut, MmapOptions};

use crate::timing::{Timing, now};

const PAGE: usize = 4096;
/// What page faults are taken on.
const AREA: usize = 8 << 20;

/// Pages of this program's file: mapped, and in the page cache, before they are first read. (Zeros would not be in it.)
static FILE_PAGES: [u8; 2 << 20] = [0x5a; 2 << 20];

/// An anonymous area of small pages, which are there if `populated`.
fn area(length: usize, populated: bool) -> io::Result<MmapMut> {
    let mut area = MmapMut::map_anon(length)?;
    area.advise(Advice::NoHugePage)?;
    if populated {
        area.fill(1);
    }
    Ok(area)
}

/// Writes to every page; nanoseconds for each.
fn write_all(area: &mut [u8]) -> f64 {
    let start = now();
    for page in area.chunks_exact_mut(PAGE) {
        if let Some(byte) = page.first_mut() {
            *byte = 1;
        }
        black_box(page);
    }
    (now() - start) as f64 / (area.len() / PAGE) as f64
}

/// Page faults on anonymous memory, on a file's pages, and on pages shared with a parent.
pub(crate) fn faults(timing: &Timing) -> io::Result<()> {
    timing.batches("fault_anonymous", || Ok(write_all(&mut area(AREA, false)?)))?;
    // As most programs do: with 2 MiB pages where the machine has them. Paravirtual guests have none.
    timing.batches("fault_any_size", || {
        Ok(write_all(&mut MmapMut::map_anon(AREA)?))
    })?;
    timing.batches("fault_file", || {
        let output = Command::new("/proc/self/exe")
            .args(["--part", "fault-file"])
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let figure = text.trim().parse();
        figure.map_err(|_| io::Error::other(format!("the other process said “{text}”")))
    })?;
    let mut shared = area(AREA, true)?;
    timing.batches("fault_cow", || {
        in_a_child(|| write_all(&mut shared)).map_err(|error| {
            io::Error::other(format!("copy-on-write faults in another process: {error}"))
        })
    })?;
    Ok(())
}

/// Reads a byte of each of the file's pages; nanoseconds for each. A fault maps the pages around it as well.
pub(crate) fn fault_file() -> f64 {
    let pages = black_box(&FILE_PAGES).chunks_exact(PAGE);
    let count = pages.len();
    let mut sum = 0u64;
    let start = now();
    for page in pages {
        sum += u64::from(black_box(page).first().copied().unwrap_or(0));
    }
    let took = now() - start;
    black_box(sum);
    took as f64 / count as f64
}

/// What `measure` gives in a child process.
fn in_a_child(measure: impl FnOnce() -> f64) -> io::Result<f64> {
    let (mut reader, mut writer) = io::pipe()?;
    match fork::fork()? {
        Fork::Child => {
            let figure = measure();
            let written = writer.write_all(&figure.to_le_bytes());
            std::process::exit(i32::from(written.is_err()));
        }
        Fork::Parent(child) => {
            drop(writer);
            let mut figure = [0; 8];
            let read = reader.read_exact(&mut figure);
            fork::waitpid(child)?;
            read?;
            Ok(f64::from_le_bytes(figure))
        }
    }
}

/// A page of a larger area made read-only, and writable again: the area is split and merged. Half of a pair's.
pub(crate) fn mprotect(timing: &Timing) -> io::Result<()> {
    // Linux puts a mapping right below the one before, and makes one area of the two.
    let mut rest = MmapMut::map_anon(15 * PAGE)?;
    let mut page = MmapMut::map_anon(PAGE)?;
    // Below it something that it is never merged with, whatever lies there otherwise.
    let below = MmapMut::map_anon(PAGE)?.make_exec()?;
    if page.as_ptr().wrapping_add(PAGE) != rest.as_ptr()
        || below.as_ptr().wrapping_add(PAGE) != page.as_ptr()
    {
        return Err(io::Error::other("mappings do not lie side by side"));
    }
    rest.fill(1);
    page.fill(1);
    let mut mapping = Some(page);
    timing.operation("mprotect", (2_000, 2), || {
        let page = mapping.take().ok_or_else(|| io::Error::other("no page"))?;
        mapping = Some(page.make_read_only()?.make_mut()?);
        Ok(())
    })?;
    Ok(())
}

/// 64 KiB mapped, with its pages, and unmapped.
pub(crate) fn mmap(timing: &Timing) -> io::Result<()> {
    timing.operation("mmap", (200, 1), || {
        drop(MmapOptions::new().len(16 * PAGE).populate().map_anon()?);
        Ok(())
    })?;
    Ok(())
}
