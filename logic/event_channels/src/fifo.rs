//! The FIFO ABI: an event word for each port in pages that the guest provides, and for each vCPU 16 queues of
//! linked event words, one per priority, whose heads are in the vCPU's control block.
//!
//! The hypervisor appends to queues and the guest consumes them at the same time, without a lock between them.
//! The hypervisor's side is serialised by the lock that holds [`crate::EventChannels`]. The protocol on a word:
//!
//! - `PENDING` is set by the hypervisor and cleared by either.
//! - `MASKED` is the guest's. A word is linked only while unmasked; unmasking a pending one is a hypercall.
//! - `LINKED` is set by the hypervisor when it appends the port, and cleared by the guest, together with
//!   `LINK`, when it takes the port off the queue.
//! - `LINK` is the next port. It may be set only while `LINKED`, so a tail that the guest has taken off
//!   meanwhile is not linked to: then the queue is empty, and its head is set instead.
//! - `BUSY` stops the guest from unmasking a tail while the hypervisor changes its `LINK`.
//!
//! The guest may change a linked word in four ways: set `MASKED`, clear it (not while `BUSY`), clear
//! `PENDING`, clear `LINKED`. So with `BUSY` set, a few attempts to exchange the word succeed, or the guest does not
//! keep to the protocol and may lose its own events.
//!
//! Everything in these pages is the guest's claim: heads and links are only ever written here, never followed.
//! The hypervisor goes by the tails that it keeps for itself (XSA-107, XSA-188, XSA-221: never a queue or a word
//! that was not set up).

use alloc::vec::Vec;

use xen_abi::EvtchnPort;
use xen_abi::errno::Errno;
use xen_abi::event_channel::{
    EVTCHN_FIFO_BUSY, EVTCHN_FIFO_LINK_MASK, EVTCHN_FIFO_LINKED, EVTCHN_FIFO_MASKED,
    EVTCHN_FIFO_MAX_QUEUES, EVTCHN_FIFO_NR_CHANNELS, EVTCHN_FIFO_PENDING, FifoControlBlock,
};

use crate::channel::{Channel, QueueId};
use crate::deliver::Raised;
use shared_page::SharedPage;

/// Number of ports (`EVTCHN_FIFO_NR_CHANNELS`).
pub const PORTS: u32 = EVTCHN_FIFO_NR_CHANNELS;
/// Event words in a page.
pub(crate) const WORDS_PER_PAGE: u32 = 4096 / 4;
/// Pages that the event array can have.
const MAX_PAGES: usize = (PORTS / WORDS_PER_PAGE) as usize;
/// Queues of a vCPU, one per priority.
const QUEUES: usize = EVTCHN_FIFO_MAX_QUEUES as usize;

const PENDING: u32 = 1 << EVTCHN_FIFO_PENDING;
const MASKED: u32 = 1 << EVTCHN_FIFO_MASKED;
const LINKED: u32 = 1 << EVTCHN_FIFO_LINKED;
const BUSY: u32 = 1 << EVTCHN_FIFO_BUSY;

/// Attempts to link to a tail once it is `BUSY`: one for each change that the guest may still make to it, and one.
const LINK_ATTEMPTS: usize = 5;

/// The pages of a domain that uses this ABI; dropping it unmaps them. The hypervisor sees it only to drop it, after
/// it has released the lock.
#[derive(Clone)]
pub struct Fifo<P> {
    /// The event array.
    array: Vec<P>,
    vcpus: Vec<VcpuQueues<P>>,
}

#[derive(Clone)]
struct VcpuQueues<P> {
    /// Page and offset of the control block.
    control: Option<(P, usize)>,
    /// The port last appended to each queue; 0 for none. The guest may have taken it off since.
    tails: [EvtchnPort; QUEUES],
}

/// An event word.
struct Word<'a, P> {
    page: &'a P,
    offset: usize,
}

