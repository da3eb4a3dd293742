//! Two entries, of which one is reserved, two domains that map, and a guest that changes its entries, and their version, at
//! any time: every sequence of steps up to a
//! depth, and random long ones, against a model that keeps a plain list of mappings.

use std::vec::Vec;

use proptest::prelude::*;
use shared_page::MemoryPage;
use xen_abi::errno::Errno;
use xen_abi::grant_table::{GTF_PERMIT_ACCESS, GTF_READING, GTF_READONLY, GTF_WRITING};

use super::version_2::{flags as flags_v2, set_version, status, write as write_v2};
use super::{DEVICE, Frame, HOST, HOST_RO, flags, of_frame, table, write};
use crate::{Access, GrantTable, Handle, Maptrack, Pin, Purpose, Status};

const USE: u16 = GTF_READING | GTF_WRITING;

const USERS: [u16; 2] = [7, 8];
/// One that outlasts a change of version, and one that does not.
const REFERENCES: [u32; 2] = [1, 9];

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The guest writes an entry: what is granted, to whom.
    Grant {
        reference: u32,
        flags: u16,
        user: usize,
    },
    /// A domain maps.
    Map {
        user: usize,
        reference: u32,
        flags: u32,
    },
    /// A domain unmaps its oldest or its newest mapping, wholly or in part.
    Unmap {
        user: usize,
        newest: bool,
        host: bool,
        device: bool,
    },
    /// The guest changes the version.
    SetVersion(u32),
}

fn steps() -> Vec<Step> {
    let mut steps = Vec::new();
    for reference in REFERENCES {
        for flags in [0, GTF_PERMIT_ACCESS, GTF_PERMIT_ACCESS | GTF_READONLY] {
            for user in [0, 1] {
                steps.push(Step::Grant {
                    reference,
                    flags,
                    user,
                });
            }
        }
    }
    for user in [0, 1] {
        for reference in REFERENCES {
            for flags in [HOST, HOST_RO, HOST | DEVICE] {
                steps.push(Step::Map {
                    user,
                    reference,
                    flags,
                });
            }
        }
        for (newest, host, device) in [
            (true, true, true),
            (false, true, true),
            (true, true, false),
            (true, false, true),
        ] {
            steps.push(Step::Unmap {
                user,
                newest,
                host,
                device,
            });
        }
    }
    steps.extend([Step::SetVersion(1), Step::SetVersion(2)]);
    steps
}

/// A mapping, as the model knows it.
#[derive(Clone, Copy, Debug)]
struct Mapped {
    user: usize,
    reference: u32,
    access: Access,
    frame: Frame,
}

/// The model: what the guest wrote, and all mappings. Nothing is counted.
#[derive(Clone, Default)]
struct Model {
    entries: [(u16, usize, Frame); 2],
    mappings: Vec<Mapped>,
}

/// The place of an entry in the model.
fn place(reference: u32) -> usize {
    usize::from(reference == REFERENCES[1])
}

impl Model {
    fn users_of(&self, reference: u32) -> impl Iterator<Item = &Mapped> {
        self.mappings
            .iter()
            .filter(move |mapped| mapped.reference == reference)
    }

    fn has_writer(&self, reference: u32) -> bool {
        self.users_of(reference)
            .any(|mapped| !mapped.access.read_only)
    }

    fn map(&mut self, user: usize, reference: u32, access: Access) -> Result<Frame, Status> {
        let (granted, to, frame) = self.entries[place(reference)];
        let known = self.users_of(reference).next().copied();
        if known.is_some_and(|mapped| mapped.user != user) {
            return Err(Status::GENERAL_ERROR);
        }
        if known.is_none() && (granted & 3 != GTF_PERMIT_ACCESS || to != user) {
            return Err(Status::GENERAL_ERROR);
        }
        if !access.read_only && !self.has_writer(reference) && granted & GTF_READONLY != 0 {
            return Err(Status::GENERAL_ERROR);
        }
        let frame = known.map_or(frame, |mapped| mapped.frame);
        self.mappings.push(Mapped {
            user,
            reference,
            access,
            frame,
        });
        Ok(frame)
    }

    /// `GTF_reading` and `GTF_writing` as they must be.
    fn use_flags(&self, reference: u32) -> u16 {
        let mut flags = 0;
        if self.users_of(reference).next().is_some() {
            flags |= GTF_READING;
        }
        if self.has_writer(reference) {
            flags |= GTF_WRITING;
        }
        flags
    }
}

struct Real {
    table: GrantTable<MemoryPage, Frame>,
    page: MemoryPage,
    maptracks: [Maptrack<()>; 2],
    /// Handles of each user's mappings, oldest first.
    handles: [Vec<Handle>; 2],
    /// Frames that were resolved and not given back.
    frames_held: usize,
    /// Makes each grant name another frame.
    next_frame: u32,
}

impl Real {
    fn new(version: u32) -> Self {
        let (mut table, pages) = table(1);
        set_version(&mut table, version).unwrap();
        Self {
            table,
            page: pages[0].clone(),
            maptracks: [Maptrack::new(100), Maptrack::new(100)],
            handles: [Vec::new(), Vec::new()],
            frames_held: 0,
            next_frame: 100,
        }
    }

    /// The guest writes an entry in the version that its table has.
    fn write(&self, reference: u32, flags: u16, domid: u16, frame: u32) {
        if self.table.version() == 1 {
            write(&self.page, reference as usize, flags, domid, frame);
        } else {
            write_v2(&self.page, reference, flags, domid, 0, frame.into());
        }
    }

    /// `GTF_reading` and `GTF_writing` as the guest sees them.
    fn use_flags(&self, reference: u32) -> u16 {
        let flags = if self.table.version() == 1 {
            flags(&self.page, reference as usize)
        } else {
            assert_eq!(flags_v2(&self.page, reference) & USE, 0, "the guest's own");
            status(&self.table, reference)
        };
        flags & USE
    }

