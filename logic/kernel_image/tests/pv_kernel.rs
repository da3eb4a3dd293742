//! ELF files and Xen's notes: good ones, each kind of bad one, and arbitrary ones.

mod elf_file;

use elf_file::{ElfFile, Load, number, text};
use kernel_image::{ElfProblem, KernelImage, PvKernel, PvProblem};
use proptest::prelude::*;
use xen_abi::{elf_note as note, features};

const LINUX_BASE: u64 = 0xffff_ffff_8000_0000;

fn linux() -> ElfFile {
    ElfFile::kernel(LINUX_BASE, 0x100_0000, 0x20_0000)
        .with(text(note::GUEST_OS, "linux"))
        .with(text(note::GUEST_VERSION, "2.6"))
        .with(number(note::INIT_P2M, 0x80_0000_0000))
        .with(text(
            note::FEATURES,
            "!writable_page_tables|pae_pgdir_above_4gb",
        ))
        .with((note::SUPPORTED_FEATURES, 0x8801u32.to_le_bytes().to_vec()))
        .with(text(note::PAE_MODE, "yes"))
        .with((
            note::L1_MFN_VALID,
            [1u64.to_le_bytes(), 1u64.to_le_bytes()].concat(),
        ))
        .with((note::SUSPEND_CANCEL, 1u32.to_le_bytes().to_vec()))
        .with((note::MOD_START_PFN, 1u32.to_le_bytes().to_vec()))
        .with(number(note::HV_START_LOW, 0xffff_8000_0000_0000))
        .with(number(note::PADDR_OFFSET, 0))
}

/// The message, and that it is one line.
fn refused(file: &[u8]) -> String {
    let message = PvKernel::parse(file)
        .expect_err("must be refused")
        .to_string();
    assert!(!message.contains('\n'));
    message
}

#[test]
fn linux_notes() {
    let file = linux().build();
    let kernel = PvKernel::parse(&file).unwrap();
    assert_eq!(kernel.entry.raw(), LINUX_BASE + 0x100_0000);
    assert_eq!(kernel.virt_base.raw(), LINUX_BASE);
    assert_eq!(
        (kernel.start.raw(), kernel.end.raw()),
        (LINUX_BASE + 0x100_0000, LINUX_BASE + 0x120_0000)
    );
    assert_eq!(kernel.init_p2m.unwrap().raw(), 0x80_0000_0000);
    assert_eq!(kernel.hypercall_page, None);
    assert!(kernel.mod_start_pfn && kernel.suspend_cancel && !kernel.bsd_symtab);
    assert_eq!(kernel.l1_mfn_valid, Some((1, 1)));
    assert_eq!(
        (kernel.guest_os, kernel.guest_version, kernel.pae_mode),
        (&b"linux"[..], &b"2.6"[..], &b"yes"[..])
    );
    assert_eq!(
        kernel.features.required,
        1 << features::WRITABLE_PAGE_TABLES
    );
    assert_eq!(kernel.features.supported, 0x8811);
    assert_eq!(kernel.check_dom0(), Ok(()));
    let segments: Vec<_> = kernel.segments().collect();
    assert_eq!(segments.len(), 1);
    assert_eq!(segments[0].address, kernel.start);
    assert_eq!(
        (segments[0].bytes, segments[0].memory_size),
        (&[0x90; 64][..], 0x20_0000)
    );
}

/// As GRUB's image for Xen: two segments from address 0, few notes.
#[test]
fn image_at_address_0() {
    let mut image = ElfFile::kernel(0, 0, 0x41_e1f0);
    image.loads.push(Load {
        paddr: 0x41_e1f0,
        vaddr: 0x41_e1f0,
        bytes: vec![1; 100],
        memory_size: 100,
    });
    let file = image.build();
    let kernel = PvKernel::parse(&file).unwrap();
    assert_eq!(
        (kernel.entry.raw(), kernel.start.raw(), kernel.end.raw()),
        (0, 0, 0x41_e254)
    );
    assert!(!kernel.mod_start_pfn && kernel.init_p2m.is_none());
    assert_eq!(kernel.check_dom0(), Ok(()));
}

#[test]
fn image_at_1_mib_with_hypercall_page() {
    let file = ElfFile::kernel(0, 1 << 20, 0x5000)
        .with(number(note::HYPERCALL_PAGE, 0x10_2000))
        .build();
    let kernel = PvKernel::parse(&file).unwrap();
    assert_eq!(kernel.entry.raw(), 1 << 20);
    assert_eq!(kernel.hypercall_page.unwrap().raw(), 0x10_2000);
}

