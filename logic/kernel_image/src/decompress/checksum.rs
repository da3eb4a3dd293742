//! CRC-32 (gzip, xz) and CRC-64 (xz), eight bytes at a time.

/// Tables for a reflected polynomial: `[n][byte]` is the effect of a byte with `n` bytes after it.
const fn tables64(polynomial: u64) -> [[u64; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 {
                (crc >> 1) ^ polynomial
            } else {
                crc >> 1
            };
            bit += 1;
        }
        tables[0][byte] = crc;
        byte += 1;
    }
    let mut n = 1;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            let previous = tables[n - 1][byte];
            tables[n][byte] = (previous >> 8) ^ tables[0][(previous & 0xff) as usize];
            byte += 1;
        }
        n += 1;
    }
    tables
}

const fn tables32() -> [[u32; 256]; 8] {
    let wide = tables64(0xedb8_8320);
    let mut tables = [[0; 256]; 8];
    let mut n = 0;
    while n < 8 {
        let mut byte = 0;
        while byte < 256 {
            tables[n][byte] = wide[n][byte] as u32;
            byte += 1;
        }
        n += 1;
    }
    tables
}

static CRC32: [[u32; 256]; 8] = tables32();
static CRC64: [[u64; 256]; 8] = tables64(0xc96c_5795_d787_0f42);

/// CRC-32 as in IEEE 802.3.
pub(super) fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    let (chunks, tail) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk) ^ u64::from(crc);
        let [b0, b1, b2, b3, b4, b5, b6, b7] = word.to_le_bytes();
        crc = CRC32[7][usize::from(b0)]
            ^ CRC32[6][usize::from(b1)]
            ^ CRC32[5][usize::from(b2)]
            ^ CRC32[4][usize::from(b3)]
            ^ CRC32[3][usize::from(b4)]
            ^ CRC32[2][usize::from(b5)]
            ^ CRC32[1][usize::from(b6)]
            ^ CRC32[0][usize::from(b7)];
    }
    for &byte in tail {
        crc = (crc >> 8) ^ CRC32[0][usize::from(crc as u8 ^ byte)];
    }
    !crc
}

/// CRC-64 as in ECMA-182.
pub(super) fn crc64(bytes: &[u8]) -> u64 {
    let mut crc = u64::MAX;
    let (chunks, tail) = bytes.as_chunks::<8>();
    for chunk in chunks {
        let word = u64::from_le_bytes(*chunk) ^ crc;
        let [b0, b1, b2, b3, b4, b5, b6, b7] = word.to_le_bytes();
        crc = CRC64[7][usize::from(b0)]
            ^ CRC64[6][usize::from(b1)]
            ^ CRC64[5][usize::from(b2)]
            ^ CRC64[4][usize::from(b3)]
            ^ CRC64[3][usize::from(b4)]
            ^ CRC64[2][usize::from(b5)]
            ^ CRC64[1][usize::from(b6)]
            ^ CRC64[0][usize::from(b7)];
    }
    for &byte in tail {
        crc = (crc >> 8) ^ CRC64[0][usize::from(crc as u8 ^ byte)];
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc64(b"123456789"), 0x995d_c9bb_df19_39fa);
        assert_eq!(crc32(b""), 0);
    }
}