impl<P: SharedPage> Word<'_, P> {
    fn load(&self) -> u32 {
        self.page.load32(self.offset)
    }

    /// Sets bits; returns whether any was set before.
    fn set(&self, bits: u32) -> bool {
        self.page.fetch_or32(self.offset, bits) & bits != 0
    }

    fn clear(&self, bits: u32) {
        self.page.fetch_and32(self.offset, !bits);
    }

    /// Makes this word, a queue's tail, link to `port`, if it is still on the queue. Returns whether it is.
    fn link_to(&self, port: EvtchnPort) -> bool {
        let mut busy = false;
        for _ in 0..=LINK_ATTEMPTS {
            let old = self.load();
            if old & LINKED == 0 {
                if busy {
                    self.clear(BUSY);
                }
                return false;
            }
            let new = old & !(BUSY | EVTCHN_FIFO_LINK_MASK) | port;
            if self.page.compare_exchange32(self.offset, old, new).is_ok() {
                return true;
            }
            if !busy {
                self.set(BUSY);
                busy = true;
            }
        }
        // Only a guest that breaks the protocol comes here. Its queue is its own loss: as on Xen, the event counts
        // as linked.
        self.clear(BUSY);
        true
    }
}

impl<P> Fifo<P> {
    /// Makes the state of a domain that has `vcpus` vCPUs, without any page.
    ///
    /// # Errors
    /// `ENOMEM`
    pub(crate) fn new(vcpus: usize) -> Result<Self, Errno> {
        let mut fifo = Self {
            array: Vec::new(),
            vcpus: Vec::new(),
        };
        fifo.grow_vcpus(vcpus)?;
        // All at once, 16 bytes a page: appending one then never copies the others.
        fifo.array
            .try_reserve_exact(MAX_PAGES)
            .map_err(|_| Errno::ENOMEM)?;
        Ok(fifo)
    }

    /// Makes room for the queues of `vcpus` vCPUs.
    ///
    /// # Errors
    /// `ENOMEM`; nothing has changed then.
    pub(crate) fn grow_vcpus(&mut self, vcpus: usize) -> Result<(), Errno> {
        let missing = vcpus.saturating_sub(self.vcpus.len());
        self.vcpus
            .try_reserve_exact(missing)
            .map_err(|_| Errno::ENOMEM)?;
        for _ in 0..missing {
            self.vcpus.push(VcpuQueues {
                control: None,
                tails: [0; QUEUES],
            });
        }
        Ok(())
    }

    /// The pages of the array and of the control blocks.
    pub(crate) fn pages(&self) -> impl Iterator<Item = &P> {
        let blocks = self
            .vcpus
            .iter()
            .filter_map(|queues| queues.control.as_ref());
        self.array.iter().chain(blocks.map(|(page, _)| page))
    }

    /// Whether the vCPU has a control block.
    pub(crate) fn has_control(&self, vcpu: u32) -> bool {
        self.vcpus
            .get(vcpu as usize)
            .is_some_and(|queues| queues.control.is_some())
    }

    /// Gives a vCPU its control block.
    pub(crate) fn set_control(&mut self, vcpu: u32, page: P, offset: usize) {
        if let Some(queues) = self.vcpus.get_mut(vcpu as usize) {
            queues.control = Some((page, offset));
        }
    }

    /// Number of ports that have an event word.
    pub(crate) fn words(&self) -> u32 {
        self.array.len() as u32 * WORDS_PER_PAGE
    }

    /// Whether the event array has all its pages.
    pub(crate) fn is_full(&self) -> bool {
        self.array.len() >= MAX_PAGES
    }

    /// Appends a page to the event array.
    pub(crate) fn push_page(&mut self, page: P) {
        // Never reallocates: there is room for all pages since `new`.
        self.array.push(page);
    }
}

