//! Bringing a CPU into the state that everything else here assumes.

use crate::{control, descriptors, traps};

/// Sets up the boot CPU: interrupt table, descriptors, control registers; makes SMAP's places.
///
/// # Safety
/// Once, by the boot CPU, on a stack in its mapped and zeroed block, while the image's text is writable.
pub unsafe fn init_boot_cpu() {
    descriptors::init_idt();
    descriptors::init_cpu();
    control::init();
    traps::patch_smap();
}

/// Sets up another CPU.
///
/// # Safety
/// Once per CPU, on a stack in its mapped and zeroed block, in the final address space.
pub unsafe fn init_other_cpu() {
    descriptors::init_cpu();
    control::init();
}
