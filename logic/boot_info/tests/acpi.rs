//! ACPI tables: as QEMU's q35 has them, and broken in each way.

mod machine;

use addr::Maddr;
use boot_info::acpi::{
    AcpiProblem, MadtEntry, McfgSegment, Polarity, RegisterSpace, Rsdp, Signature, SratEntry,
    Tables, Trigger,
};
use machine::{Memory, set_checksum, table, words};
use proptest::prelude::*;

const XSDT: u64 = 0x10_0000;
const RSDT: u64 = 0x11_0000;
const FIRST: u64 = 0x12_0000;

fn rsdp(revision: u8) -> Vec<u8> {
    let mut bytes = b"RSD PTR \0BOCHS ".to_vec();
    bytes.push(revision);
    bytes.extend(words(&[RSDT as u32, 36, XSDT as u32, 0, 0]));
    set_checksum(&mut bytes[..20], 8);
    if revision >= 2 {
        set_checksum(&mut bytes, 32);
    }
    bytes
}

fn madt() -> Vec<u8> {
    let mut body = words(&[0xfee0_0000, 1]);
    body.extend([0, 8, 0, 0, 1, 0, 0, 0]);
    body.extend([0, 8, 1, 1, 2, 0, 0, 0]);
    body.extend([1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0, 0, 0, 0]);
    body.extend([2, 10, 0, 0, 2, 0, 0, 0, 0, 0]);
    body.extend([2, 10, 0, 9, 9, 0, 0, 0, 0x0d, 0]);
    body.extend([3, 8, 0x07, 0, 20, 0, 0, 0]);
    body.extend([4, 6, 0xff, 0, 0, 1]);
    body.extend([5, 12, 0, 0, 0, 0, 0xe1, 0xfe, 1, 0, 0, 0]);
    body.extend([9, 16, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0]);
    body.extend([10, 12, 0, 0, 0xff, 0xff, 0xff, 0xff, 1, 0, 0, 0]);
    body.extend([0x80, 4, 1, 2]);
    table(b"APIC", 3, &body)
}

/// Revision 3 with extended addresses, or 1 with ports only.
fn fadt(revision: u8) -> Vec<u8> {
    let mut bytes = vec![0; if revision == 1 { 116 } else { 244 }];
    let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
    put(36, &0x7fe_0000u32.to_le_bytes());
    put(40, &0x7fe_0040u32.to_le_bytes());
    put(46, &9u16.to_le_bytes());
    put(48, &0xb2u32.to_le_bytes());
    put(52, &[2, 3]);
    put(56, &0x600u32.to_le_bytes());
    put(64, &0x604u32.to_le_bytes());
    put(76, &0x608u32.to_le_bytes());
    put(88, &[4, 2, 0, 4]);
    put(108, &[0x32]);
    put(112, &(1u32 << 8 | 1 << 10).to_le_bytes());
    if revision >= 2 {
        put(109, &0b10u16.to_le_bytes());
        put(116, &[1, 8, 0, 1, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0]);
        put(128, &[0x0f]);
        put(140, &0x1_0000_0040u64.to_le_bytes());
        put(208, &[1, 32, 0, 3, 0x08, 0x06, 0, 0, 0, 0, 0, 0]);
    }
    table(b"FACP", revision, &bytes[36..])
}

