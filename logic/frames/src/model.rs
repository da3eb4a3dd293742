//! Every sequence of operations on a very small machine, up to some length, against a naive reference.
//!
//! The machine has three frames of one domain and two vCPUs. A guest writes what it likes to frames that it may
//! write, pins and unpins tables of all levels, changes entries, switches roots, gives frames back and gets them
//! again. vCPU 1's calls are interrupted after the smallest piece of work there is, and it need not come back.
//!
//! After each operation all references are counted again from nothing but the tables' contents, pins and roots;
//! TLBs hold every writable translation since their last flush. The reference also says which
//! operations have to be refused, and a call in the smallest pieces has to end where the whole one does.

use core::cell::Cell;
use std::collections::{HashSet, VecDeque};
use std::vec::Vec;

use addr::Mfn;
use core::sync::atomic::Ordering::Relaxed;
use hypercall::Budget;

use crate::clock::{Epoch, Stamp};
use crate::info::{count, kind};
use crate::table::owner_bits;
use crate::types::progress;
use crate::*;

const DOMAIN: u16 = 1;
const FRAMES: usize = 3;
/// Slots of each table that are used. The rest is empty.
const SLOTS: usize = 1;
const VCPUS: usize = 2;
/// The vCPU whose calls have the smallest budget.
const INTERRUPTED: usize = 1;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct State {
    count: [u64; FRAMES],
    kind: [u64; FRAMES],
    linear: [i32; FRAMES],
    entries: [[u64; SLOTS]; FRAMES],
    roots: [Option<u8>; VCPUS],
    pending: [Vec<u8>; VCPUS],
    /// Frames of which a vCPU may hold a writable translation, as bits.
    tlb: [u8; VCPUS],
    /// Stamps, epochs and the clock, by rank: only their order matters.
    stamps: [u64; FRAMES],
    epochs: [u64; VCPUS],
    now: u64,
}

impl State {
    fn initial() -> Self {
        let allocated = count::RAM | count::ALLOCATED | owner_bits(DOMAIN) | 1;
        Self {
            count: [allocated; FRAMES],
            kind: [0; FRAMES],
            linear: [0; FRAMES],
            entries: [[0; SLOTS]; FRAMES],
            roots: [None; VCPUS],
            pending: Default::default(),
            tlb: [0; VCPUS],
            stamps: [0; FRAMES],
            epochs: [1; VCPUS],
            now: 1,
        }
    }

    fn page_type(&self, frame: usize) -> PageType {
        PageType::of(self.kind[frame])
    }

    fn is_table_in_use(&self, frame: usize) -> bool {
        self.page_type(frame).level() != 0
            && self.kind[frame] & kind::VALIDATED != 0
            && self.kind[frame] as u32 != 0
    }

    fn is_partial(&self, frame: usize) -> bool {
        self.kind[frame] & kind::PARTIAL != 0
    }

    fn is_pinned(&self, frame: usize) -> bool {
        self.kind[frame] & kind::PINNED != 0
    }

    fn references(&self, frame: usize) -> u32 {
        self.count[frame] as u32
    }

    /// Whether the guest can write to the frame's memory.
    fn may_write(&self, frame: usize) -> bool {
        let is_type = matches!(self.page_type(frame), PageType::None | PageType::Writable);
        !self.is_partial(frame)
            && self.references(frame) != 0
            && (is_type || self.kind[frame] as u32 == 0)
    }

    /// The entries of a table that hold references, with their frames.
    fn held(&self, frame: usize) -> Vec<Entry> {
        let end = if self.is_table_in_use(frame) {
            SLOTS
        } else if self.is_partial(frame) {
            progress(self.kind[frame]).min(SLOTS)
        } else {
            0
        };
        self.entries[frame][..end]
            .iter()
            .map(|entry| Entry(*entry))
            .filter(|entry| entry.is_present())
            .collect()
    }

    /// The same state with its frames renumbered in a fixed way: which frame is which does not matter.
    fn canonical(&self) -> Self {
        const ORDERS: [[usize; FRAMES]; 6] = [
            [0, 1, 2],
            [0, 2, 1],
            [1, 0, 2],
            [1, 2, 0],
            [2, 0, 1],
            [2, 1, 0],
        ];
        ORDERS
            .iter()
            .map(|order| self.renumbered(order))
            .min()
            .unwrap()
    }

    /// Frame `frame` becomes `order[frame]`.
    fn renumbered(&self, order: &[usize; FRAMES]) -> Self {
        let mut new = self.clone();
        for (old, to) in order.iter().copied().enumerate() {
            new.count[to] = self.count[old];
            new.kind[to] = self.kind[old];
            new.linear[to] = self.linear[old];
            new.stamps[to] = self.stamps[old];
            new.entries[to] = self.entries[old].map(|bits| {
                let entry = Entry(bits);
                if !entry.is_present() {
                    return bits;
                }
                let frame = order[entry.frame().raw() as usize] as u64;
                Entry::new(Mfn::new(frame), bits & !Entry::FRAME).0
            });
        }
        for vcpu in 0..VCPUS {
            new.roots[vcpu] = self.roots[vcpu].map(|frame| order[usize::from(frame)] as u8);
            for frame in &mut new.pending[vcpu] {
                *frame = order[usize::from(*frame)] as u8;
            }
            new.tlb[vcpu] = (0..FRAMES)
                .filter(|frame| self.tlb[vcpu] >> frame & 1 != 0)
                .fold(0, |bits, frame| bits | 1 << order[frame]);
        }
        new
    }

