//! Replays the corpora of the fuzz targets, and each with its bytes shortened and changed a little.

use std::fs;
use std::path::Path;

fn replay(target: &str, check: fn(&[u8])) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/corpus")
        .join(target);
    let mut count = 0;
    for entry in fs::read_dir(&directory).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        check(&bytes);
        for length in 0..bytes.len().min(200) {
            check(&bytes[..length]);
            let mut changed = bytes.clone();
            changed[length] ^= 0x81;
            check(&changed);
        }
        count += 1;
    }
    assert!(count >= 3, "{} has {count} files", directory.display());
}

#[test]
fn ring() {
    replay("ring", xenconsoled::fuzzing::ring);
}

#[test]
fn filter() {
    replay("filter", xenconsoled::fuzzing::filter);
}

#[test]
fn header() {
    replay("header", xenconsoled::fuzzing::header);
}
