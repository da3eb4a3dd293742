//! Layouts of usual kernels, and properties of all layouts: the entries are run as a CPU would.

#[path = "../../kernel_image/tests/elf_file/mod.rs"]
mod elf_file;

use addr::{Maddr, PAGE_SIZE, Pfn, Vaddr};
use elf_file::{ElfFile, number};
use kernel_image::PvKernel;
use proptest::prelude::*;
use pv_layout::{DomainPages, Layout, LayoutError, Request, Role, StartInfoContent};
use std::collections::{HashMap, HashSet};
use xen_abi::elf_note as note;

const LINUX_BASE: u64 = 0xffff_ffff_8000_0000;
const LINUX_P2M: u64 = 0x80_0000_0000;
const MIB: u64 = 1 << 20;
const WRITABLE: u64 = 2;

fn linux(memory: u64) -> ElfFile {
    ElfFile::kernel(LINUX_BASE, 16 * MIB, memory)
        .with(number(note::INIT_P2M, LINUX_P2M))
        .with(number(note::MOD_START_PFN, 1))
}

fn compute(
    image: &ElfFile,
    initrd: Option<u64>,
    pages: u64,
    role: Role,
) -> Result<Layout, LayoutError> {
    let file = image.build();
    let kernel = PvKernel::parse(&file).unwrap();
    Layout::compute(&Request {
        kernel: (&kernel).into(),
        initrd_bytes: initrd,
        pages,
        role,
    })
}

/// The page tables in memory, as (table, index) → (target, flags).
struct Memory {
    entries: HashMap<(u64, usize), (u64, u64)>,
    root: u64,
}

impl Memory {
    fn of(layout: &Layout) -> Self {
        let mut entries = HashMap::new();
        let mut last_level = 4;
        for entry in layout.entries() {
            assert!(entry.level <= last_level, "by level");
            last_level = entry.level;
            let old = entries.insert(
                (entry.table.raw(), entry.index),
                (entry.target.raw(), entry.flags),
            );
            assert_eq!(old, None, "each entry once: {entry:?}");
        }
        Self {
            entries,
            root: layout.root().raw(),
        }
    }

    /// Walks as the CPU does: the page, and whether it may be written.
    fn walk(&self, address: u64) -> Option<(u64, bool)> {
        let mut frame = self.root;
        let mut writable = true;
        for level in (1..=4).rev() {
            let index = Vaddr::new(address).table_index(level);
            let &(target, flags) = self.entries.get(&(frame, index))?;
            assert_eq!(flags & 1, 1, "present");
            writable &= flags & WRITABLE != 0;
            frame = target;
        }
        Some((frame, writable))
    }
}

