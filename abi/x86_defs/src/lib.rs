//! What the manuals of CPUs and chipsets define: numbers and layouts, no behaviour.
//!
//! Sources: Intel's Software Developer's Manual (SDM), AMD's Architecture Programmer's Manual (APM), the ACPI
//! specification; each module names its sections.
#![no_std]
#![deny(unsafe_code)]

pub mod acpi;
pub mod apic;
pub mod control;
pub mod cpuid;
pub mod exception;
pub mod msr;
pub mod paging;
pub mod segment;
