//! Every compression, as Linux's build and others make it.

mod sample;

use kernel_image::{Compression, ImageError, KernelImage, PackedProblem};
use proptest::prelude::*;
use sample::sample;
use std::process::{Command, Stdio};

/// What the files in `fixtures/` hold.
fn fixture_content() -> Vec<u8> {
    sample(1, 12_000)
}

/// Packed by the tools themselves (see [`TOOLS`] for how), so that the tests need none of them.
const FIXTURES: [(Compression, &[u8]); 9] = [
    (Compression::Gzip, include_bytes!("fixtures/sample.gz")),
    (Compression::Bzip2, include_bytes!("fixtures/sample.bz2")),
    (Compression::Lzma, include_bytes!("fixtures/sample.lzma")),
    (Compression::Xz, include_bytes!("fixtures/sample.xz")),
    (Compression::Xz, include_bytes!("fixtures/sample-x86.xz")),
    (Compression::Lzo, include_bytes!("fixtures/sample.lzo")),
    (Compression::Lz4, include_bytes!("fixtures/sample.lz4")),
    (Compression::Zstd, include_bytes!("fixtures/sample.zst")),
    (Compression::Zstd, include_bytes!("fixtures/sample-22.zst")),
];

/// A bzImage of boot protocol 2.15 with `payload`; `size` is what Linux's build puts behind it.
fn bzimage(payload: &[u8], size: Option<u32>) -> Vec<u8> {
    let mut payload = payload.to_vec();
    payload.extend(
        size.map(u32::to_le_bytes)
            .unwrap_or_default()
            .iter()
            .take(size.map_or(0, |_| 4)),
    );
    let (setup_sectors, offset) = (2u8, 0x123u32);
    let mut image = vec![0; (usize::from(setup_sectors) + 1) * 512 + offset as usize];
    image[0x1f1] = setup_sectors;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&[0x0f, 0x02]);
    image[0x248..0x24c].copy_from_slice(&offset.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend(payload);
    image.extend(b"what follows the payload");
    image
}

fn unpack(module: &[u8]) -> Result<(Compression, Vec<u8>), ImageError> {
    let image = KernelImage::open(module)?;
    let mut output = vec![0; image.unpacked_size()];
    image.unpack(&mut output)?;
    Ok((image.compression(), output))
}

/// As in a bzImage: gzip has its size itself.
fn packed_size(compression: Compression, content: &[u8]) -> Option<u32> {
    (compression != Compression::Gzip).then_some(content.len() as u32)
}

#[test]
fn fixtures_in_bzimages() {
    let content = fixture_content();
    for (compression, packed) in FIXTURES {
        let image = bzimage(packed, packed_size(compression, &content));
        assert!(
            unpack(&image) == Ok((compression, content.clone())),
            "{compression}"
        );
    }
}

#[test]
fn fixtures_alone() {
    let content = fixture_content();
    for (compression, packed) in FIXTURES {
        let result = unpack(packed);
        match compression {
            // These formats do not tell the size, or do not when packed from a pipe.
            Compression::Bzip2 | Compression::Lz4 | Compression::Lzma | Compression::Zstd => {
                let problem = PackedProblem::UnknownSize;
                assert_eq!(
                    result,
                    Err(ImageError::Packed {
                        compression,
                        problem
                    })
                );
            }
            _ => assert!(
                result == Ok((compression, content.clone())),
                "{compression}"
            ),
        }
    }
}

#[test]
fn wrong_sizes() {
    let content = fixture_content();
    let size = content.len() as u32;
    for (compression, packed) in FIXTURES {
        if compression == Compression::Gzip {
            continue;
        }
        let problem = |size| match unpack(&bzimage(packed, Some(size))) {
            Err(ImageError::Packed { problem, .. }) => problem,
            other => panic!("{compression} {size}: {:?}", other.map(|_| ())),
        };
        let too_short = PackedProblem::TooShort {
            unpacked: size.into(),
            expected: u64::from(size) + 1,
        };
        match problem(size + 1) {
            // lz4 takes the size for one more block, which is not there.
            PackedProblem::Truncated if compression == Compression::Lz4 => {}
            problem => assert_eq!(problem, too_short, "{compression}"),
        }
        assert_eq!(problem(size - 1), PackedProblem::TooLong, "{compression}");
        assert_eq!(problem(0), PackedProblem::TooLarge { size: 0 });
        assert_eq!(
            problem(u32::MAX),
            PackedProblem::TooLarge {
                size: u32::MAX.into()
            }
        );
    }
}

#[test]
fn truncation_at_each_byte() {
    let content = fixture_content();
    for (compression, packed) in FIXTURES {
        for len in compression_magic(compression)..packed.len() {
            let image = bzimage(&packed[..len], Some(content.len() as u32));
            match unpack(&image) {
                Err(ImageError::Packed { .. }) => {}
                // Without any checksum: the size came where the last bytes were.
                Ok(_) if compression == Compression::Lz4 && len + 4 >= packed.len() => {}
                // The end of the checksum, the index or such may be missing, never content.
                Ok((_, output)) => assert!(output == content, "{compression} at {len}"),
                Err(other) => panic!("{compression} at {len}: {other}"),
            }
        }
    }
}

