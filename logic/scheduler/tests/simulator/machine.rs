//! The machine: CPUs, vCPUs, and the queue of what happens next.

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::sync::Arc;

use scheduler::{
    Affinity, DEFAULT_POOL, Kind, Next, Notice, PoolError, Pools, Scheduler, Share, TurnEnd, Unit,
};

use super::{Handle, Random, SimulatedLock, Vcpu};

/// What a vCPU does when it has a CPU.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Behaviour {
    /// Runs for ever.
    Hog,
    /// Runs for about `run` nanoseconds, then sleeps for about `sleep`.
    Interactive { run: u64, sleep: u64 },
    /// Runs for ever, and yields about every `every` nanoseconds.
    Yields { every: u64 },
    /// Never wakes.
    Off,
}

/// Times of the machine, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub cpus: usize,
    pub kind: Kind,
    /// CPUs that share a core, and so a run queue.
    pub threads: usize,
    /// An interrupt from CPU to CPU takes up to this.
    pub interrupt: u64,
    /// Saving one vCPU and loading another.
    pub switch: u64,
    /// Percent of tries to lock a second queue that fail.
    pub lock_failures: u64,
    /// About this often, each CPU stops for about `stall`, as a CPU of a virtual machine does. 0 for never.
    pub stall_every: u64,
    pub stall: u64,
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cpus: 1,
            kind: Kind::Credit2,
            threads: 1,
            interrupt: 3_000,
            switch: 2_000,
            lock_failures: 0,
            stall_every: 0,
            stall: 0,
            seed: 1,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Event {
    /// The CPU is to pick; if a number is there, only if nothing was picked since.
    Pick(usize, Option<u64>),
    /// The CPU has saved the vCPU that it had, and runs the other from now on.
    Switched(usize, usize),
    /// The vCPU has run for as long as it wants, if it was not interrupted since.
    BurstEnd(usize, u64),
    Wake(usize),
    Stall(usize),
}

pub(super) struct Cpu {
    pub(super) loaded: Option<usize>,
    /// What runs, since when. Nothing while switching.
    pub(super) running: Option<(usize, u64)>,
    /// Saving this one, to run what is loaded.
    pub(super) switching: bool,
    /// A pick was asked for while that was not possible.
    pub(super) pick_pending: bool,
    pub(super) picks: u64,
    pub(super) stalled_until: u64,
    /// Nanoseconds idle, switching and running.
    pub(super) busy: u64,
}

pub(super) struct SimulatedVcpu {
    pub(super) handle: Handle,
    pub(super) behaviour: Behaviour,
    pub(super) awake: bool,
    /// What is left of the burst; `u64::MAX` for ever.
    pub(super) burst: u64,
    pub(super) ran: u64,
    /// CPUs where it may run, as the test set it.
    pub(super) affinity: Affinity,
    pub(super) pin: Option<usize>,
    pub(super) pool: u32,
    /// Longest that it was awake and did not run.
    pub(super) longest_wait: u64,
    pub(super) waits_since: u64,
    pub(super) switches: u64,
    pub(super) last_cpu: Option<usize>,
    pub(super) migrations: u64,
}

/// CPUs, vCPUs, and the scheduler between them.
pub struct Machine {
    pub scheduler: Scheduler<Handle, SimulatedLock>,
    pub(super) turn_ends: &'static [TurnEnd],
    pub pools: Pools,
    pub now: u64,
    pub(super) settings: Settings,
    pub(super) cpus: Vec<Cpu>,
    pub(super) vcpus: Vec<SimulatedVcpu>,
    events: BinaryHeap<Reverse<(u64, u64, Event)>>,
    pub(super) sequence: u64,
    pub(super) random: Random,
    /// For each CPU, since when it idles while something waits that it could run.
    pub(super) wasting: Vec<Option<u64>>,
    /// Times that something was changed from outside.
    pub(super) changes: u64,
    /// The longest of these times.
    pub longest_waste: u64,
    pub longest_waste_at: u64,
    pub(super) watch_work: bool,
}

