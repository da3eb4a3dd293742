//! [`PvKernel`]: where a paravirtual kernel wants to be, and what it wants from the hypervisor.
//!
//! Source: `public/elfnote.h`.

use crate::notes::{self, Note, NoteValue};
use crate::{Elf, ImageError, PvProblem};
use addr::{PAGE_SIZE, Vaddr};
use xen_abi::elf_note as note;

/// First address of the hypervisor's own part of every address space.
const HOLE_START: u64 = 0xffff_8000_0000_0000;
/// One past the last address of it.
const HOLE_END: u64 = 0xffff_8800_0000_0000;

/// Bits of [`xen_abi::features`].
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Features {
    /// What the kernel can make use of, or can live with.
    pub supported: u32,
    /// What it cannot live without. Linux names `writable_page_tables` here, which no hypervisor offers to
    /// paravirtual guests, so that nobody refuses a kernel by it.
    pub required: u32,
    /// Whether the kernel lists all that it supports (`SUPPORTED_FEATURES`): then what is missing there,
    /// it does not support.
    pub complete: bool,
}

/// A part of the kernel that goes to memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LoadSegment<'a> {
    /// Where, in the guest's initial address space.
    pub address: Vaddr,
    /// The content.
    pub bytes: &'a [u8],
    /// Bytes in memory; those after the content are 0.
    pub memory_size: u64,
}

/// A paravirtual kernel.
#[derive(Clone, Debug)]
pub struct PvKernel<'a> {
    /// Where it starts.
    pub entry: Vaddr,
    /// Virtual address of pseudo-physical address 0.
    pub virt_base: Vaddr,
    /// First address of its segments.
    pub start: Vaddr,
    /// One past the last address of its segments.
    pub end: Vaddr,
    /// Where it wants the hypercall page; newer kernels want none.
    pub hypercall_page: Option<Vaddr>,
    /// Where it wants the pseudo-physical to machine table; after the image if `None`.
    pub init_p2m: Option<Vaddr>,
    /// It can do with an initrd that is not mapped, told by its frame's number.
    pub mod_start_pfn: bool,
    /// Lowest address that it leaves to the hypervisor.
    pub hv_start_low: Option<Vaddr>,
    /// Mask and value of a valid page-table entry: only for migration.
    pub l1_mfn_valid: Option<(u64, u64)>,
    /// It understands cancelled suspends.
    pub suspend_cancel: bool,
    /// It wants its symbol table loaded.
    pub bsd_symtab: bool,
    /// What it needs.
    pub features: Features,
    /// The operating system's name.
    pub guest_os: &'a [u8],
    /// Its version.
    pub guest_version: &'a [u8],
    /// Value of `PAE_MODE`, of no meaning for 64 bits.
    pub pae_mode: &'a [u8],
    elf: Elf<'a>,
    /// What to add to a physical address of the file.
    virt_offset: u64,
}

/// Values of the notes; later ones win.
#[derive(Default)]
struct Values<'a> {
    entry: Option<u64>,
    hypercall_page: Option<u64>,
    virt_base: Option<u64>,
    paddr_offset: Option<u64>,
    init_p2m: Option<u64>,
    hv_start_low: Option<u64>,
    l1_mfn_valid: Option<(u64, u64)>,
    mod_start_pfn: bool,
    suspend_cancel: bool,
    bsd_symtab: bool,
    features: Features,
    guest_os: &'a [u8],
    guest_version: &'a [u8],
    pae_mode: &'a [u8],
    has_phys32_entry: bool,
    has_pv_note: bool,
}

