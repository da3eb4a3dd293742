//! Both multiboot protocols: what boot loaders give, and what none should.

mod machine;

use addr::Maddr;
use boot_info::{BootInfo, BootInfoError, RegionKind, Video, multiboot1, multiboot2};
use machine::{Memory, words};
use proptest::prelude::*;

const INFO: u64 = 0x9000;

/// E820 entries of a small PC: start, length, kind.
const MAP: [(u64, u64, u32); 3] = [
    (0, 0x9fc00, 1),
    (0xf0000, 0x10000, 2),
    (0x10_0000, 0x7ee_0000, 1),
];

/// As QEMU's `-kernel xenolith -append "…" -initrd "vmlinuz args,initrd"` leaves it.
fn multiboot1_memory() -> Memory {
    let mut memory = Memory::default();
    let mut info = vec![0; 116];
    let mut put = |at: usize, value: u32| info[at..at + 4].copy_from_slice(&value.to_le_bytes());
    put(0, 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 9);
    put(4, 639);
    put(8, 129920);
    put(16, 0xa000);
    put(20, 2);
    put(24, 0xb000);
    put(44, 3 * 24);
    put(48, 0xc000);
    put(64, 0xd000);
    memory.put(INFO, info);
    memory.put(0xa000, *b"xenolith console=com1  dom0_mem=1G \0");
    let modules = [
        0x20_0000, 0x30_0000, 0xe000, 0, 0x30_0000, 0x30_1234, 0xe100, 0,
    ];
    memory.put(0xb000, words(&modules));
    let map = MAP.iter().flat_map(|&(start, len, kind)| {
        let (s, l) = (start as u32, len as u32);
        words(&[20, s, (start >> 32) as u32, l, (len >> 32) as u32, kind])
    });
    memory.put(0xc000, map.collect::<Vec<_>>());
    memory.put(0xd000, *b"qemu\0");
    memory.put(0xe000, *b"vmlinuz root=/dev/vda  init=/bin/sh \0");
    memory.put(0xe100, *b"initrd\0");
    memory
}

/// As GRUB 2 leaves it.
fn multiboot2_memory() -> Memory {
    let tag = |kind: u32, body: &[u8]| {
        let mut bytes = words(&[kind, 8 + body.len() as u32]);
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    };
    let module =
        |start: u32, end: u32, text: &[u8]| tag(3, &[&words(&[start, end])[..], text].concat());
    let mut map = words(&[24, 0]);
    for (start, len, kind) in MAP {
        map.extend(start.to_le_bytes());
        map.extend(len.to_le_bytes());
        map.extend(words(&[kind, 0]));
    }
    let mut rsdp = b"RSD PTR \0OEMID \x02".to_vec();
    rsdp.extend(words(&[0x7f_0000, 36, 0x7f_1000, 0, 0]));
    machine::set_checksum(&mut rsdp[..20], 8);
    machine::set_checksum(&mut rsdp, 32);
    let mut framebuffer = 0xe000_0000u64.to_le_bytes().to_vec();
    framebuffer.extend(words(&[4096, 1024, 768]));
    framebuffer.extend([32, 1, 0, 0, 16, 8, 8, 8, 0, 8]);
    let tags = [
        tag(1, b"dom0_mem=1G loglvl=all\0"),
        tag(2, b"GRUB 2.06-13+deb12u1\0"),
        module(0x20_0000, 0x30_0000, b"root=/dev/vda  ro\0"),
        module(0x30_0000, 0x30_1234, b"\0"),
        tag(4, &words(&[639, 129920])),
        tag(6, &map),
        tag(8, &framebuffer),
        tag(12, &0x7e00_0000u64.to_le_bytes()),
        tag(14, &rsdp[..20]),
        tag(15, &rsdp),
        tag(99, b"of the future"),
        tag(0, b""),
    ]
    .concat();
    let mut info = words(&[8 + tags.len() as u32, 0]);
    info.extend(tags);
    let mut memory = Memory::default();
    memory.put(INFO, info);
    memory
}

fn parse1(memory: &Memory) -> Result<BootInfo, BootInfoError> {
    multiboot1::parse(memory, Maddr::new(INFO))
}

fn parse2(memory: &Memory) -> Result<BootInfo, BootInfoError> {
    multiboot2::parse(memory, Maddr::new(INFO))
}

fn check_map(info: &BootInfo) {
    let regions: Vec<_> = info
        .memory_map
        .regions()
        .iter()
        .map(|region| (region.start.raw(), region.len(), region.kind.0))
        .collect();
    assert_eq!(regions, MAP);
}

#[test]
fn from_qemu() {
    let info = parse1(&multiboot1_memory()).unwrap();
    check_map(&info);
    assert_eq!(info.loader_name(), b"qemu");
    assert_eq!(info.command_line(), b"console=com1  dom0_mem=1G ");
    let modules: Vec<_> = info.modules().collect();
    assert_eq!(modules.len(), 2);
    assert_eq!(
        (modules[0].start, modules[0].len),
        (Maddr::new(0x20_0000), 0x10_0000)
    );
    assert_eq!(
        modules[0].command_line, b"root=/dev/vda  init=/bin/sh ",
        "to the byte"
    );
    assert_eq!(
        (modules[1].len, modules[1].command_line),
        (0x1234, &b""[..])
    );
    assert_eq!((info.video, info.rsdp), (None, None));
}

