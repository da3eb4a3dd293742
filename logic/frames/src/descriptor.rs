//! Segment descriptors that a guest may have in its GDT or LDT.
//!
//! Source: SDM 3A §3.4.5 and §5.8.3. A 64-bit guest's kernel runs in ring 3 like its programs, so
//! descriptors get that privilege level; system segments are refused.

/// Bits of the high half of a descriptor.
const PRESENT: u64 = 1 << 47;
const PRIVILEGE: u64 = 3 << 45;
const CODE_OR_DATA: u64 = 1 << 44;
const SYSTEM_TYPE: u64 = 0xf << 40;
const CALL_GATE: u64 = 0xc << 40;
/// Low byte of a call gate's high half: must be zero in 64-bit mode.
const CALL_GATE_RESERVED: u64 = 0xff << 32;
/// Selectors from here on are the hypervisor's descriptors.
const FIRST_RESERVED_SELECTOR: u64 = 14 * 4096;
const FLAT_RING3_CS64: u64 = 0xe033;

/// Checks a descriptor; returns it as it may be written, or `None` if it may not.
pub fn check_descriptor(descriptor: u64) -> Option<u64> {
    if descriptor & PRESENT == 0 {
        return Some(descriptor);
    }
    if descriptor & CODE_OR_DATA != 0 {
        // No limit matters in 64-bit mode, and paging guards the rest.
        return Some(descriptor | PRIVILEGE);
    }
    match descriptor & SYSTEM_TYPE {
        // The second half of a call gate, or nothing.
        0 => Some(descriptor | PRIVILEGE),
        CALL_GATE => {
            let selector = (descriptor >> 16) & 0xffff;
            let selector_is_fine = selector & 4 != 0
                || selector & !7 < FIRST_RESERVED_SELECTOR
                || selector == FLAT_RING3_CS64;
            if !selector_is_fine || descriptor & CALL_GATE_RESERVED != 0 {
                return None;
            }
            // Privilege 0 makes every use fault; the gate's own level is kept in the selector.
            let level = (descriptor & PRIVILEGE) >> 45;
            Some(descriptor & !PRIVILEGE & !(3 << 16) | (level << 16))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::check_descriptor;

    const FLAT_CODE64: u64 = 0x00af_9b00_0000_ffff;

    #[test]
    fn code_and_data_get_ring_3() {
        assert_eq!(check_descriptor(FLAT_CODE64), Some(FLAT_CODE64 | 3 << 45));
        assert_eq!(
            check_descriptor(0x00cf_f300_0000_ffff),
            Some(0x00cf_f300_0000_ffff)
        );
    }

    #[test]
    fn absent_ones_may_be_anything() {
        assert_eq!(check_descriptor(0), Some(0));
        assert_eq!(
            check_descriptor(0x0000_0900_1234_5678),
            Some(0x0000_0900_1234_5678)
        );
    }

    #[test]
    fn system_segments_are_refused() {
        for kind in (1..16u64).filter(|kind| *kind != 0xc) {
            assert_eq!(check_descriptor(1 << 47 | kind << 40), None, "type {kind}");
        }
    }

    #[test]
    fn call_gates_fault_on_use() {
        let gate = 0x0000_ec00_0010_1234_u64;
        let checked = check_descriptor(gate).unwrap();
        assert_eq!(checked & (3 << 45), 0);
        assert_eq!((checked >> 16) & 3, 3);
        assert_eq!(check_descriptor(gate | 1 << 32), None, "reserved bits");
        assert_eq!(
            check_descriptor(0x0000_ec00_e008_1234),
            None,
            "hypervisor's code"
        );
    }
}
