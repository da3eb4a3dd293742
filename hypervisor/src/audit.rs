//! The audit: whether the counts of frames, grants and event channels are what they are counts of (debug key `B`).
//!
//! All domains are paused. Then everything that can refer to a frame is added up from nothing: entries of page
//! tables, pins and allocations by `logic/frames`, and what this crate keeps of domains and vCPUs here. Whoever adds
//! something that keeps a [`frames::PageRef`] or a [`frames::TypedRef`] adds it to [`hold_domain`] too.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};

use addr::Mfn;
use event_channels::{Mismatch, PortState};
use frames::{Audit, Claim, Imbalance, Problem, Summary, TableMemory};
use platform_memory::DirectMap;

use crate::console::ALWAYS;
use crate::cpu::Cpu;
use crate::domain::Domain;
use crate::{config, domains, keys, mm, schedule, time};

/// Lines that are printed of each kind of imbalance; the rest is in the sums.
const LINES: u64 = 32;

/// One at a time: two would wait for each other to pause.
static RUNNING: AtomicBool = AtomicBool::new(false);

/// Registers the key.
pub fn init() {
    keys::register(
        b'B',
        "audit the counts of frames, grants and ports",
        |cpu, _| {
            ask(cpu);
        },
    );
    if config::get().test_keys {
        keys::register(
            b'L',
            "lose a reference to a page of domain 0 (test)",
            |_, _| {
                lose_reference();
            },
        );
    }
}

/// An audit that waits for its CPU to have nothing loaded: the domains, all paused.
pub struct Wanted(Vec<Arc<Domain>>);

/// Pauses all domains, and has this CPU do an audit once it has no vCPU loaded.
fn ask(cpu: &mut Cpu) {
    // Acquire and release: one audit after the other.
    if RUNNING.swap(true, Ordering::AcqRel) {
        log::warn!(target: ALWAYS, "audit: one is under way");
        return;
    }
    let mut all = Vec::new();
    let mut count = 0;
    domains::for_each(|_| count += 1);
    if all.try_reserve(count).is_err() {
        no_memory();
        RUNNING.store(false, Ordering::Release);
        return;
    }
    // Domains that come in between are not looked at by this audit, and would unbalance it.
    domains::for_each(|domain| {
        if all.len() < all.capacity() {
            all.push(domain.clone());
        }
    });
    for domain in &all {
        schedule::pause(domain);
    }
    cpu.audit = Some(Wanted(all));
    cpu.reschedule = true;
}

/// Does what [`ask`] asked for. This CPU has nothing loaded and holds no lock.
#[inline(never)]
pub fn run(Wanted(domains): Wanted) {
    let start = time::now();
    for domain in &domains {
        schedule::pause_and_wait(domain);
    }
    // Frames on their way to the allocator are still on their owners' accounts.
    let _ = mm::free_frames();
    match audit(&domains) {
        Some(sums) => sums.print((time::now() - start) / 1000),
        None => no_memory(),
    }
    for domain in &domains {
        // Once for those who asked, once for the wait.
        schedule::unpause(domain);
        schedule::unpause(domain);
    }
    RUNNING.store(false, Ordering::Release);
}

fn no_memory() {
    log::warn!(target: ALWAYS, "audit: there is no memory for it");
}

/// What an audit found.
#[derive(Default)]
struct Sums {
    frames: Summary,
    domains: u64,
    grants: u64,
    ports: u64,
    wrong_accounts: u64,
    wrong_grants: u64,
    wrong_ports: u64,
}

impl Sums {
    fn print(&self, microseconds: u64) {
        let wrong = [
            self.frames.imbalances,
            self.wrong_accounts,
            self.wrong_grants,
            self.wrong_ports,
        ];
        let verdict = if wrong.iter().all(|count| *count == 0) {
            "balanced"
        } else {
            "unbalanced"
        };
        log::info!(
            target: ALWAYS,
            "audit: {} domains, {} frames ({} in use), {} tables with {} entries, {} grants, {} ports in {} us: {}",
            self.domains,
            self.frames.frames,
            self.frames.used,
            self.frames.tables,
            self.frames.entries,
            self.grants,
            self.ports,
            microseconds,
            verdict,
        );
        if verdict == "unbalanced" {
            let [frames, accounts, grants, ports] = wrong;
            log::error!(
                "audit: unbalanced: {frames} frames, {accounts} accounts, {grants} grants, {ports} ports"
            );
        }
    }
}

/// Audits everything; `None` without memory.
fn audit(domains: &[Arc<Domain>]) -> Option<Sums> {
    let mut sums = Sums {
        domains: domains.len() as u64,
        ..Sums::default()
    };
    let table = mm::frame_table();
    let mut claims: Vec<Claim> = Vec::new();
    claims.try_reserve_exact(table.len()).ok()?;
    claims.resize(table.len(), Claim::default());
    let mut audit = Audit::new(table, &DirectMap, &mut claims)?;
    for domain in domains {
        hold_domain(&mut audit, domain);
        sums.wrong_accounts += u64::from(!check_account(domain));
        check_grants(&mut sums, domain, domains)?;
        check_ports(&mut sums, domain);
    }
    audit.count();
    let mut lines = 0;
    sums.frames = audit.finish(|imbalance| {
        lines += 1;
        if lines <= LINES {
            show(imbalance);
        }
    });
    Some(sums)
}

