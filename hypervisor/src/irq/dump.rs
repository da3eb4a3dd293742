//! Debug key: what every interrupt is bound to.

use super::table::{Owner, Source, TABLE};
use super::vector::{FIRST_DEVICE, LAST_DEVICE};
use crate::console::ALWAYS;

/// Prints all vectors and lines in use.
pub fn dump() {
    log::info!(target: ALWAYS, "IRQ information:");
    for vector in FIRST_DEVICE..=LAST_DEVICE {
        // Copied, so that the table is not locked while the console is busy.
        let (owner, pirq) = {
            let table = TABLE.lock();
            let owner = table.owner(vector);
            let pirq = match owner {
                Owner::Pirq(number) => table.pirqs.get(number as usize).copied(),
                _ => None,
            };
            (owner, pirq)
        };
        match (owner, pirq) {
            (Owner::Console, _) => log::info!(target: ALWAYS, "   vec:{vector:02x} console"),
            (Owner::Pirq(number), Some(pirq)) => log::info!(
                target: ALWAYS,
                "   vec:{vector:02x} d0 pirq {number} {} count={}{}{}",
                Described(pirq.source),
                pirq.count,
                if pirq.bound { "" } else { " unbound" },
                if pirq.waits_for_end { " in-flight" } else { "" },
            ),
            _ => {}
        }
    }
    let lines = TABLE.lock().lines.len() as u32;
    for number in 0..lines {
        let found = {
            let table = TABLE.lock();
            table
                .ioapics
                .iter()
                .find_map(|ioapic| ioapic.entry(ioapic.pin_of(number)?))
        };
        if let Some(entry) = found.filter(|entry| entry.vector != 0) {
            log::info!(
                target: ALWAYS,
                "   GSI {number:3} vec={:02x} trigger={:?} polarity={:?} mask={} dest={:#x}",
                entry.vector,
                entry.trigger,
                entry.polarity,
                u8::from(entry.masked),
                entry.destination,
            );
        }
    }
}

struct Described(Source);

impl core::fmt::Display for Described {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {
            Source::Unmapped => write!(f, "unmapped"),
            Source::Kept => write!(f, "kept"),
            Source::Line(line) => write!(f, "IO-APIC GSI {line}"),
            Source::Message { at, index, .. } => write!(f, "PCI-MSI {at} message {index}"),
            Source::Entry { at, entry, .. } => write!(f, "PCI-MSI-X {at} entry {entry}"),
        }
    }
}
