//! Every sequence of operations on a very small machine, up to some length, against a naive reference.
//!
//! The machine has three frames of one domain and two vCPUs. A guest writes what it likes to frames that it may
//! write, pins and unpins tables of all levels, changes entries, switches roots, gives frames back and gets them
//! again. vCPU 1's calls are interrupted after the smallest piece of work there is, and it need not come back.
//!
//! After each operation all references are counted again from nothing but the tables' contents, pins and roots;
//! TLBs hold every writable translation since their last flush. The reference also says which
//! operations have to be refused, and a call in the smallest pieces has to end where the whole one does.

mod reference;
mod state;

use core::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::vec::Vec;

use addr::Mfn;
use core::sync::atomic::Ordering::Relaxed;
use hypercall::Budget;

use crate::clock::{Epoch, Stamp};
use crate::info::count;
use crate::table::owner_bits;
use crate::*;
use reference::{Verdict, judge};
use state::{State, check};

const DOMAIN: u16 = 1;
const FRAMES: usize = 3;
/// Slots of each table that are used. The rest is empty.
const SLOTS: usize = 1;
const VCPUS: usize = 2;
/// The vCPU whose calls have the smallest budget.
const INTERRUPTED: usize = 1;

/// A machine in some state, to be operated on.
struct Machine<'t> {
    table: &'t FrameTable<'t>,
    entries: [[Cell<u64>; SLOTS]; FRAMES],
    epochs: Cell<[u64; VCPUS]>,
    tlb: Cell<[u8; VCPUS]>,
    walks: Cell<[[u8; FRAMES]; VCPUS]>,
}

impl Machine<'_> {
    fn flush(&self, vcpu: usize) {
        self.flushed(vcpu, self.table.clock().tick());
    }

    /// The vCPU has flushed, at a time of the clock.
    fn flushed(&self, vcpu: usize, epoch: Epoch) {
        let (mut epochs, mut tlb) = (self.epochs.get(), self.tlb.get());
        epochs[vcpu] = epoch.0;
        tlb[vcpu] = 0;
        let mut walks = self.walks.get();
        walks[vcpu] = [0; FRAMES];
        self.epochs.set(epochs);
        self.tlb.set(tlb);
        self.walks.set(walks);
    }
}

impl TableView for &[Cell<u64>; SLOTS] {
    fn read(self, index: usize) -> u64 {
        self.get(index).map_or(0, Cell::get)
    }
    fn write(self, index: usize, value: u64) {
        if let Some(entry) = self.get(index) {
            entry.set(value);
        }
    }
    fn compare_exchange(self, index: usize, current: u64, new: u64) -> Result<(), u64> {
        let found = self.read(index);
        if found != current {
            return Err(found);
        }
        self.write(index, new);
        Ok(())
    }
    fn any_present(self, first: usize) -> bool {
        first == 0
    }
}

impl TableMemory for Machine<'_> {
    type View<'m>
        = &'m [Cell<u64>; SLOTS]
    where
        Self: 'm;
    fn view(&self, table: Mfn) -> &[Cell<u64>; SLOTS] {
        &self.entries[table.raw() as usize]
    }
}

impl Environment for Machine<'_> {
    fn flush_stale(&self, _owner: u16, since: Stamp) {
        for vcpu in 0..VCPUS {
            let last = Epoch(self.epochs.get()[vcpu]);
            if self.table.clock().is_stale(last, since) {
                self.flush(vcpu);
            }
        }
    }
    fn relax(&self) {
        panic!("waits for itself");
    }
    fn io_access(&self, _domain: u16, _frame: Mfn) -> IoAccess {
        IoAccess::Denied
    }
    fn may_set_cache_attributes(&self, _domain: u16) -> bool {
        false
    }
    fn reserved_bits(&self) -> u64 {
        0
    }
    fn hypervisor_entry(&self, _domain: u16, _slot: usize) -> u64 {
        0
    }
    fn descriptor_page_unmapped(&self, _domain: u16) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// The guest writes to a page of its own.
    Write(usize, usize, u64),
    Pin(usize, PageType),
    Unpin(usize),
    Modify(usize, usize, u64),
    Root(Option<u8>),
    /// Gives a frame back.
    Release(usize),
    /// Gets a freed frame again.
    Allocate(usize),
    /// Flushes its TLB.
    Flush,
    /// Changes to the other address space of the same tables, which flushes the TLB as well: the clock is only looked at.
    Cross,
    /// Does nothing but what is pending.
    Resume,
}

