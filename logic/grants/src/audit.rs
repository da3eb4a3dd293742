//! Whether the pins of a grant table are those of its mappings.

use alloc::vec::Vec;

use shared_page::SharedPage;
use xen_abi::errno::Errno;
use xen_abi::{DomId, GrantRef};

use crate::maptrack::Mapping;
use crate::pin::Counts;
use crate::table::GrantTable;

/// The pins of one table, counted again from what domains have mapped. Only while nobody copies, maps or unmaps.
pub struct Audit {
    domid: DomId,
    counts: Vec<(Counts, DomId)>,
    /// Mappings of entries that do not exist, that are pinned for another domain, or too many.
    wrong: u32,
}

impl Audit {
    /// Starts for the table of `domid`, with `entries` entries.
    ///
    /// # Errors
    /// `ENOMEM`
    pub fn new(domid: DomId, entries: u32) -> Result<Self, Errno> {
        let mut counts = Vec::new();
        counts
            .try_reserve_exact(entries as usize)
            .map_err(|_| Errno::ENOMEM)?;
        counts.resize(entries as usize, (Counts::NONE, 0));
        Ok(Self {
            domid,
            counts,
            wrong: 0,
        })
    }

    /// Counts a mapping of `user`, if it is one of this table's entries.
    pub fn add(&mut self, user: DomId, mapping: &Mapping) {
        if mapping.domid != self.domid {
            return;
        }
        let slot = self.counts.get_mut(mapping.reference as usize);
        let counted = slot.and_then(|(counts, whose)| {
            if !counts.is_zero() && *whose != user {
                return None;
            }
            *counts = counts.plus(mapping.access)?;
            *whose = user;
            Some(())
        });
        self.wrong += u32::from(counted.is_none());
    }

    /// Compares; `report` gets each entry whose pins are not those of its mappings. Returns how many mappings there
    /// are that no entry can account for.
    pub fn finish<P: SharedPage, F>(
        self,
        table: &GrantTable<P, F>,
        mut report: impl FnMut(GrantRef),
    ) -> u32 {
        for (reference, (counts, user)) in (0..).zip(self.counts) {
            let (pinned, pinned_for, has_frame) = table.use_of(reference);
            let is_same = pinned == counts && (counts.is_zero() || pinned_for == user);
            if !is_same || has_frame == counts.is_zero() {
                report(reference);
            }
        }
        self.wrong
    }
}

#[cfg(test)]
mod tests {
    use shared_page::{MemoryPage, SharedPage};
    use std::vec::Vec;
    use xen_abi::grant_table::{GNTMAP_HOST_MAP, GNTMAP_READONLY, GTF_PERMIT_ACCESS};

    use super::Audit;
    use crate::{Access, GrantTable, Mapping, Pin, Pinned, Purpose};

    const USER: u16 = 7;

    fn pin(table: &mut GrantTable<MemoryPage, u64>, reference: u32, flags: u32) -> Pin {
        let access = Access::from_map_flags(flags);
        let pinned = table.pin(reference, USER, access, Purpose::Map, |frame, _| Ok(frame));
        match pinned.unwrap() {
            Pinned::Frame(pin, ..) => pin,
            Pinned::Via(via) => panic!("{via:?}"),
        }
    }

    fn mapping(pin: &Pin) -> Mapping {
        Mapping {
            domid: 1,
            reference: pin.reference(),
            flags: 0,
            access: pin.access(),
        }
    }

    fn unbalanced(
        table: &GrantTable<MemoryPage, u64>,
        mappings: &[(u16, Mapping)],
    ) -> (Vec<u32>, u32) {
        let mut audit = Audit::new(1, table.entries()).unwrap();
        for (user, mapping) in mappings {
            audit.add(*user, mapping);
        }
        let mut entries = Vec::new();
        let wrong = audit.finish(table, |reference| entries.push(reference));
        (entries, wrong)
    }

    #[test]
    fn mappings_and_pins_agree_or_are_named() {
        let mut table = GrantTable::new(1, 1, 1);
        table.grow(1, || Ok(MemoryPage::default())).unwrap();
        for reference in [8, 9] {
            let page = &table.frames()[0];
            page.store32(reference * 8 + 4, 1000);
            page.store32(
                reference * 8,
                u32::from(USER) << 16 | u32::from(GTF_PERMIT_ACCESS),
            );
        }
        let one = pin(&mut table, 8, GNTMAP_HOST_MAP);
        let two = pin(&mut table, 8, GNTMAP_HOST_MAP | GNTMAP_READONLY);
        let three = pin(&mut table, 9, GNTMAP_HOST_MAP);
        let all = [
            (USER, mapping(&one)),
            (USER, mapping(&two)),
            (USER, mapping(&three)),
        ];
        assert_eq!(unbalanced(&table, &all), (Vec::new(), 0));
        assert_eq!(unbalanced(&table, &all[1..]), (std::vec![8], 0));
        assert_eq!(unbalanced(&table, &all[..2]), (std::vec![9], 0));
        let mut wrong = all;
        wrong[2].0 = USER + 1;
        assert_eq!(unbalanced(&table, &wrong), (std::vec![9], 0));
        wrong = all;
        wrong[0].0 = USER + 1;
        assert_eq!(unbalanced(&table, &wrong), (std::vec![8], 1));
        wrong = all;
        wrong[2].1.reference = 100_000;
        assert_eq!(unbalanced(&table, &wrong), (std::vec![9], 1));
        let _ = table.unpin(three);
        assert_eq!(unbalanced(&table, &all[..2]), (Vec::new(), 0));
        assert_eq!(unbalanced(&table, &all), (std::vec![9], 0));
        let _ = (table.unpin(one), table.unpin(two));
        assert_eq!(unbalanced(&table, &[]), (Vec::new(), 0));
    }
}