    /// Ranks instead of times.
    fn normalised(mut self) -> Self {
        let mut times: Vec<u64> = self.stamps.to_vec();
        times.extend(self.epochs);
        times.push(self.now);
        times.sort_unstable();
        times.dedup();
        let rank = |time: &mut u64| *time = times.binary_search(time).unwrap() as u64 + 1;
        self.stamps.iter_mut().for_each(rank);
        self.epochs.iter_mut().for_each(rank);
        rank(&mut self.now);
        self
    }
}

/// A machine in some state, to be operated on.
struct Machine<'t> {
    table: &'t FrameTable<'t>,
    entries: [[Cell<u64>; SLOTS]; FRAMES],
    epochs: Cell<[u64; VCPUS]>,
    tlb: Cell<[u8; VCPUS]>,
}

impl Machine<'_> {
    fn flush(&self, vcpu: usize) {
        let (mut epochs, mut tlb) = (self.epochs.get(), self.tlb.get());
        epochs[vcpu] = self.table.clock().tick().0;
        tlb[vcpu] = 0;
        self.epochs.set(epochs);
        self.tlb.set(tlb);
    }
}

impl<'m> TableView for &'m [Cell<u64>; SLOTS] {
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
    let mut all = std::vec![Operation::Root(None), Operation::Flush, Operation::Resume];
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
                machine.write_entry(mfn(frame), slot, value);
                break 'call Ok(());
            }
            Operation::Flush => {
                if state.tlb[vcpu] == 0 {
                    return None;
                }
                machine.flush(vcpu);
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
        if let Err(error) = validator.resume(DOMAIN, &mut work) {
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
                if taken.is_ok() {
                    if let Some(old) = core::mem::replace(&mut roots[vcpu], new) {
                        let page = table.adopt(Mfn::new(old.into())).unwrap();
                        let old = TypedRef::from_held(page, PageType::L4);
                        validator.release(old, &mut work);
                    }
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
    Some((after.normalised(), result))
}

/// Counts everything again, from nothing but contents, pins, roots and allocations.
fn check(state: &State) {
    let mut references = [0u32; FRAMES];
    let mut types = [0u32; FRAMES];
    let mut linear = [0i32; FRAMES];
    for root in state.roots.iter().flatten() {
        references[usize::from(*root)] += 1;
        types[usize::from(*root)] += 1;
        assert_eq!(state.page_type(usize::from(*root)), PageType::L4);
        assert!(state.is_table_in_use(usize::from(*root)));
    }
    for frame in 0..FRAMES {
        let word = state.kind[frame];
        assert_eq!(word & kind::LOCKED, 0, "nobody is at work");
        if word as u32 != 0 {
            assert_ne!(word & kind::VALIDATED, 0, "nobody is at work");
        }
        if state.count[frame] & count::ALLOCATED != 0 {
            references[frame] += 1;
        }
        if state.is_partial(frame) {
            assert_eq!(word as u32, 0);
            references[frame] += 1;
        }
        if state.is_pinned(frame) {
            references[frame] += 1;
            types[frame] += 1;
        }
        let level = state.page_type(frame).level();
        for entry in state.held(frame) {
            let target = entry.frame().raw() as usize;
            assert_ne!(
                entry.0 & Entry::USER,
                0,
                "entries are reachable from ring 3"
            );
            if level == 1 {
                references[target] += 1;
                if entry.is_writable() {
                    types[target] += 1;
                    assert_eq!(state.page_type(target), PageType::Writable);
                }
                continue;
            }
            if target == frame {
                assert!(!entry.is_writable(), "a table that maps itself writable");
                continue;
            }
            references[target] += 1;
            types[target] += 1;
            assert!(state.is_table_in_use(target));
            let target_level = state.page_type(target).level();
            if target_level == level {
                assert!(!entry.is_writable());
                linear[frame] += 1;
                linear[target] -= 1;
                let is_chain = state.held(target).iter().any(|next| {
                    let next = next.frame().raw() as usize;
                    next != target && state.page_type(next).level() == level
                });
                assert!(!is_chain, "a chain of linear entries");
            } else {
                assert_eq!(target_level, level - 1);
            }
        }
    }
    for frame in 0..FRAMES {
        assert_eq!(
            state.references(frame),
            references[frame],
            "references of {frame}"
        );
        assert_eq!(state.kind[frame] as u32, types[frame], "types of {frame}");
        assert_eq!(
            state.linear[frame], linear[frame],
            "linear entries of {frame}"
        );
        if references[frame] != 0 {
            assert_eq!(count::owner(state.count[frame]), DOMAIN);
        }
        let is_table = state.page_type(frame).level() != 0
            && (state.kind[frame] as u32 != 0 || state.is_partial(frame));
        for tlb in state.tlb {
            assert!(
                !is_table || tlb >> frame & 1 == 0,
                "frame {frame} is a table, and writable through a stale translation"
            );
            assert!(
                references[frame] != 0 || !is_table,
                "a frame without references is a table"
            );
        }
    }
}

/// What the reference says of the types that frames must have.
#[derive(Clone)]
struct Needed<'s> {
    state: &'s State,
    types: [Option<PageType>; FRAMES],
}

/// Why the reference does not agree.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Refused,
    /// Linear entries between tables depend on the order: the invariants alone count.
    Unknown,
}

