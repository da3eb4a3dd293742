//! Locks: a spin lock with ranks, and a value set once.
//!
//! Interrupts are disabled wherever locks are taken, so an interrupt can not deadlock with its own CPU. A CPU that
//! waits serves flush requests ([`crate::hooks::set_spin_poll`]), so whoever holds a lock may wait for them.
//!
//! The lock is not fair: it goes to whoever runs and finds it free, not to the one that waits for longest, who may
//! not be running at all on a machine that is itself shared. Who waits for long halts ([`crate::park`]); who was
//! woken [`PATIENCE`] times in vain reserves the lock, and then gets it next.

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::mem::MaybeUninit;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};

use crate::{hooks, park, percpu};

/// Place of a lock in the order: a CPU that holds a lock takes only locks of higher ranks. Checked in debug
/// builds.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(debug_assertions), allow(dead_code))]
pub struct Rank {
    number: u8,
    name: &'static str,
}

impl Rank {
    /// Rank `number`, below 128. The name is for messages.
    pub const fn new(number: u8, name: &'static str) -> Self {
        assert!(number < 128, "ranks are below 128");
        Self { number, name }
    }
}

/// Set once the machine is crashing: whoever prints does not wait for locks that a dead CPU holds.
static CRASHING: AtomicBool = AtomicBool::new(false);

/// From now on a lock that is not given back in about a million turns is taken by force. For crash code, after the
/// other CPUs were stopped.
pub fn enter_crash_mode() {
    CRASHING.store(true, Ordering::Relaxed);
}

/// Somebody holds the lock.
const HELD: u32 = 1;
/// Somebody has halted, or is about to, to wait for it.
const HALTED: u32 = 1 << 1;
/// From this bit on: the number plus one of the CPU that gets the lock next; 0 for whoever comes.
const RESERVED_SHIFT: u32 = 8;
/// Turns of waiting before halting.
const SPINS: u32 = 50;
/// Halts in vain before the lock is reserved.
const PATIENCE: u32 = 8;

/// A spin lock. Its word is free, or [`HELD`], with what those who wait have added.
pub struct SpinLock<T: ?Sized> {
    word: AtomicU32,
    rank: Rank,
    value: UnsafeCell<T>,
}

// SAFETY: the lock gives out one exclusive reference at a time, which moves the value between CPUs.
unsafe impl<T: ?Sized + Send> Sync for SpinLock<T> {}
// SAFETY: it owns its value.
unsafe impl<T: ?Sized + Send> Send for SpinLock<T> {}

impl<T> SpinLock<T> {
    /// A lock that no one holds.
    pub const fn new(rank: Rank, value: T) -> Self {
        Self {
            word: AtomicU32::new(0),
            rank,
            value: UnsafeCell::new(value),
        }
    }

