//! A machine to try the scheduler on: CPUs and vCPUs whose time is simulated, event by event.
//!
//! It drives the same [`Scheduler`] and [`Pools`] as the hypervisor, in the same way: a CPU picks when it is told to,
//! when its time is up and when its vCPU sleeps; it needs time to save a vCPU, and until then the vCPU is nobody
//! else's; interrupts between CPUs take time. And it watches: no vCPU on two CPUs, none where it may not be, no lock waited for
//! while another is held, and for how long a CPU idles while something that it could run waits.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each user of this file uses a part of it"
)]

mod checks;
mod lock;
mod machine;
mod notices;
mod random;

pub use lock::SimulatedLock;
pub use machine::{Behaviour, Machine, Settings};
pub use random::Random;

use std::sync::Arc;

use scheduler::{Payload, Share, Unit};

/// A vCPU of the simulation.
pub struct Vcpu {
    pub unit: Unit,
    pub share: Arc<Share>,
    pub domain: u32,
    /// Its number in the machine.
    pub id: usize,
    /// Its number in its domain.
    pub number: u32,
}

/// By what the scheduler knows it.
#[derive(Clone)]
pub struct Handle(pub Arc<Vcpu>);

impl Payload for Handle {
    fn unit(&self) -> &Unit {
        &self.0.unit
    }

    fn share(&self) -> &Share {
        &self.0.share
    }

    fn name(&self) -> ([u8; 16], u32) {
        (u128::from(self.0.domain).to_le_bytes(), self.0.number)
    }
}
