//! Timer queue of one CPU: which deadline comes next, and what to do then.
//!
//! Time is absolute nanoseconds of the hypervisor's clock and always passed in; the queue never reads a
//! clock. The caller programs its one-shot hardware timer with [`TimerQueue::next_deadline`] whenever that
//! changes, and drains [`TimerQueue::pop_expired`] when it fires.
//!
//! A timer is registered once, when its owner is created, which is the only step that allocates and so
//! the only one that can fail. Arming, moving and disarming are O(log n) and cannot fail: a guest that sets
//! a timer never meets an out-of-memory answer.
//!
//! Invariants: `heap` is a binary min-heap by (deadline, sequence); slot *s* is in `heap` at index
//! `slots[s].position` or is not armed; `heap` never needs more room than `slots` has registered timers.
//! Equal deadlines fire in the order in which they were armed.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;

use alloc::vec::Vec;

/// Names a registered timer. It goes stale when the timer is unregistered: a reused slot has another generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TimerId {
    slot: u32,
    generation: u32,
}

/// Memory for another timer could not be had.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutOfMemory;

/// Position of a slot that is not in the heap.
const NOT_ARMED: u32 = u32::MAX;

struct Slot<T> {
    /// What the owner wants to be told when the timer fires; `None` in a free slot.
    payload: Option<T>,
    generation: u32,
    /// Index in the heap, or [`NOT_ARMED`].
    position: u32,
}

#[derive(Clone, Copy)]
struct Entry {
    deadline: u64,
    /// Orders equal deadlines by when they were armed.
    sequence: u64,
    slot: u32,
}

impl Entry {
    fn key(&self) -> (u64, u64) {
        (self.deadline, self.sequence)
    }
}

/// Timers of one CPU. `T` says what a timer is for and is copied out when it fires.
pub struct TimerQueue<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
    heap: Vec<Entry>,
    sequence: u64,
}