    /// The value, of a lock that is not shared any more.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> SpinLock<T> {
    /// Waits for the lock.
    #[inline]
    pub fn lock(&self) -> SpinGuard<'_, T> {
        self.check_rank();
        // Acquire: pairs with the Release in `drop`.
        if self
            .word
            .compare_exchange(0, HELD, Ordering::Acquire, Ordering::Relaxed)
            .is_err()
        {
            self.wait();
        }
        self.held()
    }

    /// Takes the lock if it is free and not reserved for another; leaves what others who wait have added.
    fn try_take(&self, reservation: u32) -> bool {
        let word = self.word.load(Ordering::Relaxed);
        let reserved_for = word >> RESERVED_SHIFT;
        if word & HELD != 0 || (reserved_for != 0 && reserved_for != reservation) {
            return false;
        }
        // The reservation ends.
        let new = (word & HALTED) | HELD;
        // Acquire: pairs with the Release in `drop`.
        self.word
            .compare_exchange(word, new, Ordering::Acquire, Ordering::Relaxed)
            .is_ok()
    }

    #[cold]
    fn wait(&self) {
        let me = percpu::cpu_id() as u32 + 1;
        let mut turns = 0_u32;
        let mut halts = 0_u32;
        loop {
            if self.try_take(me) {
                return;
            }
            hooks::spin_poll();
            core::hint::spin_loop();
            turns = turns.wrapping_add(1);
            if CRASHING.load(Ordering::Relaxed) {
                if turns > 1_000_000 {
                    return;
                }
            } else if turns >= SPINS {
                turns = 0;
                halts += 1;
                self.announce(if halts > PATIENCE { me } else { 0 });
                // Not zero: the address of something.
                park::halt_unless(self.key(), &mut || self.is_there_for(me));
            }
        }
    }

    /// Says that someone is about to halt, and reserves the lock for CPU number `reservation` less one, unless that
    /// is 0 or someone else has.
    fn announce(&self, reservation: u32) {
        let _ = self
            .word
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |word| {
                let mut new = word | HALTED;
                if word >> RESERVED_SHIFT == 0 {
                    new |= reservation << RESERVED_SHIFT;
                }
                Some(new)
            });
    }

    /// Whether CPU number `me` less one need not halt: it can try to take the lock, or its announcement is gone with
    /// someone who gave the lock back in between.
    fn is_there_for(&self, me: u32) -> bool {
        let word = self.word.load(Ordering::SeqCst);
        let reserved_for = word >> RESERVED_SHIFT;
        let free = word & HELD == 0 && (reserved_for == 0 || reserved_for == me);
        free || word & HALTED == 0
    }

    #[cold]
    fn give_back_to_waiters(&self) {
        // Once it is given back, who takes it may do away with it: only its address is used then.
        let key = self.key();
        // Release: as in `drop`. A reservation stays.
        let before = self.word.fetch_and(!(HELD | HALTED), Ordering::Release);
        if before & HALTED != 0 {
            park::wake(key);
        }
    }

    fn key(&self) -> usize {
        core::ptr::from_ref(&self.word).addr()
    }

    /// Takes the lock if it is free. Ranks do not matter, since it does not wait.
    #[inline]
    pub fn try_lock(&self) -> Option<SpinGuard<'_, T>> {
        // Acquire: pairs with the Release in `drop`.
        self.word
            .compare_exchange(0, HELD, Ordering::Acquire, Ordering::Relaxed)
            .ok()?;
        Some(self.held())
    }

    /// Whether someone holds the lock just now.
    pub fn is_locked(&self) -> bool {
        self.word.load(Ordering::Relaxed) & HELD != 0
    }

    /// The value, of a lock that is borrowed exclusively.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }

    fn held(&self) -> SpinGuard<'_, T> {
        ranks::took(self.rank);
        SpinGuard {
            lock: self,
            _not_send: PhantomData,
        }
    }

    #[inline]
    fn check_rank(&self) {
        ranks::check(self.rank);
    }
}

/// The lock's value, held. The lock is free again when this is dropped.
pub struct SpinGuard<'a, T: ?Sized> {
    lock: &'a SpinLock<T>,
    _not_send: PhantomData<*mut ()>,
}

// SAFETY: a shared guard gives shared access only.
unsafe impl<T: ?Sized + Sync> Sync for SpinGuard<'_, T> {}

impl<T: ?Sized> Deref for SpinGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the lock is held for as long as the guard lives.
        unsafe { &*self.lock.value.get() }
    }
}

impl<T: ?Sized> DerefMut for SpinGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the lock is held for as long as the guard lives, and the guard is borrowed exclusively.
        unsafe { &mut *self.lock.value.get() }
    }
}

impl<T: ?Sized> Drop for SpinGuard<'_, T> {
    #[inline]
    fn drop(&mut self) {
        ranks::gave_back(self.lock.rank);
        // Release: pairs with the Acquire of whoever takes the lock.
        if self
            .lock
            .word
            .compare_exchange(HELD, 0, Ordering::Release, Ordering::Relaxed)
            .is_err()
        {
            self.lock.give_back_to_waiters();
        }
    }
}

#[cfg(debug_assertions)]
mod ranks {
    use core::sync::atomic::Ordering;

    use super::{CRASHING, Rank};
    use crate::percpu;

