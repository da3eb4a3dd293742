//! A hostile domain's ring: any bytes as what the domain does to its page, in front of the whole daemon. Another domain
//! must be served all the while, and the store be in order.
//!
//! The inputs of `tests/corpus/rings`, and changed ones; `XENSTORED_FUZZ=SECONDS` goes on for so long. An input that
//! fails is left in the temporary directory, to become part of the corpus.
#![forbid(unsafe_code)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mio::Events;
use xenstore::wire::{self, Decoder, Operation};
use xenstored::Daemon;
use xenstored::machine::SimulatedDomain;
use xenstored::options::{self, Task};

/// A daemon in this process, a good domain and a bad one.
struct Scene {
    directory: PathBuf,
    daemon: Daemon,
    events: Events,
    good: SimulatedDomain,
    bad: SimulatedDomain,
    number: u32,
}

impl Scene {
    fn new(name: &str) -> Self {
        let directory =
            std::env::temp_dir().join(format!("xenstored-fuzz-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        let machine = directory.join("machine");
        fs::create_dir_all(&machine).unwrap();
        // Introduced through the page of domain 0's kernel.
        let own = SimulatedDomain::create(&machine, 0).unwrap();
        let words: Vec<String> = [
            "--no-fork".to_owned(),
            format!("--log-file={}", directory.join("log").display()),
            format!("--simulate={}", machine.display()),
            format!("--state={}", directory.join("state").display()),
            format!("--socket={}", directory.join("socket").display()),
            "--metrics=none".to_owned(),
        ]
        .to_vec();
        let Ok(Task::Serve(options)) = options::parse(&words) else {
            panic!("options");
        };
        let good = SimulatedDomain::create(&machine, 1).unwrap();
        let bad = SimulatedDomain::create(&machine, 2).unwrap();
        let mut scene = Self {
            daemon: Daemon::start(*options).unwrap(),
            directory,
            events: Events::with_capacity(16),
            good,
            bad,
            number: 0,
        };
        for domain in 1..=2 {
            let mut message = Vec::new();
            let payload = format!("{domain}\x001\x001\0");
            wire::encode(
                &mut message,
                Operation::Introduce,
                domain,
                0,
                payload.as_bytes(),
            )
            .unwrap();
            assert_eq!(own.ring.put_requests(&message), message.len());
            own.notify();
            scene.rounds();
        }
        assert!(!own.ring.take_responses().is_empty());
        scene
    }

    fn rounds(&mut self) {
        for _ in 0..3 {
            self.daemon
                .serve_once(&mut self.events, Some(Duration::ZERO))
                .unwrap();
        }
    }

    /// Lets the bad domain do what the bytes say.
    fn play(&mut self, mut input: &[u8]) {
        while let [action, value, rest @ ..] = input {
            input = rest;
            let page = self.bad.ring.page();
            match action % 8 {
                // Some bytes as requests, as they are.
                0 => {
                    let count = usize::from(*value).min(rest.len());
                    self.bad.ring.put_requests(&rest[..count]);
                    input = &rest[count..];
                }
                // A request whose header is right, and the payload anything.
                1 => {
                    let count = usize::from(*value % 64).min(rest.len());
                    let operation = Operation::ALL[usize::from(*value) % Operation::ALL.len()];
                    let mut message = Vec::new();
                    let transaction = u32::from(*value >> 6);
                    wire::encode(&mut message, operation, 9, transaction, &rest[..count]).unwrap();
                    self.bad.ring.put_requests(&message);
                    input = &rest[count..];
                }
                // An index, or a word beyond, is changed.
                2 => page.store_u32(2048 + usize::from(*value % 8) * 4, u32::from(*value) << 20),
                3 => {
                    let at = 2048 + usize::from(*value % 4) * 4;
                    page.store_u32(at, page.load_u32(at).wrapping_add(u32::from(*value)));
                }
                4 => {
                    self.bad.ring.take_responses();
                }
                5 => self.bad.ring.ask_reconnection(),
                6 => self.bad.notify(),
                _ => self.rounds(),
            }
        }
        self.bad.notify();
        self.rounds();
        self.serve_the_good();
        let problems = self.daemon.check();
        assert!(problems.is_empty(), "{problems:?}");
        // The next input finds a domain that is served.
        self.bad.ring.ask_reconnection();
        self.bad.notify();
        self.rounds();
        assert_eq!(self.bad.ring.state().1, 0, "connected");
    }

    fn serve_the_good(&mut self) {
        self.number += 1;
        let mut message = Vec::new();
        wire::encode(&mut message, Operation::Directory, self.number, 0, b"/\0").unwrap();
        assert_eq!(self.good.ring.put_requests(&message), message.len());
        self.good.notify();
        self.rounds();
        let mut decoder = Decoder::default();
        decoder.push(&self.good.ring.take_responses());
        let (header, _) = decoder.take().unwrap().expect("an answer");
        assert_eq!(header.request, self.number);
        self.good.notify();
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/rings");
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Numbers that look random.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn change(numbers: &mut Numbers, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut input = corpus[numbers.below(corpus.len())].clone();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(input.len() + 1);
        match numbers.below(4) {
            0 => input.insert(at, numbers.below(256) as u8),
            1 if at < input.len() => input[at] = numbers.below(256) as u8,
            2 if at < input.len() => drop(input.drain(at..(at + 3).min(input.len()))),
            _ => {
                let other = &corpus[numbers.below(corpus.len())];
                let from = numbers.below(other.len() + 1);
                input.extend_from_slice(&other[from..]);
                input.truncate(4000);
            }
        }
    }
    input
}

#[test]
fn any_page_does_no_harm() {
    let corpus = corpus();
    assert!(corpus.len() >= 5);
    let mut scene = Scene::new("rings");
    for input in &corpus {
        scene.play(input);
    }
    let seconds = std::env::var("XENSTORED_FUZZ")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(2);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let mut count = 0_u64;
    while Instant::now() < end {
        let input = change(&mut numbers, &corpus);
        let result = catch_unwind(AssertUnwindSafe(|| scene.play(&input)));
        if let Err(panic) = result {
            let path = std::env::temp_dir().join("xenstored-ring-input");
            fs::write(&path, &input).unwrap();
            eprintln!("the input is {}", path.display());
            std::panic::resume_unwind(panic);
        }
        count += 1;
    }
    println!("{count} inputs");
    assert!(count > 10);
}
