//! Images that `qemu-img` makes, written by us and checked by it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use qcow2::Image;

const MIB: usize = 1 << 20;

fn qemu_img(words: &[&str]) -> String {
    let output = Command::new("qemu-img")
        .args(words)
        .output()
        .expect("qemu-img is needed: cargo xtask setup");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "qemu-img {words:?}: {text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("qcow2-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Numbers that look random, the same every time.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        (self.0 >> 33) % limit
    }
}

/// Writes pieces of many sizes all over the image and compares with `model` after each few.
fn write_all_over(path: &str, model: &mut [u8], seed: u64) {
    let mut random = Random(seed);
    let mut image = Image::open(Path::new(path), true).expect("it opens");
    assert_eq!(image.size(), model.len() as u64);
    for round in 0..200 {
        let length = match round % 4 {
            0 => 512,
            1 => 1 + random.below(4096),
            2 => 1 + random.below(200_000),
            _ => 65536,
        };
        let at = random.below(model.len() as u64 - length);
        let at = if round % 4 == 3 { at & !0xffff } else { at };
        let byte = random.below(255) as u8 + 1;
        let bytes: Vec<u8> = (0..length).map(|index| byte ^ index as u8).collect();
        image.write(&bytes, at).expect("a write");
        model[at as usize..(at + length) as usize].copy_from_slice(&bytes);
        if round % 50 == 49 {
            image.flush().expect("a flush");
        }
        let mut read = vec![0; length as usize];
        image.read(&mut read, at).expect("a read");
        assert_eq!(read, bytes);
    }
    let mut all = vec![0; model.len()];
    image.read(&mut all, 0).expect("a read");
    assert!(all == model, "the image differs from what was written");
    image.flush().expect("a flush");
}

/// QEMU finds no errors and no leaks, and the content is the model's.
fn check(directory: &Directory, path: &str, model: &[u8]) {
    qemu_img(&["check", "-q", path]);
    let raw = directory.path("raw");
    qemu_img(&["convert", "-O", "raw", path, &raw]);
    assert!(
        fs::read(&raw).expect("the raw image") == model,
        "QEMU reads something else"
    );
}

#[test]
fn every_cluster_size_and_version() {
    let directory = Directory::new("sizes");
    for (number, options) in [
        "cluster_size=512",
        "cluster_size=4k",
        "cluster_size=64k",
        "cluster_size=2M",
        "cluster_size=64k,compat=0.10",
        "cluster_size=64k,preallocation=metadata",
    ]
    .iter()
    .enumerate()
    {
        let path = directory.path("image.qcow2");
        qemu_img(&["create", "-q", "-f", "qcow2", "-o", options, &path, "20M"]);
        let mut model = vec![0; 20 * MIB];
        write_all_over(&path, &mut model, number as u64);
        check(&directory, &path, &model);
        // And once more, on what is there.
        write_all_over(&path, &mut model, 100 + number as u64);
        check(&directory, &path, &model);
    }
}

#[test]
fn backing_files_compression_and_snapshots() {
    let directory = Directory::new("backing");
    let raw = directory.path("base.raw");
    let mut model: Vec<u8> = (0..8 * MIB).map(|index| (index / 1000) as u8).collect();
    fs::write(&raw, &model).expect("the base");
    let compressed = directory.path("compressed.qcow2");
    qemu_img(&["convert", "-q", "-c", "-O", "qcow2", &raw, &compressed]);
    let top = directory.path("top.qcow2");
    qemu_img(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-b",
        "compressed.qcow2",
        "-F",
        "qcow2",
        &top,
        "9M",
    ]);
    model.resize(9 * MIB, 0);
    let below = fs::read(&compressed).expect("the base");
    write_all_over(&top, &mut model, 7);
    check(&directory, &top, &model);
    assert!(
        fs::read(&compressed).expect("the base") == below,
        "the base is written"
    );
    // A snapshot keeps what it has.
    qemu_img(&["snapshot", "-c", "before", &top]);
    let before = model.clone();
    write_all_over(&top, &mut model, 8);
    check(&directory, &top, &model);
    qemu_img(&["snapshot", "-a", "before", &top]);
    check(&directory, &top, &before);
    // Compressed clusters in the image itself.
    let mut model: Vec<u8> = (0..8 * MIB).map(|index| (index / 1000) as u8).collect();
    write_all_over(&compressed, &mut model, 9);
    check(&directory, &compressed, &model);
    // A raw base.
    let top = directory.path("on-raw.qcow2");
    qemu_img(&["create", "-q", "-f", "qcow2", "-b", &raw, "-F", "raw", &top]);
    let mut model = fs::read(&raw).expect("the base");
    write_all_over(&top, &mut model, 10);
    check(&directory, &top, &model);
}

