//! Loop devices: files as block devices.
//!
//! Source: `linux/loop.h`.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::ioctl::call;

const CONTROL: &str = "/dev/loop-control";
const GET_FREE: u32 = 0x4c82;
const CONFIGURE: u32 = 0x4c0a;
const READ_ONLY: u32 = 1;
/// The device lets go of its file when the last who has it open closes it.
const AUTOCLEAR: u32 = 4;
/// How often somebody else may take the device that was free.
const ATTEMPTS: u32 = 64;

#[repr(C)]
struct Info {
    device: u64,
    inode: u64,
    real_device: u64,
    offset: u64,
    size_limit: u64,
    number: u32,
    encryption: [u32; 2],
    flags: u32,
    file_name: [u8; 64],
    encryption_name: [u8; 64],
    encryption_key: [u8; 32],
    init: [u64; 2],
}

#[repr(C)]
struct Config {
    file: u32,
    block_size: u32,
    info: Info,
    reserved: [u64; 8],
}

/// A file as a block device, as long as anybody has that open.
#[derive(Debug)]
pub struct LoopDevice {
    /// Keeps it from being let go of.
    _device: OwnedFd,
    path: String,
}

impl LoopDevice {
    /// Makes `file` a block device. When this object is dropped and nobody else has the device open (such as the
    /// kernel on behalf of a domain), it is let go of.
    ///
    /// # Errors
    ///
    /// `NotFound` if the kernel has no loop devices; those of the file.
    pub fn new(file: &File, read_only: bool) -> io::Result<Self> {
        let named = |what: &str, errno: Errno| {
            let error = io::Error::from(errno);
            io::Error::new(error.kind(), format!("{what}: {error}"))
        };
        let open = |path: &str| {
            let access = if read_only {
                OFlags::RDONLY
            } else {
                OFlags::RDWR
            };
            rustix::fs::open(path, access | OFlags::CLOEXEC, Mode::empty())
        };
        let control = rustix::fs::open(CONTROL, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| named(CONTROL, errno))?;
        let mut flags = AUTOCLEAR;
        if read_only {
            flags |= READ_ONLY;
        }
        let name = b"xenolith";
        let mut file_name = [0; 64];
        for (to, from) in file_name.iter_mut().zip(name) {
            *to = *from;
        }
        let mut config = Config {
            file: file.as_raw_fd().cast_unsigned(),
            block_size: 0,
            info: Info {
                device: 0,
                inode: 0,
                real_device: 0,
                offset: 0,
                size_limit: 0,
                number: 0,
                encryption: [0; 2],
                flags,
                file_name,
                encryption_name: [0; 64],
                encryption_key: [0; 32],
                init: [0; 2],
            },
            reserved: [0; 8],
        };
        for _ in 0..ATTEMPTS {
            // SAFETY: this call has no argument; what is given as one is not looked at.
            let number = unsafe { call(&control, GET_FREE, &mut ()) }
                .map_err(|errno| named(CONTROL, errno))?;
            let path = format!("/dev/loop{number}");
            let device = open(&path).map_err(|errno| named(&path, errno))?;
            // SAFETY: the argument is what the opcode takes, and only read.
            match unsafe { call(&device, CONFIGURE, &mut config) } {
                Ok(_) => {
                    return Ok(Self {
                        _device: device,
                        path,
                    });
                }
                // Somebody was faster.
                Err(Errno::BUSY) => {}
                Err(errno) => return Err(named(&path, errno)),
            }
        }
        Err(named("all loop devices", Errno::BUSY))
    }

    /// The device's path.
    pub fn path(&self) -> &str {
        &self.path
    }
}

const _: () = assert!(size_of::<Info>() == 232 && size_of::<Config>() == 304);