#[test]
fn physical_offset() {
    let mut image = ElfFile::kernel(LINUX_BASE, 0x100_0000, 0x1000);
    image.loads[0].paddr = LINUX_BASE + 0x100_0000;
    let file = image.with(number(note::PADDR_OFFSET, LINUX_BASE)).build();
    assert_eq!(
        PvKernel::parse(&file).unwrap().start.raw(),
        LINUX_BASE + 0x100_0000
    );
}

#[test]
fn older_section() {
    let mut image = ElfFile::kernel(LINUX_BASE, 0x10_0000, 0x8000);
    image.loads[0].paddr = LINUX_BASE + 0x10_0000;
    image.entry = LINUX_BASE + 0x10_0000;
    image.notes.clear();
    image.guest_section = Some(
        "GUEST_OS=old,XEN_VER=xen-3.0,VIRT_BASE=0xffffffff80000000,HYPERCALL_PAGE=0x102,PAE=yes,LOADER=generic".into(),
    );
    let file = image.build();
    let kernel = PvKernel::parse(&file).unwrap();
    assert_eq!(kernel.start.raw(), LINUX_BASE + 0x10_0000);
    assert_eq!(kernel.hypercall_page.unwrap().raw(), LINUX_BASE + 0x10_2000);
    assert_eq!(kernel.guest_os, b"old");
}

#[test]
fn without_notes() {
    let mut image = linux();
    image.notes.clear();
    assert_eq!(
        refused(&image.build()),
        "not a paravirtual kernel: no Xen ELF notes"
    );
    image
        .notes
        .push((note::PHYS32_ENTRY, 0x100_0000u32.to_le_bytes().to_vec()));
    assert_eq!(
        refused(&image.build()),
        "not a paravirtual kernel: its ELF notes are for PVH only"
    );
}

#[test]
fn bad_notes() {
    for (note, message) in [
        (
            text(note::XEN_VERSION, "xen-2.0"),
            "its XEN_VERSION is not xen-3.0",
        ),
        (text(note::LOADER, "special"), "its LOADER is not generic"),
        (
            text(note::FEATURES, "!flying"),
            "it requires a feature of unknown name",
        ),
        (
            (note::ENTRY, vec![1, 2, 3]),
            "ELF note 1 has a value of the wrong size",
        ),
        (number(note::ENTRY, 0), "the entry at 0x0 is out of bounds"),
        (
            number(note::INIT_P2M, LINUX_BASE + 0x100_0000),
            "the p2m at 0xffffffff81000000 is out of bounds",
        ),
        (
            number(note::INIT_P2M, 0xffff_8000_0000_0000),
            "the p2m at 0xffff800000000000 is out of bounds",
        ),
        (
            number(note::HYPERCALL_PAGE, LINUX_BASE),
            "the hypercall page at 0xffffffff80000000 is out of bounds",
        ),
        (
            number(note::VIRT_BASE, 0xffff_8100_0000_0000),
            "the kernel at 0xffff810001000000 is out of bounds",
        ),
        (
            number(note::VIRT_BASE, 0x8000_0000_0000),
            "the kernel at 0x800001000000 is out of bounds",
        ),
        (
            number(note::VIRT_BASE, u64::MAX << 12),
            "the kernel at 0xfff000 is out of bounds",
        ),
    ] {
        assert_eq!(
            refused(&linux().with(note).build()),
            format!("not a paravirtual kernel: {message}")
        );
    }
    let mut image = linux();
    image.notes.retain(|(kind, _)| *kind != note::VIRT_BASE);
    assert_eq!(
        refused(&image.build()),
        "not a paravirtual kernel: it has PADDR_OFFSET but no VIRT_BASE"
    );
    let image = linux().with(text(note::FEATURES, "flying")).build();
    assert!(
        PvKernel::parse(&image).is_ok(),
        "unknown features may be optional"
    );
}

#[test]
fn not_for_domain_0() {
    let mut image = linux();
    image
        .notes
        .retain(|(kind, _)| *kind != note::SUPPORTED_FEATURES);
    let file = image
        .clone()
        .with((note::SUPPORTED_FEATURES, 1u32.to_le_bytes().to_vec()))
        .build();
    assert_eq!(
        PvKernel::parse(&file).unwrap().check_dom0(),
        Err(PvProblem::NotForDom0)
    );
    assert_eq!(
        PvKernel::parse(&image.build()).unwrap().check_dom0(),
        Ok(())
    );
}