    /// Which of the two words, and the bit in it.
    fn place(rank: Rank) -> (usize, u64) {
        (usize::from(rank.number / 64), 1 << (rank.number % 64))
    }

    pub(super) fn check(rank: Rank) {
        let (word, bit) = place(rank);
        let [low, high] = &percpu::local().held_ranks;
        let (low, high) = (low.load(Ordering::Relaxed), high.load(Ordering::Relaxed));
        let in_order = if word == 0 {
            high == 0 && low < bit
        } else {
            high < bit
        };
        assert!(
            in_order || CRASHING.load(Ordering::Relaxed),
            "lock {} taken while one of a rank not below it is held ({high:#x}:{low:#x})",
            rank.name
        );
    }

    pub(super) fn took(rank: Rank) {
        let (word, bit) = place(rank);
        percpu::local().held_ranks[word].fetch_or(bit, Ordering::Relaxed);
    }

    pub(super) fn gave_back(rank: Rank) {
        let (word, bit) = place(rank);
        percpu::local().held_ranks[word].fetch_and(!bit, Ordering::Relaxed);
    }
}

#[cfg(not(debug_assertions))]
mod ranks {
    use super::Rank;

    #[inline(always)]
    pub(super) fn check(_: Rank) {}

    #[inline(always)]
    pub(super) fn took(_: Rank) {}

    #[inline(always)]
    pub(super) fn gave_back(_: Rank) {}
}

const EMPTY: u8 = 0;
const SETTING: u8 = 1;
const SET: u8 = 2;

/// A value that is set at most once and then shared.
pub struct Once<T> {
    state: AtomicU8,
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is shared only once it is set and can move to whichever CPU drops it.
unsafe impl<T: Send + Sync> Sync for Once<T> {}
// SAFETY: it owns its value.
unsafe impl<T: Send> Send for Once<T> {}

impl<T> Once<T> {
    /// Not set yet.
    pub const fn new() -> Self {
        Self {
            state: AtomicU8::new(EMPTY),
            value: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The value, if it was set.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // Pairs with the Release in `set`.
        if self.state.load(Ordering::Acquire) == SET {
            // SAFETY: set, and never written again.
            Some(unsafe { (*self.value.get()).assume_init_ref() })
        } else {
            None
        }
    }

    /// Sets the value.
    ///
    /// # Errors
    /// It was set already, or someone else is about to: gives `value` back.
    pub fn set(&self, value: T) -> Result<(), T> {
        if self
            .state
            .compare_exchange(EMPTY, SETTING, Ordering::Relaxed, Ordering::Relaxed)
            .is_err()
        {
            return Err(value);
        }
        // SAFETY: only the one who changed EMPTY to SETTING gets here, and readers wait for SET.
        unsafe { (*self.value.get()).write(value) };
        // Pairs with the Acquire in `get`.
        self.state.store(SET, Ordering::Release);
        Ok(())
    }
}

impl<T> Once<T> {
    /// The value, which `make` makes if it was not set yet. Waits if another CPU is about to set it; `make` must not
    /// use this `Once` itself.
    pub fn call_once(&self, make: impl FnOnce() -> T) -> &T {
        let mut make = Some(make);
        loop {
            if let Some(value) = self.get() {
                return value;
            }
            let mine = self
                .state
                .compare_exchange(EMPTY, SETTING, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
            if mine && let Some(make) = make.take() {
                let value = make();
                // SAFETY: only the one who changed EMPTY to SETTING gets here, and readers wait for SET.
                unsafe { (*self.value.get()).write(value) };
                // Pairs with the Acquire in `get`.
                self.state.store(SET, Ordering::Release);
            } else {
                hooks::spin_poll();
                core::hint::spin_loop();
            }
        }
    }
}

impl<T> Default for Once<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Drop for Once<T> {
    fn drop(&mut self) {
        if *self.state.get_mut() == SET {
            // SAFETY: set, and no one can use it any more.
            unsafe { self.value.get_mut().assume_init_drop() };
        }
    }
}
