//! The x86 filter of xz: call and jump targets were made absolute, so that equal targets look equal.
//!
//! Source: the filter's description in "The .xz File Format" 1.1.0 §5.3.2 and its public-domain code in XZ Utils.

/// How many bytes after an opcode its target has.
const OPERAND: usize = 4;

/// Which operand bytes of the last few positions were skipped: one bit each, the latest is bit 0.
/// With these, no operand can start here.
const fn blocks(mask: u8) -> bool {
    matches!(mask, 3 | 5..)
}

/// The operand's byte, counted from its most significant one, that is in doubt because of the skipped ones.
const fn doubtful_byte(mask: u8) -> u32 {
    match mask {
        0 => 0,
        1 => 1,
        2 | 3 => 2,
        _ => 3,
    }
}

/// Top bytes of small displacements.
const fn is_sign(byte: u8) -> bool {
    byte == 0 || byte == 0xff
}

/// Makes targets relative again in `bytes`, whose first byte has position `start`.
pub(super) fn undo(bytes: &mut [u8], start: u32) {
    let mut at = 0;
    // Where the last opcode byte was, and the mask there.
    let mut last: Option<usize> = None;
    let mut mask = 0u8;
    while let Some(next) = find_opcode(bytes, at) {
        at = next;
        let Some(operand) = bytes
            .get(at + 1..)
            .and_then(|rest| rest.first_chunk::<OPERAND>())
        else {
            return;
        };
        let operand = *operand;
        let gap = last.map_or(usize::MAX, |last| at - last);
        mask = if gap > 3 { 0 } else { (mask << (gap - 1)) & 7 };
        last = Some(at);
        let doubt = doubtful_byte(mask);
        let in_doubt = mask != 0 && {
            let byte = operand
                .iter()
                .rev()
                .nth(doubt as usize)
                .copied()
                .unwrap_or(0);
            blocks(mask) || is_sign(byte)
        };
        let [.., top] = operand;
        if in_doubt || !is_sign(top) {
            mask = (mask << 1) | 1;
            at += 1;
            continue;
        }
        let position = start.wrapping_add(at as u32).wrapping_add(5);
        let mut target = u32::from_le_bytes(operand);
        let relative = loop {
            let relative = target.wrapping_sub(position);
            if mask == 0 {
                break relative;
            }
            let bits = doubt * 8;
            if !is_sign((relative >> (24 - bits)) as u8) {
                break relative;
            }
            target = relative ^ ((1u32 << (32 - bits)) - 1);
        };
        // 25 bits with sign.
        let relative = ((relative << 7) as i32 >> 7) as u32;
        if let Some(room) = bytes
            .get_mut(at + 1..)
            .and_then(|rest| rest.first_chunk_mut())
        {
            *room = relative.to_le_bytes();
        }
        // The next opcode is too far away for the mask to count.
        at += 1 + OPERAND;
    }
}

/// The next byte 0xe8 (call) or 0xe9 (jmp) at `at` or later. Words at a time: most bytes are others.
fn find_opcode(bytes: &[u8], mut at: usize) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    while let Some(word) = bytes.get(at..)?.first_chunk() {
        let word = u64::from_le_bytes(*word);
        // Zero bytes where the opcodes are; the lowest one found is certain.
        let zeros = (word & (ONES * 0xfe)) ^ (ONES * 0xe8);
        let found = zeros.wrapping_sub(ONES) & !zeros & (ONES * 0x80);
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    bytes
        .get(at..)?
        .iter()
        .position(|byte| byte & 0xfe == 0xe8)
        .map(|offset| at + offset)
}