#[test]
fn bad_elf_files() {
    let good = linux().build();
    let problem = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut file = good.clone();
        change(&mut file);
        match kernel_image::Elf::parse(&file) {
            Err(problem) => problem,
            Ok(_) => panic!("must be refused"),
        }
    };
    assert_eq!(problem(&|file| file[0] = 0), ElfProblem::NotElf);
    assert_eq!(problem(&|file| file[4] = 1), ElfProblem::Is32Bit);
    assert_eq!(problem(&|file| file[5] = 2), ElfProblem::BadIdentification);
    assert_eq!(
        problem(&|file| file[18] = 183),
        ElfProblem::WrongMachine { machine: 183 }
    );
    assert_eq!(
        problem(&|file| file[16] = 4),
        ElfProblem::NotExecutable { kind: 4 }
    );
    let cut = |len| problem(&move |file: &mut Vec<u8>| file.truncate(len));
    assert!(matches!(
        cut(60),
        ElfProblem::Outside {
            what: "the file header",
            ..
        }
    ));
    assert!(matches!(
        cut(100),
        ElfProblem::Outside {
            what: "program headers",
            ..
        }
    ));
    assert!(matches!(
        cut(200),
        ElfProblem::Outside {
            what: "segments",
            ..
        }
    ));
    // Memory size below file size; address space overflow.
    assert_eq!(
        problem(&|file| file[64 + 40..64 + 48].fill(0x0)),
        ElfProblem::NoSegments
    );
    assert_eq!(
        problem(&|file| file[64 + 40..64 + 48].copy_from_slice(&9u64.to_le_bytes())),
        ElfProblem::BadSegment { index: 0 }
    );
    assert_eq!(
        problem(&|file| file[64 + 24..64 + 32].fill(0xff)),
        ElfProblem::BadSegment { index: 0 }
    );
    let mut overlap = linux();
    overlap.loads.push(overlap.loads[0].clone());
    assert_eq!(
        refused(&overlap.build()),
        "kernel's ELF file: segments overlap at 0x1000000"
    );
    let mut many = linux();
    for n in 0..40 {
        many.loads.push(Load {
            paddr: n << 12,
            vaddr: n << 12,
            bytes: vec![],
            memory_size: 1,
        });
    }
    assert_eq!(
        refused(&many.build()),
        "kernel's ELF file: more than 32 segments"
    );
    assert_eq!(
        refused(&[&b"\x7fELF\x01\x01\x01"[..], &[0; 60]].concat()),
        "kernel's ELF file: a 32-bit kernel; only 64-bit ones are supported"
    );
}

#[test]
fn elf_module_is_used_in_place() {
    let file = linux().build();
    let image = KernelImage::open(&file).unwrap();
    assert_eq!(image.unpacked().unwrap().as_ptr(), file.as_ptr());
    assert_eq!(image.unpacked_size(), file.len());
}

fn try_all(file: &[u8]) {
    if let Ok(kernel) = PvKernel::parse(file) {
        assert!(kernel.virt_base <= kernel.start && kernel.start < kernel.end);
        assert!((kernel.start..kernel.end).contains(&kernel.entry));
        for segment in kernel.segments() {
            assert!(segment.address >= kernel.start);
            assert!(segment.address.raw() + segment.memory_size <= kernel.end.raw());
            assert!(segment.bytes.len() as u64 <= segment.memory_size);
        }
        let _ = kernel.check_dom0();
    }
}

/// So many, or more if `PROPTEST_CASES` says so.
fn cases(least: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(least),
        ..default
    }
}

proptest! {
    #![proptest_config(cases(3000))]

    #[test]
    fn mutated(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut file = linux().build();
        for (at, byte) in changes {
            *at.get_mut(&mut file) = byte;
        }
        try_all(&file);
    }

    #[test]
    fn mutated_section(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        let mut image = linux();
        image.notes.clear();
        image.guest_section = Some("VIRT_BASE=0xffffffff80000000,ELF_PADDR_OFFSET=0x0,HYPERCALL_PAGE=0x2".into());
        let mut file = image.build();
        for (at, byte) in changes {
            *at.get_mut(&mut file) = byte;
        }
        try_all(&file);
    }

    #[test]
    fn arbitrary_numbers(
        base in any::<u64>(), paddr in any::<u64>(), size in any::<u64>(),
        kind in 0u32..20, value in any::<u64>(),
    ) {
        try_all(&ElfFile::kernel(base, paddr, size).with(number(kind, value)).build());
    }

    #[test]
    fn arbitrary(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
        try_all(&[&b"\x7fELF\x02\x01\x01"[..], &tail].concat());
    }
}