impl Machine {
    /// All CPUs in the default pool.
    pub fn new(settings: Settings) -> Self {
        let held = Rc::new(Cell::new(0));
        let seeds = Cell::new(settings.seed);
        let make_lock = |queue| {
            seeds.set(seeds.get() + 1);
            SimulatedLock::new(queue, held.clone(), settings.lock_failures, seeds.get())
        };
        let turn_ends: &'static [TurnEnd] =
            Vec::leak((0..settings.cpus).map(|_| TurnEnd::new()).collect());
        let scheduler = Scheduler::new(settings.cpus, make_lock, |cpu| &turn_ends[cpu]).unwrap();
        let mut machine = Self {
            scheduler,
            turn_ends,
            pools: Pools::new(settings.kind).unwrap(),
            now: 0,
            cpus: Vec::new(),
            vcpus: Vec::new(),
            events: BinaryHeap::new(),
            sequence: 0,
            random: Random::new(settings.seed),
            wasting: vec![None; settings.cpus],
            changes: 0,
            longest_waste: 0,
            longest_waste_at: 0,
            watch_work: settings.kind == Kind::Credit2,
            settings,
        };
        for cpu in 0..settings.cpus {
            machine.cpus.push(Cpu {
                loaded: None,
                running: None,
                switching: false,
                pick_pending: false,
                picks: 0,
                stalled_until: 0,
                busy: 0,
            });
            machine.add_cpu(DEFAULT_POOL, cpu);
            if settings.stall_every != 0 {
                let first = machine.random.about(settings.stall_every);
                machine.at(first, Event::Stall(cpu));
            }
        }
        machine
    }

    /// A CPU joins a pool.
    pub fn add_cpu(&mut self, pool: u32, cpu: usize) {
        let core = cpu - cpu % self.settings.threads;
        let kicks = self
            .pools
            .add_cpu(&self.scheduler, pool, cpu, core, self.now)
            .unwrap();
        self.kick_all(kicks);
    }

    /// A CPU leaves its pool.
    pub fn remove_cpu(&mut self, pool: u32, cpu: usize) {
        self.try_remove_cpu(pool, cpu).unwrap();
    }

    /// A CPU leaves its pool, if it may.
    pub fn try_remove_cpu(&mut self, pool: u32, cpu: usize) -> Result<(), PoolError> {
        let kicks = self
            .pools
            .remove_cpu(&self.scheduler, pool, cpu, self.now)?;
        self.kick_all(kicks);
        self.watch();
        Ok(())
    }

    /// A new vCPU, awake after its first sleep, or at once if it is a hog. Returns its number.
    pub fn add_vcpu(
        &mut self,
        domain: u32,
        share: &Arc<Share>,
        behaviour: Behaviour,
        affinity: Affinity,
    ) -> usize {
        let id = self.vcpus.len();
        let number = self
            .vcpus
            .iter()
            .filter(|vcpu| vcpu.handle.0.domain == domain)
            .count() as u32;
        let handle = Handle(Arc::new(Vcpu {
            unit: Unit::new(),
            share: share.clone(),
            domain,
            id,
            number,
        }));
        let pool = self.pools.get(DEFAULT_POOL).unwrap().cpus;
        self.scheduler
            .insert(handle.clone(), affinity, pool)
            .unwrap();
        self.vcpus.push(SimulatedVcpu {
            handle,
            behaviour,
            awake: false,
            burst: 0,
            ran: 0,
            affinity,
            pin: None,
            pool: DEFAULT_POOL,
            longest_wait: 0,
            waits_since: 0,
            switches: 0,
            last_cpu: None,
            migrations: 0,
        });
        match behaviour {
            Behaviour::Hog | Behaviour::Yields { .. } => self.at(self.now, Event::Wake(id)),
            Behaviour::Interactive { sleep, .. } => {
                let first = self.now + self.random.below(sleep);
                self.at(first, Event::Wake(id));
            }
            Behaviour::Off => {}
        }
        id
    }

    /// Changes what a vCPU does, from its next burst on; a hog that becomes interactive ends its burst now.
    pub fn set_behaviour(&mut self, id: usize, behaviour: Behaviour) {
        self.vcpus[id].behaviour = behaviour;
        self.vcpus[id].burst = 0;
        if behaviour == Behaviour::Off {
            self.sleep(id);
        } else if self.vcpus[id].awake {
            self.new_burst(id);
            if let Some(cpu) = self.running_on(id) {
                self.settle(cpu);
                self.arm_burst(cpu);
            }
        } else {
            self.at(self.now, Event::Wake(id));
        }
        self.watch();
    }

    /// Puts a vCPU to sleep from outside.
    fn sleep(&mut self, id: usize) {
        if let Some(cpu) = self.running_on(id) {
            self.settle(cpu);
        }
        self.vcpus[id].awake = false;
        self.changes += 1;
        let handle = self.vcpus[id].handle.clone();
        let notice = self.scheduler.update(&handle.0.unit, self.now, || false);
        self.heed(notice);
    }

    /// Removes a vCPU for good.
    pub fn remove_vcpu(&mut self, id: usize) {
        if let Some(cpu) = self.running_on(id) {
            self.settle(cpu);
        }
        let handle = self.vcpus[id].handle.clone();
        let (payload, kick) = self.scheduler.remove(&handle.0.unit, self.now).unwrap();
        assert_eq!(payload.0.id, id);
        self.vcpus[id].awake = false;
        self.vcpus[id].behaviour = Behaviour::Off;
        self.kick(kick);
        self.watch();
    }

