//! Opening the devices, and their calls, whose opcodes have the size of the argument but no direction.

use std::ffi::c_void;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::ioctl::{Direction, Ioctl, IoctlOutput, Opcode};

use crate::error::DeviceError;

/// Opens a device for reading and writing; the descriptor does not survive `exec`.
pub(crate) fn open(
    device: &'static str,
    flags: OFlags,
) -> std::result::Result<OwnedFd, DeviceError> {
    rustix::fs::open(
        device,
        OFlags::RDWR | OFlags::CLOEXEC | flags,
        Mode::empty(),
    )
    .map_err(|errno| DeviceError::new(device, "open", errno))
}

/// `_IOC(_IOC_NONE, group, number, size)`.
pub(crate) const fn opcode(group: u8, number: u8, size: usize) -> Opcode {
    rustix::ioctl::opcode::from_components(Direction::None, group, number, size)
}

/// A call with an argument that the kernel reads and may write.
struct Call<'a, T: ?Sized> {
    opcode: Opcode,
    argument: &'a mut T,
}

// SAFETY: `call` below, the only maker, promises that the opcode's argument is a `T`, which is borrowed mutably for
// the time of the call.
unsafe impl<T: ?Sized> Ioctl for Call<'_, T> {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = true;

    fn opcode(&self) -> Opcode {
        self.opcode
    }

    fn as_ptr(&mut self) -> *mut c_void {
        std::ptr::from_mut(self.argument).cast()
    }

    unsafe fn output_from_ptr(output: IoctlOutput, _: *mut c_void) -> Result<IoctlOutput> {
        Ok(output)
    }
}

/// Makes a call; gives the kernel's return value.
///
/// # Safety
///
/// `opcode` takes a pointer to `T` and, besides what it does to `argument`, touches only memory of this process that
/// the caller says it may.
pub(crate) unsafe fn call<T: ?Sized>(
    device: impl AsFd,
    opcode: Opcode,
    argument: &mut T,
) -> std::result::Result<i32, Errno> {
    // SAFETY: the caller's promise is this function's.
    unsafe { rustix::ioctl::ioctl(device, Call { opcode, argument }) }
}
