//! The machine and the hypervisor itself.

use xen_abi::physdev::PciDevice;
use xen_abi::sysctl::cpu::{
    CpuInfo, CpuTopology as AbiCpuTopology, CpuTopologyInfo, GetCpuInfo,
    NodeMemory as AbiNodeMemory, NumaInfo, PciTopologyInfo,
};
use xen_abi::sysctl::{DebugKeys, Physinfo, ReadConsole};
use xen_abi::version::{CompileInfo, PlatformParameters};
use xen_abi::{Errno, hypercall, sysctl, version};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

use crate::call::{About, Control};
use crate::error::ControlError;

/// The most CPUs that are asked about.
const MAX_CPUS: usize = 4096;

/// CPUs and memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Machine {
    /// As the interface tells it.
    pub info: Physinfo,
}

impl Machine {
    /// The latest version of grant tables that a domain can have.
    pub fn max_grant_version(&self) -> u32 {
        if self.info.capabilities & sysctl::PHYSCAP_GNTTAB_V2 != 0 {
            2
        } else {
            1
        }
    }
}

/// Where a CPU is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuTopology {
    /// The CPU.
    pub cpu: u32,
    /// Its core.
    pub core: u32,
    /// Its socket.
    pub socket: u32,
    /// Its node.
    pub node: u32,
}

/// A node's memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeMemory {
    /// The node.
    pub node: u32,
    /// All of it.
    pub size: u64,
    /// What is free.
    pub free: u64,
}

/// What the hypervisor says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionInfo {
    /// First number of the version that it speaks.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// What follows them.
    pub extra: String,
    /// The kinds of guests it can run.
    pub capabilities: String,
    /// What it was made from.
    pub changeset: String,
    /// Its own command line.
    pub command_line: String,
    /// The compiler.
    pub compiler: String,
    /// Who compiled it.
    pub compiled_by: String,
    /// Where.
    pub compile_domain: String,
    /// When.
    pub compile_date: String,
    /// First address of its part of address spaces.
    pub virtual_start: u64,
    /// Bytes of a page.
    pub page_size: u64,
    /// The build's identity, if it has one.
    pub build_id: Vec<u8>,
}

/// Bytes up to the first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default())
        .into_owned()
}

impl Control {
    /// CPUs and memory.
    pub fn machine(&self) -> Result<Machine, ControlError> {
        let about = About::machine("read the machine's state");
        let done = self.sysctl(about, sysctl::PHYSINFO, Physinfo::new_zeroed())?;
        let info = done.physinfo();
        Ok(Machine { info })
    }

    /// Where the CPUs are that are on line.
    pub fn cpu_topology(&self) -> Result<Vec<CpuTopology>, ControlError> {
        let about = About::machine("read the CPUs' topology");
        let buffer = self.zeroed::<AbiCpuTopology>(about, MAX_CPUS)?;
        let argument = CpuTopologyInfo {
            num_cpus: MAX_CPUS as u32,
            cputopo: buffer.handle(),
            ..CpuTopologyInfo::new_zeroed()
        };
        let done = self.sysctl(about, sysctl::CPUTOPOINFO, argument)?;
        let count = done.cputopoinfo().num_cpus as usize;
        let all = buffer.to_vec(count).into_iter().zip(0..);
        let online = all.filter(|(place, _)| place.core != sysctl::XEN_INVALID_CORE_ID);
        Ok(online
            .map(|(place, cpu)| CpuTopology {
                cpu,
                core: place.core,
                socket: place.socket,
                node: place.node,
            })
            .collect())
    }

    /// The nodes' memory.
    pub fn nodes(&self) -> Result<Vec<NodeMemory>, ControlError> {
        const MAX_NODES: usize = 64;
        let about = About::machine("read the nodes' memory");
        let memory = self.zeroed::<AbiNodeMemory>(about, MAX_NODES)?;
        let distance = self.zeroed::<u32>(about, MAX_NODES * MAX_NODES)?;
        let argument = NumaInfo {
            num_nodes: MAX_NODES as u32,
            meminfo: memory.handle(),
            distance: distance.handle(),
            ..NumaInfo::new_zeroed()
        };
        let done = self.sysctl(about, sysctl::NUMAINFO, argument)?;
        let count = done.numainfo().num_nodes as usize;
        let all = memory.to_vec(count).into_iter().zip(0..);
        Ok(all
            .map(|(memory, node)| NodeMemory {
                node,
                size: memory.memsize,
                free: memory.memfree,
            })
            .collect())
    }

    /// The node of each of some PCI devices (segment, bus, device and function), where there is such a device.
    pub fn device_nodes(
        &self,
        devices: &[(u16, u8, u8)],
    ) -> Result<Vec<Option<u32>>, ControlError> {
        /// `XEN_INVALID_DEV`, and above it `XEN_INVALID_NODE_ID`.
        const INVALID: u32 = u32::MAX - 1;
        let about = About::machine("read the devices' nodes");
        let asked: Vec<PciDevice> = devices
            .iter()
            .map(|&(seg, bus, devfn)| PciDevice { seg, bus, devfn })
            .collect();
        let asked = self.buffer_of(about, &asked)?;
        let nodes = self.zeroed::<u32>(about, devices.len())?;
        let argument = PciTopologyInfo {
            num_devs: devices.len() as u32,
            devs: asked.handle(),
            nodes: nodes.handle(),
            ..PciTopologyInfo::new_zeroed()
        };
        self.sysctl(about, sysctl::PCITOPOINFO, argument)?;
        let nodes = nodes.to_vec(devices.len());
        Ok(nodes
            .into_iter()
            .map(|node| Some(node).filter(|node| *node < INVALID))
            .collect())
    }

