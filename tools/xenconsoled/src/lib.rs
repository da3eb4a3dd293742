//! The consoles of domains: the daemon `xenconsoled`, and `xenconsole`, which attaches to one.
//!
//! Pure, and tested as such: [`ring`], [`escape`], [`backlog`], [`rate`], [`rotation`], [`stamp`], and the format of
//! [`kept`]. Around them: [`console`] is one domain's, [`daemon`] has them all, [`store`] knows which there are.
//!
//! Nothing that a guest writes, a viewer does, or the store says ends the daemon; nor does a full disk, or having no
//! descriptors left: a line on standard error says so, and the rest goes on.
#![forbid(unsafe_code)]

pub mod backlog;
pub mod console;
pub mod daemon;
pub mod escape;
pub mod fuzzing;
pub mod hypervisor_log;
pub mod kept;
pub mod log;
pub mod poll;
pub mod pty;
pub mod rate;
pub mod ring;
pub mod rotation;
pub mod stamp;
pub mod store;

/// Where the daemon's sockets and backlogs are, unless it is told otherwise.
pub const RUN_DIRECTORY: &str = "/run/xen/xenconsoled";
