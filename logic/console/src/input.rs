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
pub enum Typed {
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
pub struct Input {
    waiting: ArrayVec<u8, WAITING>,
    hypervisor: bool,
    switches: u8,
}

impl Default for Input {
    fn default() -> Self {
        Self::new()
    }
}

impl Input {
    /// No input, with the focus on domain 0.
    pub const fn new() -> Self {
        Self {
            waiting: ArrayVec::new_const(),
            hypervisor: false,
            switches: 0,
        }
    }

    /// Takes a byte from a device.
    pub fn typed(&mut self, byte: u8) -> Typed {
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
    pub fn take(&mut self, into: &mut [u8]) -> usize {
        let count = self.waiting.len().min(into.len());
        for (place, byte) in into.iter_mut().zip(self.waiting.drain(..count)) {
            *place = byte;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_switches_move_the_focus_and_back() {
        let mut input = Input::new();
        for expected in [true, false] {
            assert!(matches!(input.typed(SWITCH), Typed::Nothing));
            assert!(matches!(input.typed(SWITCH), Typed::Nothing));
            match input.typed(SWITCH) {
                Typed::Focus { hypervisor } => assert_eq!(hypervisor, expected),
                _ => panic!("the focus stays"),
            }
            if expected {
                assert!(matches!(input.typed(b'h'), Typed::Key(b'h')));
            }
        }
        let mut bytes = [0; 4];
        assert_eq!(input.take(&mut bytes), 0, "keys are not domain 0's");
    }

    #[test]
    fn fewer_switches_are_input() {
        let mut input = Input::new();
        let _ = input.typed(SWITCH);
        let _ = input.typed(SWITCH);
        assert!(matches!(input.typed(b'x'), Typed::ForDomain0));
        let mut bytes = [0; 2];
        assert_eq!(input.take(&mut bytes), 2);
        assert_eq!(bytes, [SWITCH, SWITCH]);
        assert_eq!(input.take(&mut bytes), 1);
        assert_eq!(bytes[0], b'x');
    }

    #[test]
    fn overflow_loses_the_newest() {
        let mut input = Input::new();
        for n in 0..WAITING + 10 {
            let _ = input.typed(b'a' + (n % 26) as u8);
        }
        let mut bytes = [0; WAITING + 10];
        assert_eq!(input.take(&mut bytes), WAITING);
        assert_eq!(bytes[0], b'a');
    }
}
