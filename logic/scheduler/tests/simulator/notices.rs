//! How CPUs hear of what others did.

use scheduler::{CpuMask, NEVER, Notice};

use super::Machine;
use super::machine::Event;

impl Machine {
    pub(super) fn kick(&mut self, cpu: Option<usize>) {
        if let Some(cpu) = cpu {
            let when = self.now + self.random.below(self.settings.interrupt + 1);
            self.at(when, Event::Pick(cpu, None));
        }
    }

    /// Tells a CPU what an operation answered.
    pub(super) fn heed(&mut self, notice: Option<Notice>) {
        match notice {
            Some(Notice::Pick(cpu)) => self.kick(Some(cpu)),
            Some(Notice::Sooner(cpu)) => {
                let told = self.now + self.random.below(self.settings.interrupt + 1);
                self.arm_turn(cpu, told);
            }
            None => {}
        }
    }

    /// Sets a CPU's timer for the end of its turn, at `now`.
    pub(super) fn arm_turn(&mut self, cpu: usize, now: u64) {
        let end = self.turn_ends[cpu].get();
        if end != NEVER {
            let picks = self.cpus[cpu].picks;
            self.at(end.max(now), Event::Pick(cpu, Some(picks)));
        }
    }

    /// Tells CPUs to pick.
    pub fn kick_all(&mut self, cpus: CpuMask) {
        self.changes += 1;
        for cpu in cpus.iter() {
            self.kick(Some(cpu));
        }
    }
}
