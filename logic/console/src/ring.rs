//! The console ring: the last output, for `xl dmesg` (`XEN_SYSCTL_readconsole`) and for a screen that comes later.
//!
//! Positions are counts of all bytes ever written, modulo 2^32, as the interface has them.

/// Bytes kept.
const SIZE: u32 = 64 * 1024;

/// The last output.
pub struct Ring {
    bytes: [u8; SIZE as usize],
    /// Position after the newest byte.
    end: u32,
    /// Position of the oldest byte that was not cleared.
    start: u32,
}

impl Default for Ring {
    fn default() -> Self {
        Self::new()
    }
}

impl Ring {
    /// An empty ring.
    pub const fn new() -> Self {
        Self {
            bytes: [0; SIZE as usize],
            end: 0,
            start: 0,
        }
    }

    /// Adds output.
    pub fn push(&mut self, output: &[u8]) {
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
    pub fn begin(&self, index: Option<u32>) -> u32 {
        let held = self.end.wrapping_sub(self.start);
        match index {
            Some(index) if index.wrapping_sub(self.start) <= held => index,
            _ => self.start,
        }
    }

    /// Copies output from position `at` on; returns how much.
    pub fn read(&self, at: u32, into: &mut [u8]) -> usize {
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
    pub fn clear(&mut self, position: u32) {
        self.start = self.begin(Some(position));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incremental_reads_follow_each_other() {
        let mut ring = Ring::new();
        ring.push(b"one two ");
        let mut bytes = [0; 4];
        let mut at = ring.begin(None);
        assert_eq!(ring.read(at, &mut bytes), 4);
        assert_eq!(&bytes, b"one ");
        at = at.wrapping_add(4);
        ring.push(b"three");
        let mut rest = [0; 16];
        assert_eq!(ring.read(at, &mut rest), 9);
        assert_eq!(&rest[..9], b"two three");
        assert_eq!(ring.read(at.wrapping_add(9), &mut rest), 0);
    }

    #[test]
    fn the_oldest_output_is_lost() {
        let mut ring = Ring::new();
        for n in 0..SIZE + 10 {
            ring.push(&[n as u8]);
        }
        // A reader that fell behind begins with what is there.
        assert_eq!(ring.begin(Some(3)), 10);
        assert_eq!(ring.begin(None), 10);
        let mut bytes = [0; 2];
        assert_eq!(ring.read(3, &mut bytes), 2);
        assert_eq!(bytes, [10, 11]);
    }

    #[test]
    fn clearing_keeps_what_comes_later() {
        let mut ring = Ring::new();
        ring.push(b"old new");
        ring.clear(4);
        let mut bytes = [0; 8];
        assert_eq!(ring.read(ring.begin(None), &mut bytes), 3);
        assert_eq!(&bytes[..3], b"new");
        ring.clear(1_000_000);
        assert_eq!(
            ring.begin(None),
            4,
            "a position that was never reached clears nothing"
        );
    }

    #[test]
    fn positions_wrap() {
        let mut ring = Ring::new();
        ring.end = u32::MAX - 2;
        ring.start = ring.end;
        ring.push(b"abcdef");
        let mut bytes = [0; 8];
        assert_eq!(ring.read(ring.begin(None), &mut bytes), 6);
        assert_eq!(&bytes[..6], b"abcdef");
    }
}