    /// How long each CPU was idle, in ns.
    pub fn idle_times(&self) -> Result<Vec<u64>, ControlError> {
        let about = About::machine("read the CPUs' idle time");
        let buffer = self.zeroed::<CpuInfo>(about, MAX_CPUS)?;
        let argument = GetCpuInfo {
            max_cpus: MAX_CPUS as u32,
            info: buffer.handle(),
            ..GetCpuInfo::new_zeroed()
        };
        let done = self.sysctl(about, sysctl::GETCPUINFO, argument)?;
        let count = done.getcpuinfo().nr_cpus as usize;
        let all = buffer.to_vec(count).into_iter();
        Ok(all.map(|info| info.idletime).collect())
    }

    /// Presses the hypervisor's debug keys.
    pub fn debug_keys(&self, keys: &str) -> Result<(), ControlError> {
        let about = About::machine("press debug keys");
        let buffer = self.buffer_of(about, keys.as_bytes())?;
        let argument = DebugKeys {
            keys: buffer.handle(),
            nr_keys: keys.len() as u32,
            ..DebugKeys::new_zeroed()
        };
        self.sysctl(about, sysctl::DEBUG_KEYS, argument).map(drop)
    }

    /// What the hypervisor said so far; with `clear` it forgets it.
    pub fn console_ring(&self, clear: bool) -> Result<Vec<u8>, ControlError> {
        const PART: usize = 16 << 10;
        let about = About::machine("read the hypervisor's messages");
        let buffer = self.zeroed::<u8>(about, PART)?;
        let mut messages = Vec::new();
        let mut index = 0;
        loop {
            let argument = ReadConsole {
                incremental: 1,
                index,
                buffer: buffer.handle(),
                count: PART as u32,
                ..ReadConsole::new_zeroed()
            };
            let done = self.sysctl(about, sysctl::READCONSOLE, argument)?;
            let done = done.readconsole();
            let count = done.count as usize;
            messages.extend(buffer.to_vec(count));
            index = done.index;
            if count < PART {
                break;
            }
        }
        if clear {
            let argument = ReadConsole {
                clear: 1,
                buffer: buffer.handle(),
                count: PART as u32,
                ..ReadConsole::new_zeroed()
            };
            self.sysctl(about, sysctl::READCONSOLE, argument)?;
        }
        Ok(messages)
    }

    fn version_item<T: FromBytes + IntoBytes + Immutable>(
        &self,
        item: u32,
    ) -> Result<T, ControlError> {
        let about = About::machine("read the hypervisor's version");
        let buffer = self.zeroed::<T>(about, 1)?;
        let arguments = [u64::from(item), buffer.address(), 0, 0, 0];
        self.call(about, hypercall::XEN_VERSION, arguments)?;
        Ok(buffer.get(0))
    }

    /// The identity of the hypervisor's build; none if it has none.
    fn build_id(&self) -> Result<Vec<u8>, ControlError> {
        const MOST: usize = 256;
        let about = About::machine("read the hypervisor's version");
        let mut buffer = self.zeroed::<u8>(about, 4 + MOST)?;
        buffer.set_all(0, &(MOST as u32).to_le_bytes());
        let arguments = [u64::from(version::BUILD_ID), buffer.address(), 0, 0, 0];
        match self.privcmd.hypercall(hypercall::XEN_VERSION, arguments) {
            Ok(length) => {
                let all = buffer.to_vec(4 + MOST);
                let length = usize::try_from(length).unwrap_or(0);
                Ok(all
                    .get(4..4 + length.min(MOST))
                    .unwrap_or_default()
                    .to_vec())
            }
            Err(Errno::ENODATA | Errno::ENOSYS) => Ok(Vec::new()),
            Err(errno) => Err(about.error(errno)),
        }
    }

    /// What the hypervisor says of itself.
    pub fn version(&self) -> Result<VersionInfo, ControlError> {
        let about = About::machine("read the hypervisor's version");
        let item =
            |item: u32| self.call(about, hypercall::XEN_VERSION, [u64::from(item), 0, 0, 0, 0]);
        let number = item(version::VERSION)? as u32;
        let page_size = item(version::PAGESIZE)? as u64;
        let compile: CompileInfo = self.version_item(version::COMPILE_INFO)?;
        let platform: PlatformParameters = self.version_item(version::PLATFORM_PARAMETERS)?;
        Ok(VersionInfo {
            major: number >> 16,
            minor: number & 0xffff,
            extra: text(&self.version_item::<[u8; 16]>(version::EXTRAVERSION)?),
            capabilities: text(&self.version_item::<[u8; 1024]>(version::CAPABILITIES)?),
            changeset: text(&self.version_item::<[u8; 64]>(version::CHANGESET)?),
            command_line: text(&self.version_item::<[u8; 1024]>(version::COMMANDLINE)?),
            compiler: text(&compile.compiler),
            compiled_by: text(&compile.compile_by),
            compile_domain: text(&compile.compile_domain),
            compile_date: text(&compile.compile_date),
            virtual_start: platform.virt_start,
            page_size,
            build_id: self.build_id()?,
        })
    }
}
