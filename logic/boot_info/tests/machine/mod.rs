//! A machine's memory, for tests.

#![allow(dead_code, reason = "each test uses a part of it")]

use addr::Maddr;
use boot_info::PhysicalMemory;

/// Some areas of memory; all else is unreadable.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    areas: Vec<(u64, Vec<u8>)>,
}

impl Memory {
    /// Adds an area.
    pub(crate) fn put(&mut self, at: u64, bytes: impl Into<Vec<u8>>) {
        self.areas.push((at, bytes.into()));
    }

    /// Changes the byte at `place`, counted over all areas.
    pub(crate) fn change(&mut self, place: usize, byte: u8) {
        let total: usize = self.areas.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut place = place % total;
        for (_, bytes) in &mut self.areas {
            if place < bytes.len() {
                bytes[place] = byte;
                return;
            }
            place -= bytes.len();
        }
    }
}

impl PhysicalMemory for Memory {
    fn read(&self, at: Maddr, len: usize) -> Option<&[u8]> {
        self.areas.iter().find_map(|(start, bytes)| {
            let offset = usize::try_from(at.raw().checked_sub(*start)?).ok()?;
            bytes.get(offset..)?.get(..len)
        })
    }
}

/// Numbers of 32 bits, one after another.
pub(crate) fn words(numbers: &[u32]) -> Vec<u8> {
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

/// Makes the bytes add up to 0 by the one at `place`.
pub(crate) fn set_checksum(bytes: &mut [u8], place: usize) {
    bytes[place] = 0;
    bytes[place] = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_sub(*byte));
}

/// An ACPI table with its header.
pub(crate) fn table(signature: &[u8; 4], revision: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = signature.to_vec();
    bytes.extend((36 + body.len() as u32).to_le_bytes());
    bytes.extend([revision, 0]);
    bytes.extend(b"OEMID OEMTABLE\x01\0\0\0MAKR\x01\0\0\0");
    bytes.extend(body);
    set_checksum(&mut bytes, 9);
    bytes
}
