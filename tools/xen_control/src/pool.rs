//! CPU pools.

use xen_abi::control::Bitmap;
use xen_abi::sysctl::scheduler::CpupoolOp;
use xen_abi::sysctl::{
    CPUPOOL_OP_ADDCPU, CPUPOOL_OP_CREATE, CPUPOOL_OP_DESTROY, CPUPOOL_OP_FREEINFO, CPUPOOL_OP_INFO,
    CPUPOOL_OP_MOVEDOMAIN, CPUPOOL_OP_RMCPU, CPUPOOL_PAR_ANY,
};
use xen_abi::{DomId, Errno, sysctl};
use zerocopy::FromZeros;

use crate::call::{About, Control};
use crate::error::ControlError;
use crate::scheduler::Scheduler;

/// Bytes of a bitmap of CPUs: for more CPUs than there are.
const CPU_BYTES: usize = 512;

/// A CPU pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuPool {
    /// Its number.
    pub id: u32,
    /// Its scheduler.
    pub scheduler: Scheduler,
    /// Domains in it.
    pub domains: u32,
    /// Its CPUs, a bitmap, the first lowest.
    pub cpus: Vec<u8>,
}

impl CpuPool {
    /// Its CPUs' numbers.
    pub fn cpu_numbers(&self) -> Vec<u32> {
        (0..self.cpus.len() as u32 * 8)
            .filter(|&cpu| {
                let byte = self.cpus.get(cpu as usize / 8);
                byte.is_some_and(|byte| byte >> (cpu % 8) & 1 != 0)
            })
            .collect()
    }
}

impl Control {
    fn pool_operation(
        &self,
        operation: &'static str,
        argument: CpupoolOp,
    ) -> Result<CpupoolOp, ControlError> {
        let about = About::machine(operation);
        let done = self.sysctl(about, sysctl::CPUPOOL_OP, argument)?;
        Ok(done.cpupool_op())
    }

    /// The pool of the lowest number from `first` on.
    pub fn next_cpu_pool(&self, first: u32) -> Result<Option<CpuPool>, ControlError> {
        let operation = "read a CPU pool's state";
        let cpus = self.zeroed::<u8>(About::machine(operation), CPU_BYTES)?;
        let argument = CpupoolOp {
            op: CPUPOOL_OP_INFO,
            cpupool_id: first,
            cpumap: Bitmap {
                bitmap: cpus.handle(),
                nr_bits: CPU_BYTES as u32 * 8,
                _hole0: [0; 4],
            },
            ..CpupoolOp::new_zeroed()
        };
        match self.pool_operation(operation, argument) {
            Ok(done) => Ok(Some(CpuPool {
                id: done.cpupool_id,
                scheduler: Scheduler(done.sched_id),
                domains: done.n_dom,
                cpus: cpus.to_vec(CPU_BYTES),
            })),
            Err(error) if error.errno == Errno::ENOENT => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// All pools, by ascending numbers.
    pub fn cpu_pools(&self) -> Result<Vec<CpuPool>, ControlError> {
        let mut pools: Vec<CpuPool> = Vec::new();
        let mut first = 0;
        while let Some(pool) = self.next_cpu_pool(first)? {
            // One that is not higher would be found for ever.
            if pool.id < first {
                break;
            }
            first = pool.id.saturating_add(1);
            pools.push(pool);
        }
        Ok(pools)
    }

    /// CPUs that are in no pool, as a bitmap.
    pub fn free_cpus(&self) -> Result<Vec<u8>, ControlError> {
        let operation = "read which CPUs are free";
        let cpus = self.zeroed::<u8>(About::machine(operation), CPU_BYTES)?;
        let argument = CpupoolOp {
            op: CPUPOOL_OP_FREEINFO,
            cpumap: Bitmap {
                bitmap: cpus.handle(),
                nr_bits: CPU_BYTES as u32 * 8,
                _hole0: [0; 4],
            },
            ..CpupoolOp::new_zeroed()
        };
        self.pool_operation(operation, argument)?;
        Ok(cpus.to_vec(CPU_BYTES))
    }

    /// Makes a pool without CPUs; gives its number.
    pub fn create_cpu_pool(&self, scheduler: Scheduler) -> Result<u32, ControlError> {
        let argument = CpupoolOp {
            op: CPUPOOL_OP_CREATE,
            cpupool_id: CPUPOOL_PAR_ANY,
            sched_id: scheduler.0,
            ..CpupoolOp::new_zeroed()
        };
        let done = self.pool_operation("make a CPU pool", argument)?;
        Ok(done.cpupool_id)
    }

    /// Removes a pool that has neither domains nor CPUs.
    pub fn destroy_cpu_pool(&self, pool: u32) -> Result<(), ControlError> {
        let argument = CpupoolOp {
            op: CPUPOOL_OP_DESTROY,
            cpupool_id: pool,
            ..CpupoolOp::new_zeroed()
        };
        self.pool_operation("remove the CPU pool", argument)
            .map(drop)
    }

    /// Puts a free CPU into a pool.
    pub fn add_cpu_to_pool(&self, pool: u32, cpu: u32) -> Result<(), ControlError> {
        let argument = CpupoolOp {
            op: CPUPOOL_OP_ADDCPU,
            cpupool_id: pool,
            cpu,
            ..CpupoolOp::new_zeroed()
        };
        self.pool_operation("add a CPU to the CPU pool", argument)
            .map(drop)
    }

    /// Takes a CPU out of a pool.
    pub fn remove_cpu_from_pool(&self, pool: u32, cpu: u32) -> Result<(), ControlError> {
        let argument = CpupoolOp {
            op: CPUPOOL_OP_RMCPU,
            cpupool_id: pool,
            cpu,
            ..CpupoolOp::new_zeroed()
        };
        self.pool_operation("remove a CPU from the CPU pool", argument)
            .map(drop)
    }

    /// Moves a domain into a pool.
    pub fn move_domain_to_pool(&self, pool: u32, domain: DomId) -> Result<(), ControlError> {
        let argument = CpupoolOp {
            op: CPUPOOL_OP_MOVEDOMAIN,
            cpupool_id: pool,
            domid: u32::from(domain),
            ..CpupoolOp::new_zeroed()
        };
        self.pool_operation("move a domain into the CPU pool", argument)
            .map(drop)
    }
}
