//! A lock that knows the rules: one is waited for only while none is held, and trying may fail at any time.

use std::cell::{Cell, RefCell, RefMut};
use std::ops::{Deref, DerefMut};
use std::rc::Rc;

use scheduler::{Lock, Queue};

use super::Handle;
use super::random::Random;

/// A queue's lock.
pub struct SimulatedLock {
    queue: RefCell<Queue<Handle>>,
    held: Rc<Cell<u32>>,
    random: RefCell<Random>,
    /// Percent of tries that fail, as if another CPU held the lock.
    failures: u64,
}

impl SimulatedLock {
    pub fn new(queue: Queue<Handle>, held: Rc<Cell<u32>>, failures: u64, seed: u64) -> Self {
        Self {
            queue: RefCell::new(queue),
            held,
            random: RefCell::new(Random::new(seed)),
            failures,
        }
    }
}

/// Access to a queue.
pub struct Guard<'a> {
    queue: RefMut<'a, Queue<Handle>>,
    held: &'a Cell<u32>,
}

impl<'a> Guard<'a> {
    fn new(queue: RefMut<'a, Queue<Handle>>, held: &'a Cell<u32>) -> Self {
        held.set(held.get() + 1);
        Self { queue, held }
    }
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.held.set(self.held.get() - 1);
    }
}

impl Deref for Guard<'_> {
    type Target = Queue<Handle>;

    fn deref(&self) -> &Self::Target {
        &self.queue
    }
}

impl DerefMut for Guard<'_> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.queue
    }
}

impl Lock<Queue<Handle>> for SimulatedLock {
    type Guard<'a> = Guard<'a>;

    fn lock(&self) -> Guard<'_> {
        assert_eq!(self.held.get(), 0, "waits for a lock with another one held");
        Guard::new(self.queue.borrow_mut(), &self.held)
    }

    fn try_lock(&self) -> Option<Guard<'_>> {
        if self.random.borrow_mut().below(100) < self.failures {
            return None;
        }
        assert!(self.held.get() <= 1, "more than two locks at once");
        Some(Guard::new(self.queue.try_borrow_mut().ok()?, &self.held))
    }
}
