//! Numbers, sizes and booleans as options spell them.

/// Splits a number off: decimal, `0x` hexadecimal, or octal after a 0. `None` without a digit or on overflow.
pub(super) fn leading_number(text: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, radix) = match text {
        [b'0', b'x' | b'X', digits @ ..] => (digits, 16),
        [b'0', b'0'..=b'7', ..] => (text, 8),
        _ => (text, 10),
    };
    let len = digits
        .iter()
        .take_while(|byte| char::from(**byte).is_digit(radix))
        .count();
    let (digits, rest) = digits.split_at_checked(len)?;
    let value = u64::from_str_radix(core::str::from_utf8(digits).ok()?, radix).ok()?;
    Some((value, rest))
}

/// The whole text as a number that fits.
pub(super) fn number<T: TryFrom<u64>>(text: &[u8]) -> Option<T> {
    match leading_number(text)? {
        (value, []) => T::try_from(value).ok(),
        _ => None,
    }
}

/// Splits a size in bytes off: a number with B, K, M, G or T; KiB without a letter.
pub(super) fn leading_size(text: &[u8]) -> Option<(u64, &[u8])> {
    let (value, rest) = leading_number(text)?;
    let (shift, rest) = match rest {
        [b'B' | b'b', rest @ ..] => (0, rest),
        [b'K' | b'k', rest @ ..] => (10, rest),
        [b'M' | b'm', rest @ ..] => (20, rest),
        [b'G' | b'g', rest @ ..] => (30, rest),
        [b'T' | b't', rest @ ..] => (40, rest),
        rest => (10, rest),
    };
    Some((value.checked_mul(1 << shift)?, rest))
}

/// A boolean's many spellings.
pub(super) fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"yes" | b"on" | b"true" | b"enable" | b"1" => Some(true),
        b"no" | b"off" | b"false" | b"disable" | b"0" => Some(false),
        _ => None,
    }
}
