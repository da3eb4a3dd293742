//! Conversions between tick counts and nanoseconds in the form that paravirtual clocks publish: a binary
//! shift and a 32-bit fixed-point multiplier (`vcpu_time_info` in `public/xen.h`).
//!
//! `ns = ((ticks << shift) * mul) >> 32`, with a right shift where `shift` is negative. The hypervisor
//! computes its own time with the same two numbers that it gives to guests, so both agree to the bit.

/// Nanoseconds in a second.
pub const NANOSECONDS: u64 = 1_000_000_000;

/// A rate as multiplier and shift.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    mul: u32,
    shift: i8,
}

impl Scale {
    /// One to one.
    pub const IDENTITY: Self = Self {
        mul: 1 << 31,
        shift: 1,
    };

    /// From ticks of a clock of `hz` to nanoseconds; `None` for a frequency of zero.
    pub const fn ticks_to_ns(hz: u64) -> Option<Self> {
        Self::ratio(NANOSECONDS, hz)
    }

    /// From nanoseconds to ticks of a clock of `hz`; `None` for a frequency of zero.
    pub const fn ns_to_ticks(hz: u64) -> Option<Self> {
        Self::ratio(hz, NANOSECONDS)
    }

    /// The scale nearest to `numerator / denominator`; `None` if one of them is zero.
    pub const fn ratio(numerator: u64, denominator: u64) -> Option<Self> {
        if numerator == 0 || denominator == 0 {
            return None;
        }
        // 64.64 fixed point; a nonzero numerator leaves at least one significant bit.
        let ratio = ((numerator as u128) << 64) / denominator as u128;
        if ratio == 0 {
            return None;
        }
        let length = 128 - ratio.leading_zeros();
        let (mut mul, mut shift) = if length > 32 {
            // Round to nearest: the bit below the last kept one decides.
            let dropped = length - 32;
            (
                ((ratio >> (dropped - 1)) as u64 + 1) >> 1,
                length as i32 - 64,
            )
        } else {
            ((ratio as u64) << (32 - length), length as i32 - 64)
        };
        if mul >> 32 != 0 {
            mul >>= 1;
            shift += 1;
        }
        Some(Self {
            mul: mul as u32,
            shift: shift as i8,
        })
    }

    /// The fixed-point multiplier (`tsc_to_system_mul`).
    pub const fn mul(self) -> u32 {
        self.mul
    }

    /// The binary shift applied first (`tsc_shift`).
    pub const fn shift(self) -> i8 {
        self.shift
    }

    /// Converts a count, modulo 2^64, exactly as a guest does with the published numbers.
    pub const fn apply(self, count: u64) -> u64 {
        let shifted = if self.shift >= 0 {
            if self.shift < 64 {
                count << self.shift
            } else {
                0
            }
        } else if self.shift > -64 {
            count >> -self.shift
        } else {
            0
        };
        ((shifted as u128 * self.mul as u128) >> 32) as u64
    }

    /// Converts a count, `u64::MAX` where the result does not fit.
    pub const fn apply_saturating(self, count: u64) -> u64 {
        let shifted = if self.shift >= 0 {
            (count as u128) << self.shift
        } else if self.shift > -64 {
            (count >> -self.shift) as u128
        } else {
            0
        };
        // At most 64 + 63 bits before the multiplication: split so that it cannot overflow.
        let high = (shifted >> 32) * self.mul as u128;
        let low = ((shifted & 0xffff_ffff) * self.mul as u128) >> 32;
        let result = high + low;
        if result > u64::MAX as u128 {
            u64::MAX
        } else {
            result as u64
        }
    }
}

/// Frequency of a counter that advanced `ticks` while a reference of `reference_hz` advanced
/// `reference_ticks`, rounded to nearest; `None` if nothing can be said.
pub const fn measured_frequency(
    ticks: u64,
    reference_ticks: u64,
    reference_hz: u64,
) -> Option<u64> {
    if reference_ticks == 0 || ticks == 0 {
        return None;
    }
    let hz = (ticks as u128 * reference_hz as u128 + reference_ticks as u128 / 2)
        / reference_ticks as u128;
    if hz == 0 || hz > u64::MAX as u128 {
        None
    } else {
        Some(hz as u64)
    }
}

/// Ticks between two readings of a counter of `bits` bits that wrapped at most once.
pub const fn wrapped_difference(later: u64, earlier: u64, bits: u32) -> u64 {
    let mask = if bits >= 64 {
        u64::MAX
    } else {
        (1 << bits) - 1
    };
    later.wrapping_sub(earlier) & mask
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn multiplier_is_normalised() {
        for hz in [
            1,
            18,
            1_193_182,
            3_579_545,
            100_000_000,
            999_999_999,
            1_000_000_000,
            2_995_200_000,
            6_000_000_000,
        ] {
            let scale = Scale::ticks_to_ns(hz).unwrap();
            assert!(scale.mul() >= 1 << 31, "{hz}: {scale:?}");
        }
        assert_eq!(Scale::ticks_to_ns(NANOSECONDS), Some(Scale::IDENTITY));
        assert_eq!(Scale::IDENTITY.apply(12345), 12345);
        assert_eq!(Scale::ticks_to_ns(0), None);
    }

    #[test]
    fn an_hour_is_right_to_a_microsecond() {
        for hz in [
            1_000_000_000u64,
            2_400_000_000,
            2_995_200_123,
            3_999_999_999,
            14_318_180,
        ] {
            let scale = Scale::ticks_to_ns(hz).unwrap();
            let ns = scale.apply(hz * 3600);
            let error = ns.abs_diff(3600 * NANOSECONDS);
            assert!(error < 2_000, "{hz}: {error} ns");
        }
    }

    #[test]
    fn inverse_round_trips() {
        for hz in [62_500_000u64, 1_000_000_000, 2_995_200_000] {
            let there = Scale::ns_to_ticks(hz).unwrap();
            let back = Scale::ticks_to_ns(hz).unwrap();
            let ns = back.apply(there.apply(10 * NANOSECONDS));
            assert!(ns.abs_diff(10 * NANOSECONDS) < 100, "{hz}: {ns}");
        }
    }

    #[test]
    fn saturates_instead_of_wrapping() {
        let scale = Scale::ns_to_ticks(4_000_000_000).unwrap();
        assert_eq!(scale.apply_saturating(u64::MAX), u64::MAX);
        assert_eq!(scale.apply_saturating(1000), 4000);
        let slow = Scale::ns_to_ticks(1).unwrap();
        assert!(slow.apply_saturating(u64::MAX) <= u64::MAX / NANOSECONDS + 1);
    }

    #[test]
    fn frequencies() {
        assert_eq!(
            measured_frequency(50_000, 1_193, 1_193_182),
            Some(50_007_628)
        );
        assert_eq!(measured_frequency(1, 0, 5), None);
        assert_eq!(measured_frequency(0, 1, 5), None);
        assert_eq!(wrapped_difference(5, 0xff_fff0, 24), 21);
        assert_eq!(wrapped_difference(5, u64::MAX, 64), 6);
    }
}
