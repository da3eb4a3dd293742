//! `/dev/xen/privcmd`: hypercalls, and other domains' pages.

use std::fmt;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};

use rustix::fs::OFlags;
use rustix::io::Errno as KernelErrno;
use xen_abi::{DomId, Errno};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::buffer::{BufferSource, HypercallBuffer};
use crate::error::DeviceError;
use crate::ioctl::{call, opcode, open};
use crate::shared::{SharedPages, map_device};

const PRIVCMD: &str = "/dev/xen/privcmd";
pub(crate) const HYPERCALL: &str = "/dev/xen/hypercall";

#[repr(C)]
struct Hypercall {
    number: u64,
    arguments: [u64; 5],
}

#[repr(C)]
struct MapBatch {
    count: u32,
    domain: DomId,
    address: u64,
    frames: *const u64,
    errors: *mut i32,
}

#[repr(C)]
struct MapResource {
    domain: DomId,
    kind: u32,
    id: u32,
    first: u32,
    count: u64,
    address: u64,
}

/// Hypercalls, and pages of other domains. Cloning is cheap, and gives the same device.
#[derive(Clone)]
pub struct Privcmd {
    device: Arc<OwnedFd>,
    buffers: Arc<BufferSource>,
}

impl Privcmd {
    /// Opens the devices.
    ///
    /// # Errors
    ///
    /// `ENOENT` outside Xen, `EACCES` or `EPERM` without the right.
    pub fn open() -> Result<Self, DeviceError> {
        let device = open(PRIVCMD, OFlags::empty())?;
        let buffers = BufferSource {
            device: open(HYPERCALL, OFlags::empty())?,
            spare: Mutex::new(Vec::new()),
        };
        Ok(Self {
            device: Arc::new(device),
            buffers: Arc::new(buffers),
        })
    }

    /// Makes the hypercall `number`; gives its result, at least 0. The kernel cuts results to 32 bits.
    ///
    /// Addresses among the arguments, or in what they point to, have to be those of [`HypercallBuffer`]s that live
    /// for the time of the call: the hypervisor writes wherever it is told to.
    ///
    /// # Errors
    ///
    /// The hypervisor's, by Xen's numbers. The kernel's own have the same ones.
    pub fn hypercall(&self, number: u32, arguments: [u64; 5]) -> Result<i64, Errno> {
        let mut argument = Hypercall {
            number: u64::from(number),
            arguments,
        };
        const OPCODE: u32 = opcode(b'P', 0, size_of::<Hypercall>());
        // SAFETY: the kernel reads the argument. What the hypervisor does to memory is up to whoever made the
        // arguments, which the crate's contract speaks of.
        let result = unsafe { call(&self.device, OPCODE, &mut argument) };
        match result {
            // An error below -4095 would be read as a large result; there is none.
            Ok(value) => match Errno::from_return_value(i64::from(value)) {
                Some(errno) => Err(errno),
                None => Ok(i64::from(value)),
            },
            Err(errno) => Err(Errno(errno.raw_os_error())),
        }
    }

