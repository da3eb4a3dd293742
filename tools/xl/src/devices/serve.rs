//! `xl serve-disk`: serves an image as a block device of domain 0, which the kernel's back end takes like any other.
//!
//! The device is one of the kernel's network block devices, at the other end of a pair of sockets. It disconnects when
//! the last who has it open closes it; then this program brings everything to the disk and ends. So a disk needs no
//! record: when its back end goes, it goes. Until the back end has it, the program that started this holds its
//! standard input open; killed, it leaves nothing either.
//!
//! Sources: NBD's `doc/proto.md`; `linux/nbd-netlink.h`, `linux/genetlink.h`.

use std::fs::{File, TryLockError};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use qcow2::Image;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, netlink as families};

use crate::command::Run;
use crate::context::{Context, Failure, Outcome};
use crate::devices::netlink::attribute;

const REQUEST: u32 = 0x2560_9513;
const REPLY: u32 = 0x6744_6698;
const READ: u16 = 0;
const WRITE: u16 = 1;
const DISCONNECT: u16 = 2;
const FLUSH: u16 = 3;
const TRIM: u16 = 4;
const EIO: u32 = 5;
const EINVAL: u32 = 22;
const ENOSPC: u32 = 28;
/// More than the kernel asks for at once.
const MAX_LENGTH: u32 = 32 << 20;

/// Flags of the device: there are flags, it is not written, it can be flushed, and told what is not needed any more.
const HAS_FLAGS: u64 = 1;
const READ_ONLY: u64 = 2;
const SEND_FLUSH: u64 = 4;
const SEND_TRIM: u64 = 1 << 5;
/// The device disconnects when it is closed.
const DISCONNECT_ON_CLOSE: u64 = 2;

/// How long another domain may take to let go of an image.
const PATIENCE: Duration = Duration::from_secs(10);
const LOG: &str = "/var/log/xen/xl-disks.log";

/// Options of `xl serve-disk`.
#[derive(Args, Debug)]
pub(crate) struct ServeDisk {
    /// The image
    file: PathBuf,
    /// Do not write to it
    #[arg(short)]
    read_only: bool,
}

impl Run for ServeDisk {
    const NAME: &'static str = "serve-disk";
    const ABOUT: &'static str = "Serve a disk image as a block device (xl starts it)";

    fn run(self, _: &Context) -> Outcome {
        let named = |error: &dyn std::fmt::Display| {
            Failure::new(format!("{}: {error}", self.file.display()))
        };
        let guard = File::open(&self.file).map_err(|error| named(&error))?;
        lock(&guard, self.read_only).map_err(|error| named(&error))?;
        let image = Image::open(&self.file, !self.read_only).map_err(|error| named(&error))?;
        let (kernel, ours) = UnixStream::pair()?;
        let number = connect(&kernel, image.size(), self.read_only)
            .map_err(|error| named(&format_args!("the kernel's block device: {error}")))?;
        drop(kernel);
        // To open the device already reads from it.
        let server = thread::spawn(move || serve(image, ours));
        let path = format!("/dev/nbd{number}");
        let device = File::open(&path);
        if device.is_ok() {
            println!("{path}");
        }
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        drop(device?);
        let result = server.join().unwrap_or(Ok(()));
        drop(guard);
        result.map_err(|error| named(&error))
    }
}

/// Waits until nobody else writes the image: a domain that is made again finds it when the one before has let go of it.
fn lock(file: &File, shared: bool) -> io::Result<()> {
    let begin = Instant::now();
    loop {
        let result = if shared {
            file.try_lock_shared()
        } else {
            file.try_lock()
        };
        match result {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if begin.elapsed() > PATIENCE => {
                return Err(io::Error::other("another domain has it"));
            }
            Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Answers requests until the device disconnects.
fn serve(mut image: Image, mut socket: UnixStream) -> io::Result<()> {
    let mut head = [0_u8; 28];
    loop {
        match socket.read_exact(&mut head) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return image.flush().and(Err(error)),
        }
        let [m0, m1, m2, m3, _, _, k0, k1, rest @ ..] = head;
        let [h0, h1, h2, h3, h4, h5, h6, h7, rest @ ..] = rest;
        let [a0, a1, a2, a3, a4, a5, a6, a7, l0, l1, l2, l3] = rest;
        let handle = [h0, h1, h2, h3, h4, h5, h6, h7];
        let at = u64::from_be_bytes([a0, a1, a2, a3, a4, a5, a6, a7]);
        let length = u32::from_be_bytes([l0, l1, l2, l3]);
        let kind = u16::from_be_bytes([k0, k1]);
        if u32::from_be_bytes([m0, m1, m2, m3]) != REQUEST || length > MAX_LENGTH && kind != TRIM {
            image.flush()?;
            return Err(io::Error::other("the kernel's request makes no sense"));
        }
        let mut data = Vec::new();
        let result = match kind {
            READ => {
                data.resize(length as usize, 0);
                image.read(&mut data, at)
            }
            WRITE => {
                data.resize(length as usize, 0);
                socket.read_exact(&mut data)?;
                image.write(&data, at)
            }
            FLUSH => image.flush(),
            TRIM => image.discard(at, length as usize),
            DISCONNECT => break,
            _ => Err(io::ErrorKind::InvalidInput.into()),
        };
        let code = match &result {
            Ok(()) => 0,
            Err(error) => {
                eprintln!("request {kind} of {length} bytes at {at}: {error}");
                match error.kind() {
                    io::ErrorKind::InvalidInput => EINVAL,
                    io::ErrorKind::StorageFull => ENOSPC,
                    _ => EIO,
                }
            }
        };
        let mut reply = Vec::with_capacity(16 + data.len());
        reply.extend_from_slice(&REPLY.to_be_bytes());
        reply.extend_from_slice(&code.to_be_bytes());
        reply.extend_from_slice(&handle);
        if kind == READ && code == 0 {
            reply.extend_from_slice(&data);
        }
        socket.write_all(&reply)?;
    }
    image.flush()
}

/// Sends a message of a generic family and gives the answer behind its headers.
fn ask(socket: &OwnedFd, family: u16, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
    const HEADERS: usize = 16 + 4;
    const ERROR: u16 = 2;
    let length = (HEADERS + attributes.len()) as u32;
    let mut message = Vec::new();
    message.extend_from_slice(&length.to_ne_bytes());
    message.extend_from_slice(&family.to_ne_bytes());
    // It is a request. Sequence number and sender do not matter.
    message.extend_from_slice(&1_u16.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&[command, 1, 0, 0]);
    message.extend_from_slice(attributes);
    rustix::net::send(socket, &message, SendFlags::empty())?;
    let mut answer = vec![0_u8; 8192];
    let (length, _) = rustix::net::recv(socket, answer.as_mut_slice(), RecvFlags::empty())?;
    answer.truncate(length);
    let kind = answer.get(4..6).and_then(|bytes| bytes.try_into().ok());
    if kind.map(u16::from_ne_bytes) == Some(ERROR) {
        let code = answer.get(16..20).and_then(|bytes| bytes.try_into().ok());
        let code = code.map_or(0, i32::from_ne_bytes);
        return Err(io::Error::from_raw_os_error(code.saturating_neg()));
    }
    Ok(answer.get(HEADERS..).unwrap_or_default().to_vec())
}

/// An attribute of an answer.
fn find(mut attributes: &[u8], wanted: u16) -> io::Result<&[u8]> {
    while let Some((&[l0, l1, k0, k1], rest)) = attributes.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([l0, l1])).saturating_sub(4);
        if u16::from_ne_bytes([k0, k1]) == wanted
            && let Some(value) = rest.get(..length)
        {
            return Ok(value);
        }
        attributes = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "the kernel's answer makes no sense",
    ))
}

