//! All domains of the machine, by number.

use alloc::sync::Arc;
use alloc::vec::Vec;

use platform_cpu::lock::{Once, SpinLock};

use crate::domain::{DomId, Domain};
use crate::{ranks, time};

static DOMAINS: SpinLock<Vec<Arc<Domain>>> = SpinLock::new(ranks::DOMAINS, Vec::new());
/// The domain that owns the machine's devices: found without a lock, for it gets interrupts.
static HARDWARE: Once<Arc<Domain>> = Once::new();

/// Makes a domain known.
///
/// # Errors
/// The domain again, if its number is taken or there is no memory for the list.
pub fn insert(domain: Arc<Domain>) -> Result<(), Arc<Domain>> {
    let mut domains = DOMAINS.lock();
    match domains.binary_search_by_key(&domain.id(), |other| other.id()) {
        Err(at) if domains.try_reserve(1).is_ok() => {
            if domain.is_hardware() {
                // Domain 0 comes first and stays: a second hardware domain is refused by what creates it.
                let _ = HARDWARE.set(domain.clone());
            }
            // Under the lock, so that no setting of the clock passes it by.
            time::update_wall_clock(&domain);
            domains.insert(at, domain);
            Ok(())
        }
        _ => Err(domain),
    }
}

/// Domain number `id`.
pub fn find(id: DomId) -> Option<Arc<Domain>> {
    let domains = DOMAINS.lock();
    let at = domains
        .binary_search_by_key(&id, |domain| domain.id())
        .ok()?;
    domains.get(at).cloned()
}

/// The domain that owns the machine's devices.
#[inline]
pub fn hardware() -> Option<&'static Arc<Domain>> {
    HARDWARE.get()
}

/// Runs `f` for each domain, by number.
pub fn for_each(mut f: impl FnMut(&Arc<Domain>)) {
    for domain in DOMAINS.lock().iter() {
        f(domain);
    }
}