impl<'s> Needed<'s> {
    /// The types that pins and roots demand, all the way down.
    fn now(state: &'s State) -> Result<Self, Verdict> {
        let mut needed = Self {
            state,
            types: [None; FRAMES],
        };
        if state.linear.iter().any(|count| *count != 0) {
            return Err(Verdict::Unknown);
        }
        // The tops first, so that an entry between two of them is known for a linear one.
        for frame in 0..FRAMES {
            if state.is_pinned(frame) {
                needed.types[frame] = Some(state.page_type(frame));
            }
        }
        for root in state.roots.iter().flatten() {
            needed.types[usize::from(*root)] = Some(PageType::L4);
        }
        for frame in 0..FRAMES {
            if let Some(page_type) = needed.types[frame] {
                needed.demand_entries(frame, page_type)?;
            }
        }
        Ok(needed)
    }

    fn demand(&mut self, frame: usize, page_type: PageType) -> Result<(), Verdict> {
        if self.state.references(frame) == 0 {
            return Err(Verdict::Refused);
        }
        match self.types[frame] {
            Some(other) if other == page_type => return Ok(()),
            Some(_) => return Err(Verdict::Refused),
            None => self.types[frame] = Some(page_type),
        }
        self.demand_entries(frame, page_type)
    }

    fn demand_entries(&mut self, frame: usize, page_type: PageType) -> Result<(), Verdict> {
        if page_type.level() != 0 {
            for entry in self.state.entries[frame] {
                self.demand_entry(frame, page_type, Entry(entry))?;
            }
        }
        Ok(())
    }

    fn demand_entry(
        &mut self,
        frame: usize,
        page_type: PageType,
        entry: Entry,
    ) -> Result<(), Verdict> {
        if !entry.is_present() {
            return Ok(());
        }
        let target = entry.frame().raw() as usize;
        if page_type == PageType::L1 {
            if entry.is_writable() {
                return self.demand(target, PageType::Writable);
            }
            return if self.state.references(target) == 0 {
                Err(Verdict::Refused)
            } else {
                Ok(())
            };
        }
        // Left over from its time as an L1 table, perhaps.
        if entry.0 & Entry::UPPER_FORBIDDEN != 0 {
            return Err(Verdict::Refused);
        }
        if target == frame {
            return if entry.is_writable() {
                Err(Verdict::Refused)
            } else {
                Ok(())
            };
        }
        if self.types[target] == Some(page_type) {
            return if entry.is_writable() {
                Err(Verdict::Refused)
            } else {
                Err(Verdict::Unknown)
            };
        }
        let below = PageType::table(page_type.level() - 1).unwrap();
        self.demand(target, below)
    }
}

/// Whether the reference agrees with what came of a whole call, in a state without partial tables.
fn judge(state: &State, vcpu: usize, operation: Operation) -> Result<(), Verdict> {
    match operation {
        Operation::Pin(frame, page_type) => {
            let mut needed = Needed::now(state)?;
            needed.demand(frame, page_type)?;
            if state.is_pinned(frame) {
                return Err(Verdict::Refused);
            }
            Ok(())
        }
        Operation::Unpin(frame) => {
            if state.is_pinned(frame) {
                Ok(())
            } else {
                Err(Verdict::Refused)
            }
        }
        Operation::Modify(frame, slot, value) => {
            // The old entry holds its references until the new one has its own.
            let mut needed = Needed::now(state)?;
            let Some(page_type) = needed.types[frame].filter(|table| table.level() != 0) else {
                return Err(Verdict::Refused);
            };
            let old = Entry(state.entries[frame][slot]);
            let new = Entry(value);
            if old.is_present() && new.is_present() && (old.0 ^ new.0) & !Entry::HARMLESS == 0 {
                return Ok(());
            }
            needed.demand_entry(frame, page_type, new)
        }
        Operation::Root(Some(frame)) => {
            let mut needed = Needed::now(state)?;
            needed.demand(usize::from(frame), PageType::L4)
        }
        _ => {
            let _ = vcpu;
            Ok(())
        }
    }
}

/// Counts, types, contents and roots: what has to be the same however a call was cut up.
fn substance(state: &State) -> State {
    let mut substance = state.clone();
    // How often TLBs were flushed may differ.
    substance.tlb = Default::default();
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