impl<'a> Values<'a> {
    fn apply(&mut self, note: Note<'a>) -> Result<(), PvProblem> {
        let bad = PvProblem::BadNote { kind: note.kind };
        let number = || note.value.number().ok_or(bad);
        match note.kind {
            note::ENTRY => self.entry = Some(number()?),
            note::HYPERCALL_PAGE => self.hypercall_page = Some(number()?),
            note::VIRT_BASE => self.virt_base = Some(number()?),
            note::PADDR_OFFSET => self.paddr_offset = Some(number()?),
            note::INIT_P2M => self.init_p2m = Some(number()?),
            note::HV_START_LOW => self.hv_start_low = Some(number()?),
            note::MOD_START_PFN => self.mod_start_pfn = number()? != 0,
            note::SUSPEND_CANCEL => self.suspend_cancel = number()? != 0,
            note::SUPPORTED_FEATURES => {
                // Only the first submap exists.
                self.features.supported |= number()? as u32;
                self.features.complete = true;
            }
            note::FEATURES => self.features.parse(note.value.text())?,
            note::L1_MFN_VALID => self.l1_mfn_valid = mask_and_value(note.value),
            note::BSD_SYMTAB => self.bsd_symtab = note.value.text().starts_with(b"yes"),
            note::GUEST_OS => self.guest_os = note.value.text(),
            note::GUEST_VERSION => self.guest_version = note.value.text(),
            note::PAE_MODE => self.pae_mode = note.value.text(),
            note::XEN_VERSION if note.value.text() != b"xen-3.0" => {
                return Err(PvProblem::WrongXenVersion);
            }
            note::LOADER if note.value.text() != b"generic" => return Err(PvProblem::WrongLoader),
            note::PHYS32_ENTRY => self.has_phys32_entry = true,
            _ => {}
        }
        self.has_pv_note |= !matches!(
            note.kind,
            note::PHYS32_ENTRY | note::GUEST_OS | note::GUEST_VERSION | note::INFO
        );
        Ok(())
    }
}

/// Two numbers of equal size.
fn mask_and_value(value: NoteValue<'_>) -> Option<(u64, u64)> {
    let NoteValue::Bytes(bytes) = value else {
        return None;
    };
    let (mask, value) = bytes.split_at_checked(bytes.len() / 2)?;
    Some((
        NoteValue::Bytes(mask).number()?,
        NoteValue::Bytes(value).number()?,
    ))
}

impl Features {
    /// Names that the `FEATURES` note may have.
    const NAMES: [(&'static [u8], u32); 6] = {
        use xen_abi::features as feature;
        [
            (b"writable_page_tables", feature::WRITABLE_PAGE_TABLES),
            (
                b"writable_descriptor_tables",
                feature::WRITABLE_DESCRIPTOR_TABLES,
            ),
            (b"auto_translated_physmap", feature::AUTO_TRANSLATED_PHYSMAP),
            (b"supervisor_mode_kernel", feature::SUPERVISOR_MODE_KERNEL),
            (b"pae_pgdir_above_4gb", feature::PAE_PGDIR_ABOVE_4GB),
            (b"dom0", feature::DOM0),
        ]
    };

    /// Adds those of a note: names with `|` between, `!` before what is required.
    fn parse(&mut self, text: &[u8]) -> Result<(), PvProblem> {
        for item in text
            .split(|&byte| byte == b'|')
            .filter(|item| !item.is_empty())
        {
            let (name, required) = match item.strip_prefix(b"!") {
                Some(name) => (name, true),
                None => (item, false),
            };
            match Self::NAMES.iter().find(|(known, _)| *known == name) {
                Some((_, bit)) => {
                    self.supported |= 1 << bit;
                    if required {
                        self.required |= 1 << bit;
                    }
                }
                None if required => return Err(PvProblem::UnknownFeature),
                None => {}
            }
        }
        Ok(())
    }
}

impl<'a> PvKernel<'a> {
    /// Reads the notes and checks them against the segments.
    pub fn from_elf(elf: Elf<'a>) -> Result<Self, PvProblem> {
        let mut values = Values::default();
        let mut has_notes = false;
        for note in elf.note_areas().flat_map(notes::in_area) {
            has_notes = true;
            values.apply(note)?;
        }
        let mut legacy = false;
        if !has_notes {
            let section = elf.section(b"__xen_guest").ok_or(PvProblem::NoNotes)?;
            notes::in_guest_section(section).try_for_each(|note| values.apply(note))?;
            legacy = true;
        }
        if values.has_phys32_entry && !values.has_pv_note {
            return Err(PvProblem::OnlyPvh);
        }
        Self::place(elf, &values, legacy)
    }