/// All that must hold for any layout.
fn check(layout: &Layout, kernel_end: u64, pages: u64) {
    let memory = Memory::of(layout);
    let (base, end) = (layout.base.raw(), layout.end.raw());
    assert_eq!(end % (4 * MIB), 0);
    assert!(end - (layout.stack.raw() + PAGE_SIZE) >= 512 << 10, "slack");

    // Tables: as many as are told, none twice.
    let tables: Vec<_> = layout.tables().collect();
    let frames: HashSet<_> = tables.iter().map(|&(_, frame)| frame.raw()).collect();
    assert_eq!(frames.len(), tables.len());
    assert_eq!(
        tables.len() as u64,
        layout.table_frames() + layout.p2m.table_frames
    );
    assert_eq!(tables[0], (4, layout.root()));
    assert_eq!(layout.tables_of_level(4), 1);
    assert_eq!(layout.frame_at(layout.page_tables), Some(layout.root()));
    assert!(
        memory
            .entries
            .keys()
            .all(|(table, _)| frames.contains(table))
    );

    // The map: each page at its place, tables read-only, all others writable.
    for (n, address) in (base..end).step_by(PAGE_SIZE as usize).enumerate() {
        assert_eq!(
            memory.walk(address),
            Some((n as u64, !frames.contains(&(n as u64))))
        );
    }
    assert_eq!(memory.walk(end), None);
    assert_eq!(
        memory
            .walk(base.wrapping_sub(PAGE_SIZE))
            .filter(|_| !layout.p2m.is_apart),
        None
    );

    // The p2m.
    assert!(layout.p2m.frames * PAGE_SIZE >= pages * 8);
    for n in 0..layout.p2m.frames {
        let address = layout.p2m.address.raw() + n * PAGE_SIZE;
        assert_eq!(
            memory.walk(address),
            Some((layout.p2m.first.raw() + n, true))
        );
    }
    let leaves = layout.entries().filter(|entry| entry.level == 1).count() as u64;
    let apart = if layout.p2m.is_apart {
        layout.p2m.frames
    } else {
        0
    };
    assert_eq!(
        leaves,
        layout.map_frames() + apart,
        "nothing else is mapped"
    );

    // Everything has frames of its own.
    let pfn = |address: Vaddr| layout.frame_at(address).unwrap().raw();
    let mut areas = vec![
        (0, kernel_end.div_ceil(PAGE_SIZE) - base / PAGE_SIZE),
        (pfn(layout.start_info), 1),
        (pfn(layout.page_tables), layout.table_frames()),
        (pfn(layout.stack), 1),
        (layout.p2m.first.raw(), layout.p2m.frames),
        (
            layout.p2m.first.raw() + layout.p2m.frames,
            layout.p2m.table_frames,
        ),
    ];
    areas.extend(
        layout
            .initrd
            .map(|initrd| (initrd.first.raw(), initrd.frames)),
    );
    areas.extend(layout.store.map(|page| (pfn(page), 1)));
    areas.extend(layout.console.map(|page| (pfn(page), 1)));
    areas.retain(|&(_, count)| count > 0);
    areas.sort_unstable();
    for pair in areas.windows(2) {
        assert!(pair[0].0 + pair[0].1 <= pair[1].0, "{areas:?}");
    }
    let used = areas
        .iter()
        .map(|&(first, count)| first + count)
        .max()
        .unwrap();
    assert_eq!(layout.used_frames, used.max(layout.map_frames()));
    assert!(layout.used_frames <= pages);
}

#[test]
fn linux_as_domain_0() {
    let (pages, initrd) = (1024 * MIB / PAGE_SIZE, 30 * MIB + 1);
    let layout = compute(&linux(60 * MIB), Some(initrd), pages, Role::Domain0).unwrap();
    check(&layout, LINUX_BASE + 76 * MIB, pages);
    assert_eq!(layout.start_info.raw(), LINUX_BASE + 76 * MIB);
    assert_eq!(layout.page_tables.raw(), LINUX_BASE + 76 * MIB + PAGE_SIZE);
    assert_eq!(layout.end.raw(), LINUX_BASE + 80 * MIB);
    // Root, L3, L2 and an L1 for each 2 MiB.
    assert_eq!(layout.table_frames(), 3 + 40);
    let map = 80 * MIB / PAGE_SIZE;
    let initrd_frames = 30 * MIB / PAGE_SIZE + 1;
    let placed = layout.initrd.unwrap();
    assert_eq!(
        (placed.first, placed.frames, placed.address),
        (Pfn::new(map), initrd_frames, None)
    );
    assert_eq!(layout.p2m.first, Pfn::new(map + initrd_frames));
    // 2 MiB of p2m: an L1, an L2, an L3.
    assert_eq!((layout.p2m.frames, layout.p2m.table_frames), (512, 3));

    let content = StartInfoContent {
        layout: &layout,
        shared_info: Maddr::new(0x1234000),
        command_line: b"root=/dev/vda  quiet ",
        domain: DomainPages::Domain0 { has_video: true },
        flags: 0,
        has_pae_note: true,
    };
    let info = content.build().unwrap();
    assert!(info.magic.starts_with(b"xen-3.0-x86_64p\0"));
    assert_eq!((info.nr_pages, info.shared_info), (pages, 0x1234000));
    // SIF_PRIVILEGED, SIF_INITDOMAIN, SIF_MOD_START_PFN.
    assert_eq!(info.flags, 1 | 2 | 8);
    assert_eq!((info.mod_start, info.mod_len), (map, initrd));
    assert_eq!(
        (info.pt_base, info.nr_pt_frames),
        (layout.page_tables.raw(), 43)
    );
    assert_eq!(info.mfn_list, LINUX_P2M);
    assert_eq!(
        (info.first_p2m_pfn, info.nr_p2m_frames),
        (map + initrd_frames, 515)
    );
    assert!(info.cmd_line.starts_with(b"root=/dev/vda  quiet \0"));
    let video = info.console.dom0();
    assert_eq!(u64::from(video.info_off), size_of_val(&info) as u64);
    assert!(video.info_size > 0);
}

