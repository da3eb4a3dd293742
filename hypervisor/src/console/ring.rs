//! The console ring: the last output, for `xl dmesg` (`XEN_SYSCTL_readconsole`) and for a screen that comes later.
//!
//! Positions are counts of all bytes ever written, modulo 2^32, as the interface has them.

/// Bytes kept.
const SIZE: u32 = 64 * 1024;

/// The last output.
pub(super) struct Ring {
    bytes: [u8; SIZE as usize],
    /// Position after the newest byte.
    end: u32,
    /// Position of the oldest byte that was not cleared.
    start: u32,
}

impl Ring {
    /// An empty ring.
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; SIZE as usize],
            end: 0,
            start: 0,
        }
    }

    /// Adds output.
    pub(super) fn push(&mut self, output: &[u8]) {
        for &byte in output {
            if let Some(place) = self.bytes.get_mut((self.end % SIZE) as usize) {
                *place = byte;
            }
            self.end = self.end.wrapping_add(1);
            if self.end.wrapping_sub(self.start) > SIZE {
                self.start = self.end.wrapping_sub(SIZE);
            }
        }
    }

    /// Where a reader begins: at `index`, where it stopped the last time, if that is still there.
    pub(super) fn begin(&self, index: Option<u32>) -> u32 {
        let held = self.end.wrapping_sub(self.start);
        match index {
            Some(index) if index.wrapping_sub(self.start) <= held => index,
            _ => self.start,
        }
    }

    /// Copies output from position `at` on; returns how much.
    pub(super) fn read(&self, at: u32, into: &mut [u8]) -> usize {
        let at = self.begin(Some(at));
        let held = self.end.wrapping_sub(at) as usize;
        let count = held.min(into.len());
        for (offset, place) in into.iter_mut().take(count).enumerate() {
            let position = at.wrapping_add(offset as u32) % SIZE;
            *place = self.bytes.get(position as usize).copied().unwrap_or(0);
        }
        count
    }

    /// Forgets everything before `position`.
    pub(super) fn clear(&mut self, position: u32) {
        self.start = self.begin(Some(position));
    }
}
