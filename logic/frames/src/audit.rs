//! Counting again: whether every frame has the references that its users hold.
//!
//! The counts of the frame table follow from what is in the validated tables, from pins and allocations, and from
//! what the rest of the hypervisor holds ([`Audit::hold`], [`Audit::hold_typed`]). An audit adds all of this up, from
//! nothing else, while nobody changes anything, and names the frames where the sums are not the counts.

use addr::Mfn;

use crate::atomic::Ordering;
use crate::entry::Entry;
use crate::environment::{TableMemory, TableView};
use crate::info::{FrameInfo, count, kind};
use crate::table::{FrameReport, FrameTable, HYPERVISOR_OWNER};
use crate::types::{PageType, TypedRef, progress};
use crate::{ENTRIES, PageRef, is_hypervisor_slot};

/// What was found to refer to a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Claim {
    /// General references.
    pub references: u32,
    /// Type references.
    pub types: u32,
    /// Linear entries, with the sign of the frame table's count.
    pub linear: i32,
    /// The types that the type references are of, a bit for each.
    kinds: u16,
}

impl Claim {
    /// Whether something refers to the frame as `page_type`.
    pub const fn is_claimed_as(&self, page_type: PageType) -> bool {
        self.kinds >> page_type as u8 & 1 != 0
    }
}

/// A frame whose counts are not what refers to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Imbalance {
    /// The frame.
    pub frame: Mfn,
    /// What the frame table says.
    pub report: FrameReport,
    /// Linear entries as the frame table counts them.
    pub linear: i32,
    /// What was found.
    pub found: Claim,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Its references are not those that were found.
    References,
    /// Its type references are not those that were found.
    TypeReferences,
    /// Something refers to it as another type than it has.
    Type,
    /// Its linear entries are not those that were found.
    Linear,
    /// A CPU seems to be at work on it, which cannot be.
    Busy,
}

/// What an audit looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Frames of RAM.
    pub frames: u64,
    /// Frames that something refers to.
    pub used: u64,
    /// Frames of page tables.
    pub tables: u64,
    /// Entries that hold references.
    pub entries: u64,
    /// Frames whose counts are wrong.
    pub imbalances: u64,
}

/// A count of everything that refers to frames.
pub struct Audit<'a, 't, M> {
    table: &'a FrameTable<'t>,
    memory: &'a M,
    claims: &'a mut [Claim],
    summary: Summary,
}

impl<'a, 't, M: TableMemory> Audit<'a, 't, M> {
    /// Starts one, with room for a claim for each frame of the table. `None` if that is too small.
    pub fn new(table: &'a FrameTable<'t>, memory: &'a M, claims: &'a mut [Claim]) -> Option<Self> {
        if claims.len() < table.len() {
            return None;
        }
        claims.fill(Claim::default());
        Some(Self {
            table,
            memory,
            claims,
            summary: Summary::default(),
        })
    }

    fn claim(&mut self, frame: Mfn, change: impl FnOnce(&mut Claim)) {
        // A frame beyond the table is device memory, of which nothing is counted.
        if let Ok(index) = usize::try_from(frame.raw())
            && let Some(claim) = self.claims.get_mut(index)
        {
            change(claim);
        }
    }

    /// Something outside holds a reference to a frame.
    pub fn hold(&mut self, page: &PageRef<'_>) {
        self.claim(page.frame(), |claim| claim.references += 1);
    }

    /// Something outside holds a reference to a frame and one to its type.
    pub fn hold_typed(&mut self, page: &TypedRef<'_>) {
        self.refer(page.frame(), page.page_type());
    }

    fn refer(&mut self, frame: Mfn, page_type: PageType) {
        self.claim(frame, |claim| {
            claim.references += 1;
            claim.types += 1;
            claim.kinds |= 1 << page_type as u8;
        });
    }

    /// Counts what the frame table itself says, and what is in all tables.
    pub fn count(&mut self) {
        for number in 0..self.table.len() {
            let frame = Mfn::new(number as u64);
            let Some(info) = self.table.info(frame) else {
                continue;
            };
            let word = info.count.load(Ordering::Acquire);
            if word & count::RAM == 0 {
                continue;
            }
            self.summary.frames += 1;
            if word & count::REFERENCES == 0 {
                continue;
            }
            self.summary.used += 1;
            self.count_frame(frame, info, word);
        }
    }

