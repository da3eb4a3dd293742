//! What a handler works with: the physical CPU, the vCPU that it runs, and the guest's registers.

use alloc::sync::Arc;

use platform_cpu::GuestFrame;

use crate::cpu::Cpu;
use crate::domain::Domain;
use crate::vcpu::{Vcpu, VcpuState};

/// The guest that trapped, on the CPU where it did. Nothing of it outlives the exit.
pub struct Context<'a> {
    /// The physical CPU.
    pub cpu: &'a mut Cpu,
    /// The domain.
    pub domain: &'a Arc<Domain>,
    /// The vCPU.
    pub vcpu: &'a Vcpu,
    /// The vCPU's own state.
    pub state: &'a mut VcpuState,
    /// The guest's registers, as they are when it goes on.
    pub regs: &'a mut GuestFrame,
}
