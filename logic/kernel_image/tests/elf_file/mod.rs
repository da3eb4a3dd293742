//! Makes ELF files with Xen's notes.

#![allow(dead_code, reason = "each test uses a part of it")]

use xen_abi::elf_note;

/// A loadable segment.
#[derive(Clone)]
pub(crate) struct Load {
    pub(crate) paddr: u64,
    pub(crate) vaddr: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) memory_size: u64,
}

/// A file to be made.
#[derive(Clone)]
pub(crate) struct ElfFile {
    pub(crate) entry: u64,
    pub(crate) loads: Vec<Load>,
    /// Notes of owner "Xen": type and value.
    pub(crate) notes: Vec<(u32, Vec<u8>)>,
    /// The older section instead of notes.
    pub(crate) guest_section: Option<String>,
}

/// A note with a number.
pub(crate) fn number(kind: u32, value: u64) -> (u32, Vec<u8>) {
    (kind, value.to_le_bytes().to_vec())
}

/// A note with a text.
pub(crate) fn text(kind: u32, value: &str) -> (u32, Vec<u8>) {
    (kind, [value.as_bytes(), b"\0"].concat())
}

impl ElfFile {
    /// One segment of `memory_size` bytes at physical `paddr`, at `base + paddr` in the guest's memory.
    pub(crate) fn kernel(base: u64, paddr: u64, memory_size: u64) -> Self {
        let vaddr = base.wrapping_add(paddr);
        let bytes = vec![0x90; memory_size.min(64) as usize];
        Self {
            entry: 0,
            loads: vec![Load {
                paddr,
                vaddr,
                bytes,
                memory_size,
            }],
            notes: vec![
                number(elf_note::VIRT_BASE, base),
                number(elf_note::ENTRY, vaddr),
                text(elf_note::XEN_VERSION, "xen-3.0"),
                text(elf_note::LOADER, "generic"),
            ],
            guest_section: None,
        }
    }

    /// Adds a note.
    pub(crate) fn with(mut self, note: (u32, Vec<u8>)) -> Self {
        self.notes.push(note);
        self
    }

    /// The file's bytes.
    pub(crate) fn build(&self) -> Vec<u8> {
        let mut notes = Vec::new();
        for (kind, value) in &self.notes {
            notes.extend(4u32.to_le_bytes());
            notes.extend((value.len() as u32).to_le_bytes());
            notes.extend(kind.to_le_bytes());
            notes.extend(b"Xen\0");
            notes.extend(value);
            notes.resize(notes.len().next_multiple_of(4), 0);
        }
        let headers = self.loads.len() + usize::from(!notes.is_empty());
        let mut file = vec![0; 64 + 56 * headers];
        let mut program_headers = Vec::new();
        let mut add = |file: &mut Vec<u8>, kind: u32, load: &Load| {
            let fields = [
                file.len() as u64,
                load.vaddr,
                load.paddr,
                load.bytes.len() as u64,
            ];
            program_headers.extend(kind.to_le_bytes());
            program_headers.extend(7u32.to_le_bytes());
            for field in fields.into_iter().chain([load.memory_size, 0x1000]) {
                program_headers.extend(field.to_le_bytes());
            }
            file.extend(&load.bytes);
        };
        for load in &self.loads {
            add(&mut file, 1, load);
        }
        if !notes.is_empty() {
            add(
                &mut file,
                4,
                &Load {
                    paddr: 0,
                    vaddr: 0,
                    bytes: notes,
                    memory_size: 0,
                },
            );
        }
        file[64..64 + program_headers.len()].copy_from_slice(&program_headers);
        let mut sections = (0u64, 0u16);
        if let Some(guest) = &self.guest_section {
            let names = b"\0.shstrtab\0__xen_guest\0";
            let names_at = file.len() as u64;
            file.extend(names);
            let guest_at = file.len() as u64;
            file.extend(guest.bytes().chain([0]));
            sections = (file.len() as u64, 3);
            for (name, kind, at, len) in [
                (0u32, 0u32, 0, 0),
                (1, 3, names_at, names.len() as u64),
                (11, 1, guest_at, guest.len() as u64 + 1),
            ] {
                file.extend(name.to_le_bytes());
                file.extend(kind.to_le_bytes());
                for field in [0, 0, at, len, 0, 1, 0] {
                    file.extend(u64::to_le_bytes(field));
                }
            }
        }
        file[..16].copy_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
        let mut put = |at: usize, bytes: &[u8]| file[at..at + bytes.len()].copy_from_slice(bytes);
        put(16, &2u16.to_le_bytes());
        put(18, &62u16.to_le_bytes());
        put(20, &1u32.to_le_bytes());
        put(24, &self.entry.to_le_bytes());
        put(32, &64u64.to_le_bytes());
        put(40, &sections.0.to_le_bytes());
        put(52, &64u16.to_le_bytes());
        put(54, &56u16.to_le_bytes());
        put(56, &(headers as u16).to_le_bytes());
        put(58, &64u16.to_le_bytes());
        put(60, &sections.1.to_le_bytes());
        put(62, &1u16.to_le_bytes());
        file
    }
}
