//! What a domain has mapped of others' grants.

use alloc::vec::Vec;

use xen_abi::{DomId, GrantHandle, GrantRef};

use crate::pin::{Access, Pin};
use crate::status::Status;

/// A handle as the guest knows it.
pub type Handle = GrantHandle;

/// A mapping that a handle stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// Domain that grants.
    pub domid: DomId,
    /// Its entry.
    pub reference: GrantRef,
    /// The mapping's `GNTMAP_*` flags, for how the page tables refer to it.
    pub flags: u32,
    /// What of it is mapped.
    pub access: Access,
}

enum Slot<G> {
    /// The next free slot.
    Free(Option<Handle>),
    /// For a mapping that is being made.
    Reserved,
    Used {
        domid: DomId,
        flags: u32,
        frame: u64,
        /// What is mapped and not taken.
        pin: Pin,
        /// Kept while devices may access the frame.
        device_guard: Option<G>,
        /// Parts that are being unmapped.
        taken: u8,
    },
}

/// A handle for a mapping that is being made; to be committed or given back.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Reserved(Handle);

impl Reserved {
    /// The handle.
    pub fn handle(&self) -> Handle {
        self.0
    }
}

/// A part of a mapping that is being unmapped; to be finished or put back.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub struct Taken<G> {
    handle: Handle,
    /// Domain that grants.
    pub domid: DomId,
    /// The mapping's `GNTMAP_*` flags.
    pub flags: u32,
    /// The frame that is mapped.
    pub frame: u64,
    /// What is being unmapped; `None` if the mapping has nothing of what was asked for.
    pub pin: Option<Pin>,
    device_guard: Option<G>,
}

/// The handles of a domain. `G` keeps what devices may access through a mapping in the state for that.
pub struct Maptrack<G> {
    slots: Vec<Slot<G>>,
    free: Option<Handle>,
    max: u32,
    used: u32,
}

impl<G> Maptrack<G> {
    /// Makes a table that may grow to `max` handles.
    pub const fn new(max: u32) -> Self {
        Self {
            slots: Vec::new(),
            free: None,
            max,
            used: 0,
        }
    }

    /// Handles in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Takes a free handle for a new mapping.
    ///
    /// # Errors
    /// [`Status::NO_SPACE`] at the limit, or if there is no memory.
    pub fn reserve(&mut self) -> Result<Reserved, Status> {
        let handle = match self.free {
            Some(handle) => {
                let slot = self
                    .slots
                    .get_mut(handle as usize)
                    .ok_or(Status::NO_SPACE)?;
                match slot {
                    Slot::Free(next) => self.free = *next,
                    // The list links free slots only.
                    Slot::Reserved | Slot::Used { .. } => return Err(Status::NO_SPACE),
                }
                *slot = Slot::Reserved;
                handle
            }
            None => {
                let handle = u32::try_from(self.slots.len()).map_err(|_| Status::NO_SPACE)?;
                if handle >= self.max {
                    return Err(Status::NO_SPACE);
                }
                self.slots.try_reserve(1).map_err(|_| Status::NO_SPACE)?;
                self.slots.push(Slot::Reserved);
                handle
            }
        };
        self.used += 1;
        Ok(Reserved(handle))
    }

    /// Gives a reserved handle back: the mapping could not be made.
    pub fn release(&mut self, reserved: Reserved) {
        self.set_free(reserved.0);
    }

    /// Makes a reserved handle stand for a mapping, of a frame that the pin keeps.
    pub fn commit(
        &mut self,
        reserved: Reserved,
        domid: DomId,
        flags: u32,
        (pin, frame): (Pin, u64),
        device_guard: Option<G>,
    ) -> Handle {
        if let Some(slot) = self.slots.get_mut(reserved.0 as usize) {
            *slot = Slot::Used {
                domid,
                flags,
                frame,
                pin,
                device_guard,
                taken: 0,
            };
        }
        reserved.0
    }

    /// What a handle stands for.
    ///
    /// # Errors
    /// [`Status::BAD_HANDLE`] if that is nothing.
    pub fn get(&self, handle: Handle) -> Result<Mapping, Status> {
        match self.slots.get(handle as usize) {
            Some(Slot::Used {
                domid, flags, pin, ..
            }) if !pin.access.is_none() => Ok(Mapping {
                domid: *domid,
                reference: pin.reference,
                flags: *flags,
                access: pin.access,
            }),
            _ => Err(Status::BAD_HANDLE),
        }
    }

    /// All mappings.
    pub fn mappings(&self) -> impl Iterator<Item = Mapping> {
        (0..self.slots.len() as Handle).filter_map(|handle| self.get(handle).ok())
    }

    /// What keeps frames accessible for devices.
    pub fn device_guards(&self) -> impl Iterator<Item = &G> {
        self.slots.iter().filter_map(|slot| match slot {
            Slot::Used { device_guard, .. } => device_guard.as_ref(),
            Slot::Free(_) | Slot::Reserved => None,
        })
    }

    /// Takes parts of a mapping, so that nobody else unmaps them at the same time.
    ///
    /// # Errors
    /// [`Status::BAD_HANDLE`] if the handle stands for nothing (any more).
    pub fn take(&mut self, handle: Handle, host: bool, device: bool) -> Result<Taken<G>, Status> {
        match self.slots.get_mut(handle as usize) {
            Some(Slot::Used {
                domid,
                flags,
                frame,
                pin,
                device_guard,
                taken,
            }) if !pin.access.is_none() => {
                let part = pin.take(host, device);
                *taken += u8::from(part.is_some());
                let device_guard = match &part {
                    Some(part) if part.access.device => device_guard.take(),
                    _ => None,
                };
                Ok(Taken {
                    handle,
                    domid: *domid,
                    flags: *flags,
                    frame: *frame,
                    pin: part,
                    device_guard,
                })
            }
            _ => Err(Status::BAD_HANDLE),
        }
    }

    /// Puts parts back that could not be unmapped.
    pub fn put_back(&mut self, part: Taken<G>) {
        if let Some(part_pin) = part.pin
            && let Some(Slot::Used {
                pin,
                device_guard,
                taken,
                ..
            }) = self.slots.get_mut(part.handle as usize)
        {
            pin.put_back(part_pin);
            if part.device_guard.is_some() {
                *device_guard = part.device_guard;
            }
            *taken -= 1;
        }
    }

    /// Ends the unmapping of parts, and returns their pin, to be given back to the table that it came from once no TLB
    /// holds the mapping any more, and the guard, to be dropped then too. The handle is free once all parts are unmapped.
    pub fn finish(&mut self, part: Taken<G>) -> Option<(Pin, Option<G>)> {
        let part_pin = part.pin?;
        if let Some(Slot::Used { pin, taken, .. }) = self.slots.get_mut(part.handle as usize) {
            *taken -= 1;
            if *taken == 0 && pin.access.is_none() {
                self.set_free(part.handle);
            }
        }
        Some((part_pin, part.device_guard))
    }

    /// Takes all of some mapping at or above `from`, for the end of the domain; `None` when there is none.
    pub fn take_next(&mut self, from: Handle) -> Option<(Handle, Taken<G>)> {
        let handle = (from..self.slots.len() as u32).find(|handle| self.get(*handle).is_ok())?;
        let taken = self.take(handle, true, true).ok()?;
        Some((handle, taken))
    }

    fn set_free(&mut self, handle: Handle) {
        if let Some(slot) = self.slots.get_mut(handle as usize) {
            *slot = Slot::Free(self.free);
            self.free = Some(handle);
            self.used -= 1;
        }
    }
}
