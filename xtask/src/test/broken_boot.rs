//! Boot loaders that lie: the image with a few bytes of code in front, which jump to its entry with boot
//! information of our making.
//!
//! Source: Multiboot Specification 0.6.96 §3.3, Multiboot2 2.0 §3.6, ACPI 6.5 §5.2.

use anyhow::Result;

use crate::elf32::{Container, Segment};

const MAGIC1: u32 = 0x2bad_b002;
const MAGIC2: u32 = 0x36d7_6289;

/// The information's place from the start of our segment, after the code.
const INFO: u32 = 0x40;
/// Where tables and modules that the information names are.
const TABLES: u32 = 0x1000;

/// A lie: what stands in EAX, and what EBX points to.
pub(crate) struct Lie {
    pub(crate) name: &'static str,
    /// What the hypervisor has to say.
    pub(crate) says: &'static str,
    magic: u32,
    content: fn(base: u32) -> Vec<u8>,
    /// EBX, if not the content.
    wild: Option<u32>,
}

const fn lie(
    name: &'static str,
    says: &'static str,
    magic: u32,
    content: fn(u32) -> Vec<u8>,
) -> Lie {
    Lie {
        name,
        says,
        magic,
        content,
        wild: None,
    }
}

/// All of them.
pub(crate) const LIES: &[Lie] = &[
    lie(
        "no multiboot loader",
        "not started by a multiboot loader",
        0x1234_5678,
        |_| Vec::new(),
    ),
    Lie {
        wild: Some(0xffff_fff8),
        ..lie(
            "multiboot 1 information nowhere",
            "multiboot: ",
            MAGIC1,
            |_| Vec::new(),
        )
    },
    Lie {
        wild: Some(0xffff_fff8),
        ..lie(
            "multiboot 2 information nowhere",
            "multiboot: ",
            MAGIC2,
            |_| Vec::new(),
        )
    },
    lie("multiboot 1 without memory", "memory map", MAGIC1, |_| {
        multiboot1(&[])
    }),
    lie("multiboot 1 modules nowhere", "multiboot: ", MAGIC1, |_| {
        multiboot1(&[
            (0, 0x09),
            (4, 639),
            (8, 200 << 10),
            (20, 1),
            (24, 0xffff_fff0),
        ])
    }),
    lie(
        "multiboot 1 with four thousand million modules",
        "multiboot: ",
        MAGIC1,
        |base| {
            multiboot1(&[
                (0, 0x09),
                (4, 639),
                (8, 200 << 10),
                (20, 0xffff_ffff),
                (24, base + TABLES),
            ])
        },
    ),
    lie(
        "multiboot 1 memory map too long",
        "multiboot: ",
        MAGIC1,
        |base| multiboot1(&[(0, 0x40), (44, 0xffff_ff00), (48, base + TABLES)]),
    ),
    lie(
        "multiboot 1 memory map's entry of size 0",
        "multiboot: ",
        MAGIC1,
        |base| multiboot1(&[(0, 0x40), (44, 240), (48, base + TABLES)]),
    ),
    lie(
        "multiboot 1 module backwards",
        "ends before it starts",
        MAGIC1,
        |base| {
            let mut content = multiboot1(&[
                (0, 0x09),
                (4, 639),
                (8, 200 << 10),
                (20, 1),
                (24, base + TABLES),
            ]);
            put(
                &mut content,
                TABLES - INFO,
                &[0x0200_0000, 0x0100_0000, 0, 0],
            );
            content
        },
    ),
    lie("multiboot 2 of size 0", "multiboot: ", MAGIC2, |_| {
        words(&[0, 0])
    }),
    lie("multiboot 2 of 4 GiB", "multiboot: ", MAGIC2, |_| {
        words(&[0xffff_ffff, 0])
    }),
    lie("multiboot 2 tag of size 0", "multiboot: ", MAGIC2, |_| {
        words(&[24, 0, 3, 0, 0, 8])
    }),
    lie(
        "multiboot 2 tag longer than all",
        "multiboot: ",
        MAGIC2,
        |_| words(&[24, 0, 3, 4096, 0, 8]),
    ),
    lie("multiboot 2 without end", "multiboot: ", MAGIC2, |_| {
        words(&[24, 0, 10, 16, 0, 0])
    }),
    lie("multiboot 2 without memory", "memory map", MAGIC2, |_| {
        words(&[16, 0, 0, 8])
    }),
    lie(
        "multiboot 2 module backwards",
        "ends before it starts",
        MAGIC2,
        |_| multiboot2(&[&tag(3, &words(&[0x0200_0000, 0x0100_0000, 0]))]),
    ),
    lie("ACPI root table nowhere", "ACPI", MAGIC2, |base| {
        acpi(base, 0xffff_f000, &[])
    }),
    lie("ACPI root table of 4 GiB", "ACPI", MAGIC2, |base| {
        acpi(
            base,
            base + TABLES,
            &[(0, table_of_length(b"RSDT", 0xffff_ffff, &[]))],
        )
    }),
    lie("ACPI root table too short", "ACPI", MAGIC2, |base| {
        acpi(
            base,
            base + TABLES,
            &[(0, table_of_length(b"RSDT", 8, &[]))],
        )
    }),
    lie("ACPI root table's checksum", "ACPI", MAGIC2, |base| {
        let mut root = table(b"RSDT", &words(&[base + TABLES + 0x100]));
        root[9] ^= 0x55;
        acpi(base, base + TABLES, &[(0, root)])
    }),
    lie(
        "ACPI root table of something else",
        "ACPI",
        MAGIC2,
        |base| acpi(base, base + TABLES, &[(0, table(b"WHAT", &[]))]),
    ),
    lie(
        "ACPI without an interrupt controllers' table",
        "APIC",
        MAGIC2,
        |base| acpi(base, base + TABLES, &[(0, table(b"RSDT", &[]))]),
    ),
    lie(
        "ACPI interrupt controllers' entry of size 0",
        "APIC",
        MAGIC2,
        |base| {
            let controllers = table(b"APIC", &words(&[0xfee0_0000, 1, 0, 0, 0]));
            acpi(
                base,
                base + TABLES,
                &[
                    (0, table(b"RSDT", &words(&[base + TABLES + 0x100]))),
                    (0x100, controllers),
                ],
            )
        },
    ),
    lie(
        "ACPI interrupt controllers' entry too long",
        "APIC",
        MAGIC2,
        |base| {
            let controllers = table(b"APIC", &words(&[0xfee0_0000, 1, 0xf000]));
            acpi(
                base,
                base + TABLES,
                &[
                    (0, table(b"RSDT", &words(&[base + TABLES + 0x100]))),
                    (0x100, controllers),
                ],
            )
        },
    ),
];

