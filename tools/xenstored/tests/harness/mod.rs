//! A daemon in a process of its own, on a machine that is a directory, and domains that speak through rings.

#![allow(dead_code, reason = "each test uses a part")]

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use xenstore::wire::{self, Decoder, Header, Operation};
use xenstore::{Access, Client, Endpoint, Permission};
use xenstored::machine::SimulatedDomain;

/// How long anything may take before it has failed: hours of patience for a busy machine would hide a hang.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The daemon, and all that it has.
pub(crate) struct Server {
    pub(crate) directory: PathBuf,
    options: Vec<String>,
    child: Option<Child>,
    /// Holds the mounts that the daemon sees, if they are not ours.
    mounts: Option<Child>,
}

impl Server {
    /// Starts one, with nothing.
    pub(crate) fn new(name: &str, options: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let directory =
            std::env::temp_dir().join(format!("xenstored-{name}-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(directory.join("machine")).unwrap();
        let mut server = Self {
            directory,
            options: options.iter().map(|word| (*word).to_owned()).collect(),
            child: None,
            mounts: None,
        };
        server.start();
        server
    }

    /// Starts one whose state is on a disk of so many bytes.
    pub(crate) fn on_small_disk(name: &str, bytes: u64) -> Self {
        let mut server = Self::new(name, &[]);
        server.kill();
        let state = server.path("state");
        // It may not have made it yet.
        let _ = fs::remove_dir_all(&state);
        fs::create_dir_all(&state).unwrap();
        let mount = format!("mount -t tmpfs -o size={bytes} disk \"$0\" && echo ready && exec cat");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &mount])
            .arg(&state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare, of util-linux");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "ready\n", "it takes user namespaces");
        server.mounts = Some(holder);
        server.start();
        server
    }

    /// A file on the small disk.
    pub(crate) fn on_disk(&self, name: &str) -> PathBuf {
        let holder = self.mounts.as_ref().unwrap().id();
        let path = self.path("state").join(name);
        PathBuf::from(format!("/proc/{holder}/root{}", path.display()))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    pub(crate) fn machine(&self) -> PathBuf {
        self.path("machine")
    }

    /// The program under test.
    pub(crate) fn program() -> &'static str {
        env!("CARGO_BIN_EXE_xenstored")
    }

    /// Starts the daemon, on what an earlier one left.
    pub(crate) fn start(&mut self) {
        let log = fs::File::options()
            .append(true)
            .create(true)
            .open(self.path("log"))
            .unwrap();
        let option = |name: &str, file: &str| format!("--{name}={}", self.path(file).display());
        let mut command = match &self.mounts {
            None => Command::new(Self::program()),
            Some(holder) => {
                let mut command = Command::new("nsenter");
                command
                    .args(["--user", "--mount", "--preserve-credentials", "--target"])
                    .args([&holder.id().to_string(), Self::program()]);
                command
            }
        };
        let child = command
            .arg("--no-fork")
            .args([
                option("simulate", "machine"),
                option("state", "state"),
                option("socket", "socket"),
                option("metrics", "metrics"),
            ])
            .args(&self.options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
    }

    /// Kills it, as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Whoever has died already did so against the rules, and is reported by what follows.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child
            .as_mut()
            .is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// A client on its socket.
    pub(crate) fn client(&self) -> Client {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match Client::connect_to(&Endpoint::Socket(self.path("socket"))) {
                Ok(client) => return client,
                Err(error) if Instant::now() > deadline => panic!("{error}\n{}", self.log()),
                Err(_) => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// A domain with a home of its own in the store.
    pub(crate) fn domain(&self, client: &mut Client, number: u16) -> Domain {
        let domain = SimulatedDomain::create(&self.machine(), number).unwrap();
        client.introduce(number, 0, 1).unwrap();
        let home = format!("/local/domain/{number}");
        client.write(&home, "").unwrap();
        let owner = Permission {
            access: Access::Read,
            domain: number,
        };
        client.set_permissions(&home, &[owner]).unwrap();
        Domain {
            domain,
            number,
            decoder: Decoder::default(),
            messages: VecDeque::new(),
            next: 0,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if let Some(mut holder) = self.mounts.take() {
            let _ = holder.kill();
            let _ = holder.wait();
        }
        if thread::panicking() {
            eprintln!("{}", self.log());
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// A domain's side of its ring.
pub(crate) struct Domain {
    pub(crate) domain: SimulatedDomain,
    pub(crate) number: u16,
    decoder: Decoder,
    /// What came and was not looked at.
    messages: VecDeque<(Header, Vec<u8>)>,
    next: u32,
}

impl Domain {
    /// Sends a request; gives its number. Waits for room as a kernel does.
    pub(crate) fn send(&mut self, operation: Operation, transaction: u32, payload: &[u8]) -> u32 {
        self.next += 1;
        let mut message = Vec::new();
        wire::encode(&mut message, operation, self.next, transaction, payload).unwrap();
        self.send_bytes(&message);
        self.next
    }

    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) {
        let deadline = Instant::now() + PATIENCE;
        let mut rest = bytes;
        while !rest.is_empty() {
            let count = self.domain.ring.put_requests(rest);
            rest = &rest[count..];
            self.domain.notify();
            if !rest.is_empty() {
                assert!(Instant::now() < deadline, "no room in the ring");
                self.receive(Duration::from_millis(5));
            }
        }
    }

    /// Takes what there is; waits for a while if there is nothing.
    pub(crate) fn receive(&mut self, time: Duration) {
        let mut bytes = self.domain.ring.take_responses();
        if bytes.is_empty() {
            self.domain.wait(time);
            bytes = self.domain.ring.take_responses();
        }
        if !bytes.is_empty() {
            self.decoder.push(&bytes);
            // There is room again.
            self.domain.notify();
        }
        while let Some(message) = self.decoder.take().unwrap() {
            self.messages.push_back(message);
        }
    }

    /// The next message.
    pub(crate) fn next_message(&mut self) -> (Header, Vec<u8>) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(message) = self.messages.pop_front() {
                return message;
            }
            assert!(
                Instant::now() < deadline,
                "domain {} waits in vain: {:?}",
                self.number,
                self.domain.ring.state()
            );
            self.receive(Duration::from_millis(5));
        }
    }

    /// The answer to a request that was sent: the next message that is no event. Events before it are kept.
    pub(crate) fn answer(&mut self, request: u32) -> Result<Vec<u8>, String> {
        let mut events = VecDeque::new();
        let (header, payload) = loop {
            let (header, payload) = self.next_message();
            if header.operation != Operation::WatchEvent as u32 {
                break (header, payload);
            }
            events.push_back((header, payload));
        };
        events.append(&mut self.messages);
        self.messages = events;
        assert_eq!(header.request, request, "an answer was lost or repeated");
        if header.operation == Operation::Error as u32 {
            let name = String::from_utf8_lossy(&payload);
            return Err(name.trim_end_matches('\0').to_owned());
        }
        Ok(payload)
    }

    pub(crate) fn request(
        &mut self,
        operation: Operation,
        transaction: u32,
        payload: &[u8],
    ) -> Result<Vec<u8>, String> {
        let number = self.send(operation, transaction, payload);
        self.answer(number)
    }

    pub(crate) fn write(
        &mut self,
        transaction: u32,
        path: &str,
        value: &str,
    ) -> Result<(), String> {
        let payload = format!("{path}\0{value}");
        self.request(Operation::Write, transaction, payload.as_bytes())
            .map(drop)
    }

    pub(crate) fn read(&mut self, transaction: u32, path: &str) -> Result<String, String> {
        let value = self.request(Operation::Read, transaction, format!("{path}\0").as_bytes())?;
        Ok(String::from_utf8_lossy(&value).into_owned())
    }

    pub(crate) fn watch(&mut self, path: &str, token: &str) {
        self.request(Operation::Watch, 0, format!("{path}\0{token}\0").as_bytes())
            .unwrap();
    }

    /// The next event: its path and token.
    pub(crate) fn event(&mut self) -> (String, String) {
        let (header, payload) = self.next_message();
        assert_eq!(header.operation, Operation::WatchEvent as u32);
        let text = String::from_utf8_lossy(&payload).into_owned();
        let mut strings = text.split('\0').map(str::to_owned);
        (
            strings.next().unwrap_or_default(),
            strings.next().unwrap_or_default(),
        )
    }

    /// Begins a transaction.
    pub(crate) fn begin(&mut self) -> u32 {
        let number = self.request(Operation::TransactionStart, 0, b"\0").unwrap();
        let text = String::from_utf8_lossy(&number).into_owned();
        text.trim_end_matches('\0').parse().unwrap()
    }

    /// Whether nothing is left that came and was not looked at.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.receive(Duration::from_millis(1));
        self.messages.is_empty() && self.decoder.pending().is_empty()
    }
}