    pub fn set_weight(&mut self, domain: u32, weight: u32) {
        let handles: Vec<Handle> = self
            .vcpus
            .iter()
            .filter(|vcpu| vcpu.handle.0.domain == domain)
            .map(|vcpu| vcpu.handle.clone())
            .collect();
        if let Some(share) = handles.first().map(|handle| handle.0.share.clone()) {
            let units = handles.iter().map(|handle| &handle.0.unit);
            self.scheduler.set_weight(&share, units, weight, self.now);
        }
    }

    pub fn set_affinity(&mut self, id: usize, affinity: Affinity) {
        let handle = self.vcpus[id].handle.clone();
        let kicks = self
            .scheduler
            .set_affinity(&handle.0.unit, affinity, self.now)
            .unwrap();
        self.vcpus[id].affinity = affinity;
        self.kick_all(kicks);
        self.watch();
    }

    pub fn set_pin(&mut self, id: usize, pin: Option<usize>) {
        let handle = self.vcpus[id].handle.clone();
        let kicks = self
            .scheduler
            .set_pin(&handle.0.unit, pin, self.now)
            .unwrap();
        self.vcpus[id].pin = pin;
        self.kick_all(kicks);
        self.watch();
    }

    /// Moves all vCPUs of a domain to another pool.
    pub fn move_domain(&mut self, domain: u32, from: u32, to: u32) {
        let mut handles = Vec::new();
        for vcpu in &mut self.vcpus {
            if vcpu.handle.0.domain == domain && self.scheduler.info(&vcpu.handle.0.unit).is_some()
            {
                vcpu.pool = to;
                handles.push(vcpu.handle.clone());
            }
        }
        let kicks = self
            .pools
            .move_domain(
                &self.scheduler,
                from,
                to,
                handles.iter().map(|handle| &handle.0.unit),
                self.now,
            )
            .unwrap();
        self.kick_all(kicks);
        self.watch();
    }

    /// Runs until `time`.
    pub fn run_until(&mut self, time: u64) {
        while let Some(Reverse((when, _, _))) = self.events.peek() {
            if *when > time {
                break;
            }
            let Some(Reverse((when, _, event))) = self.events.pop() else {
                break;
            };
            self.now = self.now.max(when);
            self.handle(event);
            self.watch();
        }
        self.now = time;
        for cpu in 0..self.cpus.len() {
            self.settle(cpu);
        }
        for vcpu in &mut self.vcpus {
            if vcpu.awake {
                let waited = time.saturating_sub(vcpu.waits_since);
                vcpu.longest_wait = vcpu.longest_wait.max(waited);
            }
        }
        self.watch();
    }

