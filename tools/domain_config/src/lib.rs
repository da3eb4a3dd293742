//! Domain configuration: the files of `xl.cfg(5)`, with what `xl-disk-configuration(5)` and
//! `xl-network-configuration(5)` say.
//!
//! [`parse`] makes a [`DomainConfig`] from one file and the `key=value` words of a command line. It
//! tells every error with file, line and column, and warns of settings that nothing here knows.
//! [`DomainConfig::to_text`] prints a configuration so that parsing it gives the same again;
//! [`DomainConfig::to_json`] prints it in the form of `xl list -l`.
//!
//! No input or output, no clock, nothing random: what a file leaves out stays out (`None`), and who creates
//! the domain chooses.

#![forbid(unsafe_code)]

mod cpus;
mod disk;
mod domain;
mod error;
mod json;
mod mac;
mod print;
mod read;
mod settings;
mod syntax;
mod uuid;
mod vif;

pub use cpus::{CpuRange, CpuSet, CpuSetError, bitmap_to_text};
pub use disk::{Access, BackendType, Disk, Format, InvalidDisk, VirtualDevice};
pub use domain::{Action, Boot, DomainConfig, Kind, Unsupported};
pub use error::{ConfigError, Place, Warning};
pub use mac::{InvalidMac, Mac};
pub use read::{Parsed, parse};
pub use syntax::{Content, Setting, Source, Value, parse_settings};
pub use uuid::{InvalidUuid, Uuid};
pub use vif::{InvalidVif, Rate, Vif};