fn tables() -> Vec<Vec<u8>> {
    let mut hpet = words(&[0x8086_a201]);
    hpet.extend([0, 64, 0, 0]);
    hpet.extend(0xfed0_0000u64.to_le_bytes());
    hpet.extend([0, 0x80, 0, 0]);
    let mut mcfg = vec![0; 8];
    mcfg.extend(0xb000_0000u64.to_le_bytes());
    mcfg.extend([0, 0, 0, 255, 0, 0, 0, 0]);
    let mut srat = vec![0; 12];
    srat.extend([0, 16, 1, 7, 1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0]);
    srat.extend([1, 40, 1, 0, 0, 0, 0, 0]);
    srat.extend(0x10_0000u64.to_le_bytes());
    srat.extend(0x700_0000u64.to_le_bytes());
    srat.extend(words(&[0, 1, 0, 0]));
    srat.extend([
        2, 24, 0, 0, 3, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    let mut slit = 2u64.to_le_bytes().to_vec();
    slit.extend([10, 20, 21, 10]);
    vec![
        fadt(3),
        madt(),
        table(b"HPET", 1, &hpet),
        table(b"MCFG", 1, &mcfg),
        table(b"SRAT", 1, &srat),
        table(b"SLIT", 1, &slit),
    ]
}

/// Where the `n`th table is.
fn place(n: usize) -> u64 {
    FIRST + n as u64 * 0x1000
}

/// Directories of both widths, and the tables.
fn machine(tables: &[Vec<u8>]) -> Memory {
    let mut memory = Memory::default();
    let places = || (0..tables.len()).map(place);
    let wide: Vec<u8> = places().flat_map(u64::to_le_bytes).collect();
    let narrow: Vec<u8> = places().flat_map(|at| (at as u32).to_le_bytes()).collect();
    memory.put(XSDT, table(b"XSDT", 1, &wide));
    memory.put(RSDT, table(b"RSDT", 1, &narrow));
    for (bytes, at) in tables.iter().zip(places()) {
        memory.put(at, bytes.clone());
    }
    memory
}

fn root() -> Rsdp {
    Rsdp::parse(&rsdp(2)).unwrap()
}

#[test]
fn root_pointer() {
    let old = Rsdp::parse(&rsdp(0)).unwrap();
    assert_eq!((old.rsdt.raw(), old.xsdt), (RSDT, None));
    assert_eq!(root().xsdt, Some(Maddr::new(XSDT)));
    for at in 0..36 {
        let mut bytes = rsdp(2);
        bytes[at] ^= 0x10;
        assert_eq!(Rsdp::parse(&bytes), None, "byte {at}");
    }
    assert_eq!(Rsdp::parse(&rsdp(2)[..35]), None);
    assert!(Rsdp::parse(&rsdp(0)[..20]).is_some());
}

#[test]
fn search() {
    let mut memory = Memory::default();
    let mut area = vec![0; 0x2_0000];
    area[0x1_4a10..][..36].copy_from_slice(&rsdp(2));
    // One that is not aligned, and one with a wrong checksum.
    area[0x101..][..36].copy_from_slice(&rsdp(2));
    area[0x1000..][..36].copy_from_slice(&rsdp(2));
    area[0x1010] ^= 1;
    memory.put(0xe_0000, area);
    assert_eq!(
        Rsdp::search(&memory).unwrap().at,
        Some(Maddr::new(0xf_4a10))
    );
    // The extended BIOS data area comes first.
    memory.put(0x40e, 0x9fc0u16.to_le_bytes());
    memory.put(0x9_fc00, [vec![0; 0x3f0], rsdp(0)].concat());
    assert_eq!(
        Rsdp::search(&memory).unwrap().at,
        Some(Maddr::new(0x9_fff0))
    );
    assert_eq!(Rsdp::search(&Memory::default()), None);
}

#[test]
fn directory() {
    let memory = machine(&tables());
    for rsdp in [
        root(),
        Rsdp {
            xsdt: None,
            ..root()
        },
        Rsdp {
            xsdt: Some(Maddr::new(4)),
            ..root()
        },
    ] {
        let tables = Tables::load(&memory, &rsdp).unwrap();
        let names: Vec<_> = tables
            .list()
            .iter()
            .map(|table| table.signature.to_string())
            .collect();
        assert_eq!(names, ["FACP", "APIC", "HPET", "MCFG", "SRAT", "SLIT"]);
        assert_eq!(tables.problems(), []);
    }
    let error = Tables::load(&Memory::default(), &root()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "ACPI table XSDT: address 0x100000 is not in readable memory"
    );
    let error = Tables::load(
        &Memory::default(),
        &Rsdp {
            xsdt: None,
            ..root()
        },
    )
    .err()
    .unwrap();
    assert_eq!(
        error.to_string(),
        "ACPI table RSDT: address 0x110000 is not in readable memory"
    );
    let swapped = Rsdp {
        xsdt: Some(Maddr::new(RSDT)),
        rsdt: Maddr::new(XSDT),
        ..root()
    };
    let error = Tables::load(&memory, &swapped).err().unwrap();
    assert_eq!(
        error.to_string(),
        "ACPI table XSDT: \"RSDT\" is at its address"
    );
}

#[test]
fn interrupt_controllers() {
    let memory = machine(&tables());
    let madt = Tables::load(&memory, &root()).unwrap().madt().unwrap();
    assert!(madt.has_8259);
    assert_eq!(madt.local_apic().raw(), 0x1_fee1_0000, "overridden");
    let entries: Vec<_> = madt.entries().collect();
    let cpu = |acpi_id, apic_id, enabled, online_capable, x2apic| MadtEntry::Cpu {
        acpi_id,
        apic_id,
        enabled,
        online_capable,
        x2apic,
    };
    let (bus, any) = (Polarity::BusDefault, Trigger::BusDefault);
    assert_eq!(
        entries,
        [
            cpu(0, 0, true, false, false),
            cpu(1, 1, false, true, false),
            MadtEntry::IoApic {
                id: 0,
                address: Maddr::new(0xfec0_0000),
                gsi_base: 0
            },
            MadtEntry::InterruptOverride {
                irq: 0,
                gsi: 2,
                polarity: bus,
                trigger: any
            },
            MadtEntry::InterruptOverride {
                irq: 9,
                gsi: 9,
                polarity: Polarity::High,
                trigger: Trigger::Level
            },
            MadtEntry::NmiSource {
                gsi: 20,
                polarity: Polarity::Low,
                trigger: Trigger::Edge
            },
            MadtEntry::LocalNmi {
                acpi_id: None,
                lint: 1,
                polarity: bus,
                trigger: any
            },
            MadtEntry::LocalApicAddress(Maddr::new(0x1_fee1_0000)),
            cpu(256, 256, true, false, true),
            MadtEntry::LocalNmi {
                acpi_id: None,
                lint: 1,
                polarity: bus,
                trigger: any
            },
            MadtEntry::Other(0x80),
        ]
    );
}

#[test]
fn fixed_hardware() {
    let memory = machine(&tables());
    let new = Tables::load(&memory, &root()).unwrap().fadt().unwrap();
    let port = |register: Option<boot_info::acpi::GenericAddress>| {
        register.map(|register| {
            assert_eq!(register.space, RegisterSpace::Port);
            register.address
        })
    };
    assert_eq!(new.sci_interrupt, 9);
    assert_eq!(new.smi_command, Some((0xb2, 2)));
    assert_eq!(port(new.pm_timer), Some(0x608));
    assert!(
        new.pm_timer_is_32_bit && !new.hardware_reduced && new.has_8042 && !new.has_legacy_devices
    );
    assert_eq!(
        (port(new.sleep.pm1a_event), port(new.sleep.pm1a_control)),
        (Some(0x600), Some(0x604))
    );
    assert_eq!(
        (
            new.sleep.pm1b_event,
            new.sleep.pm1b_control,
            new.sleep.sleep_control
        ),
        (None, None, None)
    );
    let (reset, value) = new.reset.unwrap();
    assert_eq!((reset.address, value), (0xcf9, 0x0f));
    assert_eq!(
        (new.facs, new.dsdt),
        (
            Some(Maddr::new(0x7fe_0000)),
            Some(Maddr::new(0x1_0000_0040))
        )
    );
    assert_eq!(new.century, Some(0x32));

    let memory = machine(&[fadt(1)]);
    let old = Tables::load(&memory, &root()).unwrap().fadt().unwrap();
    assert_eq!(port(old.pm_timer), Some(0x608));
    assert_eq!((old.reset, old.dsdt), (None, Some(Maddr::new(0x7fe_0040))));
    assert!(old.has_legacy_devices && old.has_8042);
}

#[test]
fn small_tables() {
    let memory = machine(&tables());
    let tables = Tables::load(&memory, &root()).unwrap();
    let hpet = tables.hpet().unwrap().unwrap();
    assert_eq!(
        (hpet.address.raw(), hpet.block_id, hpet.min_tick),
        (0xfed0_0000, 0x8086_a201, 128)
    );
    let segments: Vec<_> = tables.mcfg().unwrap().unwrap().segments().collect();
    let address = Maddr::new(0xb000_0000);
    assert_eq!(
        segments,
        [McfgSegment {
            address,
            segment: 0,
            first_bus: 0,
            last_bus: 255
        }]
    );
    let near: Vec<_> = tables.srat().unwrap().unwrap().entries().collect();
    assert_eq!(
        near,
        [
            SratEntry::Cpu {
                apic_id: 7,
                node: 0x201,
                enabled: true
            },
            SratEntry::Memory {
                start: Maddr::new(0x10_0000),
                len: 0x700_0000,
                node: 1,
                enabled: true,
                hot_pluggable: false,
            },
            SratEntry::Cpu {
                apic_id: 256,
                node: 3,
                enabled: true
            },
        ]
    );
    let slit = tables.slit().unwrap().unwrap();
    assert_eq!(
        (
            slit.nodes(),
            slit.distance(0, 1),
            slit.distance(1, 0),
            slit.distance(2, 0)
        ),
        (2, Some(20), Some(21), None)
    );
}

#[test]
fn missing_and_broken_tables() {
    let memory = machine(&[]);
    let empty = Tables::load(&memory, &root()).unwrap();
    assert_eq!(
        empty.madt().unwrap_err().to_string(),
        "ACPI table APIC: not found"
    );
    assert!(empty.hpet().unwrap().is_none() && empty.mcfg().unwrap().is_none());

    let broken = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut madt = madt();
        change(&mut madt);
        let memory = machine(&[madt]);
        let tables = Tables::load(&memory, &root()).unwrap();
        tables.madt().unwrap_err()
    };
    assert_eq!(
        broken(&|madt| madt[50] ^= 1).to_string(),
        "ACPI table APIC: wrong checksum"
    );
    assert_eq!(
        broken(&|madt| madt.truncate(100)).problem,
        AcpiProblem::Unreadable(Maddr::new(FIRST))
    );
    assert_eq!(
        broken(&|madt| madt[4..8].fill(0)).to_string(),
        "ACPI table APIC: impossible length 0"
    );
    assert_eq!(
        broken(&|madt| madt[4..8].fill(0xff)).problem,
        AcpiProblem::BadLength(u32::MAX.into())
    );
    let entry = |offset: usize, len: u8| {
        broken(&move |madt: &mut Vec<u8>| {
            madt[offset + 1] = len;
            set_checksum(madt, 9);
        })
    };
    assert_eq!(
        entry(44, 0).to_string(),
        "ACPI table APIC: the entry at offset 0x2c has an impossible length"
    );
    assert_eq!(entry(44, 1).problem, AcpiProblem::BadEntry(44));
    assert_eq!(entry(44, 255).problem, AcpiProblem::BadEntry(44));
    assert_eq!(
        entry(44, 4).problem,
        AcpiProblem::BadEntry(44),
        "shorter than its fields"
    );
    assert_eq!(entry(44, 0).table, Signature(*b"APIC"));

    let short = |bytes: Vec<u8>| machine(&[bytes]);
    let memory = short(table(b"FACP", 1, &[0; 79]));
    let error = Tables::load(&memory, &root()).unwrap().fadt().unwrap_err();
    assert_eq!(error.to_string(), "ACPI table FACP: impossible length 115");
    let memory = short(table(b"HPET", 1, &[0; 20]));
    let error = Tables::load(&memory, &root()).unwrap().hpet().unwrap_err();
    assert_eq!(error.to_string(), "ACPI table HPET: the address is 0x0");
    let memory = short(table(b"SLIT", 1, &u64::MAX.to_le_bytes()));
    let error = Tables::load(&memory, &root()).unwrap().slit().unwrap_err();
    assert_eq!(
        error.to_string(),
        "ACPI table SLIT: the number of nodes is 0xffffffffffffffff"
    );
}

#[test]
fn too_many_tables() {
    let mut memory = Memory::default();
    let places: Vec<u8> = (0..200).flat_map(|_| FIRST.to_le_bytes()).collect();
    memory.put(XSDT, table(b"XSDT", 1, &places));
    memory.put(FIRST, madt());
    let error = Tables::load(&memory, &root()).err().unwrap();
    assert_eq!(
        error.to_string(),
        "ACPI table XSDT: lists more than 128 tables"
    );
}

fn use_all(memory: &Memory) {
    let Ok(tables) = Tables::load(memory, &root()) else {
        return;
    };
    let _ = tables.fadt();
    let _ = tables.hpet();
    let _ = tables
        .mcfg()
        .map(|mcfg| mcfg.map(|mcfg| mcfg.segments().count()));
    let _ = tables.madt().map(|madt| madt.entries().count());
    let _ = tables
        .srat()
        .map(|srat| srat.map(|srat| srat.entries().count()));
    if let Ok(Some(slit)) = tables.slit() {
        let _ = slit.distance(slit.nodes().wrapping_sub(1), slit.nodes());
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

    /// Wrong bytes with right checksums.
    #[test]
    fn mutated(which in 0usize..6, changes in proptest::collection::vec((10usize..400, any::<u8>()), 1..6)) {
        let mut tables = tables();
        let table = &mut tables[which];
        for (at, byte) in changes {
            let at = 10 + at % (table.len() - 10);
            table[at] = byte;
        }
        set_checksum(table, 9);
        use_all(&machine(&tables));
    }

    #[test]
    fn arbitrary(
        which in 0usize..6,
        body in proptest::collection::vec(any::<u8>(), 0..300),
        revision in 0u8..7,
    ) {
        let names = [b"APIC", b"FACP", b"HPET", b"MCFG", b"SRAT", b"SLIT"];
        use_all(&machine(&[table(names[which], revision, &body)]));
        let _ = Rsdp::parse(&body);
    }
}