    /// Memory for a hypercall, holding `value`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn buffer<T: FromBytes + IntoBytes + Immutable>(
        &self,
        value: &T,
    ) -> Result<HypercallBuffer<T>, DeviceError> {
        let mut buffer = HypercallBuffer::zeroed(&self.buffers, 1)?;
        buffer.set(0, value);
        Ok(buffer)
    }

    /// Memory for a hypercall, holding `length` elements of zeros.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn zeroed_buffer<T: FromBytes + IntoBytes + Immutable>(
        &self,
        length: usize,
    ) -> Result<HypercallBuffer<T>, DeviceError> {
        HypercallBuffer::zeroed(&self.buffers, length)
    }

    /// Memory for a hypercall, holding copies of `values`.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn buffer_of<T: FromBytes + IntoBytes + Immutable>(
        &self,
        values: &[T],
    ) -> Result<HypercallBuffer<T>, DeviceError> {
        let mut buffer = HypercallBuffer::zeroed(&self.buffers, values.len())?;
        buffer.set_all(0, values);
        Ok(buffer)
    }

    /// Maps frames of another domain (guest frame numbers; machine frames with `DOMID_XEN` or for a PV domain), one
    /// page each, in that order. A frame may fail alone: [`ForeignMapping::errors`].
    ///
    /// # Errors
    ///
    /// `ESRCH` if there is no such domain, `EPERM`, `EINVAL` for no frames, `ENOMEM`.
    pub fn map_foreign(
        &self,
        domain: DomId,
        frames: &[u64],
        writable: bool,
    ) -> Result<ForeignMapping, DeviceError> {
        let error = |errno| DeviceError::new(PRIVCMD, "map foreign pages", errno);
        let count = u32::try_from(frames.len()).map_err(|_| error(KernelErrno::INVAL))?;
        let pages = map_device(PRIVCMD, &self.device, 0, frames.len(), writable)?;
        let mut errors = vec![0_i32; frames.len()];
        let mut argument = MapBatch {
            count,
            domain,
            address: pages.address(),
            frames: frames.as_ptr(),
            errors: errors.as_mut_ptr(),
        };
        const OPCODE: u32 = opcode(b'P', 4, size_of::<MapBatch>());
        // SAFETY: the lists have `count` elements each and live until the end of this function; the pages to map over
        // are the new mapping's own.
        match unsafe { call(&self.device, OPCODE, &mut argument) } {
            // With ENOENT some pages were paged out, as their errors say.
            Ok(_) | Err(KernelErrno::NOENT) => {}
            Err(errno) => return Err(error(errno)),
        }
        let errors = errors
            .iter()
            .map(|code| Errno::from_return_value(i64::from(*code)))
            .collect();
        Ok(ForeignMapping { pages, errors })
    }

    /// Maps a single frame of another domain.
    ///
    /// # Errors
    ///
    /// As for [`Privcmd::map_foreign`], and the page's own.
    pub fn map_foreign_page(
        &self,
        domain: DomId,
        frame: u64,
        writable: bool,
    ) -> Result<SharedPages, DeviceError> {
        let mapping = self.map_foreign(domain, &[frame], writable)?;
        match mapping.errors.first() {
            Some(Some(errno)) => Err(DeviceError::new(
                PRIVCMD,
                "map a foreign page",
                KernelErrno::from_raw_os_error(errno.0),
            )),
            _ => Ok(mapping.pages),
        }
    }

    /// Maps `count` frames of a domain's resource (`XENMEM_acquire_resource`; `kind` is a `XENMEM_resource_*`).
    ///
    /// # Errors
    ///
    /// The hypervisor's; `EINVAL` for no frames.
    pub fn map_resource(
        &self,
        domain: DomId,
        kind: u32,
        id: u32,
        first: u32,
        count: usize,
        writable: bool,
    ) -> Result<SharedPages, DeviceError> {
        let pages = map_device(PRIVCMD, &self.device, 0, count, writable)?;
        self.resource(MapResource {
            domain,
            kind,
            id,
            first,
            count: count as u64,
            address: pages.address(),
        })?;
        Ok(pages)
    }

    /// How many frames a resource has.
    ///
    /// # Errors
    ///
    /// The hypervisor's.
    pub fn resource_size(&self, domain: DomId, kind: u32, id: u32) -> Result<u64, DeviceError> {
        let argument = MapResource {
            domain,
            kind,
            id,
            first: 0,
            count: 0,
            address: 0,
        };
        Ok(self.resource(argument)?.count)
    }

    fn resource(&self, mut argument: MapResource) -> Result<MapResource, DeviceError> {
        const OPCODE: u32 = opcode(b'P', 7, size_of::<MapResource>());
        // SAFETY: the pages to map over, if any, are a new mapping's own, made by `map_resource` for this.
        unsafe { call(&self.device, OPCODE, &mut argument) }
            .map_err(|errno| DeviceError::new(PRIVCMD, "map a resource", errno))?;
        Ok(argument)
    }
}

impl fmt::Debug for Privcmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Privcmd").finish_non_exhaustive()
    }
}

/// Pages of another domain.
#[derive(Debug)]
pub struct ForeignMapping {
    /// The pages, in the order of the frames. Where a frame failed there is a hole, whose access ends the process.
    pub pages: SharedPages,
    /// Each frame's error, if it could not be mapped.
    pub errors: Vec<Option<Errno>>,
}

impl ForeignMapping {
    /// The pages, if every frame could be mapped.
    ///
    /// # Errors
    ///
    /// The first frame's that failed, with its place in the list.
    pub fn complete(self) -> Result<SharedPages, (usize, Errno)> {
        let failed = self
            .errors
            .iter()
            .enumerate()
            .find_map(|(index, error)| Some((index, (*error)?)));
        match failed {
            Some(failed) => Err(failed),
            None => Ok(self.pages),
        }
    }
}
