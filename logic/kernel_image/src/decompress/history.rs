//! Copying from what is already unpacked: the output is the dictionary of every decoder here.

use crate::PackedProblem;

/// Copies `len` bytes to `at` from `distance` bytes before it. They may overlap: what is copied first is
/// there to be copied again. Bytes up to 8 past the copy may be overwritten too, if there are any.
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
    if len > output.len() - at {
        return Err(PackedProblem::TooLong);
    }
    let from = at - distance;
    if distance >= 8 && len + 8 <= output.len() - at {
        // Words: each is read after those that it may need are written.
        let mut done = 0;
        while done < len {
            let word = output
                .get(from + done..)
                .and_then(|rest| rest.first_chunk::<8>());
            let Some(&word) = word else { break };
            let room = output
                .get_mut(at + done..)
                .and_then(|rest| rest.first_chunk_mut::<8>());
            let Some(room) = room else { break };
            *room = word;
            done += 8;
        }
    } else if distance == 1 {
        let byte = output.get(from).copied().unwrap_or(0);
        if let Some(room) = output.get_mut(at..at + len) {
            room.fill(byte);
        }
    } else {
        let (history, rest) = output.split_at_mut(at);
        let (first, again) = rest.split_at_mut(len.min(distance));
        if let Some(source) = history.get(from..from + first.len()) {
            first.copy_from_slice(source);
        }
        // Then the pattern repeats.
        let mut pattern = first.iter();
        for to in again.iter_mut().take(len.saturating_sub(distance)) {
            let byte = match pattern.next() {
                Some(byte) => byte,
                None => {
                    pattern = first.iter();
                    pattern.next().unwrap_or(&0)
                }
            };
            *to = *byte;
        }
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
