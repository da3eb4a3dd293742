//! `/dev/xen/gntdev` and `/dev/xen/gntalloc`: pages that other domains granted, and pages granted to them.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::OFlags;
use rustix::io::Errno;
use xen_abi::{DomId, GrantRef};

use crate::error::DeviceError;
use crate::ioctl::{call, opcode, open};
use crate::shared::{Release, SharedPages, map_device};

const GNTDEV: &str = "/dev/xen/gntdev";
const GNTALLOC: &str = "/dev/xen/gntalloc";
const MAP_GRANT_REF: u32 = opcode(b'G', 0, 24);
const UNMAP_GRANT_REF: u32 = opcode(b'G', 1, 16);
const ALLOC_GREF: u32 = opcode(b'G', 5, 24);
const DEALLOC_GREF: u32 = opcode(b'G', 6, 16);
/// `GNTALLOC_FLAG_WRITABLE`.
const WRITABLE: u64 = 1;

/// Maps pages that other domains granted. Cloning is cheap, and gives the same device.
#[derive(Clone, Debug)]
pub struct GrantDevice {
    device: Arc<OwnedFd>,
}

impl GrantDevice {
    /// Opens the device.
    ///
    /// # Errors
    ///
    /// `ENOENT` outside Xen or without the kernel's module, `EACCES` without the right.
    pub fn open() -> Result<Self, DeviceError> {
        let device = Arc::new(open(GNTDEV, OFlags::empty())?);
        Ok(Self { device })
    }

    /// Maps granted pages of a domain, in the order of `references`; all or none.
    ///
    /// # Errors
    ///
    /// `EINVAL` if one is not granted so, `ENOMEM`.
    pub fn map(
        &self,
        domain: DomId,
        references: &[GrantRef],
        writable: bool,
    ) -> Result<SharedPages, DeviceError> {
        let (index, count) = self.reserve(domain, references)?;
        let release = Release::Grant {
            device: Arc::clone(&self.device),
            index,
            count,
        };
        match map_device(GNTDEV, &self.device, index, references.len(), writable) {
            Ok(pages) => Ok(pages.with_release(release)),
            Err(error) => {
                self::release(&release);
                Err(error)
            }
        }
    }

    /// Has the kernel make room for grants, so that whoever maps the first one does not wait for it: it takes frame
    /// numbers for 128 MiB into use at a time, with all that it keeps of each.
    ///
    /// # Errors
    ///
    /// `ENOMEM`.
    pub fn make_room(&self) -> Result<(), DeviceError> {
        let (index, count) = self.reserve(0, &[0])?;
        release(&Release::Grant {
            device: Arc::clone(&self.device),
            index,
            count,
        });
        Ok(())
    }

    /// Tells the device what is to be mapped; where, and how many. Nothing is mapped yet.
    fn reserve(&self, domain: DomId, references: &[GrantRef]) -> Result<(u64, u32), DeviceError> {
        let error = |errno| DeviceError::new(GNTDEV, "map grants", errno);
        let count = u32::try_from(references.len()).map_err(|_| error(Errno::INVAL))?;
        // struct ioctl_gntdev_map_grant_ref in words of 8 bytes: count and padding, index, (domain, reference)...
        let mut argument = vec![u64::from(count), 0];
        argument.extend(
            references
                .iter()
                .map(|reference| u64::from(domain) | u64::from(*reference) << 32),
        );
        // SAFETY: the argument has a header and `count` references; the call writes the index and maps nothing yet.
        unsafe { call(&self.device, MAP_GRANT_REF, argument.as_mut_slice()) }.map_err(error)?;
        Ok((argument[1], count))
    }
}

/// Makes pages of this domain, granted to others. Cloning is cheap, and gives the same device.
#[derive(Clone, Debug)]
pub struct GrantAllocator {
    device: Arc<OwnedFd>,
}

/// Pages of this domain that another may map.
#[derive(Debug)]
pub struct GrantedPages {
    /// The pages. When dropped the grants end; the pages are freed when the other domain is done with them.
    pub pages: SharedPages,
    /// The reference of each.
    pub references: Vec<GrantRef>,
}

impl GrantAllocator {
    /// Opens the device.
    ///
    /// # Errors
    ///
    /// `ENOENT` outside Xen or without the kernel's module, `EACCES` without the right.
    pub fn open() -> Result<Self, DeviceError> {
        let device = Arc::new(open(GNTALLOC, OFlags::empty())?);
        Ok(Self { device })
    }

    /// Allocates pages of zeros and grants them to a domain.
    ///
    /// # Errors
    ///
    /// `ENOSPC` beyond the module's limit, `ENOMEM`, `EINVAL` for no pages.
    pub fn allocate(
        &self,
        domain: DomId,
        count: u32,
        writable: bool,
    ) -> Result<GrantedPages, DeviceError> {
        let error = |errno| DeviceError::new(GNTALLOC, "allocate grants", errno);
        if count == 0 {
            return Err(error(Errno::INVAL));
        }
        // struct ioctl_gntalloc_alloc_gref: domain, flags and count, index, references of 4 bytes each.
        let flags = if writable { WRITABLE } else { 0 };
        let mut argument = vec![0_u64; 2 + (count as usize).div_ceil(2)];
        argument[0] = u64::from(domain) | flags << 16 | u64::from(count) << 32;
        // SAFETY: the argument has room for `count` references, which the call writes, after its header.
        unsafe { call(&self.device, ALLOC_GREF, argument.as_mut_slice()) }.map_err(error)?;
        let release = Release::Allocated {
            device: Arc::clone(&self.device),
            index: argument[1],
            count,
        };
        let references = argument[2..]
            .iter()
            .flat_map(|pair| [*pair as u32, (*pair >> 32) as u32])
            .take(count as usize)
            .collect();
        match map_device(GNTALLOC, &self.device, argument[1], count as usize, true) {
            Ok(pages) => Ok(GrantedPages {
                pages: pages.with_release(release),
                references,
            }),
            Err(error) => {
                self::release(&release);
                Err(error)
            }
        }
    }
}

/// Tells the device that a mapping has ended. An error would mean that it has forgotten already.
pub(crate) fn release(release: &Release) {
    let (device, opcode, index, count) = match release {
        Release::Grant {
            device,
            index,
            count,
        } => (device, UNMAP_GRANT_REF, *index, *count),
        Release::Allocated {
            device,
            index,
            count,
        } => (device, DEALLOC_GREF, *index, *count),
    };
    let mut argument = [index, u64::from(count)];
    // SAFETY: the call reads index and count, and touches no memory of this process: the pages are unmapped.
    let _ = unsafe { call(device, opcode, &mut argument) };
}
