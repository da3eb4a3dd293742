//! Names of the hypervisor's functions, for backtraces.
//!
//! The image has a section `.symbols` that the build fills after linking. Little endian:
//! `u32` count; then count pairs of `u32` offset from the image's base and `u32` offset of the name from the
//! start of the blob, sorted by the first; then the names, each ended by a zero byte. A count of 0 (the section
//! as linked) is a table without names. What does not parse is treated as absent: the table is for crashes.

/// A parsed table.
#[derive(Clone, Copy)]
pub struct Symbols<'a> {
    blob: &'a [u8],
    count: usize,
}

impl<'a> Symbols<'a> {
    /// Takes a blob as it is; every access to it is checked.
    pub fn new(blob: &'a [u8]) -> Self {
        let claimed = word(blob, 0).unwrap_or(0) as usize;
        let room = blob.len().saturating_sub(4) / 8;
        Self {
            blob,
            count: if claimed <= room { claimed } else { 0 },
        }
    }

    /// Number of symbols.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no symbol.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Finds the symbol that starts at or before `offset`: its name, and how far into it `offset` is.
    pub fn find(&self, offset: u32) -> Option<(&'a str, u32)> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.start(middle)? <= offset {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let index = low.checked_sub(1)?;
        let name = self.name(index)?;
        Some((name, offset.checked_sub(self.start(index)?)?))
    }

    fn start(&self, index: usize) -> Option<u32> {
        word(self.blob, 4 + index * 8)
    }

    fn name(&self, index: usize) -> Option<&'a str> {
        let at = word(self.blob, 4 + index * 8 + 4)? as usize;
        let rest = self.blob.get(at..)?;
        let length = rest.iter().position(|&byte| byte == 0)?;
        core::str::from_utf8(rest.get(..length)?).ok()
    }
}

fn word(blob: &[u8], at: usize) -> Option<u32> {
    let bytes = blob.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

#[cfg(target_os = "none")]
mod image {
    use super::Symbols;

    unsafe extern "C" {
        static symbols_start: u8;
        static symbols_end: u8;
        static image_start: u8;
        static text_end: u8;
    }

    /// The image's own table.
    pub fn image_symbols() -> Symbols<'static> {
        let start = &raw const symbols_start;
        let length = (&raw const symbols_end as usize).saturating_sub(start as usize);
        // SAFETY: the linker script puts both symbols around the section, which is read-only for good.
        Symbols::new(unsafe { core::slice::from_raw_parts(start, length) })
    }

    /// Name of the function of the image at `address`, and the offset into it.
    pub fn lookup(address: u64) -> Option<(&'static str, u32)> {
        let base = &raw const image_start as u64;
        if address >= &raw const text_end as u64 {
            return None;
        }
        let offset = u32::try_from(address.checked_sub(base)?).ok()?;
        image_symbols().find(offset)
    }
}

#[cfg(target_os = "none")]
pub use image::{image_symbols, lookup};

#[cfg(test)]
mod tests {
    extern crate std;
    use std::vec::Vec;

    use super::*;

    fn blob(symbols: &[(u32, &str)]) -> Vec<u8> {
        let mut out = (symbols.len() as u32).to_le_bytes().to_vec();
        let mut names = Vec::new();
        let base = 4 + symbols.len() * 8;
        for (start, name) in symbols {
            out.extend(start.to_le_bytes());
            out.extend(((base + names.len()) as u32).to_le_bytes());
            names.extend(name.bytes());
            names.push(0);
        }
        out.extend(names);
        out
    }

    #[test]
    fn finds_the_function_around_an_address() {
        let blob = blob(&[(0x10, "a"), (0x20, "b::c"), (0x100, "d")]);
        let symbols = Symbols::new(&blob);
        assert_eq!(symbols.len(), 3);
        assert_eq!(symbols.find(0xf), None);
        assert_eq!(symbols.find(0x10), Some(("a", 0)));
        assert_eq!(symbols.find(0xff), Some(("b::c", 0xdf)));
        assert_eq!(symbols.find(u32::MAX), Some(("d", u32::MAX - 0x100)));
    }

    #[test]
    fn broken_tables_find_nothing() {
        assert!(Symbols::new(&[]).is_empty());
        assert!(Symbols::new(&[0; 64]).is_empty());
        assert!(Symbols::new(&[0xff; 64]).is_empty());
        let mut wild = blob(&[(0, "a")]);
        wild[8] = 0xff;
        assert_eq!(Symbols::new(&wild).find(3), None);
        let mut unended = blob(&[(0, "abc")]);
        unended.pop();
        assert_eq!(Symbols::new(&unended).find(3), None);
    }

    #[test]
    fn any_bytes_are_harmless() {
        let mut seed = 1_u64;
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length)
                .map(|_| {
                    seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
                    if seed >> 62 == 0 {
                        (seed >> 40) as u8
                    } else {
                        0
                    }
                })
                .collect();
            let _ = Symbols::new(&bytes).find((seed >> 32) as u32 & 0xff);
        }
    }
}
