//! All domains of the machine, by number.
//!
//! A number is taken for as long as a frame may still name it as its owner: longer than the domain lives, whose pages
//! others may have mapped. What remains of a domain then is its account.
//!
//! There is a list of all, in order, and an index: who looks for one domain, to send it an event or to map its grant, takes
//! the lock of its slot in the index, or none at all for domain 0, and so does not wait for those who look for others.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU16, Ordering};

use platform_cpu::lock::{Once, SpinLock};
use xen_abi::domid::DOMID_FIRST_RESERVED;

use crate::domain::{DomId, Domain, DomainMemory};
use crate::{ranks, time};

/// What a number stands for.
#[derive(Clone)]
pub enum Entry {
    /// A domain.
    Domain(Arc<Domain>),
    /// A domain that is gone but for pages that others use.
    Remains {
        /// Its number.
        id: DomId,
        /// The UUID that it had.
        handle: [u8; 16],
        /// Its account.
        memory: Arc<DomainMemory>,
    },
}

impl Entry {
    /// The number.
    pub fn id(&self) -> DomId {
        match self {
            Self::Domain(domain) => domain.id(),
            Self::Remains { id, .. } => *id,
        }
    }

    /// The account.
    pub fn memory(&self) -> &Arc<DomainMemory> {
        match self {
            Self::Domain(domain) => &domain.memory,
            Self::Remains { memory, .. } => memory,
        }
    }
}

static DOMAINS: SpinLock<Vec<Entry>> = SpinLock::new(ranks::DOMAINS, Vec::new());
/// Number `n` is in slot `n % SLOTS`. Changed with the list's lock held.
static INDEX: [SpinLock<Vec<Entry>>; SLOTS] =
    [const { SpinLock::new(ranks::DOMAIN_INDEX, Vec::new()) }; SLOTS];
const SLOTS: usize = 128;
/// The domain that owns the machine's devices: found without a lock, for it gets interrupts.
static HARDWARE: Once<Arc<Domain>> = Once::new();
/// The number that was given last.
static LAST: AtomicU16 = AtomicU16::new(0);

fn position(domains: &[Entry], id: DomId) -> Result<usize, usize> {
    domains.binary_search_by_key(&id, Entry::id)
}

/// Runs `f` on what a number stands for.
fn in_slot<R>(id: DomId, f: impl FnOnce(&mut Vec<Entry>, Option<usize>) -> R) -> Option<R> {
    let mut slot = INDEX.get(usize::from(id) % SLOTS)?.lock();
    let at = slot.iter().position(|entry| entry.id() == id);
    Some(f(&mut slot, at))
}

fn entry(id: DomId) -> Option<Entry> {
    in_slot(id, |slot, at| slot.get(at?).cloned())?
}

/// Makes a domain known.
///
/// # Errors
/// The domain again, if its number is taken or there is no memory for the list.
pub fn insert(domain: Arc<Domain>) -> Result<(), Arc<Domain>> {
    let mut domains = DOMAINS.lock();
    match position(&domains, domain.id()) {
        Err(at)
            if domains.try_reserve(1).is_ok()
                && in_slot(domain.id(), |slot, _| slot.try_reserve(1).is_ok()) == Some(true) =>
        {
            if domain.is_hardware() {
                // Domain 0 comes first and stays: a second hardware domain is refused by what creates it.
                let _ = HARDWARE.set(domain.clone());
            }
            // Under the lock, so that no setting of the clock passes it by.
            time::update_wall_clock(&domain);
            let entry = Entry::Domain(domain);
            domains.insert(at, entry.clone());
            in_slot(entry.id(), |slot, _| slot.push(entry.clone()));
            Ok(())
        }
        _ => Err(domain),
    }
}

/// Whether a number stands for nothing.
pub fn is_free(id: DomId) -> bool {
    entry(id).is_none()
}

/// A number for a new domain: the next one that is free, so that numbers do not come again soon. The caller keeps
/// others from creating domains meanwhile.
pub fn next_free() -> Option<DomId> {
    let last = LAST.load(Ordering::Relaxed);
    let found = (last + 1..DOMID_FIRST_RESERVED)
        .chain(1..=last)
        .find(|id| is_free(*id))?;
    LAST.store(found, Ordering::Relaxed);
    Some(found)
}

/// Domain number `id`.
pub fn find(id: DomId) -> Option<Arc<Domain>> {
    if let Some(domain) = hardware().filter(|domain| domain.id() == id) {
        return Some(domain.clone());
    }
    in_slot(id, |slot, at| match slot.get(at?)? {
        Entry::Domain(domain) => Some(domain.clone()),
        Entry::Remains { .. } => None,
    })?
}

/// The account of domain number `id`, or of what remains of it.
pub fn account(id: DomId) -> Option<Arc<DomainMemory>> {
    in_slot(id, |slot, at| Some(slot.get(at?)?.memory().clone()))?
}

/// What the lowest number from `first` on stands for.
pub fn first_from(first: DomId) -> Option<Entry> {
    let domains = DOMAINS.lock();
    let (Ok(at) | Err(at)) = position(&domains, first);
    domains.get(at).cloned()
}

/// The domain that owns the machine's devices.
#[inline]
pub fn hardware() -> Option<&'static Arc<Domain>> {
    HARDWARE.get()
}

/// Runs `f` for each domain, by number.
pub fn for_each(mut f: impl FnMut(&Arc<Domain>)) {
    for entry in DOMAINS.lock().iter() {
        if let Entry::Domain(domain) = entry {
            f(domain);
        }
    }
}

/// Leaves nothing but the account of a domain that has given up all that it had. The last reference to the domain may
/// be the one that this returns.
pub fn retire(id: DomId) -> Option<Arc<Domain>> {
    let mut domains = DOMAINS.lock();
    let at = position(&domains, id).ok()?;
    let entry = domains.get_mut(at)?;
    let Entry::Domain(domain) = entry else {
        return None;
    };
    let domain = domain.clone();
    let remains = Entry::Remains {
        id,
        handle: domain.handle(),
        memory: domain.memory.clone(),
    };
    *entry = remains.clone();
    in_slot(id, |slot, at| {
        if let Some(entry) = at.and_then(|at| slot.get_mut(at)) {
            *entry = remains;
        }
    });
    Some(domain)
}

/// Forgets the numbers of which nothing remains; how many that are.
pub fn forget_remains() -> usize {
    let mut domains = DOMAINS.lock();
    let before = domains.len();
    domains.retain(|entry| match entry {
        Entry::Domain(_) => true,
        Entry::Remains { id, memory, .. } => {
            let stays = !memory.is_settled();
            if !stays {
                in_slot(*id, |slot, at| at.map(|at| slot.swap_remove(at)));
            }
            stays
        }
    });
    before - domains.len()
}
