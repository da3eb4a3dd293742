//! ARINC 653: a fixed schedule that repeats, for domains whose times are planned and proven.
//!
//! A schedule is a list of windows (a vCPU and a length) within a major frame. In its window a vCPU has the CPU to
//! itself, used or not; out of it, it does not run. There is one timeline for the pool: of several CPUs, a window's
//! vCPU runs on the lowest that it may run on, and the others idle. Frames begin at time 0 and each multiple of the
//! major frame.
//!
//! Until a schedule is set, each vCPU of domain 0 has a window of 10 ms, as on Xen; others have none.

use alloc::vec::Vec;

use crate::OutOfMemory;
use crate::policy::{Arrival, Choice, Policy};
use crate::queue::{Runner, Units};
use crate::unit::{Entry, Payload};

/// Most windows of a schedule (public/sysctl.h).
pub const MAX_WINDOWS: usize = 64;
/// Length of a window of the schedule that is used until one is set.
pub const DEFAULT_WINDOW: u64 = 10_000_000;

/// A vCPU's turn.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window {
    /// UUID of the domain.
    pub domain: [u8; 16],
    /// Number of the vCPU there.
    pub vcpu: u32,
    /// Nanoseconds.
    pub length: u64,
}

/// A schedule that repeats.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Schedule {
    major_frame: u64,
    /// At most [`MAX_WINDOWS`].
    windows: Vec<Window>,
}

/// Why there is no schedule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadSchedule {
    /// There is no window or one without length, or there are too many, or they do not fit in the frame.
    Invalid,
    /// There is no memory for it.
    OutOfMemory,
}

impl Schedule {
    /// Windows one after the other, from the start of a frame of `major_frame` nanoseconds.
    ///
    /// # Errors
    /// See [`BadSchedule`].
    pub fn new(
        major_frame: u64,
        windows: impl IntoIterator<Item = Window>,
    ) -> Result<Self, BadSchedule> {
        let mut schedule = Self {
            major_frame,
            windows: Vec::new(),
        };
        let mut total = 0u64;
        for window in windows {
            total = total
                .checked_add(window.length)
                .filter(|_| window.length != 0 && schedule.windows.len() < MAX_WINDOWS)
                .ok_or(BadSchedule::Invalid)?;
            schedule
                .push(window)
                .map_err(|_| BadSchedule::OutOfMemory)?;
        }
        if schedule.windows.is_empty() || total > major_frame {
            return Err(BadSchedule::Invalid);
        }
        Ok(schedule)
    }

    fn push(&mut self, window: Window) -> Result<(), OutOfMemory> {
        self.windows.try_reserve(1).map_err(|_| OutOfMemory)?;
        self.windows.push(window);
        Ok(())
    }

    pub(crate) fn try_clone(&self) -> Result<Self, OutOfMemory> {
        let mut windows = Vec::new();
        windows
            .try_reserve_exact(self.windows.len())
            .map_err(|_| OutOfMemory)?;
        windows.extend_from_slice(&self.windows);
        Ok(Self {
            major_frame: self.major_frame,
            windows,
        })
    }

    /// Nanoseconds after which it repeats; 0 if it has no window.
    pub fn major_frame(&self) -> u64 {
        self.major_frame
    }

    /// The turns.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Adds a window for a vCPU of domain 0, unless there is one or no room.
    fn add_default(&mut self, (domain, vcpu): ([u8; 16], u32)) {
        let known = |window: &Window| window.domain == domain && window.vcpu == vcpu;
        if !self.windows.iter().any(known)
            && self.windows.len() < MAX_WINDOWS
            && self
                .push(Window {
                    domain,
                    vcpu,
                    length: DEFAULT_WINDOW,
                })
                .is_ok()
        {
            self.major_frame += DEFAULT_WINDOW;
        }
    }

    /// Whose turn it is at `now`, and until when that stays so; `None` if there is no window at all.
    fn at(&self, now: u64) -> Option<(Option<&Window>, u64)> {
        let into = now.checked_rem(self.major_frame)?;
        let frame = now - into;
        let mut end = 0;
        for window in &self.windows {
            end += window.length;
            if into < end {
                return Some((Some(window), frame.saturating_add(end)));
            }
        }
        Some((None, frame.saturating_add(self.major_frame)))
    }
}

/// The policy of a pool's one queue.
#[derive(Default)]
pub(crate) struct Arinc653 {
    schedule: Schedule,
    /// The schedule was set; else it follows from the units that there are.
    is_set: bool,
}

impl Arinc653 {
    pub(crate) fn schedule(&self) -> &Schedule {
        &self.schedule
    }

    pub(crate) fn set_schedule(&mut self, schedule: Schedule) {
        self.schedule = schedule;
        self.is_set = true;
    }

    fn has_turn<T: Payload>(&self, units: &Units<T>, slot: u32, now: u64) -> bool {
        let Some((Some(window), _)) = self.schedule.at(now) else {
            return false;
        };
        units
            .get(slot)
            .is_some_and(|entry| entry.payload.name() == (window.domain, window.vcpu))
    }
}

/// The CPU of the queue that runs the unit when it has its turn.
fn home<T: Payload>(units: &Units<T>, slot: u32) -> Option<usize> {
    let entry = units.get(slot)?;
    entry.allowed(&units.pool).and(units.cpus).first()
}

impl Policy for Arinc653 {
    fn enqueue<T: Payload>(&mut self, units: &mut Units<T>, slot: u32, _arrival: Arrival) {
        if !self.is_set
            && let Some(entry) = units.get(slot)
            // Domain 0 is the one with no UUID of its own.
            && entry.payload.name().0 == [0; 16]
        {
            self.schedule.add_default(entry.payload.name());
        }
        units.ready.push(slot);
    }

    fn charge<T: Payload>(&mut self, _entry: &mut Entry<T>, _elapsed: u64) {}

    fn choose<T: Payload>(&mut self, units: &Units<T>, runner: &Runner, now: u64) -> Choice {
        let slot = runner
            .current
            .into_iter()
            .chain(units.ready.iter().copied())
            .find(|slot| self.has_turn(units, *slot, now) && home(units, *slot) == Some(runner.cpu))
            .filter(|slot| units.is_free_for(*slot, runner.cpu));
        Choice { slot, open: true }
    }

    fn start<T: Payload>(
        &mut self,
        _units: &Units<T>,
        _runner: &mut Runner,
        _slot: u32,
        _open: bool,
        now: u64,
    ) -> Option<u64> {
        self.idle_until(now)
    }

    fn idle_until(&self, now: u64) -> Option<u64> {
        self.schedule.at(now).map(|(_, end)| end)
    }

    fn is_vacant(&self) -> bool {
        false
    }

    fn may_leave(&self, _slot: u32) -> bool {
        false
    }

    fn forget(&mut self, _slot: u32) {}

    fn disturbs<T: Payload>(
        &self,
        units: &Units<T>,
        runners: &mut [Runner],
        slot: u32,
        now: u64,
    ) -> Option<(usize, u64)> {
        let home = home(units, slot)?;
        // The first unit of all finds CPUs that have no end of a window to wait for.
        (self.has_turn(units, slot, now) || runners.iter().all(|runner| runner.current.is_none()))
            .then_some((home, now))
    }
}