impl Operation {
    /// Whether a smaller budget makes a difference.
    fn can_be_interrupted(self) -> bool {
        !matches!(self, Self::Write(..) | Self::Release(_) | Self::Allocate(_))
    }
}

fn operations() -> Vec<Operation> {
    let mut all = std::vec![
        Operation::Root(None),
        Operation::Flush,
        Operation::Cross,
        Operation::Resume,
    ];
    for frame in 0..FRAMES {
        for level in 1..=4 {
            all.push(Operation::Pin(frame, PageType::table(level).unwrap()));
        }
        all.push(Operation::Unpin(frame));
        all.push(Operation::Root(Some(frame as u8)));
        all.push(Operation::Release(frame));
        all.push(Operation::Allocate(frame));
        for slot in 0..SLOTS {
            for value in entry_values() {
                all.push(Operation::Write(frame, slot, value));
                all.push(Operation::Modify(frame, slot, value));
            }
        }
    }
    all
}

fn entry_values() -> Vec<u64> {
    let mut values = std::vec![0];
    for frame in 0..FRAMES {
        for flags in [Entry::PRESENT, Entry::PRESENT | Entry::WRITABLE] {
            values.push(Entry::new(Mfn::new(frame as u64), flags).0);
        }
    }
    values
}

fn mfn(frame: usize) -> Mfn {
    Mfn::new(frame as u64)
}