impl Lie {
    /// The image, started by the liar. `kernel` lies where multiboot 2 information says that a module is.
    pub(crate) fn image(&self, image: &Container, kernel: &[u8]) -> Result<Vec<u8>> {
        let base = image.end().next_multiple_of(1 << 16) + (1 << 16);
        let mut content = Vec::new();
        content.push(0xb8); // mov eax, magic
        content.extend_from_slice(&self.magic.to_le_bytes());
        content.push(0xbb); // mov ebx, information
        content.extend_from_slice(&self.wild.unwrap_or(base + INFO).to_le_bytes());
        content.push(0xe9); // jmp entry
        let after = base + u32::try_from(content.len())? + 4;
        content.extend_from_slice(&image.entry.wrapping_sub(after).to_le_bytes());
        content.resize(INFO as usize, 0);
        content.extend_from_slice(&(self.content)(base));
        content.resize(KERNEL as usize, 0);
        content.extend_from_slice(kernel);
        let mut lying = image.clone();
        lying.entry = base;
        lying.segments.push(Segment {
            physical: base,
            memory_size: u32::try_from(content.len())?,
            flags: 7,
            content,
        });
        lying.write()
    }
}

/// Where the kernel is, from the start of our segment.
const KERNEL: u32 = 0x1_0000;
/// The size that we claim for it: more than it has does no harm to tests that end before.
const KERNEL_SIZE: u32 = 12 << 20;