fn compression_magic(compression: Compression) -> usize {
    if compression == Compression::Lzo {
        9
    } else {
        6
    }
}

#[test]
fn one_line_messages() {
    let message = |image: &[u8]| unpack(image).unwrap_err().to_string();
    let content = fixture_content();
    let (_, xz) = FIXTURES[3];
    let size = Some(content.len() as u32);
    assert_eq!(
        message(b""),
        "not a kernel: neither bzImage, nor ELF, nor compressed"
    );
    assert_eq!(
        message(&bzimage(b"junk", Some(1))),
        "bzImage: unknown compression, it starts with [6a, 75, 6e, 6b]"
    );
    assert_eq!(
        message(&bzimage(&xz[..xz.len() / 2], size)),
        "xz data: truncated"
    );
    let mut old = bzimage(xz, size);
    old[0x206] = 7;
    assert_eq!(
        message(&old),
        "bzImage: boot protocol 2.07 is older than 2.08"
    );
    let whole = bzimage(xz, size);
    let message = message(&whole[..whole.len() - 40]);
    assert!(
        message.starts_with("bzImage: truncated: the payload ends at "),
        "{message}"
    );
}

/// (compression, command as in Linux's scripts/Makefile.lib or as users do)
const TOOLS: [(Compression, &[&str]); 13] = [
    (Compression::Gzip, &["gzip", "-n", "-9"]),
    (Compression::Gzip, &["gzip", "-1"]),
    (Compression::Bzip2, &["bzip2", "-9"]),
    (Compression::Bzip2, &["bzip2", "-1"]),
    (Compression::Lzma, &["lzma", "-9"]),
    (
        Compression::Xz,
        &["xz", "--check=crc32", "--x86", "--lzma2=dict=32MiB"],
    ),
    (
        Compression::Xz,
        &[
            "xz",
            "--check=crc64",
            "--lzma2=lc=0,lp=4,pb=4",
            "--block-size=200000",
        ],
    ),
    (Compression::Xz, &["xz", "--check=sha256", "-0"]),
    (Compression::Lzo, &["lzop", "-9"]),
    (Compression::Lzo, &["lzop", "-1", "--crc32"]),
    (Compression::Lz4, &["lz4", "-l", "-9", "-"]),
    (Compression::Zstd, &["zstd", "-22", "--ultra"]),
    (Compression::Zstd, &["zstd", "-1", "--no-check"]),
];

/// Packs with an installed tool; `None` if there is none.
fn pack(command: &[&str], data: &[u8]) -> Option<Vec<u8>> {
    use std::io::Write;
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let mut input = child.stdin.take().unwrap();
    let data = data.to_vec();
    let writer = std::thread::spawn(move || input.write_all(&data).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "{command:?}");
    Some(output.stdout)
}

/// Larger data than the fixtures', with whatever tools are there.
#[test]
fn packed_by_tools() {
    for (seed, len) in [(2, 1), (3, 1_000), (4, 450_000), (5, 9_000_000)] {
        let content = sample(seed, len);
        for (compression, command) in TOOLS {
            // Only lz4's blocks are so large.
            if len > 8 << 20 && compression != Compression::Lz4 {
                continue;
            }
            let Some(packed) = pack(command, &content) else {
                eprintln!("not tried, as it is not installed: {command:?}");
                continue;
            };
            let image = bzimage(&packed, packed_size(compression, &content));
            let result = unpack(&image);
            assert!(
                result == Ok((compression, content.clone())),
                "{command:?} {len}: {:?}",
                result.map(|_| ())
            );
        }
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
    #![proptest_config(cases(400))]

    /// Bytes changed anywhere: an error, or (where nothing is checked) other bytes; never a panic.
    #[test]
    fn mutated(
        which in 0..FIXTURES.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (compression, packed) = FIXTURES[which];
        let content = fixture_content();
        let mut packed = packed.to_vec();
        for (at, byte) in changes {
            *at.get_mut(&mut packed) = byte;
        }
        let result = unpack(&bzimage(&packed, packed_size(compression, &content)));
        if let (Ok((found, output)), Compression::Gzip | Compression::Bzip2 | Compression::Xz | Compression::Zstd) =
            (&result, compression)
            && *found == compression
        {
            prop_assert!(*output == content, "{compression}: a change was not noticed");
        }
    }

    #[test]
    fn arbitrary_after_magic(which in 0..FIXTURES.len(), tail in proptest::collection::vec(any::<u8>(), 0..600)) {
        let (compression, packed) = FIXTURES[which];
        for keep in [compression_magic(compression), 16, 40] {
            let mut data = packed[..keep].to_vec();
            data.extend(&tail);
            let _ = unpack(&data);
            let _ = unpack(&bzimage(&data, Some(5000)));
        }
    }

    #[test]
    fn arbitrary(data in proptest::collection::vec(any::<u8>(), 0..2000)) {
        let _ = unpack(&data);
    }
}
