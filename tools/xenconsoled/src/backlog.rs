//! What a guest printed last, for viewers that come late or are slow.
//!
//! Bytes are numbered from the console's beginning; a viewer is a number: the next byte that it wants. One that is so slow
//! that its bytes are gone loses them, and is told how many.

use std::collections::VecDeque;

/// The last bytes of a stream.
#[derive(Clone, Debug)]
pub struct Backlog {
    capacity: usize,
    bytes: VecDeque<u8>,
    end: u64,
}

/// What a viewer is to be shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Waiting<'a> {
    /// How many bytes before were not kept.
    pub lost: u64,
    /// The bytes, in two pieces.
    pub pieces: (&'a [u8], &'a [u8]),
}

impl Waiting<'_> {
    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.pieces.0.len() + self.pieces.1.len()
    }

    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Backlog {
    /// Nothing, with room for `capacity` bytes; memory is taken as it fills.
    pub fn new(capacity: usize) -> Backlog {
        Backlog {
            capacity: capacity.max(1),
            bytes: VecDeque::new(),
            end: 0,
        }
    }

    /// A stream of `end` bytes, the last of which are known.
    pub fn restore(capacity: usize, end: u64, last: &[u8]) -> Backlog {
        let mut backlog = Backlog::new(capacity);
        backlog.end = end.saturating_sub(last.len() as u64);
        backlog.push(last);
        backlog
    }

    /// Adds to the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.end = self.end.saturating_add(bytes.len() as u64);
        let kept = bytes.len().min(self.capacity);
        let (_, bytes) = bytes.split_at(bytes.len() - kept);
        let excess = (self.bytes.len() + bytes.len()).saturating_sub(self.capacity);
        self.bytes.drain(..excess);
        self.bytes.extend(bytes);
    }

    /// The number of the next byte to come.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The number of the first byte that is kept.
    pub fn start(&self) -> u64 {
        self.end - self.bytes.len() as u64
    }

    /// How many bytes are kept at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// What a viewer at `cursor` has not seen.
    pub fn after(&self, cursor: u64) -> Waiting<'_> {
        let from = cursor.clamp(self.start(), self.end);
        // At most the length, which is a usize.
        let skipped = (from - self.start()) as usize;
        let (first, second) = self.bytes.as_slices();
        let pieces = if skipped < first.len() {
            (first.split_at(skipped).1, second)
        } else {
            (second.split_at(skipped - first.len()).1, &[][..])
        };
        Waiting {
            lost: from.saturating_sub(cursor),
            pieces,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(waiting: &Waiting<'_>) -> Vec<u8> {
        [waiting.pieces.0, waiting.pieces.1].concat()
    }

    #[test]
    fn a_late_viewer_loses_the_oldest() {
        let mut backlog = Backlog::new(4);
        backlog.push(b"abc");
        backlog.push(b"def");
        let waiting = backlog.after(0);
        assert_eq!((waiting.lost, all(&waiting)), (2, b"cdef".to_vec()));
        assert_eq!((backlog.start(), backlog.end()), (2, 6));
        assert!(backlog.after(6).is_empty() && backlog.after(99).is_empty());
    }

    proptest! {
        #[test]
        fn is_the_end_of_the_stream(
            capacity in 1_usize..50,
            pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..20),
            cursor in 0_u64..500,
        ) {
            let mut backlog = Backlog::new(capacity);
            let mut stream = Vec::new();
            for piece in pieces {
                backlog.push(&piece);
                stream.extend_from_slice(&piece);
            }
            let restored = Backlog::restore(capacity, backlog.end(), &all(&backlog.after(0)));
            let start = stream.len().saturating_sub(capacity);
            let from = (cursor as usize).clamp(start, stream.len());
            for backlog in [backlog, restored] {
                let waiting = backlog.after(cursor);
                prop_assert_eq!(all(&waiting), &stream[from..]);
                prop_assert_eq!(waiting.lost, (start as u64).saturating_sub(cursor));
            }
        }
    }
}
