//! Xen's ELF notes: how a kernel says where it goes and what it needs.
//!
//! Source: `public/elfnote.h`; for the older `__xen_guest` section, `public/elfnote.h`'s "legacy" remarks.

use crate::bytes::{u32_at, u64_at, until_nul};

/// A note of owner "Xen".
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Note<'a> {
    /// Its number in [`xen_abi::elf_note`].
    pub kind: u32,
    /// Its value.
    pub value: NoteValue<'a>,
}

/// A note's value: its type depends on the kind of note.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NoteValue<'a> {
    /// From an ELF note.
    Bytes(&'a [u8]),
    /// From the `__xen_guest` section, where everything is text.
    Text(&'a [u8]),
}

impl<'a> NoteValue<'a> {
    /// As a number; `None` if it is none. Notes may have any usual size of integer.
    pub fn number(self) -> Option<u64> {
        match self {
            Self::Bytes(&[byte]) => Some(byte.into()),
            Self::Bytes(&[low, high]) => Some(u16::from_le_bytes([low, high]).into()),
            Self::Bytes(bytes) => match bytes.len() {
                4 => u32_at(bytes, 0).map(u64::from),
                8 => u64_at(bytes, 0),
                _ => None,
            },
            Self::Text(text) => {
                let (digits, radix) = match text {
                    [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
                    _ => (text, 10),
                };
                u64::from_str_radix(core::str::from_utf8(digits).ok()?, radix).ok()
            }
        }
    }

    /// As text without the terminating NUL.
    pub fn text(self) -> &'a [u8] {
        match self {
            Self::Bytes(bytes) => until_nul(bytes),
            Self::Text(text) => text,
        }
    }
}

/// The "Xen" notes in the content of a note segment or section.
pub(crate) fn in_area(area: &[u8]) -> impl Iterator<Item = Note<'_>> {
    let mut rest = area;
    core::iter::from_fn(move || {
        loop {
            let (owner, note, tail) = next(rest)?;
            rest = tail;
            if until_nul(owner) == b"Xen" {
                return Some(note);
            }
        }
    })
}

/// Owner, note and what follows.
fn next(area: &[u8]) -> Option<(&[u8], Note<'_>, &[u8])> {
    let owner_len = usize::try_from(u32_at(area, 0)?).ok()?;
    let value_len = usize::try_from(u32_at(area, 4)?).ok()?;
    let kind = u32_at(area, 8)?;
    // Both parts are padded to 4 bytes.
    let rest = area.get(12..)?;
    let owner = rest.get(..owner_len)?;
    let rest = rest.get(owner_len.checked_next_multiple_of(4)?..)?;
    let value = rest.get(..value_len)?;
    // The last one's padding may be missing.
    let rest = rest
        .get(value_len.checked_next_multiple_of(4)?..)
        .unwrap_or(&[]);
    Some((
        owner,
        Note {
            kind,
            value: NoteValue::Bytes(value),
        },
        rest,
    ))
}

/// The notes in a `__xen_guest` section: `NAME=value` with commas between, of which Xen knows these.
pub(crate) fn in_guest_section(section: &[u8]) -> impl Iterator<Item = Note<'_>> {
    use xen_abi::elf_note as note;
    until_nul(section)
        .split(|&byte| byte == b',')
        .filter_map(|item| {
            let mut parts = item.splitn(2, |&byte| byte == b'=');
            let (name, value) = (parts.next()?, parts.next().unwrap_or(b""));
            let kind = match name {
                b"LOADER" => note::LOADER,
                b"VIRT_BASE" => note::VIRT_BASE,
                b"VIRT_ENTRY" => note::ENTRY,
                b"ELF_PADDR_OFFSET" => note::PADDR_OFFSET,
                // A page number, counted from VIRT_BASE: `pv_kernel` does the arithmetic.
                b"HYPERCALL_PAGE" => note::HYPERCALL_PAGE,
                b"GUEST_OS" => note::GUEST_OS,
                b"GUEST_VER" => note::GUEST_VERSION,
                b"XEN_VER" => note::XEN_VERSION,
                b"PAE" => note::PAE_MODE,
                b"FEATURES" => note::FEATURES,
                b"BSD_SYMTAB" => note::BSD_SYMTAB,
                _ => return None,
            };
            Some(Note {
                kind,
                value: NoteValue::Text(value),
            })
        })
}
