//! Events: from what happens to the guest's shared pages, and on to the vCPU that should look at them.
//!
//! A domain's channels are in one lock ([`crate::domain::Domain::event_channels`]); whom to wake comes out of
//! `logic/event_channels` and is woken here, after the lock where that is possible.

use alloc::sync::Arc;
use core::sync::atomic::{AtomicU16, Ordering};

use event_channels::{
    Closed, Closer, Delivery, DomainMemory, PeerPort, Poll, Received, Sent, SharedPage,
};
use frames::PageRef;
use platform_cpu::lock::SpinGuard;
use platform_memory::Mapped;
use xen_abi::errno::Errno;
use xen_abi::virq;

use crate::cpu::{self, Work};
use crate::domain::{DomId, Domain};
use crate::vcpu::{Notice, Vcpu, Waiting};
use crate::{domains, irq, schedule};

/// The event channels of a domain.
pub type EventChannels = event_channels::EventChannels<SharedFrame>;

/// A frame of a guest that it shares with the hypervisor, kept and mapped for as long as this lives.
pub struct SharedFrame(crate::mm::WritablePage);

impl SharedFrame {
    /// Keeps a page that the guest may write.
    pub fn new(page: crate::mm::WritablePage) -> Self {
        Self(page)
    }

    /// The page.
    pub fn page(&self) -> &crate::mm::WritablePage {
        &self.0
    }
}

/// A mapped frame that a guest reads and writes at the same time.
pub struct SharedView<'a>(Mapped<'a>);

impl<'a> SharedView<'a> {
    /// Maps a page.
    #[inline]
    pub fn new(page: &'a PageRef<'static>) -> Self {
        Self(platform_memory::map(page))
    }
}

impl SharedPage for SharedView<'_> {
    #[inline]
    fn load32(&self, offset: usize) -> u32 {
        self.0.load_u32(offset)
    }

    #[inline]
    fn store32(&self, offset: usize, value: u32) {
        self.0.store_u32(offset, value);
    }

    #[inline]
    fn compare_exchange32(&self, offset: usize, current: u32, new: u32) -> Result<u32, u32> {
        self.0.compare_exchange_u32(offset, current, new)
    }

    #[inline]
    fn fetch_or32(&self, offset: usize, bits: u32) -> u32 {
        self.0.fetch_or_u32(offset, bits)
    }

    #[inline]
    fn fetch_and32(&self, offset: usize, bits: u32) -> u32 {
        self.0.fetch_and_u32(offset, bits)
    }

    #[inline]
    fn load64(&self, offset: usize) -> u64 {
        self.0.load_u64(offset)
    }

    #[inline]
    fn fetch_or64(&self, offset: usize, bits: u64) -> u64 {
        self.0.fetch_or_u64(offset, bits)
    }

    #[inline]
    fn fetch_and64(&self, offset: usize, bits: u64) -> u64 {
        self.0.fetch_and_u64(offset, bits)
    }
}

/// Forwards every operation to a view of the page that `$page` finds in `self`.
macro_rules! shared_page_by_view {
    ($type:ty, |$self:ident| $page:expr) => {
        impl event_channels::SharedPage for $type {
            #[inline]
            fn load32(&$self, offset: usize) -> u32 {
                $crate::events::SharedView::new($page).load32(offset)
            }
            #[inline]
            fn store32(&$self, offset: usize, value: u32) {
                $crate::events::SharedView::new($page).store32(offset, value);
            }
            #[inline]
            fn compare_exchange32(
                &$self,
                offset: usize,
                current: u32,
                new: u32,
            ) -> Result<u32, u32> {
                $crate::events::SharedView::new($page).compare_exchange32(offset, current, new)
            }
            #[inline]
            fn fetch_or32(&$self, offset: usize, bits: u32) -> u32 {
                $crate::events::SharedView::new($page).fetch_or32(offset, bits)
            }
            #[inline]
            fn fetch_and32(&$self, offset: usize, bits: u32) -> u32 {
                $crate::events::SharedView::new($page).fetch_and32(offset, bits)
            }
            #[inline]
            fn load64(&$self, offset: usize) -> u64 {
                $crate::events::SharedView::new($page).load64(offset)
            }
            #[inline]
            fn fetch_or64(&$self, offset: usize, bits: u64) -> u64 {
                $crate::events::SharedView::new($page).fetch_or64(offset, bits)
            }
            #[inline]
            fn fetch_and64(&$self, offset: usize, bits: u64) -> u64 {
                $crate::events::SharedView::new($page).fetch_and64(offset, bits)
            }
        }
    };
}
pub(crate) use shared_page_by_view;

shared_page_by_view!(SharedFrame, |self| &self.0);

impl DomainMemory for Domain {
    type Page<'a> = SharedView<'a>;

    #[inline]
    fn shared_info(&self) -> SharedView<'_> {
        SharedView::new(&self.shared_info)
    }

    #[inline]
    fn vcpu_info(&self, vcpu: u32) -> Option<(SharedView<'_>, usize)> {
        let (page, offset) = self.vcpu(vcpu)?.info().place();
        Some((SharedView::new(page), offset))
    }
}