impl<P: SharedPage> Fifo<P> {
    fn word(&self, port: EvtchnPort) -> Option<Word<'_, P>> {
        let page = self.array.get((port / WORDS_PER_PAGE) as usize)?;
        Some(Word {
            page,
            offset: (port % WORDS_PER_PAGE) as usize * 4,
        })
    }

    pub(crate) fn is_pending(&self, port: EvtchnPort) -> bool {
        self.word(port)
            .is_some_and(|word| word.load() & PENDING != 0)
    }

    pub(crate) fn is_masked(&self, port: EvtchnPort) -> bool {
        self.word(port).is_none_or(|word| word.load() & MASKED != 0)
    }

    /// Whether the port is on a queue, so that it cannot be bound to something else yet.
    pub(crate) fn is_linked(&self, port: EvtchnPort) -> bool {
        self.word(port)
            .is_some_and(|word| word.load() & LINKED != 0)
    }

    /// The event word, for a person's eyes.
    pub(crate) fn raw_word(&self, port: EvtchnPort) -> Option<u32> {
        self.word(port).map(|word| word.load())
    }

    /// Clears `PENDING`. A port that is on a queue stays there: the guest skips it.
    pub(crate) fn clear_pending(&self, port: EvtchnPort) {
        if let Some(word) = self.word(port) {
            word.clear(PENDING);
        }
    }

    /// Clears `MASKED`; returns whether the port is pending, so that it has to be raised again.
    pub(crate) fn unmask(&self, port: EvtchnPort) -> bool {
        let Some(word) = self.word(port) else {
            return false;
        };
        word.clear(MASKED);
        word.load() & PENDING != 0
    }

    /// Makes a port pending and, unless it is masked or linked already, appends it to its queue.
    #[inline]
    pub(crate) fn raise(&mut self, port: EvtchnPort, channel: &mut Channel) -> Raised {
        let Some(word) = self.word(port) else {
            // Kept for when the guest provides the page.
            channel.pending = true;
            return Raised::default();
        };
        let newly_pending = !word.set(PENDING);
        let upcall = self.has_control(u32::from(channel.vcpu)) && self.append(port, channel);
        Raised {
            newly_pending,
            upcall,
        }
    }

    /// Returns whether the queue became ready, so that the vCPU needs an upcall.
    fn append(&mut self, port: EvtchnPort, channel: &mut Channel) -> bool {
        let Some(word) = self.word(port) else {
            return false;
        };
        if word.load() & MASKED != 0 || word.set(LINKED) {
            return false;
        }
        // A port that was its old queue's tail shows that queue to be empty. The tail must go, or the next event
        // of that queue would be linked behind this port, which is on another queue now.
        let old = channel.last_queue();
        if let Some(tail) = self.tail_mut(old)
            && *tail == port
        {
            *tail = 0;
        }
        let queue = QueueId {
            vcpu: channel.vcpu,
            priority: channel.priority,
        };
        channel.set_last_queue(queue);
        let Some(tail) = self.tail_mut(queue) else {
            return false;
        };
        let before = core::mem::replace(tail, port);
        if before != 0 && self.word(before).is_some_and(|tail| tail.link_to(port)) {
            // The guest is not done with the queue and will come to this port.
            return false;
        }
        let Some((page, offset)) = self
            .vcpus
            .get(usize::from(queue.vcpu))
            .and_then(|queues| queues.control.as_ref())
        else {
            return false;
        };
        let head = core::mem::offset_of!(FifoControlBlock, head) + usize::from(queue.priority) * 4;
        page.store32(offset + head, port);
        // After the head: the guest reads the head when it sees the bit.
        let bit = 1 << queue.priority;
        let ready = core::mem::offset_of!(FifoControlBlock, ready);
        page.fetch_or32(offset + ready, bit) & bit == 0
    }

    fn tail_mut(&mut self, queue: QueueId) -> Option<&mut EvtchnPort> {
        self.vcpus
            .get_mut(usize::from(queue.vcpu))?
            .tails
            .get_mut(usize::from(queue.priority))
    }
}