    fn place(elf: Elf<'a>, values: &Values<'a>, legacy: bool) -> Result<Self, PvProblem> {
        if values.paddr_offset.is_some() && values.virt_base.is_none() {
            return Err(PvProblem::OffsetWithoutBase);
        }
        let out = |what, address| PvProblem::OutOfBounds { what, address };
        let base = values.virt_base.unwrap_or(0);
        // With the older section, physical addresses of the file used to be virtual ones.
        let default_offset = if legacy { base } else { 0 };
        let virt_offset = base.wrapping_sub(values.paddr_offset.unwrap_or(default_offset));
        let (first, past) = elf.physical_range();
        let (start, end) = (
            first.wrapping_add(virt_offset),
            past.wrapping_add(virt_offset),
        );
        if start >= end || base > start || !base.is_multiple_of(PAGE_SIZE) {
            return Err(out("the kernel", start));
        }
        let canonical = |address| Vaddr::new(address).is_canonical();
        let in_hole = start < HOLE_END && end > HOLE_START;
        if in_hole || !canonical(base) || !canonical(end - 1) || (base ^ (end - 1)) >> 47 != 0 {
            return Err(out("the kernel", start));
        }
        let entry = values.entry.unwrap_or(elf.entry());
        if !(start..end).contains(&entry) {
            return Err(out("the entry", entry));
        }
        let hypercall_page = match values.hypercall_page {
            Some(page) if legacy => page
                .checked_mul(PAGE_SIZE)
                .and_then(|at| at.checked_add(base)),
            page => page,
        };
        if let Some(page) = hypercall_page
            && (page < start || page.checked_add(PAGE_SIZE).is_none_or(|past| past > end))
        {
            return Err(out("the hypercall page", page));
        }
        if let Some(p2m) = values.init_p2m
            && ((start..end).contains(&p2m)
                || !p2m.is_multiple_of(PAGE_SIZE)
                || !canonical(p2m)
                || (HOLE_START..HOLE_END).contains(&p2m))
        {
            return Err(out("the p2m", p2m));
        }
        if let Some(low) = values.hv_start_low
            && low > HOLE_START
        {
            return Err(out("the start of the hypervisor's part", low));
        }
        Ok(Self {
            entry: Vaddr::new(entry),
            virt_base: Vaddr::new(base),
            start: Vaddr::new(start),
            end: Vaddr::new(end),
            hypercall_page: hypercall_page.map(Vaddr::new),
            init_p2m: values.init_p2m.map(Vaddr::new),
            mod_start_pfn: values.mod_start_pfn,
            hv_start_low: values.hv_start_low.map(Vaddr::new),
            l1_mfn_valid: values.l1_mfn_valid,
            suspend_cancel: values.suspend_cancel,
            bsd_symtab: values.bsd_symtab,
            features: values.features,
            guest_os: values.guest_os,
            guest_version: values.guest_version,
            pae_mode: values.pae_mode,
            elf,
            virt_offset,
        })
    }

    /// Unpacked file to kernel in one step.
    pub fn parse(file: &'a [u8]) -> Result<Self, ImageError> {
        Ok(Self::from_elf(Elf::parse(file)?)?)
    }

    /// What to load, and where.
    pub fn segments(&self) -> impl Iterator<Item = LoadSegment<'a>> + '_ {
        self.elf.segments().iter().map(|segment| LoadSegment {
            address: Vaddr::new(segment.paddr.wrapping_add(self.virt_offset)),
            bytes: segment.bytes,
            memory_size: segment.memory_size,
        })
    }

    /// Whether the kernel may be domain 0. One that does not list what it supports is believed.
    pub fn check_dom0(&self) -> Result<(), PvProblem> {
        let dom0 = self.features.supported & (1 << xen_abi::features::DOM0) != 0;
        if self.features.complete && !dom0 {
            Err(PvProblem::NotForDom0)
        } else {
            Ok(())
        }
    }
}