/// Raises a per-vCPU virtual interrupt.
pub fn send_vcpu_virq(domain: &Arc<Domain>, vcpu: u32, virq: u32) {
    let mut channels = domain.event_channels.lock();
    let delivery = channels.raise_virq(vcpu, virq, &**domain);
    deliver(domain, channels, delivery);
}

/// Stands for the domain that owns the machine's devices.
const HARDWARE: DomId = DomId::MAX;

/// The domain that handles each global virtual interrupt.
static VIRQ_HANDLERS: [AtomicU16; virq::COUNT as usize] =
    [const { AtomicU16::new(HARDWARE) }; virq::COUNT as usize];

/// Makes `domain` the one that handles a global virtual interrupt.
///
/// # Errors
/// `EINVAL` if there is no such global one.
pub fn set_virq_handler(domain: &Domain, virq: u32) -> Result<(), Errno> {
    let handler = VIRQ_HANDLERS.get(virq as usize).ok_or(Errno::EINVAL)?;
    if !event_channels::virq_is_global(virq) {
        return Err(Errno::EINVAL);
    }
    let id = if domain.is_hardware() {
        HARDWARE
    } else {
        domain.id()
    };
    handler.store(id, Ordering::Relaxed);
    Ok(())
}

/// Gives back what a domain that is being destroyed handled.
pub fn forget_virq_handler(domain: DomId) {
    for handler in &VIRQ_HANDLERS {
        // Another domain's stays.
        let _ = handler.compare_exchange(domain, HARDWARE, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Raises a global virtual interrupt, in the domain that handles it.
pub fn send_global_virq(virq: u32) {
    let handler = VIRQ_HANDLERS
        .get(virq as usize)
        .map_or(HARDWARE, |handler| handler.load(Ordering::Relaxed));
    match (handler, domains::hardware()) {
        (HARDWARE, Some(domain)) => send_vcpu_virq(domain, 0, virq),
        (HARDWARE, None) => {}
        (id, _) => {
            if let Some(domain) = domains::find(id) {
                send_vcpu_virq(&domain, 0, virq);
            }
        }
    }
}

/// Raises a physical interrupt.
pub fn send_pirq(domain: &Arc<Domain>, pirq: u32) {
    let mut channels = domain.event_channels.lock();
    let delivery = channels.raise_pirq(pirq, &**domain);
    deliver(domain, channels, delivery);
}

/// Sends from a port of `domain` (`EVTCHNOP_send`).
///
/// # Errors
/// As [`event_channels::EventChannels::send`].
#[inline]
pub fn send(domain: &Arc<Domain>, port: u32) -> Result<(), Errno> {
    let mut channels = domain.event_channels.lock();
    match channels.send(port, &**domain)? {
        Sent::Done(delivery) => deliver(domain, channels, delivery),
        Sent::Peer(peer) => {
            drop(channels);
            send_to_peer(&peer);
        }
        // No part of the hypervisor takes events yet.
        Sent::Consumer(..) => {}
    }
    Ok(())
}

#[inline(never)]
fn send_to_peer(peer: &PeerPort) {
    // A domain that is gone has closed the channel.
    let Some(domain) = domains::find(peer.domid) else {
        return;
    };
    let mut channels = domain.event_channels.lock();
    match channels.receive(peer, &*domain) {
        Received::Done(delivery) => deliver(&domain, channels, delivery),
        Received::Consumer(..) => {}
    }
}

/// Wakes whom an event is for. The lock is released on the way.
#[inline]
pub fn deliver(
    domain: &Arc<Domain>,
    mut channels: SpinGuard<'_, EventChannels>,
    delivery: Delivery,
) {
    if let Some(port) = delivery.polled {
        wake_pollers(domain, &mut channels, port);
    }
    drop(channels);
    if let Some(vcpu) = delivery.kick {
        kick(domain, vcpu);
    }
}

/// Wakes whom an event is for, with the lock held.
pub fn deliver_locked(domain: &Arc<Domain>, channels: &mut EventChannels, delivery: Delivery) {
    if let Some(port) = delivery.polled {
        wake_pollers(domain, channels, port);
    }
    if let Some(vcpu) = delivery.kick {
        kick(domain, vcpu);
    }
}

#[inline(never)]
fn wake_pollers(domain: &Arc<Domain>, channels: &mut EventChannels, port: u32) {
    while let Some(vcpu) = channels.take_poller(port) {
        schedule::wake(domain, vcpu, Waiting::Polling);
    }
}

/// Makes a vCPU look at its pending upcall: it stops waiting, or leaves the guest if another CPU runs it.
#[inline(never)]
fn kick(domain: &Arc<Domain>, id: u32) {
    let Some(vcpu) = domain.vcpu(id) else { return };
    let waiting = vcpu.waiting();
    if waiting != Waiting::No && vcpu.stop_waiting(waiting) {
        schedule::update(domain, vcpu);
    } else if let Some(cpu) = vcpu.loaded_on()
        && cpu != platform_cpu::cpu_id()
    {
        cpu::request(cpu, Work::Events);
    }
}

/// Makes an NMI pending for a vCPU, which looks at it at once.
pub fn send_nmi(domain: &Arc<Domain>, vcpu: &Vcpu) {
    vcpu.notify(Notice::Nmi);
    kick(domain, vcpu.id());
}

/// Makes `vcpu` wait for one of `ports` (`SCHEDOP_poll`). Returns whether it has to wait: none is pending.
///
/// # Errors
/// `EINVAL` if a port does not exist.
pub fn poll(domain: &Arc<Domain>, vcpu: &Vcpu, ports: &[u32]) -> Result<bool, Errno> {
    let mut channels = domain.event_channels.lock();
    match channels.poll(vcpu.id(), ports, &**domain)? {
        Poll::Ready => Ok(false),
        Poll::Wait => {
            // Under the lock, as is every delivery: no event comes between the look and the wait.
            vcpu.set_waiting(Waiting::Polling);
            Ok(true)
        }
    }
}

/// Closes a port, with the other end if it is connected.
///
/// # Errors
/// As [`event_channels::EventChannels::close`].
pub fn close(domain: &Arc<Domain>, port: u32, closer: Closer) -> Result<(), Errno> {
    /// Between finding the peer and locking both, the port may be connected to another domain; not for ever.
    const ATTEMPTS: usize = 4;
    let mut peer: Option<Arc<Domain>> = None;
    for _ in 0..ATTEMPTS {
        let mut pair = Pair::lock(domain, peer.as_ref());
        let (channels, other) = pair.get();
        match channels.close(port, closer, other, &**domain)? {
            Closed::Done => return Ok(()),
            Closed::Pirq(pirq) => {
                irq::pirq::unbind(domain, pirq);
                return Ok(());
            }
            Closed::NeedsPeer(domid) => {
                drop(pair);
                peer = domains::find(domid);
            }
        }
    }
    Err(Errno::EINVAL)
}

/// The channels of one or two domains, locked in the order of their numbers.
pub struct Pair<'a> {
    local: SpinGuard<'a, EventChannels>,
    remote: Option<SpinGuard<'a, EventChannels>>,
}

impl<'a> Pair<'a> {
    /// Locks the channels of `local`, and of `remote` if that is another domain.
    pub fn lock(local: &'a Arc<Domain>, remote: Option<&'a Arc<Domain>>) -> Self {
        let Some(remote) = remote.filter(|remote| remote.id() != local.id()) else {
            return Self {
                local: local.event_channels.lock(),
                remote: None,
            };
        };
        let (first, second) = if local.id() < remote.id() {
            (local, remote)
        } else {
            (remote, local)
        };
        let first = first.event_channels.lock();
        // Both locks have the same rank; the order of domain numbers keeps waiting here from being a deadlock.
        let second = loop {
            if let Some(guard) = second.event_channels.try_lock() {
                break guard;
            }
            platform_cpu::hooks::spin_poll();
            core::hint::spin_loop();
        };
        let (local, remote) = if local.id() < remote.id() {
            (first, second)
        } else {
            (second, first)
        };
        Self {
            local,
            remote: Some(remote),
        }
    }

    /// The channels of the local domain, and of the remote one if that is another.
    pub fn get(&mut self) -> (&mut EventChannels, Option<&mut EventChannels>) {
        (&mut self.local, self.remote.as_deref_mut())
    }

    /// Keeps the local domain's lock only.
    pub fn into_local(self) -> SpinGuard<'a, EventChannels> {
        self.local
    }
}

/// Prints all channels of all domains (debug key `e`).
pub fn dump() {
    use event_channels::PortState;
    domains::for_each(|domain| {
        let channels = domain.event_channels.lock();
        log::info!(
            target: crate::console::ALWAYS,
            "d{}: {} event channels in use, {}; [p: pending, m: masked]",
            domain.id(),
            channels.active_ports(),
            if channels.uses_fifo() { "FIFO" } else { "2-level" },
        );
        for (port, status) in channels.iter() {
            let pending = if channels.is_pending(port, &**domain) {
                'p'
            } else {
                '-'
            };
            let masked = if channels.is_masked(port, &**domain) {
                'm'
            } else {
                '-'
            };
            let word = channels.event_word(port).unwrap_or(0);
            let vcpu = status.vcpu;
            macro_rules! line {
                ($($what:tt)*) => {
                    log::info!(
                        target: crate::console::ALWAYS,
                        "  {port:5} [{pending}{masked}] word {word:08x} vcpu {vcpu} {}",
                        format_args!($($what)*),
                    )
                };
            }
            match status.state {
                PortState::Unbound { remote } => line!("waits for d{remote}"),
                PortState::Interdomain { remote, port } => line!("to d{remote} port {port}"),
                PortState::Pirq { pirq } => line!("PIRQ {pirq}"),
                PortState::Virq { virq } => line!("VIRQ {virq}"),
                PortState::Ipi => line!("IPI"),
                PortState::Free | PortState::Reserved => {}
            }
        }
        for vcpu in channels.pollers() {
            log::info!(target: crate::console::ALWAYS, "  vcpu {vcpu} polls");
        }
    });
}
