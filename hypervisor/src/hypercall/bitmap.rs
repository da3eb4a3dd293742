//! Bitmaps of CPUs and nodes that a caller passes (`struct xenctl_bitmap`): bytes, the lowest bit first.

use addr::Vaddr;
use platform_cpu::guest;
use xen_abi::control::Bitmap;
use xen_abi::errno::Errno;

/// Reads the first `N` words of a bitmap; bits that it does not have are 0.
///
/// # Errors
/// `EFAULT`.
pub fn read_words<const N: usize>(bitmap: &Bitmap) -> Result<[u64; N], Errno> {
    let mut words = [0; N];
    let bits = u64::from(bitmap.nr_bits).min(N as u64 * 64);
    for index in 0..bits.div_ceil(8) {
        let at = bitmap.bitmap.element(index).ok_or(Errno::EFAULT)?;
        let byte: u8 = guest::read(Vaddr::new(at.address)).map_err(|_| Errno::EFAULT)?;
        if let Some(word) = words.get_mut((index / 8) as usize) {
            *word |= u64::from(byte) << (index % 8 * 8);
        }
    }
    // Bits of the last byte that are not the bitmap's.
    for (index, word) in words.iter_mut().enumerate() {
        let mine = bits.saturating_sub(index as u64 * 64);
        if mine < 64 {
            *word &= (1 << mine) - 1;
        }
    }
    Ok(words)
}

/// Writes a bitmap of the caller's size: bit *n* is `is_set(n)`.
///
/// # Errors
/// `EFAULT`; `EINVAL` for a size beyond reason.
pub fn write(bitmap: &Bitmap, is_set: impl Fn(u32) -> bool) -> Result<(), Errno> {
    /// More bits than any set has.
    const MOST: u32 = 1 << 16;
    if bitmap.nr_bits > MOST {
        return Err(Errno::EINVAL);
    }
    for index in 0..bitmap.nr_bits.div_ceil(8) {
        let mut byte = 0u8;
        for bit in 0..8 {
            let number = index * 8 + bit;
            if number < bitmap.nr_bits && is_set(number) {
                byte |= 1 << bit;
            }
        }
        let at = bitmap
            .bitmap
            .element(u64::from(index))
            .ok_or(Errno::EFAULT)?;
        guest::write(Vaddr::new(at.address), &byte).map_err(|_| Errno::EFAULT)?;
    }
    Ok(())
}
