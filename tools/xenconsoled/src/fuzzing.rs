//! What must hold for any bytes: the fuzz targets and the test that replays their corpora call these.

use std::cell::RefCell;

use crate::escape::{Filter, WORST, is_harmless};
use crate::kept::Header;
use crate::ring::{INPUT_SIZE, OUTPUT_SIZE, Page, Rings};

/// A page whose every word changes whenever the bytes say so: a guest that stops at nothing.
struct Hostile<'a> {
    memory: RefCell<Vec<u8>>,
    script: RefCell<&'a [u8]>,
}

impl Hostile<'_> {
    /// The guest's next move: a word of the page gets a new value.
    fn interfere(&self) {
        let mut script = self.script.borrow_mut();
        if let Some(([place, a, b, c, d], rest)) = script.split_first_chunk::<5>() {
            // Mostly the indices.
            let offset = if place & 0x80 == 0 {
                3072 + usize::from(place & 3) * 4
            } else {
                usize::from(place & 0x7f) * 32
            };
            let mut memory = self.memory.borrow_mut();
            for (slot, byte) in memory.iter_mut().skip(offset).zip([a, b, c, d]) {
                *slot = *byte;
            }
            *script = rest;
        }
    }
}

impl Page for Hostile<'_> {
    fn load(&self, offset: usize) -> u32 {
        self.interfere();
        let memory = self.memory.borrow();
        let bytes = memory
            .get(offset..offset + 4)
            .and_then(|bytes| bytes.first_chunk());
        u32::from_le_bytes(*bytes.expect("offsets are within the page"))
    }

    fn store(&self, offset: usize, value: u32) {
        let mut memory = self.memory.borrow_mut();
        memory
            .get_mut(offset..offset + 4)
            .expect("offsets are within the page")
            .copy_from_slice(&value.to_le_bytes());
    }

    fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
        self.interfere();
        let memory = self.memory.borrow();
        let ring = memory.get(offset..offset + bytes.len());
        bytes.copy_from_slice(ring.expect("ranges are within the page"));
    }

    fn copy_in(&self, offset: usize, bytes: &[u8]) {
        let mut memory = self.memory.borrow_mut();
        let ring = memory.get_mut(offset..offset + bytes.len());
        ring.expect("ranges are within the page")
            .copy_from_slice(bytes);
        assert!(
            offset + bytes.len() <= INPUT_SIZE as usize,
            "we write the guest's ring only"
        );
    }

    fn fence(&self) {}
}

/// A guest that changes its page at every look that we take.
///
/// # Panics
///
/// If we reach outside of the page, write what is not ours, or take more than a ring holds.
pub fn ring(script: &[u8]) {
    let page = Hostile {
        memory: RefCell::new(vec![0; 4096]),
        script: RefCell::new(script),
    };
    let mut rings = None;
    let mut taken = Vec::new();
    while page.script.borrow().len() >= 5 {
        let Some(ours) = &mut rings else {
            rings = Rings::adopt(&page).ok();
            continue;
        };
        taken.clear();
        let Ok(count) = ours.peek(&page, &mut taken) else {
            rings = None;
            continue;
        };
        assert!(count <= OUTPUT_SIZE && taken.len() == count as usize);
        let before = ours.consumed();
        ours.take(&page, count);
        assert_eq!(ours.consumed(), before.wrapping_add(count));
        let told = ours.tell(&page, &taken);
        if told.is_ok_and(|told| told > INPUT_SIZE as usize || told > taken.len()) {
            panic!("{told:?} of {}", taken.len());
        }
    }
}

/// Any output of a guest, cut into two pieces anywhere.
///
/// # Panics
///
/// If something harmful reaches the log, or more than the filter promises.
pub fn filter(bytes: &[u8]) {
    let Some((cut, bytes)) = bytes.split_first() else {
        return;
    };
    let (first, second) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    let filtered = |pieces: &[&[u8]]| {
        let (mut filter, mut output) = (Filter::default(), Vec::new());
        pieces
            .iter()
            .for_each(|piece| filter.push(piece, &mut output));
        filter.finish(&mut output);
        output
    };
    let output = filtered(&[bytes]);
    assert!(is_harmless(&output));
    assert!(output.len() <= bytes.len() * WORST + 2);
    assert_eq!(output, filtered(&[first, second]));
}

/// Any bytes as the header of a kept backlog.
pub fn header(bytes: &[u8]) {
    let _ = Header::decode(bytes);
}