#[test]
fn what_cannot_be_used_is_refused() {
    let directory = Directory::new("refused");
    let path = directory.path("image.qcow2");
    let refused = |writable: bool, text: &str| {
        let error = Image::open(Path::new(&path), writable)
            .expect_err(text)
            .to_string();
        assert!(error.contains(text), "{error}");
    };
    fs::write(&path, b"QFI").expect("a file");
    refused(false, "not a qcow2 image");
    qemu_img(&["create", "-q", "-f", "qcow2", &path, "8M"]);
    let good = fs::read(&path).expect("the image");
    let with = |at: usize, bytes: &[u8]| {
        let mut changed = good.clone();
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        fs::write(&path, changed).expect("a file");
    };
    with(79, &[1]);
    refused(true, "not closed");
    assert!(Image::open(Path::new(&path), false).is_ok());
    with(79, &[4]);
    refused(false, "external data file");
    with(20, &[0, 0, 0, 60]);
    refused(false, "clusters of");
    with(36, &[0, 0, 0, 0]);
    refused(false, "too small");
    with(36, &[0x7f, 0, 0, 0]);
    refused(false, "too large");
    with(32, &[0, 0, 0, 1]);
    refused(false, "encrypted");
    // Any other bit of the header that is wrong is an error at most.
    for bit in 0..104 * 8 {
        with(bit / 8, &[good[bit / 8] ^ (1 << (bit % 8))]);
        if let Ok(mut image) = Image::open(Path::new(&path), true) {
            let mut bytes = vec![0; 4096];
            let _ = image.read(&mut bytes, 0);
            let _ = image.write(&bytes, 4096);
            let _ = image.flush();
        }
    }
}

#[test]
fn the_refcount_table_grows() {
    let directory = Directory::new("grows");
    let path = directory.path("image.qcow2");
    // A block counts 256 clusters of 512 bytes, a cluster of the table 64 blocks: 8 MiB.
    qemu_img(&[
        "create",
        "-q",
        "-f",
        "qcow2",
        "-o",
        "cluster_size=512",
        &path,
        "24M",
    ]);
    let mut image = Image::open(Path::new(&path), true).expect("it opens");
    let model: Vec<u8> = (0..24 * MIB).map(|index| (index / 77) as u8).collect();
    for (index, part) in model.chunks(MIB).enumerate() {
        image.write(part, (index * MIB) as u64).expect("a write");
    }
    image.flush().expect("a flush");
    drop(image);
    check(&directory, &path, &model);
}

#[test]
fn discarded_space_is_given_back() {
    use std::os::unix::fs::MetadataExt;
    let directory = Directory::new("discard");
    let (base, path) = (directory.path("base.qcow2"), directory.path("disk.qcow2"));
    qemu_img(&["create", "-q", "-f", "qcow2", &base, "16M"]);
    let mut image = Image::open(Path::new(&base), true).expect("it opens");
    image.write(&vec![0xaa; 4 * MIB], 0).expect("the base");
    image.flush().expect("flush");
    drop(image);
    qemu_img(&[
        "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", &base, &path,
    ]);
    let mut image = Image::open(Path::new(&path), true).expect("it opens");
    image
        .write(&vec![0x55; 8 * MIB], 2 * MIB as u64)
        .expect("written");
    image.flush().expect("flush");
    let used = || fs::metadata(&path).expect("it is there").blocks() * 512;
    let before = used();
    // From the middle of what is the base's alone to the middle of a cluster.
    image
        .discard(MIB as u64, 7 * MIB + 4096)
        .expect("discarded");
    assert!(
        used() + 5 * MIB as u64 <= before,
        "{before} before, {} now",
        used()
    );
    let mut content = vec![1; 16 * MIB];
    image.read(&mut content, 0).expect("read");
    let expected = |at: usize| match at {
        _ if at < 2 * MIB => 0xaa,
        _ if at < 8 * MIB + 4096 => 0,
        _ if at < 10 * MIB => 0x55,
        _ => 0,
    };
    assert!(
        content
            .iter()
            .enumerate()
            .all(|(at, byte)| *byte == expected(at))
    );
    assert!(image.discard(16 * MIB as u64 - 1, 2).is_err());
    image.flush().expect("flush");
    drop(image);
    qemu_img(&["check", "-q", &path]);
    let mut image = Image::open(Path::new(&path), false).expect("it opens");
    assert!(image.discard(0, 1).is_err());
}