    pub(super) fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((time, self.sequence, event)));
    }

    fn running_on(&self, id: usize) -> Option<usize> {
        self.cpus
            .iter()
            .position(|cpu| cpu.running.is_some_and(|(vcpu, _)| vcpu == id))
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Pick(cpu, picks) => {
                if picks.is_some_and(|picks| picks != self.cpus[cpu].picks) {
                    return;
                }
                if self.cpus[cpu].stalled_until > self.now {
                    let end = self.cpus[cpu].stalled_until;
                    self.at(end, event);
                } else if self.cpus[cpu].switching {
                    self.cpus[cpu].pick_pending = true;
                } else {
                    self.pick(cpu);
                }
            }
            Event::Switched(cpu, old) => self.switched(cpu, (old != usize::MAX).then_some(old)),
            Event::BurstEnd(cpu, picks) => {
                if picks == self.cpus[cpu].picks {
                    self.burst_end(cpu);
                }
            }
            Event::Wake(id) => self.wake(id),
            Event::Stall(cpu) => {
                let end = self.now + self.random.about(self.settings.stall);
                self.cpus[cpu].stalled_until = end;
                let next = end + self.random.about(self.settings.stall_every);
                self.at(next, Event::Stall(cpu));
            }
        }
    }

    fn wake(&mut self, id: usize) {
        let vcpu = &mut self.vcpus[id];
        if vcpu.awake || vcpu.behaviour == Behaviour::Off {
            return;
        }
        vcpu.awake = true;
        vcpu.waits_since = self.now;
        self.new_burst(id);
        let handle = self.vcpus[id].handle.clone();
        let notice = self.scheduler.update(&handle.0.unit, self.now, || true);
        self.heed(notice);
    }

    fn new_burst(&mut self, id: usize) {
        if self.vcpus[id].burst == 0 {
            self.vcpus[id].burst = match self.vcpus[id].behaviour {
                Behaviour::Interactive { run, .. } => self.random.about(run).max(1),
                Behaviour::Yields { every } => self.random.about(every).max(1),
                Behaviour::Hog | Behaviour::Off => u64::MAX,
            };
        }
    }

    /// Counts what the CPU's vCPU ran up to now.
    fn settle(&mut self, cpu: usize) {
        if let Some((id, since)) = self.cpus[cpu].running {
            let ran = self.now - since;
            self.cpus[cpu].running = Some((id, self.now));
            self.cpus[cpu].busy += ran;
            let vcpu = &mut self.vcpus[id];
            vcpu.ran += ran;
            if ran > 0 {
                vcpu.waits_since = self.now;
            }
            if vcpu.burst != u64::MAX {
                vcpu.burst = vcpu.burst.saturating_sub(ran);
            }
        }
    }

    fn arm_burst(&mut self, cpu: usize) {
        if let Some((id, since)) = self.cpus[cpu].running
            && self.vcpus[id].burst != u64::MAX
        {
            let end = since + self.vcpus[id].burst;
            let picks = self.cpus[cpu].picks;
            self.at(end, Event::BurstEnd(cpu, picks));
        }
    }

    fn burst_end(&mut self, cpu: usize) {
        self.settle(cpu);
        let Some((id, _)) = self.cpus[cpu].running else {
            return;
        };
        if self.vcpus[id].burst != 0 {
            return self.arm_burst(cpu);
        }
        let handle = self.vcpus[id].handle.clone();
        match self.vcpus[id].behaviour {
            Behaviour::Interactive { sleep, .. } => {
                self.vcpus[id].awake = false;
                let ran_on = self.scheduler.update(&handle.0.unit, self.now, || false);
                assert!(ran_on.is_none_or(|notice| notice == Notice::Pick(cpu)));
                let wake = self.now + self.random.about(sleep).max(1);
                self.at(wake, Event::Wake(id));
            }
            Behaviour::Yields { .. } => {
                self.new_burst(id);
                self.scheduler.yield_now(&handle.0.unit);
            }
            Behaviour::Hog | Behaviour::Off => {}
        }
        // The vCPU called: its CPU picks at once, stalled or not, for it is running code.
        self.pick(cpu);
    }

    fn pick(&mut self, cpu: usize) {
        self.settle(cpu);
        self.cpus[cpu].picks += 1;
        let loaded = self.cpus[cpu].loaded;
        let handle = loaded.map(|id| self.vcpus[id].handle.clone());
        let unit = handle.as_ref().map(|handle| &handle.0.unit);
        let pick = self.scheduler.pick(cpu, unit, self.now);
        for other in pick.kick.iter() {
            self.kick(Some(other));
        }
        self.arm_turn(cpu, self.now);
        match pick.next {
            Next::Stay => {
                let id = loaded.expect("stays with what it has loaded");
                self.start(cpu, id);
            }
            Next::Idle => self.cpus[cpu].running = None,
            Next::Unload => {
                let old = loaded.expect("unloads what it has loaded");
                self.begin_switch(cpu, None, Some(old));
            }
            Next::Switch(next) => self.begin_switch(cpu, Some(next.0.id), loaded),
        }
    }

    fn begin_switch(&mut self, cpu: usize, next: Option<usize>, old: Option<usize>) {
        self.cpus[cpu].running = None;
        self.cpus[cpu].switching = true;
        self.cpus[cpu].loaded = next;
        let done = self.now + self.settings.switch;
        self.at(done, Event::Switched(cpu, old.unwrap_or(usize::MAX)));
    }

    fn switched(&mut self, cpu: usize, old: Option<usize>) {
        self.cpus[cpu].switching = false;
        if let Some(old) = old {
            let handle = self.vcpus[old].handle.clone();
            let kick = self.scheduler.release(&handle.0.unit, || self.now);
            self.kick(kick);
        }
        if let Some(id) = self.cpus[cpu].loaded {
            self.vcpus[id].switches += 1;
            if self.vcpus[id]
                .last_cpu
                .replace(cpu)
                .is_some_and(|last| last != cpu)
            {
                self.vcpus[id].migrations += 1;
            }
            // It may have been put to sleep or removed meanwhile: then a pick is on its way.
            self.start(cpu, id);
        }
        if core::mem::take(&mut self.cpus[cpu].pick_pending) {
            self.pick(cpu);
        }
    }

    fn start(&mut self, cpu: usize, id: usize) {
        for (other, state) in self.cpus.iter().enumerate() {
            assert!(
                other == cpu || state.loaded != Some(id),
                "vCPU {id} is loaded on CPUs {other} and {cpu}"
            );
        }
        if !self.vcpus[id].awake {
            self.cpus[cpu].running = None;
            return;
        }
        if self.cpus[cpu].running.is_none_or(|(vcpu, _)| vcpu != id) {
            let vcpu = &mut self.vcpus[id];
            let waited = self.now - vcpu.waits_since;
            vcpu.longest_wait = vcpu.longest_wait.max(waited);
            self.cpus[cpu].running = Some((id, self.now));
        }
        self.arm_burst(cpu);
    }
}