    fn apply(&mut self, step: Step, model: &mut Model) {
        match step {
            Step::Grant {
                reference,
                flags,
                user,
            } => {
                self.next_frame += 1;
                // The guest keeps what says that the entry is in use, as the ABI demands of it.
                let used = if self.table.version() == 1 {
                    model.use_flags(reference)
                } else {
                    0
                };
                self.write(reference, flags | used, USERS[user], self.next_frame);
                model.entries[place(reference)] = (flags, user, self.next_frame.into());
            }
            Step::Map {
                user,
                reference,
                flags,
            } => {
                let access = Access::from_map_flags(flags);
                let reserved = self.maptracks[user].reserve().unwrap();
                let held = &mut self.frames_held;
                let pinned = self
                    .table
                    .pin(reference, USERS[user], access, Purpose::Map, |frame, _| {
                        *held += 1;
                        Ok(frame)
                    })
                    .map(of_frame);
                let wanted = model.map(user, reference, access);
                match pinned {
                    Ok((pin, frame)) => {
                        assert_eq!(Ok(frame), wanted);
                        let handle =
                            self.maptracks[user].commit(reserved, 1, flags, (pin, frame), None);
                        self.handles[user].push(handle);
                    }
                    Err(status) => {
                        assert_eq!(Err(status), wanted);
                        self.maptracks[user].release(reserved);
                    }
                }
            }
            Step::Unmap {
                user,
                newest,
                host,
                device,
            } => {
                let place = match (newest, self.handles[user].len()) {
                    (_, 0) => return,
                    (true, count) => count - 1,
                    (false, _) => 0,
                };
                let handle = self.handles[user][place];
                let part = self.maptracks[user].take(handle, host, device).unwrap();
                let kept = self
                    .table
                    .pinned_frame(part.pin.as_ref().map_or(0, Pin::reference));
                assert!(part.pin.is_none() || kept == Some(&part.frame));
                if let Some((pin, _)) = self.maptracks[user].finish(part)
                    && self.table.unpin(pin).is_some()
                {
                    self.frames_held -= 1;
                }
                let mut of_user =
                    (0..model.mappings.len()).filter(|index| model.mappings[*index].user == user);
                let index = of_user.nth(place).unwrap();
                let mapped = &mut model.mappings[index];
                mapped.access.host &= !host;
                mapped.access.device &= !device;
                if mapped.access.is_none() {
                    model.mappings.remove(index);
                    self.handles[user].remove(place);
                    assert_eq!(self.maptracks[user].get(handle), Err(Status::BAD_HANDLE));
                } else {
                    let access = self.maptracks[user].get(handle).unwrap().access;
                    assert_eq!(access, mapped.access);
                }
            }
            Step::SetVersion(version) => {
                let busy = model.users_of(REFERENCES[1]).next().is_some();
                if version == self.table.version() {
                    assert_eq!(set_version(&mut self.table, version), Ok(()));
                } else if busy {
                    let refused = set_version(&mut self.table, version);
                    assert_eq!(refused, Err(Errno::EBUSY));
                } else {
                    assert_eq!(set_version(&mut self.table, version), Ok(()));
                    assert_eq!(self.table.version(), version);
                    model.entries[1] = (0, 0, 0);
                    // What is invalid and reserved is forgotten as well.
                    if version == 1 && model.entries[0].0 == 0 {
                        model.entries[0] = (0, 0, 0);
                    }
                }
            }
        }
    }

    fn check(&self, model: &Model) {
        let mut in_use = 0;
        for reference in REFERENCES {
            let used = self.use_flags(reference);
            assert_eq!(used, model.use_flags(reference), "entry {reference}");
            let mapped = model.users_of(reference).next();
            assert_eq!(
                self.table.pinned_frame(reference).copied(),
                mapped.map(|mapped| mapped.frame)
            );
            in_use += usize::from(mapped.is_some());
        }
        assert_eq!(self.table.in_use().count(), in_use);
        assert_eq!(
            self.frames_held, in_use,
            "a frame is held once while it is in use"
        );
        for user in [0, 1] {
            assert_eq!(
                self.maptracks[user].used() as usize,
                self.handles[user].len()
            );
        }
    }
}

/// Runs a sequence from the start; tables cannot be copied, and short sequences are cheap.
fn run(sequence: &[Step]) {
    for version in [1, 2] {
        run_from(version, sequence);
    }
}

fn run_from(version: u32, sequence: &[Step]) {
    let (mut real, mut model) = (Real::new(version), Model::default());
    // Both entries are granted at first, so that short sequences come to something.
    for (reference, flags) in [
        (REFERENCES[0], GTF_PERMIT_ACCESS),
        (REFERENCES[1], GTF_PERMIT_ACCESS | GTF_READONLY),
    ] {
        real.apply(
            Step::Grant {
                reference,
                flags,
                user: 0,
            },
            &mut model,
        );
    }
    for step in sequence {
        real.apply(*step, &mut model);
        real.check(&model);
    }
}

#[test]
fn every_short_sequence_agrees_with_the_model() {
    let steps = steps();
    let mut sequences = 0;
    for a in &steps {
        for b in &steps {
            for c in &steps {
                run(&[*a, *b, *c]);
                sequences += 1;
            }
        }
    }
    assert_eq!(sequences, 34 * 34 * 34);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn long_sequences_agree_with_the_model(
        sequence in proptest::collection::vec(any::<prop::sample::Index>(), 1..60)
    ) {
        let steps = steps();
        let sequence: Vec<_> = sequence.iter().map(|index| *index.get(&steps)).collect();
        run(&sequence);
    }
}