impl<T> Default for TimerQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> TimerQueue<T> {
    /// Makes an empty queue, without allocating.
    pub const fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            heap: Vec::new(),
            sequence: 0,
        }
    }

    /// Adds a timer, not armed.
    ///
    /// # Errors
    /// [`OutOfMemory`]; nothing has changed then.
    pub fn register(&mut self, payload: T) -> Result<TimerId, OutOfMemory> {
        if let Some(slot) = self.free.pop()
            && let Some(entry) = self.slots.get_mut(slot as usize)
        {
            entry.payload = Some(payload);
            return Ok(TimerId {
                slot,
                generation: entry.generation,
            });
        }
        // Room in all three now, so that arming and unregistering never allocate.
        self.slots.try_reserve(1).map_err(|_| OutOfMemory)?;
        let room = self.slots.len() + 1;
        let missing = |have: usize| room.saturating_sub(have);
        let (heap_missing, free_missing) = (missing(self.heap.len()), missing(self.free.len()));
        self.heap
            .try_reserve(heap_missing)
            .map_err(|_| OutOfMemory)?;
        self.free
            .try_reserve(free_missing)
            .map_err(|_| OutOfMemory)?;
        let slot = u32::try_from(self.slots.len()).map_err(|_| OutOfMemory)?;
        if slot == NOT_ARMED {
            return Err(OutOfMemory);
        }
        self.slots.push(Slot {
            payload: Some(payload),
            generation: 0,
            position: NOT_ARMED,
        });
        Ok(TimerId {
            slot,
            generation: 0,
        })
    }

    /// Removes a timer, armed or not, and returns its payload; `None` if `id` is stale.
    pub fn unregister(&mut self, id: TimerId) -> Option<T> {
        self.disarm(id);
        let slot = self.slot_mut(id)?;
        let payload = slot.payload.take();
        slot.generation = slot.generation.wrapping_add(1);
        // Never reallocates: `register` reserved room for every slot.
        self.free.push(id.slot);
        payload
    }

    /// Sets the timer to fire at `deadline`, in place of an earlier setting. A deadline in the past fires at
    /// the next drain. Returns whether [`Self::next_deadline`] changed; stale ids change nothing.
    pub fn arm(&mut self, id: TimerId, deadline: u64) -> bool {
        let Some(slot) = self.slot_mut(id) else {
            return false;
        };
        let position = slot.position as usize;
        let before = self.next_deadline();
        let entry = Entry {
            deadline,
            sequence: self.sequence,
            slot: id.slot,
        };
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(old) = self.heap.get_mut(position) {
            *old = entry;
            self.settle(position);
        } else {
            // Never reallocates: `register` reserved room for every slot.
            let end = self.heap.len();
            self.heap.push(entry);
            self.settle(end);
        }
        self.next_deadline() != before
    }

    /// Clears the timer. Returns whether it was armed.
    pub fn disarm(&mut self, id: TimerId) -> bool {
        let Some(slot) = self.slot_mut(id) else {
            return false;
        };
        let position = slot.position;
        if position == NOT_ARMED {
            return false;
        }
        self.remove_at(position as usize).is_some()
    }

    /// Deadline for which the timer is armed.
    pub fn deadline(&self, id: TimerId) -> Option<u64> {
        let slot = self.slots.get(id.slot as usize)?;
        if slot.generation != id.generation {
            return None;
        }
        Some(self.heap.get(slot.position as usize)?.deadline)
    }

    /// Earliest deadline of all.
    #[inline]
    pub fn next_deadline(&self) -> Option<u64> {
        self.heap.first().map(|entry| entry.deadline)
    }

    /// Number of armed timers.
    pub fn armed(&self) -> usize {
        self.heap.len()
    }

    /// All armed timers, in no order: for a person's eyes.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.heap.iter().filter_map(|entry| {
            let payload = self.slots.get(entry.slot as usize)?.payload.as_ref()?;
            Some((entry.deadline, payload))
        })
    }

    fn slot_mut(&mut self, id: TimerId) -> Option<&mut Slot<T>> {
        self.slots
            .get_mut(id.slot as usize)
            .filter(|slot| slot.generation == id.generation && slot.payload.is_some())
    }

    /// Takes the entry at `position` out of the heap, and marks its slot as not armed.
    fn remove_at(&mut self, position: usize) -> Option<Entry> {
        if position >= self.heap.len() {
            return None;
        }
        let entry = self.heap.swap_remove(position);
        self.note_position(entry.slot, NOT_ARMED);
        if position < self.heap.len() {
            self.settle(position);
        }
        Some(entry)
    }

    fn note_position(&mut self, slot: u32, position: u32) {
        if let Some(slot) = self.slots.get_mut(slot as usize) {
            slot.position = position;
        }
    }

    /// Moves the entry at `position`, the only one that may be out of place, up or down to where it belongs.
    fn settle(&mut self, mut position: usize) {
        let heap = |queue: &Self, at: usize| queue.heap.get(at).map(Entry::key);
        while position > 0 {
            let parent = (position - 1) / 2;
            if heap(self, position) >= heap(self, parent) {
                break;
            }
            self.swap(position, parent);
            position = parent;
        }
        loop {
            let left = 2 * position + 1;
            let Some(left_key) = heap(self, left) else {
                break;
            };
            let smaller = match heap(self, left + 1) {
                Some(right_key) if right_key < left_key => left + 1,
                _ => left,
            };
            if heap(self, position) <= heap(self, smaller) {
                break;
            }
            self.swap(position, smaller);
            position = smaller;
        }
        self.note_at(position);
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.note_at(a);
        self.note_at(b);
    }

    fn note_at(&mut self, position: usize) {
        if let Some(entry) = self.heap.get(position) {
            let slot = entry.slot;
            self.note_position(slot, position as u32);
        }
    }
}

impl<T: Copy> TimerQueue<T> {
    /// Takes the earliest timer that is due at `now`, with the deadline it had; it stays registered and is no
    /// longer armed.
    pub fn pop_expired(&mut self, now: u64) -> Option<(TimerId, u64, T)> {
        if self.next_deadline()? > now {
            return None;
        }
        let entry = self.remove_at(0)?;
        let slot = self.slots.get(entry.slot as usize)?;
        let id = TimerId {
            slot: entry.slot,
            generation: slot.generation,
        };
        Some((id, entry.deadline, slot.payload?))
    }
}

#[cfg(test)]
mod tests;
