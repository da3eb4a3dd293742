//! The wire format, and everything else that can happen to a store, by made-up scripts: those of `tests/corpus/wire`, and
//! changed ones. `XENSTORE_FUZZ=SECONDS` goes on for so long; `fuzz/` has the same for libFuzzer, guided by coverage.

#[path = "support/script.rs"]
mod script;

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;
use std::time::{Duration, Instant};

fn corpus() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/wire");
    let mut files: Vec<_> = fs::read_dir(directory)
        .expect("the corpus is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| fs::read(file).expect("it can be read"))
        .collect()
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

/// Words that random bytes would hardly hit upon.
const WORDS: [&[u8]; 12] = [
    b"/local/domain/1",
    b"/local/domain/2/x",
    b"@releaseDomain",
    b"/\0",
    b"\0token\0",
    b"T\0",
    b"F\0",
    b"n1\0r2\0",
    b"1\x001\x001\0",
    b"check\0",
    b"\0",
    b"x/y",
];

fn changed(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut script = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(6) {
        let place = random.below(script.len() + 1);
        match random.below(6) {
            0 if place < script.len() => script[place] ^= 1 << random.below(8),
            1 if place < script.len() => script[place] = random.below(256) as u8,
            2 => {
                script.splice(
                    place..place,
                    WORDS[random.below(WORDS.len())].iter().copied(),
                );
            }
            3 => {
                let end = (place + random.below(20)).min(script.len());
                script.drain(place..end);
            }
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                script.splice(place.., other[from..].iter().copied());
            }
            _ => {
                let action = (random.below(8) << 5 | random.below(8)) as u8;
                let bytes: Vec<u8> = (0..random.below(6))
                    .map(|_| random.below(30) as u8)
                    .collect();
                let mut step = vec![action, bytes.len() as u8];
                step.extend(bytes);
                script.splice(place..place, step);
            }
        }
    }
    script.truncate(4096);
    script
}

#[test]
fn scripts() {
    let corpus = corpus();
    assert!(!corpus.is_empty());
    for script in &corpus {
        script::play(script);
    }
    let seconds = std::env::var("XENSTORE_FUZZ")
        .ok()
        .and_then(|text| text.parse().ok());
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let mut random = Random(0x5eed);
    let mut runs = 0;
    loop {
        let script = changed(&corpus, &mut random);
        if catch_unwind(|| script::play(&script)).is_err() {
            let file = std::env::temp_dir().join("xenstore-core-script");
            fs::write(&file, &script).expect("it can be written");
            panic!("a script fails; it is in {}", file.display());
        }
        runs += 1;
        if until.map_or(runs >= 1000, |until| Instant::now() >= until) {
            break;
        }
    }
    println!("{runs} scripts");
}
