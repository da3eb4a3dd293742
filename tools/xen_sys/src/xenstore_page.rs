//! The page through which domain 0's own kernel speaks with xenstored.

use std::fs;
use std::io;

use rustix::fs::{Mode, OFlags};
use xen_abi::EvtchnPort;

use crate::shared::SharedPages;

const PAGE: &str = "/proc/xen/xsd_kva";
const PORT: &str = "/proc/xen/xsd_port";
const CAPABILITIES: &str = "/proc/xen/capabilities";

fn with_path(path: &str) -> impl Fn(io::Error) -> io::Error {
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}

/// Maps the page. `/proc/xen` has to be mounted (`xenfs`).
///
/// # Errors
///
/// Those of opening and mapping it: `NotFound` outside domain 0.
pub fn xenstored_page() -> io::Result<SharedPages> {
    let flags = OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::open(PAGE, flags, Mode::empty())
        .map_err(|errno| with_path(PAGE)(errno.into()))?;
    SharedPages::map_file(&file, 0, 1, true).map_err(with_path(PAGE))
}

/// The kernel's port that waits for xenstored to bind to it, in domain 0 itself.
///
/// # Errors
///
/// Those of reading the file: `NotFound` outside domain 0.
pub fn xenstored_port() -> io::Result<EvtchnPort> {
    let text = fs::read_to_string(PORT).map_err(with_path(PORT))?;
    text.trim()
        .parse()
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{PORT}: {text:?}")))
}

/// Whether this is the control domain, domain 0.
pub fn is_control_domain() -> bool {
    fs::read_to_string(CAPABILITIES).is_ok_and(|text| text.contains("control_d"))
}