fn words(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

fn put(content: &mut Vec<u8>, at: u32, values: &[u32]) {
    put_bytes(content, at, &words(values));
}

fn put_bytes(content: &mut Vec<u8>, at: u32, bytes: &[u8]) {
    let (start, end) = (at as usize, at as usize + bytes.len());
    if content.len() < end {
        content.resize(end, 0);
    }
    content[start..end].copy_from_slice(bytes);
}

/// Multiboot 1 information: (offset, value).
fn multiboot1(fields: &[(u32, u32)]) -> Vec<u8> {
    let mut content = vec![0; 120];
    for &(offset, value) in fields {
        put(&mut content, offset, &[value]);
    }
    content
}

fn tag(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut tag = words(&[kind, body.len() as u32 + 8]);
    tag.extend_from_slice(body);
    tag.resize(tag.len().next_multiple_of(8), 0);
    tag
}

fn multiboot2(tags: &[&[u8]]) -> Vec<u8> {
    // The machine's memory: 640 KiB, and from 1 MiB to 255 MiB.
    let map = tag(
        6,
        &words(&[
            24,
            0,
            0,
            0,
            0x9_fc00,
            0,
            1,
            0,
            0x10_0000,
            0,
            254 << 20,
            0,
            1,
            0,
        ]),
    );
    let command_line = tag(1, b"console=com1 com1=115200,8n1 noreboot loglvl=all\0");
    let mut content = words(&[0, 0]);
    for part in [&map[..], &command_line[..]].iter().chain(tags) {
        content.extend_from_slice(part);
    }
    content.extend_from_slice(&words(&[0, 8]));
    let size = content.len() as u32;
    put(&mut content, 0, &[size]);
    content
}

/// Information with a kernel, and a root pointer to `root`; tables at offsets from [`TABLES`].
fn acpi(base: u32, root: u32, tables: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let mut pointer = b"RSD PTR \0LIAR  \0".to_vec();
    pointer.extend_from_slice(&root.to_le_bytes());
    fix_checksum(&mut pointer, 8);
    let module = [
        &words(&[base + KERNEL, base + KERNEL + KERNEL_SIZE])[..],
        b"console=hvc0\0",
    ]
    .concat();
    let mut content = multiboot2(&[&tag(3, &module), &tag(14, &pointer)]);
    for (offset, bytes) in tables {
        put_bytes(&mut content, TABLES - INFO + offset, bytes);
    }
    content
}

fn table(signature: &[u8; 4], body: &[u8]) -> Vec<u8> {
    table_of_length(signature, 36 + body.len() as u32, body)
}

fn table_of_length(signature: &[u8; 4], length: u32, body: &[u8]) -> Vec<u8> {
    let mut table = signature.to_vec();
    table.extend_from_slice(&length.to_le_bytes());
    table.extend_from_slice(b"\x01\0LIAR  LIAR    ");
    table.extend_from_slice(&words(&[1, 0, 1]));
    table.truncate(36);
    table.extend_from_slice(body);
    fix_checksum(&mut table, 9);
    table
}

fn fix_checksum(bytes: &mut [u8], at: usize) {
    bytes[at] = 0;
    bytes[at] = bytes.iter().fold(0_u8, |sum, &byte| sum.wrapping_sub(byte));
}

#[cfg(test)]
mod tests {
    use super::{LIES, table};
    use crate::elf32::{Container, Segment};

    #[test]
    fn tables_sum_to_zero() {
        let table = table(b"APIC", &[1, 2, 3, 4]);
        assert_eq!(table.len(), 40);
        assert_eq!(table[4..8], 40_u32.to_le_bytes());
        assert_eq!(
            table.iter().fold(0_u8, |sum, &byte| sum.wrapping_add(byte)),
            0
        );
    }

    #[test]
    fn the_jump_goes_to_the_entry() {
        let segment = Segment {
            physical: 0x20_0000,
            memory_size: 0x1234,
            flags: 5,
            content: vec![0x90; 16],
        };
        let image = Container {
            entry: 0x20_0010,
            segments: vec![segment],
        };
        let bytes = LIES[0].image(&image, b"kernel").unwrap();
        let at = bytes
            .windows(5)
            .position(|window| window == [0xb8, 0x78, 0x56, 0x34, 0x12])
            .unwrap();
        let entry = u32::from_le_bytes(bytes[24..28].try_into().unwrap());
        let jump = u32::from_le_bytes(bytes[at + 11..at + 15].try_into().unwrap());
        assert_eq!(bytes[at + 10], 0xe9);
        assert_eq!((entry + 15).wrapping_add(jump), 0x20_0010);
    }
}
