//! Why a domain could not be built.

use std::fmt;
use std::io;
use std::path::PathBuf;

use kernel_image::ImageError;
use pv_layout::{CommandLineTooLong, LayoutError};
use xen_control::ControlError;

/// Why a domain could not be built.
#[derive(Debug)]
pub enum BuildError {
    /// A file could not be read.
    File {
        /// What it is for.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The kernel's file is not one that can be run.
    Kernel {
        /// The file.
        path: PathBuf,
        /// Why.
        error: ImageError,
    },
    /// It does not fit.
    Layout(LayoutError),
    /// The kernel's command line does not fit.
    CommandLine(CommandLineTooLong),
    /// The hypervisor refused something.
    Control(ControlError),
    /// There is less memory than the domain is to have.
    Memory {
        /// Pages that it got.
        got: u64,
        /// Pages that it was to get.
        wanted: u64,
    },
    /// The plan and the domain do not fit together: a mistake in this program.
    Inconsistent(&'static str),
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { what, path, error } => {
                write!(f, "cannot read the {what} {}: {error}", path.display())
            }
            Self::Kernel { path, error } => {
                write!(f, "the kernel {} cannot be used: {error}", path.display())
            }
            Self::Layout(error) => write!(f, "the domain cannot be laid out: {error}"),
            Self::CommandLine(error) => write!(f, "{error}"),
            Self::Control(error) => write!(f, "{error}"),
            Self::Memory { got, wanted } => write!(
                f,
                "there is not enough free memory: the domain got {} of {} KiB",
                got * 4,
                wanted * 4
            ),
            Self::Inconsistent(what) => write!(f, "the plan has no place for {what}"),
        }
    }
}

impl std::error::Error for BuildError {}

impl From<ControlError> for BuildError {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl From<LayoutError> for BuildError {
    fn from(error: LayoutError) -> Self {
        Self::Layout(error)
    }
}

impl From<CommandLineTooLong> for BuildError {
    fn from(error: CommandLineTooLong) -> Self {
        Self::CommandLine(error)
    }
}