/// Does one call of `vcpu`. `None` if the operation is not possible in this state.
fn step(
    state: &State,
    vcpu: usize,
    operation: Operation,
    budget: u32,
) -> Option<(State, Result<(), TypeError>)> {
    let infos: [FrameInfo; FRAMES] = core::array::from_fn(|frame| {
        let info = FrameInfo::new();
        info.count.store(state.count[frame], Relaxed);
        info.kind.store(state.kind[frame], Relaxed);
        info.linear.store(state.linear[frame], Relaxed);
        info.stamp.store(state.stamps[frame] as u32, Relaxed);
        info
    });
    let table = FrameTable::new(&infos);
    table.clock().set(state.now);
    let machine = Machine {
        table: &table,
        entries: state.entries.map(|table| table.map(Cell::new)),
        epochs: Cell::new(state.epochs),
        tlb: Cell::new(state.tlb),
        walks: Cell::new(state.walks),
    };
    let validator = Validator::new(&table, &machine);
    let mut roots = state.roots;
    let mut pending = Pending::new();
    for frame in &state.pending[vcpu] {
        pending.push(u32::from(*frame));
    }
    let mut units = if budget == u32::MAX {
        Budget::unlimited()
    } else {
        Budget::new(budget)
    };
    let mut work = Work::new(&mut units, &mut pending);
    let result = 'call: {
        match operation {
            Operation::Write(frame, slot, value) => {
                // A stale translation would do as well as a mapping: the invariants forbid it.
                if !state.may_write(frame) || state.entries[frame][slot] == value {
                    return None;
                }
                // Through a mapping, which takes the type, and goes again.
                let mapping = validator
                    .take(mfn(frame), PageType::Writable, DOMAIN, &mut work)
                    .unwrap();
                let is_walked = |walks: [u8; FRAMES]| walks[frame] != 0;
                assert!(
                    !machine.walks.get().into_iter().any(is_walked),
                    "frame {frame} is written to, and walked as a table"
                );
                machine.write_entry(mfn(frame), slot, value);
                validator.release(mapping, &mut work);
                break 'call Ok(());
            }
            Operation::Flush => {
                if state.tlb[vcpu] == 0 && state.walks[vcpu] == [0; FRAMES] {
                    return None;
                }
                machine.flush(vcpu);
                break 'call Ok(());
            }
            Operation::Cross => {
                let now = table.clock().epoch();
                if machine.epochs.get()[vcpu] == now.0
                    && state.tlb[vcpu] == 0
                    && state.walks[vcpu] == [0; FRAMES]
                {
                    return None;
                }
                machine.flushed(vcpu, now);
                break 'call Ok(());
            }
            Operation::Release(frame) => {
                if !table.release(mfn(frame), DOMAIN) {
                    return None;
                }
                break 'call Ok(());
            }
            Operation::Allocate(frame) => {
                if state.references(frame) != 0 {
                    return None;
                }
                // What the allocator does: flush what may be stale, clear, forget the type.
                let stamp = Stamp(infos[frame].stamp.load(Relaxed));
                machine.flush_stale(DOMAIN, stamp);
                for slot in 0..SLOTS {
                    machine.write_entry(mfn(frame), slot, 0);
                }
                infos[frame].kind.store(0, Relaxed);
                let word = count::RAM | count::ALLOCATED | owner_bits(DOMAIN) | 1;
                infos[frame].count.store(word, Relaxed);
                break 'call Ok(());
            }
            Operation::Resume if state.pending[vcpu].is_empty() => return None,
            _ => {}
        }
        if let Err(error) = validator.resume(&mut work) {
            break 'call Err(error);
        }
        match operation {
            Operation::Pin(frame, page_type) => {
                validator.pin(mfn(frame), page_type, DOMAIN, &mut work)
            }
            Operation::Unpin(frame) => validator.unpin(mfn(frame), DOMAIN, &mut work),
            Operation::Modify(frame, slot, value) => validator.modify(
                mfn(frame),
                slot,
                Entry(value),
                AccessBits::Replace,
                Owners::same(DOMAIN),
                &mut work,
            ),
            Operation::Root(new) => {
                if new == roots[vcpu] {
                    return None;
                }
                let taken = match new {
                    Some(frame) => {
                        match validator.take_root(Mfn::new(frame.into()), DOMAIN, &mut work) {
                            Ok(root) => {
                                root.0.leak();
                                Ok(())
                            }
                            Err(error) => Err(error),
                        }
                    }
                    None => Ok(()),
                };
                if taken.is_ok()
                    && let Some(old) = core::mem::replace(&mut roots[vcpu], new)
                {
                    let page = table.adopt(Mfn::new(old.into())).unwrap();
                    let old = TypedRef::from_held(page, PageType::L4);
                    validator.release(old, &mut work);
                }
                taken
            }
            _ => Ok(()),
        }
    };
    // Frames without references come off limbo; they can be allocated again.
    for frame in table.take_limbo() {
        frame.into_number();
    }
    let mut after = State {
        count: core::array::from_fn(|frame| infos[frame].count.load(Relaxed)),
        kind: core::array::from_fn(|frame| infos[frame].kind.load(Relaxed)),
        linear: core::array::from_fn(|frame| infos[frame].linear.load(Relaxed)),
        entries: machine.entries.map(|table| table.map(Cell::into_inner)),
        roots,
        pending: state.pending.clone(),
        tlb: machine.tlb.get(),
        walks: machine.walks.get(),
        stamps: core::array::from_fn(|frame| u64::from(infos[frame].stamp.load(Relaxed))),
        epochs: machine.epochs.get(),
        now: u64::from(table.clock().now().0),
    };
    after.pending[vcpu] = pending.frames().iter().map(|frame| *frame as u8).collect();
    // CPUs cache what they can.
    let mut writable = 0;
    for frame in 0..FRAMES {
        if after.is_table_in_use(frame) && after.page_type(frame) == PageType::L1 {
            for entry in after.held(frame) {
                if entry.is_writable() {
                    writable |= 1 << entry.frame().raw();
                }
            }
        }
    }
    for tlb in &mut after.tlb {
        *tlb |= writable;
    }
    for vcpu in 0..VCPUS {
        for table in after.reachable(vcpu) {
            after.walks[vcpu][table] |= 1 << after.page_type(table) as u8;
        }
    }
    Some((after.normalised(), result))
}

