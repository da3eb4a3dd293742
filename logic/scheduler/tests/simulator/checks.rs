//! What the machine counted, and what it checks.

use scheduler::{CpuMask, State};

use super::Machine;

impl Machine {
    /// Nanoseconds that a vCPU has run, as the machine counts them.
    pub fn ran(&self, id: usize) -> u64 {
        self.vcpus[id].ran
    }

    /// Longest time that it was awake without running.
    pub fn longest_wait(&self, id: usize) -> u64 {
        self.vcpus[id].longest_wait
    }

    /// Times that a vCPU came to another CPU, all vCPUs together.
    pub fn migrations(&self) -> u64 {
        self.vcpus.iter().map(|vcpu| vcpu.migrations).sum()
    }

    /// Times that a CPU went from one vCPU to another.
    pub fn switches(&self) -> u64 {
        self.vcpus.iter().map(|vcpu| vcpu.switches).sum()
    }

    /// Nanoseconds that a CPU spent on vCPUs, or on switching between them.
    pub fn busy(&self, cpu: usize) -> u64 {
        self.cpus[cpu].busy
    }

    pub fn vcpu_count(&self) -> usize {
        self.vcpus.len()
    }

    /// Checks that the scheduler's accounts agree with the machine's: a vCPU was charged for what it ran, and for
    /// the switches to it.
    pub fn check_accounts(&self) {
        let mut charged = 0;
        for vcpu in &self.vcpus {
            if self.scheduler.info(&vcpu.handle.0.unit).is_none() {
                continue;
            }
            let time = self.scheduler.run_time(&vcpu.handle.0.unit, self.now);
            let most =
                vcpu.ran + (vcpu.switches + 1) * (self.settings.switch + self.settings.interrupt);
            // What it ran after it was stopped from outside, until its CPU heard of it, is not charged.
            let least = vcpu
                .ran
                .saturating_sub(self.changes * (self.settings.interrupt + 1));
            assert!(
                time >= least && time <= most || self.settings.stall_every != 0,
                "vCPU {} ran {} ns (at most {most} with switches) and was charged {time}",
                vcpu.handle.0.id,
                vcpu.ran
            );
            charged += time;
        }
        assert!(
            charged <= self.now * self.cpus.len() as u64,
            "more time than there is"
        );
    }

    /// Checks that every vCPU that was not removed is in a queue, once, and in the state that it should be in.
    pub fn check_nothing_lost(&self, expected: usize) {
        let mut found = 0;
        let mut sum = 0;
        self.scheduler.for_each(
            |queue| sum += queue.units,
            |_, handle, info| {
                found += 1;
                let vcpu = &self.vcpus[handle.0.id];
                assert_eq!(
                    vcpu.awake,
                    info.state != State::Asleep,
                    "vCPU {} is {:?}",
                    handle.0.id,
                    info.state
                );
            },
        );
        assert_eq!(found, expected, "vCPUs in queues");
        assert_eq!(sum, expected, "vCPUs counted by queues");
    }

    fn allowed(&self, id: usize) -> CpuMask {
        let vcpu = &self.vcpus[id];
        let pool = self.pools.get(vcpu.pool).unwrap().cpus;
        if let Some(pin) = vcpu.pin.filter(|pin| pool.contains(*pin)) {
            return CpuMask::only(pin);
        }
        let allowed = vcpu.affinity.hard.and(pool);
        if allowed.is_empty() { pool } else { allowed }
    }

    /// Whether a CPU does what it will do for the time being: no request to pick is on its way.
    fn is_settled(&self, cpu: usize) -> bool {
        !self.cpus[cpu].switching && self.cpus[cpu].stalled_until <= self.now
    }

    /// Looks for CPUs that idle while something waits that they could run, and that no CPU still has.
    pub(super) fn watch(&mut self) {
        if !self.watch_work {
            return;
        }
        let idle: Vec<usize> = (0..self.cpus.len())
            .filter(|cpu| self.cpus[*cpu].running.is_none() && self.is_settled(*cpu))
            .collect();
        let mut can = CpuMask::EMPTY;
        if !idle.is_empty() {
            for id in 0..self.vcpus.len() {
                let vcpu = &self.vcpus[id];
                let unit = &vcpu.handle.0.unit;
                if vcpu.awake
                    && self
                        .scheduler
                        .info(unit)
                        .is_some_and(|info| info.state == State::Ready)
                {
                    let allowed = self.allowed(id);
                    for cpu in &idle {
                        if allowed.contains(*cpu)
                            && unit
                                .loaded_on()
                                .is_none_or(|on| on == *cpu || self.is_settled(on))
                        {
                            can.insert(*cpu);
                        }
                    }
                }
            }
        }
        for cpu in 0..self.cpus.len() {
            if can.contains(cpu) {
                let since = *self.wasting[cpu].get_or_insert(self.now);
                self.note_waste(since);
            } else if let Some(since) = self.wasting[cpu].take() {
                self.note_waste(since);
            }
        }
    }

    fn note_waste(&mut self, since: u64) {
        if self.now - since > self.longest_waste {
            self.longest_waste = self.now - since;
            self.longest_waste_at = self.now;
        }
    }

    /// Checks that everything runs where it may; after a change, time has to be given for interrupts to arrive.
    pub fn check_places(&self) {
        for (cpu, state) in self.cpus.iter().enumerate() {
            if let Some((id, _)) = state.running {
                assert!(
                    self.allowed(id).contains(cpu) || state.stalled_until > self.now,
                    "vCPU {id} runs on CPU {cpu}"
                );
            }
        }
    }
}
