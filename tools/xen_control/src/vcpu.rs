//! vCPUs: their state at start, where they run, what they use.

use xen_abi::control::Bitmap;
use xen_abi::domctl::vcpu::{GetVcpuInfo, VcpuAffinity, VcpuContext};
use xen_abi::domctl::{XEN_VCPUAFFINITY_FORCE, XEN_VCPUAFFINITY_HARD, XEN_VCPUAFFINITY_SOFT};
use xen_abi::vcpu_context::VcpuGuestContext;
use xen_abi::{DomId, Errno, domctl};
use zerocopy::FromZeros;

use crate::call::{About, Control};
use crate::error::ControlError;

/// Bytes of a bitmap of CPUs: for more CPUs than there are.
const CPU_BYTES: usize = 512;

/// A vCPU's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VcpuInfo {
    /// Its number.
    pub vcpu: u32,
    /// It is up.
    pub is_online: bool,
    /// It waits.
    pub is_blocked: bool,
    /// It runs just now.
    pub is_running: bool,
    /// Time that it ran, in ns.
    pub cpu_time: u64,
    /// The CPU where it ran last.
    pub cpu: u32,
}

/// Where a vCPU may and should run: bitmaps of CPUs, the first lowest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    /// Where it may run.
    pub hard: Vec<u8>,
    /// Where it should run.
    pub soft: Vec<u8>,
}

impl Control {
    /// Sets a vCPU's registers and page tables.
    pub fn set_vcpu_context(
        &self,
        domain: DomId,
        vcpu: u32,
        context: &VcpuGuestContext,
    ) -> Result<(), ControlError> {
        let about = About::domain("set a vCPU's registers", domain);
        let buffer = self.buffer(about, context)?;
        let argument = VcpuContext {
            vcpu,
            ctxt: buffer.handle(),
            ..VcpuContext::new_zeroed()
        };
        self.domctl(about, domctl::SETVCPUCONTEXT, argument)
            .map(drop)
    }

    /// A vCPU's registers and page tables. The domain has to be paused.
    pub fn vcpu_context(&self, domain: DomId, vcpu: u32) -> Result<VcpuGuestContext, ControlError> {
        let about = About::domain("read a vCPU's registers", domain);
        let buffer = self.zeroed::<VcpuGuestContext>(about, 1)?;
        let argument = VcpuContext {
            vcpu,
            ctxt: buffer.handle(),
            ..VcpuContext::new_zeroed()
        };
        self.domctl(about, domctl::GETVCPUCONTEXT, argument)?;
        Ok(buffer.get(0))
    }

    /// A vCPU's state; `None` if there is none of this number.
    pub fn vcpu_info(&self, domain: DomId, vcpu: u32) -> Result<Option<VcpuInfo>, ControlError> {
        let about = About::domain("read a vCPU's state", domain);
        let argument = GetVcpuInfo {
            vcpu,
            ..GetVcpuInfo::new_zeroed()
        };
        match self.domctl(about, domctl::GETVCPUINFO, argument) {
            Ok(done) => {
                let info = done.u.getvcpuinfo();
                Ok(Some(VcpuInfo {
                    vcpu,
                    is_online: info.online != 0,
                    is_blocked: info.blocked != 0,
                    is_running: info.running != 0,
                    cpu_time: info.cpu_time,
                    cpu: info.cpu,
                }))
            }
            Err(error) if matches!(error.errno, Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Where a vCPU may and should run.
    pub fn affinity(&self, domain: DomId, vcpu: u32) -> Result<Affinity, ControlError> {
        let about = About::domain("read where a vCPU may run", domain);
        let hard = self.zeroed::<u8>(about, CPU_BYTES)?;
        let soft = self.zeroed::<u8>(about, CPU_BYTES)?;
        let bitmap = |address| Bitmap {
            bitmap: address,
            nr_bits: CPU_BYTES as u32 * 8,
            _hole0: [0; 4],
        };
        let argument = VcpuAffinity {
            vcpu,
            flags: XEN_VCPUAFFINITY_HARD | XEN_VCPUAFFINITY_SOFT,
            cpumap_hard: bitmap(hard.handle()),
            cpumap_soft: bitmap(soft.handle()),
        };
        self.domctl(about, domctl::GETVCPUAFFINITY, argument)?;
        Ok(Affinity {
            hard: hard.to_vec(CPU_BYTES),
            soft: soft.to_vec(CPU_BYTES),
        })
    }

    /// Sets where a vCPU may run, or should run, or both; with `force` even what a driver pinned for a time.
    pub fn set_affinity(
        &self,
        domain: DomId,
        vcpu: u32,
        hard: Option<&[u8]>,
        soft: Option<&[u8]>,
        force: bool,
    ) -> Result<(), ControlError> {
        let about = About::domain("set where a vCPU may run", domain);
        let mut argument = VcpuAffinity {
            vcpu,
            ..VcpuAffinity::new_zeroed()
        };
        let mut buffers = Vec::new();
        for (flag, map, bits) in [
            (XEN_VCPUAFFINITY_HARD, &mut argument.cpumap_hard, hard),
            (XEN_VCPUAFFINITY_SOFT, &mut argument.cpumap_soft, soft),
        ] {
            if let Some(bits) = bits {
                let buffer = self.buffer_of(about, bits)?;
                map.bitmap = buffer.handle();
                map.nr_bits = bits.len() as u32 * 8;
                argument.flags |= flag;
                buffers.push(buffer);
            }
        }
        if force {
            argument.flags |= XEN_VCPUAFFINITY_FORCE;
        }
        self.domctl(about, domctl::SETVCPUAFFINITY, argument)
            .map(drop)
    }
}
