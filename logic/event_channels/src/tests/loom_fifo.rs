//! The FIFO queue's link protocol under every interleaving that the C11 memory model allows (loom): the hypervisor
//! appends under its lock while the guest consumes, masks and unmasks.

use std::vec::Vec;

use loom::sync::atomic::{AtomicU32, Ordering};
use loom::sync::{Arc, Mutex};
use loom::thread;
use shared_page::SharedPage;

use crate::channel::{Channel, PortState};
use crate::fifo::Fifo;

const P: u32 = 1 << 31;
const M: u32 = 1 << 30;
const L: u32 = 1 << 29;
const BUSY: u32 = 1 << 28;
const LINK: u32 = (1 << 17) - 1;

/// A page of which only the first words exist: loom's atomics are dear.
#[derive(Clone)]
struct Page(Arc<Vec<AtomicU32>>);

impl Page {
    fn new(words: usize) -> Self {
        Self(Arc::new((0..words).map(|_| AtomicU32::new(0)).collect()))
    }
}

impl SharedPage for Page {
    fn load32(&self, offset: usize) -> u32 {
        self.0[offset / 4].load(Ordering::Acquire)
    }
    fn store32(&self, offset: usize, value: u32) {
        self.0[offset / 4].store(value, Ordering::Release);
    }
    fn compare_exchange32(&self, offset: usize, current: u32, new: u32) -> Result<u32, u32> {
        self.0[offset / 4].compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
    }
    fn fetch_or32(&self, offset: usize, bits: u32) -> u32 {
        self.0[offset / 4].fetch_or(bits, Ordering::AcqRel)
    }
    fn fetch_and32(&self, offset: usize, bits: u32) -> u32 {
        self.0[offset / 4].fetch_and(bits, Ordering::AcqRel)
    }
    fn load64(&self, _: usize) -> u64 {
        unreachable!("FIFO words have 32 bits")
    }
    fn fetch_or64(&self, _: usize, _: u64) -> u64 {
        unreachable!("FIFO words have 32 bits")
    }
    fn fetch_and64(&self, _: usize, _: u64) -> u64 {
        unreachable!("FIFO words have 32 bits")
    }
}

/// The queue of priority 7 of vCPU 0, with its ports 1 and 2.
struct Hypervisor {
    fifo: Fifo<Page>,
    channels: [Channel; 3],
}

impl Hypervisor {
    fn raise(&mut self, port: u32) {
        self.fifo.raise(port, &mut self.channels[port as usize]);
    }

    /// `EVTCHNOP_unmask`.
    fn unmask(&mut self, port: u32) {
        if self.fifo.unmask(port) {
            self.raise(port);
        }
    }
}

struct Guest {
    control: Page,
    words: Page,
    head: u32,
    handled: [u32; 3],
}

const QUEUE: usize = 7;

impl Guest {
    /// Consumes what is ready, as Linux does.
    fn consume(&mut self) {
        let mut ready = self.control.fetch_and32(0, 0);
        while ready != 0 {
            assert_eq!(ready, 1 << QUEUE);
            let port = match self.head {
                0 => self.control.load32(8 + QUEUE * 4),
                head => head,
            };
            assert!(
                port == 1 || port == 2,
                "the head is no port that was raised"
            );
            let offset = port as usize * 4;
            let old = self.words.fetch_and32(offset, !(L | LINK));
            assert!(old & L != 0, "port {port} is on the queue and not linked");
            self.head = old & LINK;
            if self.head == 0 {
                ready = 0;
            }
            let word = self.words.load32(offset);
            if word & P != 0 && word & M == 0 {
                self.words.fetch_and32(offset, !P);
                self.handled[port as usize] += 1;
            }
            ready |= self.control.fetch_and32(0, 0);
        }
    }

    fn mask(&self, port: u32) {
        self.words.fetch_or32(port as usize * 4, M);
    }

    /// Unmasks without the hypervisor's help if the port is not pending. Returns whether the hypervisor has to.
    fn unmask_needs_help(&self, port: u32) -> bool {
        let offset = port as usize * 4;
        let mut word = self.words.load32(offset);
        loop {
            if word & M == 0 {
                return false;
            }
            if word & P != 0 {
                return true;
            }
            if word & BUSY != 0 {
                thread::yield_now();
                word = self.words.load32(offset);
                continue;
            }
            match self.words.compare_exchange32(offset, word, word & !M) {
                Ok(_) => return false,
                Err(now) => word = now,
            }
        }
    }
}

fn setup() -> (Arc<Mutex<Hypervisor>>, Guest) {
    let (control, words) = (Page::new(18), Page::new(3));
    let mut fifo = Fifo::new(1).unwrap();
    fifo.set_control(0, control.clone(), 0);
    fifo.push_page(words.clone());
    let mut channel = Channel::FREE;
    channel.state = PortState::Ipi;
    let hypervisor = Hypervisor {
        fifo,
        channels: [channel; 3],
    };
    let guest = Guest {
        control,
        words,
        head: 0,
        handled: [0; 3],
    };
    (Arc::new(Mutex::new(hypervisor)), guest)
}

/// Everything that is still pending is found in the end: no event was lost, no queue is broken.
fn settle(hypervisor: &Mutex<Hypervisor>, guest: &mut Guest, raised: [u32; 3]) {
    for port in [1, 2] {
        if guest.unmask_needs_help(port) {
            hypervisor.lock().unwrap().unmask(port);
        }
    }
    guest.consume();
    for port in [1, 2] {
        let word = guest.words.load32(port * 4);
        assert_eq!(word & (P | L | BUSY), 0, "port {port} was left behind");
        let handled = guest.handled[port];
        assert!(handled <= raised[port], "port {port} was handled too often");
        assert!(handled > 0 || raised[port] == 0, "port {port} was lost");
    }
}

fn explore(test: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    // Complete up to three involuntary switches of the CPU, which is where such protocols break.
    builder.preemption_bound = Some(3);
    builder.check(test);
}

#[test]
fn appending_while_the_guest_consumes() {
    explore(|| {
        let (hypervisor, mut guest) = setup();
        let sender = {
            let hypervisor = hypervisor.clone();
            thread::spawn(move || {
                for port in [1, 2, 1] {
                    hypervisor.lock().unwrap().raise(port);
                }
            })
        };
        guest.consume();
        sender.join().unwrap();
        guest.consume();
        settle(&hypervisor, &mut guest, [0, 2, 1]);
    });
}

#[test]
fn masking_a_tail_while_another_port_is_appended() {
    explore(|| {
        let (hypervisor, mut guest) = setup();
        hypervisor.lock().unwrap().raise(1);
        let sender = {
            let hypervisor = hypervisor.clone();
            thread::spawn(move || hypervisor.lock().unwrap().raise(2))
        };
        // Port 1 is the tail that port 2 is linked to.
        guest.mask(1);
        guest.consume();
        if guest.unmask_needs_help(1) {
            hypervisor.lock().unwrap().unmask(1);
        }
        sender.join().unwrap();
        guest.consume();
        settle(&hypervisor, &mut guest, [0, 1, 1]);
    });
}

#[test]
fn two_senders() {
    explore(|| {
        let (hypervisor, mut guest) = setup();
        let senders: Vec<_> = [1, 2]
            .into_iter()
            .map(|port| {
                let hypervisor = hypervisor.clone();
                thread::spawn(move || hypervisor.lock().unwrap().raise(port))
            })
            .collect();
        guest.consume();
        for sender in senders {
            sender.join().unwrap();
        }
        guest.consume();
        settle(&hypervisor, &mut guest, [0, 1, 1]);
    });
}