/// Audits a state: how many frames are not balanced.
fn imbalances(state: &State) -> u64 {
    let infos: [FrameInfo; FRAMES] = core::array::from_fn(|frame| {
        let info = FrameInfo::new();
        info.count.store(state.count[frame], Relaxed);
        info.kind.store(state.kind[frame], Relaxed);
        info.linear.store(state.linear[frame], Relaxed);
        info
    });
    let table = FrameTable::new(&infos);
    let machine = Machine {
        table: &table,
        entries: state.entries.map(|table| table.map(Cell::new)),
        epochs: Cell::default(),
        tlb: Cell::default(),
        walks: Cell::default(),
    };
    let mut claims = [Claim::default(); FRAMES];
    let mut audit = Audit::new(&table, &machine, &mut claims).unwrap();
    for root in state.roots.iter().flatten() {
        let page = table.adopt(Mfn::new(u64::from(*root))).unwrap();
        let root = TypedRef::from_held(page, PageType::L4);
        audit.hold_typed(&root);
        root.leak();
    }
    audit.count();
    audit.finish(|_| {}).imbalances
}

/// An audit finds nothing wrong with a state, and everything that is off by one.
fn check_audit(state: &State) {
    assert_eq!(imbalances(state), 0, "{state:?}");
    for frame in 0..FRAMES {
        if state.references(frame) == 0 {
            continue;
        }
        let mut wrong = state.clone();
        wrong.count[frame] += 1;
        assert_eq!(imbalances(&wrong), 1, "a reference too many: {state:?}");
        wrong = state.clone();
        wrong.kind[frame] += 1;
        assert_eq!(
            imbalances(&wrong),
            1,
            "a type reference too many: {state:?}"
        );
        wrong = state.clone();
        wrong.linear[frame] += 1;
        assert_eq!(imbalances(&wrong), 1, "a linear entry too many: {state:?}");
    }
}

/// Counts, types, contents and roots: what has to be the same however a call was cut up.
fn substance(state: &State) -> State {
    let mut substance = state.clone();
    // How often TLBs were flushed may differ.
    substance.tlb = Default::default();
    substance.walks = Default::default();
    substance.stamps = Default::default();
    substance.epochs = Default::default();
    substance.now = 0;
    substance
}

/// The operation in the smallest pieces, to its end.
fn in_pieces(state: &State, vcpu: usize, operation: Operation) -> (State, Result<(), TypeError>) {
    let mut state = state.clone();
    let mut result = Err(TypeError::Preempted);
    for _ in 0..64 {
        let next = if result == Err(TypeError::Preempted) {
            operation
        } else if state.pending[vcpu].is_empty() {
            return (state, result);
        } else {
            Operation::Resume
        };
        let (after, outcome) = step(&state, vcpu, next, 1).unwrap();
        check(&after);
        state = after;
        if next == operation {
            result = outcome;
        }
    }
    panic!("{operation:?} does not end");
}

fn explore(depth: usize) -> usize {
    let operations = operations();
    let mut seen = HashSet::new();
    let mut queue = VecDeque::new();
    let initial = State::initial().normalised();
    check(&initial);
    seen.insert(initial.clone());
    queue.push_back((initial, 0));
    while let Some((state, length)) = queue.pop_front() {
        let is_whole = (0..FRAMES).all(|frame| !state.is_partial(frame));
        for vcpu in 0..VCPUS {
            for operation in &operations {
                if vcpu == INTERRUPTED && !operation.can_be_interrupted() {
                    continue;
                }
                let budget = if vcpu == INTERRUPTED { 1 } else { u32::MAX };
                let Some((after, result)) = step(&state, vcpu, *operation, budget) else {
                    continue;
                };
                check(&after);
                if vcpu != INTERRUPTED {
                    assert!(after.pending[vcpu].is_empty());
                    if is_whole {
                        match judge(&state, vcpu, *operation) {
                            Ok(()) => assert_eq!(result, Ok(()), "{operation:?} in {state:?}"),
                            Err(Verdict::Refused) => {
                                assert!(result.is_err(), "{operation:?} in {state:?}");
                            }
                            Err(Verdict::Unknown) => {}
                        }
                        let (pieces, pieces_result) = in_pieces(&state, vcpu, *operation);
                        assert_eq!(result, pieces_result);
                        assert_eq!(substance(&after), substance(&pieces), "{operation:?}");
                    }
                }
                if length + 1 == depth {
                    continue;
                }
                let after = after.canonical();
                if !seen.contains(&after) {
                    check_audit(&after);
                    seen.insert(after.clone());
                    queue.push_back((after, length + 1));
                }
            }
        }
    }
    seen.len()
}

#[test]
fn small_machine_keeps_its_invariants() {
    // Fewer states would mean that operations have become impossible.
    assert!(explore(6) > 60_000);
}