    fn count_frame(&mut self, frame: Mfn, info: &FrameInfo, count_word: u64) {
        let word = info.kind.load(Ordering::Acquire);
        let page_type = PageType::of(word);
        let is_lent =
            count_word & count::HYPERVISOR != 0 && count::owner(count_word) != HYPERVISOR_OWNER;
        if count_word & count::ALLOCATED != 0 {
            self.claim(frame, |claim| claim.references += 1);
        }
        if is_lent {
            // A loan keeps its type with a reference of its own.
            self.claim(frame, |claim| {
                claim.types += 1;
                claim.kinds |= 1 << page_type as u8;
            });
        }
        if word & kind::PINNED != 0 {
            self.refer(frame, page_type);
        }
        let held = if word & kind::PARTIAL != 0 {
            self.claim(frame, |claim| claim.references += 1);
            progress(word)
        } else if word & kind::VALIDATED != 0 && word as u32 != 0 {
            ENTRIES
        } else {
            0
        };
        if page_type.level() != 0 && held != 0 {
            self.summary.tables += 1;
            self.count_table(frame, page_type, held);
        }
    }

    fn count_table(&mut self, table: Mfn, page_type: PageType, held: usize) {
        let memory = self.memory;
        let view = memory.view(table);
        let mut is_empty = false;
        for index in 0..held {
            if index.is_multiple_of(8) {
                is_empty = !view.any_present(index);
            }
            if is_empty || (page_type == PageType::L4 && is_hypervisor_slot(index)) {
                continue;
            }
            let entry = Entry(view.read(index));
            if entry.is_present() {
                self.count_entry(table, page_type, entry);
            }
        }
    }

    fn count_entry(&mut self, table: Mfn, page_type: PageType, entry: Entry) {
        let target = entry.frame();
        let is_ram = self.table.is_ram(target);
        if !is_ram || (page_type != PageType::L1 && target == table) {
            // Device memory is not counted, nor a table's entry for itself.
            return;
        }
        self.summary.entries += 1;
        if page_type == PageType::L1 {
            if entry.is_writable() {
                self.refer(target, PageType::Writable);
            } else {
                self.claim(target, |claim| claim.references += 1);
            }
            return;
        }
        let has = self.table.info(target).map_or(PageType::None, |info| {
            PageType::of(info.kind.load(Ordering::Relaxed))
        });
        if has == page_type {
            self.refer(target, page_type);
            self.claim(target, |claim| claim.linear -= 1);
            self.claim(table, |claim| claim.linear += 1);
        } else {
            let below = PageType::table(page_type.level() - 1).unwrap_or(PageType::None);
            self.refer(target, below);
        }
    }

    /// Compares what was found with the counts; `report` hears of every frame that is not balanced.
    pub fn finish(mut self, mut report: impl FnMut(&Imbalance)) -> Summary {
        for number in 0..self.table.len() {
            let frame = Mfn::new(number as u64);
            let (Some(info), Some(found), Some(said)) = (
                self.table.info(frame),
                self.claims.get(number),
                self.table.report(frame),
            ) else {
                continue;
            };
            if !said.is_ram {
                continue;
            }
            let linear = info.linear.load(Ordering::Relaxed);
            let problem = problem(info, &said, linear, found);
            if let Some(problem) = problem {
                self.summary.imbalances += 1;
                report(&Imbalance {
                    frame,
                    report: said,
                    linear,
                    found: *found,
                    problem,
                });
            }
        }
        self.summary
    }
}

fn problem(info: &FrameInfo, said: &FrameReport, linear: i32, found: &Claim) -> Option<Problem> {
    let word = info.kind.load(Ordering::Relaxed);
    let is_in_work = word & kind::LOCKED != 0
        || (said.page_type.level() != 0 && word as u32 != 0 && !said.is_validated);
    if is_in_work && said.references != 0 {
        return Some(Problem::Busy);
    }
    if said.references != found.references {
        return Some(Problem::References);
    }
    if said.references == 0 {
        // What it was used as before does not count any more.
        return None;
    }
    if said.type_references != found.types {
        return Some(Problem::TypeReferences);
    }
    if found.kinds & !(1 << said.page_type as u8) != 0 {
        return Some(Problem::Type);
    }
    (linear != found.linear).then_some(Problem::Linear)
}
