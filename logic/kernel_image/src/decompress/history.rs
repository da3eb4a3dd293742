//! Copying from what is already unpacked: the output is the dictionary of every decoder here.

use crate::PackedProblem;

/// How many bytes past a copy may be overwritten.
const SLACK: usize = 16;

/// For distances below 8: the first multiple that is not.
const MULTIPLES: [usize; 8] = [8, 8, 8, 9, 8, 10, 12, 14];

/// Copies `len` bytes to `at` from `distance` bytes before it. They may overlap: what is copied first is
/// there to be copied again. Bytes up to [`SLACK`] past the copy may be overwritten too, if there are any.
#[inline(always)]
pub(super) fn copy(
    output: &mut [u8],
    at: usize,
    distance: usize,
    len: usize,
) -> Result<(), PackedProblem> {
    if distance == 0 || distance > at {
        return Err(PackedProblem::Corrupt("a reference to before the start"));
    }
    let room = output.len() - at;
    if len > room {
        return Err(PackedProblem::TooLong);
    }
    // From here on the source is at 0, the copy at `distance`.
    let Some(window) = output.get_mut(at - distance..) else {
        return Ok(());
    };
    let mut done = 0;
    let mut period = distance;
    if distance < 8 || len + SLACK > room {
        // A short pattern is laid out so often that it makes a word.
        let bytes = if len + SLACK > room {
            len
        } else {
            len.min(MULTIPLES[distance & 7])
        };
        for n in 0..bytes {
            let byte = window.get(n).copied().unwrap_or(0);
            if let Some(to) = window.get_mut(n + distance) {
                *to = byte;
            }
        }
        done = bytes;
        period = bytes;
    }
    // Words: each is read after those that it may need are written.
    let mut from = done + distance - period;
    while done < len {
        let word = window.get(from..).and_then(|rest| rest.first_chunk::<8>());
        let Some(&word) = word else { break };
        let to = window
            .get_mut(done + distance..)
            .and_then(|rest| rest.first_chunk_mut::<8>());
        let Some(to) = to else { break };
        *to = word;
        done += 8;
        from += 8;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    proptest! {
        #[test]
        fn as_naive(
            history in proptest::collection::vec(any::<u8>(), 1..40),
            distance in 0usize..50,
            len in 0usize..60,
            room in 0usize..80,
        ) {
            let at = history.len();
            let mut output = history.clone();
            output.resize(at + room, 0xaa);
            let result = copy(&mut output, at, distance, len);
            prop_assert_eq!(&output[..at], &history[..]);
            if distance == 0 || distance > at || len > room {
                prop_assert!(result.is_err());
                return Ok(());
            }
            prop_assert_eq!(result, Ok(()));
            let mut expected: Vec<u8> = history;
            for n in 0..len {
                expected.push(expected[at + n - distance]);
            }
            prop_assert_eq!(&output[..at + len], &expected[..]);
        }
    }
}