/// Makes a free network block device that asks at the other end of `kernel`; gives its number.
fn connect(kernel: &UnixStream, size: u64, read_only: bool) -> io::Result<u32> {
    // The family of families, its command, and attributes of its answer.
    const CONTROL: u16 = 16;
    const GET_FAMILY: u8 = 3;
    const FAMILY_ID: u16 = 1;
    const FAMILY_NAME: u16 = 2;
    // The family of these devices, and attributes of its command.
    const CONNECT: u8 = 1;
    const INDEX: u16 = 1;
    const SIZE: u16 = 2;
    const BLOCK_SIZE: u16 = 3;
    const SERVER_FLAGS: u16 = 5;
    const CLIENT_FLAGS: u16 = 6;
    const SOCKETS: u16 = 7;
    const SOCKET: u16 = 1;
    const SOCKET_DESCRIPTOR: u16 = 1;
    const NESTED: u16 = 0x8000;

    let socket = rustix::net::socket(
        AddressFamily::NETLINK,
        SocketType::RAW,
        Some(families::GENERIC),
    )?;
    let mut question = Vec::new();
    attribute(&mut question, FAMILY_NAME, b"nbd\0");
    let answer = ask(&socket, CONTROL, GET_FAMILY, &question).map_err(|error| {
        io::Error::new(error.kind(), format!("the kernel has no nbd ({error})"))
    })?;
    let family = find(&answer, FAMILY_ID)?;
    let family = family.try_into().map_or(0, u16::from_ne_bytes);

    let mut descriptor = Vec::new();
    let number = kernel.as_raw_fd().cast_unsigned();
    attribute(&mut descriptor, SOCKET_DESCRIPTOR, &number.to_ne_bytes());
    let mut sockets = Vec::new();
    attribute(&mut sockets, SOCKET | NESTED, &descriptor);
    let flags = HAS_FLAGS | SEND_FLUSH | if read_only { READ_ONLY } else { SEND_TRIM };
    let mut question = Vec::new();
    for (kind, value) in [
        (SIZE, size),
        (BLOCK_SIZE, 512),
        (SERVER_FLAGS, flags),
        (CLIENT_FLAGS, DISCONNECT_ON_CLOSE),
    ] {
        attribute(&mut question, kind, &value.to_ne_bytes());
    }
    attribute(&mut question, SOCKETS | NESTED, &sockets);
    let answer = ask(&socket, family, CONNECT, &question)?;
    let index = find(&answer, INDEX)?;
    Ok(index.try_into().map_or(0, u32::from_ne_bytes))
}

/// An image that a process of its own serves.
#[derive(Debug)]
pub(super) struct Served {
    path: String,
    /// Held open until the back end has the device.
    _hold: Option<ChildStdin>,
}

impl Served {
    /// Starts to serve an image.
    pub(super) fn start(context: &Context, image: &Path, read_only: bool) -> io::Result<Self> {
        if !Path::new("/sys/module/nbd").exists() {
            super::backend::need_driver(context, "nbd", "nbd");
        }
        let log = File::options().create(true).append(true).open(LOG);
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(ServeDisk::NAME).arg(image);
        if read_only {
            command.arg("-r");
        }
        let mut child = command
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log.map_or_else(|_| Stdio::null(), Stdio::from))
            // Ctrl-c is for the command that started it.
            .process_group(0)
            .spawn()?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let path = line.trim();
        if path.is_empty() {
            let status = child.wait()?;
            return Err(io::Error::other(format!(
                "its server failed ({status}): {LOG}"
            )));
        }
        Ok(Self {
            path: path.to_owned(),
            _hold: child.stdin.take(),
        })
    }

    /// The block device.
    pub(super) fn path(&self) -> &str {
        &self.path
    }
}