#[test]
fn from_grub() {
    let mut info = parse2(&multiboot2_memory()).unwrap();
    check_map(&info);
    assert_eq!(
        info.command_line(),
        b"dom0_mem=1G loglvl=all",
        "GRUB leaves the name out"
    );
    assert_eq!(info.module(0).unwrap().command_line, b"root=/dev/vda  ro");
    assert_eq!(info.module(1).unwrap().command_line, b"");
    assert_eq!(info.module(2), None);
    let Some(Video::Pixels(screen)) = info.video else {
        panic!("{:?}", info.video)
    };
    assert_eq!(
        (
            screen.address.raw(),
            screen.pitch,
            screen.width,
            screen.height
        ),
        (0xe000_0000, 4096, 1024, 768)
    );
    assert_eq!(
        (screen.bits_per_pixel, screen.colours),
        (32, [(16, 8), (8, 8), (0, 8)])
    );
    let rsdp = info.rsdp.unwrap();
    assert_eq!(
        (rsdp.rsdt.raw(), rsdp.xsdt.map(Maddr::raw)),
        (0x7f_0000, Some(0x7f_1000))
    );
    assert_eq!(info.efi_system_table, Some(Maddr::new(0x7e00_0000)));
    info.relocate_module(1, Maddr::new(0x700_0000));
    assert_eq!(info.module(1).unwrap().start.raw(), 0x700_0000);
}

#[test]
fn sizes_instead_of_a_map() {
    let mut memory = multiboot1_memory();
    memory.change(0, 1);
    let info = parse1(&memory).unwrap();
    assert_eq!(
        info.memory_map.kind_at(Maddr::new(0x9fbff)),
        Some(RegionKind::RAM)
    );
    assert_eq!(info.memory_map.kind_at(Maddr::new(0x9fc00)), None);
    assert_eq!(
        info.memory_map
            .kind_at(Maddr::new(0x10_0000 + 129920 * 1024 - 1)),
        Some(RegionKind::RAM)
    );
    memory.change(0, 0);
    assert_eq!(
        parse1(&memory).unwrap_err().to_string(),
        "multiboot: the boot loader gave no memory map"
    );
}

#[test]
fn malformed() {
    let message = |change: &dyn Fn(&mut Vec<u8>), modern: bool| {
        let mut memory = Memory::default();
        let good = if modern {
            multiboot2_memory()
        } else {
            multiboot1_memory()
        };
        let len = if modern { 8 } else { 116 };
        let mut head = boot_info::PhysicalMemory::read(&good, Maddr::new(INFO), len)
            .unwrap()
            .to_vec();
        if modern {
            let all = u32::from_le_bytes(head[..4].try_into().unwrap()) as usize;
            head = boot_info::PhysicalMemory::read(&good, Maddr::new(INFO), all)
                .unwrap()
                .to_vec();
        }
        change(&mut head);
        memory.put(INFO, head);
        let result = if modern {
            parse2(&memory)
        } else {
            parse1(&memory)
        };
        result.unwrap_err().to_string()
    };
    assert_eq!(
        message(&|info| info.truncate(50), false),
        "multiboot: the information structure at 0x9000 is not in readable memory"
    );
    assert_eq!(
        message(&|_| {}, false),
        "multiboot: the loader's name at 0xd000 is not in readable memory"
    );
    let modules = |count: u32| {
        move |info: &mut Vec<u8>| {
            info[..4].copy_from_slice(&(1u32 << 3).to_le_bytes());
            info[20..24].copy_from_slice(&count.to_le_bytes());
        }
    };
    assert_eq!(
        message(&modules(2), false),
        "multiboot: the module list at 0xb000 is not in readable memory"
    );
    assert_eq!(
        message(&modules(33), false),
        "multiboot: 33 modules, at most 32 are possible"
    );
    assert_eq!(
        message(&modules(u32::MAX), false),
        "multiboot: 4294967295 modules, at most 32 are possible"
    );

    assert_eq!(
        message(&|info| info[0] = 1, true),
        "multiboot: a tag has impossible size 38"
    );
    assert_eq!(
        message(&|info| info[..4].fill(0), true),
        "multiboot: the information has impossible size 0"
    );
    assert_eq!(
        message(&|info| info[..4].fill(0xff), true),
        "multiboot: the information has impossible size 4294967295"
    );
    assert_eq!(
        message(&|info| info[12] = 7, true),
        "multiboot: a tag has impossible size 7"
    );
    assert_eq!(
        message(&|info| info[13] = 7, true),
        "multiboot: a tag has impossible size 1823"
    );
}

#[test]
fn text_that_is_too_long() {
    let mut memory = Memory::default();
    let body = vec![b'a'; 13_000];
    let tag = [words(&[1, 8 + body.len() as u32]), body, words(&[0, 8])].concat();
    memory.put(INFO, [words(&[8 + tag.len() as u32, 0]), tag].concat());
    assert_eq!(
        parse2(&memory).unwrap_err().to_string(),
        "multiboot: command lines are longer than 12288 bytes together"
    );
}

fn use_all(info: Result<BootInfo, BootInfoError>) {
    match info {
        Ok(info) => {
            let _ = (info.command_line(), info.loader_name());
            for module in info.modules() {
                let _ = (
                    module.command_line,
                    module.start.raw().checked_add(module.len).unwrap(),
                );
            }
            let _ = info.memory_map.total_ram_frames();
        }
        Err(error) => assert!(!error.to_string().contains('\n')),
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
    #![proptest_config(cases(2000))]

    #[test]
    fn mutated(changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6)) {
        let (mut old, mut new) = (multiboot1_memory(), multiboot2_memory());
        for (place, byte) in changes {
            old.change(place, byte);
            new.change(place, byte);
        }
        use_all(parse1(&old));
        use_all(parse2(&new));
    }

    #[test]
    fn arbitrary(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let mut memory = Memory::default();
        memory.put(INFO, bytes.clone());
        use_all(parse1(&memory));
        let mut memory = Memory::default();
        memory.put(INFO, [words(&[8 + bytes.len() as u32, 0]), bytes].concat());
        use_all(parse2(&memory));
    }
}