fn show(imbalance: &Imbalance) {
    let Imbalance {
        frame,
        report,
        linear,
        found,
        problem,
    } = imbalance;
    let what = match problem {
        Problem::References => "references",
        Problem::TypeReferences => "type references",
        Problem::Type => "type",
        Problem::Linear => "linear entries",
        Problem::Busy => "busy",
    };
    log::error!(
        "audit: frame {:#x} of d{}: {what}: counted {} as {:?} {} linear {linear}, found {} {} linear {}{}",
        frame.raw(),
        report.owner,
        report.references,
        report.page_type,
        report.type_references,
        found.references,
        found.types,
        found.linear,
        if report.is_pinned { " (pinned)" } else { "" },
    );
}

/// Notes everything outside of page tables that keeps frames for the sake of a domain.
fn hold_domain<M: TableMemory>(audit: &mut Audit<'_, 'static, M>, domain: &Domain) {
    audit.hold(&domain.shared_info);
    for vcpu in domain.vcpus() {
        for info in vcpu.info_areas() {
            audit.hold(info.place().0);
            if let Some(page) = info.kept_page() {
                audit.hold_typed(page.typed());
            }
        }
        for page in vcpu.ldt.lock().pages() {
            audit.hold_typed(page);
        }
        let state = vcpu.state.lock();
        for root in [state.roots.kernel(), state.roots.user()]
            .into_iter()
            .flatten()
        {
            audit.hold_typed(root.typed());
        }
        for page in &state.gdt_frames {
            audit.hold_typed(page);
        }
    }
    for page in domain.event_channels.lock().kept_pages() {
        audit.hold_typed(page.page().typed());
    }
    let grants = domain.grants.lock();
    for frame in grants.frames().iter().chain(grants.status_frames()) {
        audit.hold(frame.page());
    }
    for (_, _, page) in grants.in_use() {
        audit.hold(page);
    }
    drop(grants);
    for page in domain.maptrack.lock().device_guards() {
        audit.hold_typed(page.typed());
    }
}

/// Whether a domain has as many pages as it is charged for, all of them its own.
fn check_account(domain: &Domain) -> bool {
    let table = mm::frame_table();
    let pages = domain.memory.pages.lock();
    let total = domain.memory.total.load(Ordering::Relaxed);
    let mut listed = 0;
    let mut strangers = 0_u64;
    let mut next = pages.first();
    while let Some(frame) = next {
        listed += 1;
        let is_own = table
            .owner(frame)
            .is_some_and(|(owner, _)| owner == domain.id());
        strangers += u64::from(!is_own);
        // A list that runs in a circle is longer than there are frames.
        next = if listed > table.len() as u64 {
            None
        } else {
            pages.next(table, frame)
        };
    }
    let is_right = listed == total && pages.len() as u64 == total && strangers == 0;
    if !is_right {
        log::error!(
            "audit: d{} is charged for {total} pages, has {} on its list, where {listed} are found, {strangers} of \
             others",
            domain.id(),
            pages.len(),
        );
    }
    is_right
}

/// Counts the pins of a domain's grants from all domains' mappings.
fn check_grants(sums: &mut Sums, domain: &Domain, domains: &[Arc<Domain>]) -> Option<()> {
    let entries = domain.grants.lock().entries();
    let mut audit = grants::Audit::new(domain.id(), entries).ok()?;
    for user in domains {
        for mapping in user.maptrack.lock().mappings() {
            audit.add(user.id(), &mapping);
        }
    }
    let table = domain.grants.lock();
    sums.grants += table.in_use().count() as u64;
    let mut wrong = 0;
    let lost = audit.finish(&table, |reference| {
        wrong += 1;
        if wrong <= LINES {
            log::error!(
                "audit: grant {reference} of d{} is not pinned by its mappings alone",
                domain.id()
            );
        }
    });
    if lost != 0 {
        log::error!("audit: {lost} mappings of d{} have no grant", domain.id());
    }
    sums.wrong_grants += wrong + u64::from(lost);
    Some(())
}

/// Checks a domain's ports, one by one where they are connected to other domains'.
fn check_ports(sums: &mut Sums, domain: &Domain) {
    let report = |sums: &mut Sums, mismatch: Mismatch| {
        sums.wrong_ports += 1;
        if sums.wrong_ports <= LINES {
            log::error!("audit: event channels of d{}: {mismatch}", domain.id());
        }
    };
    let ports = {
        let channels = domain.event_channels.lock();
        channels.audit(|mismatch| report(sums, mismatch));
        channels.valid_ports()
    };
    for port in 0..ports {
        let status = domain.event_channels.lock().status(port);
        let Ok(status) = status else { continue };
        sums.ports += u64::from(!matches!(
            status.state,
            PortState::Free | PortState::Reserved
        ));
        if let PortState::Interdomain { remote, port: peer } = status.state
            && remote != domain.id()
        {
            let is_connected = domains::find(remote).is_some_and(|remote| {
                remote
                    .event_channels
                    .lock()
                    .is_peer_of(peer, domain.id(), port)
            });
            if !is_connected {
                report(sums, Mismatch::Peer(port));
            }
        }
    }
}

/// Takes a reference that nothing stands for: an audit has to find it.
fn lose_reference() {
    let Some(domain) = domains::hardware() else {
        return;
    };
    let first: Option<Mfn> = domain.memory.pages.lock().first();
    let page = first.and_then(|frame| mm::frame_table().get(frame, domain.id()));
    if let Some(page) = page {
        log::warn!(target: ALWAYS, "a reference to frame {:#x} is lost", page.leak().raw());
    }
}