#[test]
fn small_image_as_other_domain() {
    let image = ElfFile::kernel(0, MIB, 0x5000);
    let layout = compute(&image, Some(5000), 4096, Role::Guest).unwrap();
    check(&layout, MIB + 0x5000, 4096);
    assert_eq!(layout.base.raw(), 0);
    let initrd = layout.initrd.unwrap();
    assert_eq!(initrd.address, Some(Vaddr::new(MIB + 0x5000)));
    assert_eq!(initrd.first, Pfn::new(0x105));
    assert_eq!(layout.p2m.address.raw(), MIB + 0x7000);
    assert_eq!(layout.start_info.raw(), MIB + 0xf000);
    assert_eq!(layout.store.unwrap().raw(), MIB + 0x10000);
    assert_eq!(layout.console.unwrap().raw(), MIB + 0x11000);
    assert_eq!(layout.page_tables.raw(), MIB + 0x12000);
    assert_eq!((layout.end.raw(), layout.table_frames()), (4 * MIB, 5));

    let content = StartInfoContent {
        layout: &layout,
        shared_info: Maddr::new(0x5000),
        command_line: &[b'x'; 1023],
        domain: DomainPages::Guest {
            store_mfn: 7,
            store_port: 1,
            console_mfn: 8,
            console_port: 2,
        },
        flags: 0,
        has_pae_note: true,
    };
    let info = content.build().unwrap();
    assert_eq!((info.flags, info.store_mfn, info.store_evtchn), (0, 7, 1));
    assert_eq!(
        (info.console.dom_u().mfn, info.console.dom_u().evtchn),
        (8, 2)
    );
    assert_eq!((info.mod_start, info.mod_len), (MIB + 0x5000, 5000));
    assert_eq!(
        (info.mfn_list, info.first_p2m_pfn, info.nr_p2m_frames),
        (MIB + 0x7000, 0, 0)
    );
    assert_eq!((info.cmd_line[1022], info.cmd_line[1023]), (b'x', 0));
    let too_long = StartInfoContent {
        command_line: &[b'x'; 1024],
        ..content
    }
    .build()
    .unwrap_err();
    assert_eq!(
        too_long.to_string(),
        "the command line has 1024 bytes, at most 1023 are possible"
    );
}

/// An end that leaves less than 512 KiB moves on by 4 MiB.
#[test]
fn slack() {
    let layout = compute(
        &ElfFile::kernel(0, 0, 4 * MIB - 0x5_0000),
        None,
        4096,
        Role::Guest,
    )
    .unwrap();
    assert_eq!(layout.end.raw(), 8 * MIB);
    check(&layout, 4 * MIB - 0x5_0000, 4096);
}

/// The p2m shares tables with the kernel's map.
#[test]
fn p2m_near_the_kernel() {
    for p2m in [
        8 * MIB,
        1 << 30,
        1 << 32,
        1 << 38,
        (1 << 39) - 512 * PAGE_SIZE,
        1 << 39,
    ] {
        let image = ElfFile::kernel(0, MIB, 0x5000).with(number(note::INIT_P2M, p2m));
        let layout = compute(&image, None, 1 << 18, Role::Domain0).unwrap();
        check(&layout, MIB + 0x5000, 1 << 18);
    }
    let below =
        ElfFile::kernel(1 << 32, MIB, 0x5000).with(number(note::INIT_P2M, (1 << 32) - 2 * MIB));
    check(
        &compute(&below, None, 1 << 18, Role::Domain0).unwrap(),
        (1 << 32) + MIB + 0x5000,
        1 << 18,
    );
}

