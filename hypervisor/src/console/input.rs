//! Console input: bytes wait for domain 0, or are debug keys, as the focus says.
//!
//! Ctrl-a three times moves the focus. Fewer than three are input like any other, once another byte follows.

use arrayvec::ArrayVec;

/// Ctrl-a.
const SWITCH: u8 = 0x01;
/// How often it is typed to move the focus.
const SWITCH_COUNT: u8 = 3;
/// Bytes that wait for domain 0; more are lost, as on any serial line without flow control.
const WAITING: usize = 256;

/// What one byte of input came to.
pub(super) enum Typed {
    /// Nothing yet.
    Nothing,
    /// Domain 0 has input.
    ForDomain0,
    /// The focus moved: now on the debug keys, or on domain 0.
    Focus {
        /// Whether debug keys get the input now.
        hypervisor: bool,
    },
    /// A debug key.
    Key(u8),
}

/// State of the input.
pub(super) struct Input {
    waiting: ArrayVec<u8, WAITING>,
    hypervisor: bool,
    switches: u8,
}

impl Input {
    pub(super) const fn new() -> Self {
        Self {
            waiting: ArrayVec::new_const(),
            hypervisor: false,
            switches: 0,
        }
    }

    /// Takes a byte from a device.
    pub(super) fn typed(&mut self, byte: u8) -> Typed {
        if byte == SWITCH {
            self.switches += 1;
            if self.switches < SWITCH_COUNT {
                return Typed::Nothing;
            }
            self.switches = 0;
            self.hypervisor = !self.hypervisor;
            return Typed::Focus {
                hypervisor: self.hypervisor,
            };
        }
        let held_back = core::mem::take(&mut self.switches);
        if self.hypervisor {
            return Typed::Key(byte);
        }
        for _ in 0..held_back {
            let _ = self.waiting.try_push(SWITCH);
        }
        let _ = self.waiting.try_push(byte);
        Typed::ForDomain0
    }

    /// Moves what waits to `into`; returns how much.
    pub(super) fn take(&mut self, into: &mut [u8]) -> usize {
        let count = self.waiting.len().min(into.len());
        for (place, byte) in into.iter_mut().zip(self.waiting.drain(..count)) {
            *place = byte;
        }
        count
    }
}
