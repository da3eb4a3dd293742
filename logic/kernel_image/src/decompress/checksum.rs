//! CRC-32 (gzip, xz) and CRC-64 (xz), eight bytes at a time; xxHash (zstd); Adler-32 (lzo).

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

/// xxHash of 64 bits with seed 0.
pub(super) fn xxh64(bytes: &[u8]) -> u64 {
    const P1: u64 = 0x9e37_79b1_85eb_ca87;
    const P2: u64 = 0xc2b2_ae3d_27d4_eb4f;
    const P3: u64 = 0x1656_67b1_9e37_79f9;
    const P4: u64 = 0x85eb_ca77_c2b2_ae63;
    const P5: u64 = 0x27d4_eb2f_1656_67c5;
    let round = |lane: u64, word: u64| {
        lane.wrapping_add(word.wrapping_mul(P2))
            .rotate_left(31)
            .wrapping_mul(P1)
    };
    let (stripes, tail) = bytes.as_chunks::<32>();
    let mut hash = P5;
    if !stripes.is_empty() {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0u64.wrapping_sub(P1)];
        for stripe in stripes {
            let (words, _) = stripe.as_chunks::<8>();
            for (lane, word) in lanes.iter_mut().zip(words) {
                *lane = round(*lane, u64::from_le_bytes(*word));
            }
        }
        let [a, b, c, d] = lanes;
        hash = a
            .rotate_left(1)
            .wrapping_add(b.rotate_left(7))
            .wrapping_add(c.rotate_left(12))
            .wrapping_add(d.rotate_left(18));
        for lane in lanes {
            hash = (hash ^ round(0, lane)).wrapping_mul(P1).wrapping_add(P4);
        }
    }
    hash = hash.wrapping_add(bytes.len() as u64);
    let (words, tail) = tail.as_chunks::<8>();
    for word in words {
        hash ^= round(0, u64::from_le_bytes(*word));
        hash = hash.rotate_left(27).wrapping_mul(P1).wrapping_add(P4);
    }
    let (halves, tail) = tail.as_chunks::<4>();
    for half in halves {
        hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(P1);
        hash = hash.rotate_left(23).wrapping_mul(P2).wrapping_add(P3);
    }
    for &byte in tail {
        hash ^= u64::from(byte).wrapping_mul(P5);
        hash = hash.rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 29)).wrapping_mul(P3);
    hash ^ (hash >> 32)
}

/// Adler-32 as in zlib.
pub(super) fn adler32(bytes: &[u8]) -> u32 {
    const MODULUS: u32 = 65521;
    let (mut low, mut high) = (1u32, 0u32);
    // So many bytes cannot overflow the sums.
    for chunk in bytes.chunks(5552) {
        for &byte in chunk {
            low += u32::from(byte);
            high += low;
        }
        low %= MODULUS;
        high %= MODULUS;
    }
    (high << 16) | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc64(b"123456789"), 0x995d_c9bb_df19_39fa);
        assert_eq!(crc32(b""), 0);
        assert_eq!(xxh64(b""), 0xef46_db37_51d8_e999);
        assert_eq!(xxh64(b"abc"), 0x44bc_2cf5_ad77_0999);
        assert_eq!(adler32(b"Wikipedia"), 0x11e6_0398);
    }
}