#[test]
fn impossible() {
    let message = |image: &ElfFile, initrd, pages| {
        compute(image, initrd, pages, Role::Domain0)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(
        message(&linux(60 * MIB), Some(64 * MIB), 100 * MIB / PAGE_SIZE),
        "kernel, initrd and tables need 147668 KiB, the domain has 102400 KiB"
    );
    let inside = ElfFile::kernel(0, MIB, 0x5000).with(number(note::INIT_P2M, 2 * MIB));
    assert_eq!(
        message(&inside, None, 4096),
        "the p2m at 0x200000 collides with the kernel or the hypervisor"
    );
    let into_hole = ElfFile::kernel(0, MIB, 0x5000).with(number(note::INIT_P2M, 0x7fff_ffff_f000));
    assert!(message(&into_hole, None, 1 << 20).starts_with("the p2m at 0x7ffffffff000 collides"));
    let at_the_top = ElfFile::kernel(0xffff_ffff_ff80_0000, MIB, 0x5000);
    assert!(
        message(&at_the_top, Some(9 * MIB), 1 << 20)
            .ends_with("do not fit into the address space at 0xffffffffff800000")
    );
    let below_hole = ElfFile::kernel(0x7fff_ff80_0000, MIB, 0x5000);
    assert!(
        message(&below_hole, Some(9 * MIB), 1 << 20).contains("do not fit into the address space")
    );
    assert!(compute(&linux(MIB), Some(u64::MAX), 4096, Role::Guest).is_err());
    assert!(compute(&linux(MIB), None, u64::MAX, Role::Guest).is_err());
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
    #![proptest_config(cases(60))]

    #[test]
    fn any_layout(
        base in prop_oneof![Just(0), Just(LINUX_BASE), (0u64..1 << 35).prop_map(|page| page << 12)],
        offset in 0u64..2000,
        size in 1u64..30 << 20,
        initrd in proptest::option::of(0u64..20 << 20),
        p2m in proptest::option::of(prop_oneof![Just(LINUX_P2M), (0u64..1 << 35).prop_map(|page| page << 12)]),
        by_frame in any::<bool>(),
        pages in 0u64..100_000,
        is_guest in any::<bool>(),
    ) {
        let mut image = ElfFile::kernel(base, offset << 12, size);
        if let Some(p2m) = p2m {
            image = image.with(number(note::INIT_P2M, p2m));
        }
        if by_frame {
            image = image.with(number(note::MOD_START_PFN, 1));
        }
        let file = image.build();
        let Ok(kernel) = PvKernel::parse(&file) else { return Ok(()) };
        let role = if is_guest { Role::Guest } else { Role::Domain0 };
        let request = Request { kernel: (&kernel).into(), initrd_bytes: initrd, pages, role };
        match Layout::compute(&request) {
            Ok(layout) => check(&layout, kernel.end.raw(), pages),
            Err(error) => prop_assert!(!error.to_string().is_empty()),
        }
    }

    #[test]
    fn never_panics(base in any::<u64>(), paddr in any::<u64>(), size in any::<u64>(), initrd in any::<u64>(), pages in any::<u64>(), p2m in any::<u64>()) {
        let file = ElfFile::kernel(base << 12, paddr >> 20, size >> 20)
            .with(number(note::INIT_P2M, p2m << 12)).build();
        let Ok(kernel) = PvKernel::parse(&file) else { return Ok(()) };
        for pages in [pages, pages >> 20, pages >> 40] {
            let request = Request { kernel: (&kernel).into(), initrd_bytes: Some(initrd), pages, role: Role::Guest };
            let _ = Layout::compute(&request);
        }
    }
}
