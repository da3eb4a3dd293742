//! What tools are told of the machine: memory, CPUs, where they are and what they can do.

use alloc::boxed::Box;

use ::cpu_policy::{CpuidPolicy, Featureset};
use ::hypercall::{Authorized, op};
use platform_cpu::control::cpuid;
use platform_memory::try_box;
use xen_abi::errno::Errno;
use xen_abi::sysctl::cpu::{
    CpuFeatureset, CpuInfo, CpuLevellingCaps, CpuPolicy, CpuTopology, CpuTopologyInfo, GetCpuInfo,
    NodeMemory, NumaInfo, PciTopologyInfo,
};
use xen_abi::sysctl::{self as abi, AvailHeap, Physinfo};
use zerocopy::FromZeros;

use super::write;
use crate::hypercall::domctl::write_policy;
use crate::hypercall::grant_table;
use crate::{domains, emulate, hotplug, irq, mm, schedule, time, topology};

/// Bytes of a page.
const PAGE: u64 = addr::PAGE_SIZE;
/// The only node.
const NODE: u32 = 0;

/// Number of CPUs.
fn cpus() -> u32 {
    irq::highest_cpu() + 1
}

/// Number of CPUs in use.
fn online_cpus() -> u32 {
    (0..cpus())
        .filter(|cpu| hotplug::is_online(*cpu as usize))
        .count() as u32
}

/// Threads of a core and cores of a socket, as the CPU itself says (CPUID leaf 0xb; SDM 3A §9.9).
fn cores() -> (u32, u32) {
    const TOPOLOGY: u32 = 0xb;
    if cpuid(0, 0).eax < TOPOLOGY || cpuid(TOPOLOGY, 0).ebx == 0 {
        return (1, 1);
    }
    let threads = (cpuid(TOPOLOGY, 0).ebx & 0xffff).max(1);
    let in_socket = (cpuid(TOPOLOGY, 1).ebx & 0xffff).max(threads);
    (threads, in_socket / threads)
}

/// `XEN_SYSCTL_physinfo`.
pub(super) fn physinfo(
    _permission: Authorized<op::SysctlPhysinfo>,
    answer: &mut Physinfo,
) -> Result<(), Errno> {
    let (threads_per_core, cores_per_socket) = cores();
    let mut hw_cap = [0; 8];
    for (to, from) in hw_cap.iter_mut().zip(emulate::host().features().0) {
        *to = from;
    }
    let grant_versions = match grant_table::Limits::most().version {
        1 => abi::PHYSCAP_GNTTAB_V1,
        _ => abi::PHYSCAP_GNTTAB_V1 | abi::PHYSCAP_GNTTAB_V2,
    };
    *answer = Physinfo {
        threads_per_core,
        cores_per_socket,
        nr_cpus: online_cpus(),
        max_cpu_id: cpus() - 1,
        nr_nodes: 1,
        max_node_id: NODE,
        cpu_khz: (time::tsc_frequency() / 1000) as u32,
        capabilities: abi::PHYSCAP_PV | grant_versions,
        total_pages: mm::ram_frames(),
        free_pages: mm::free_frames(),
        outstanding_pages: mm::claimed_frames(),
        max_mfn: mm::max_frame(),
        hw_cap,
        ..Physinfo::new_zeroed()
    };
    Ok(())
}

/// `XEN_SYSCTL_getcpuinfo`: how long each CPU was idle.
pub(super) fn cpu_info(
    _permission: Authorized<op::SysctlGetcpuinfo>,
    request: &mut GetCpuInfo,
) -> Result<(), Errno> {
    let count = request.max_cpus.min(cpus());
    for cpu in 0..count {
        let mut busy = 0u64;
        domains::for_each(|domain| {
            for vcpu in domain.vcpus().filter(|vcpu| vcpu.cpu() == cpu as usize) {
                busy = busy.saturating_add(schedule::run_time(vcpu));
            }
        });
        let idletime = time::now().saturating_sub(busy);
        let at = request.info.element(u64::from(cpu)).ok_or(Errno::EFAULT)?;
        write(at.address, &CpuInfo { idletime })?;
    }
    request.nr_cpus = count;
    Ok(())
}

/// `XEN_SYSCTL_cputopoinfo`: where each CPU is. Without a buffer, how many there are.
pub(super) fn cpu_topology(
    _permission: Authorized<op::SysctlCputopoinfo>,
    request: &mut CpuTopologyInfo,
) -> Result<(), Errno> {
    let count = if request.cputopo.is_null() {
        0
    } else {
        request.num_cpus.min(cpus())
    };
    for cpu in 0..count {
        let place = match topology::place(cpu as usize) {
            Some(place) => CpuTopology {
                core: place.core,
                socket: place.socket,
                node: NODE,
            },
            None => CpuTopology {
                core: abi::XEN_INVALID_CORE_ID,
                socket: abi::XEN_INVALID_SOCKET_ID,
                node: abi::XEN_INVALID_NODE_ID,
            },
        };
        let at = request
            .cputopo
            .element(u64::from(cpu))
            .ok_or(Errno::EFAULT)?;
        write(at.address, &place)?;
    }
    request.num_cpus = cpus();
    Ok(())
}

/// `XEN_SYSCTL_numainfo`: the memory of each node. Without buffers, how many there are.
pub(super) fn nodes(
    _permission: Authorized<op::SysctlNumainfo>,
    request: &mut NumaInfo,
) -> Result<(), Errno> {
    /// Distance of a node to itself (ACPI's SLIT).
    const NEAR: u32 = 10;
    if request.num_nodes > 0 {
        if !request.meminfo.is_null() {
            let memory = NodeMemory {
                memsize: mm::ram_frames() * PAGE,
                memfree: mm::free_frames() * PAGE,
            };
            write(request.meminfo.address, &memory)?;
        }
        if !request.distance.is_null() {
            write(request.distance.address, &NEAR)?;
        }
    }
    request.num_nodes = 1;
    Ok(())
}

/// `XEN_SYSCTL_pcitopoinfo`: the node of each device.
pub(super) fn pci_topology(
    _permission: Authorized<op::SysctlPcitopoinfo>,
    request: &mut PciTopologyInfo,
) -> Result<(), Errno> {
    /// More devices than there can be.
    const MOST: u32 = 1 << 16;
    if request.devs.is_null() || request.nodes.is_null() || request.num_devs > MOST {
        return Err(Errno::EINVAL);
    }
    for index in 0..u64::from(request.num_devs) {
        let at = request.nodes.element(index).ok_or(Errno::EFAULT)?;
        write(at.address, &NODE)?;
    }
    Ok(())
}

/// `XEN_SYSCTL_availheap`: free memory in a range of addresses.
pub(super) fn available(
    _permission: Authorized<op::SysctlAvailheap>,
    request: &mut AvailHeap,
) -> Result<(), Errno> {
    if request.node > NODE as i32 {
        request.avail_bytes = 0;
        return Ok(());
    }
    let below = |bits: u32| match bits {
        0 => 0,
        bits if bits >= u64::BITS => mm::free_frames(),
        bits => mm::free_frames_below(bits),
    };
    let most = match request.max_bitwidth {
        0 => u64::BITS,
        bits => bits,
    };
    request.avail_bytes = below(most).saturating_sub(below(request.min_bitwidth)) * PAGE;
    Ok(())
}

/// The policies that can be asked for.
fn policy(index: u32) -> Result<Box<CpuidPolicy>, Errno> {
    let policy = match index {
        abi::CPU_POLICY_RAW | abi::CPU_POLICY_HOST => try_box(emulate::host().clone()),
        abi::CPU_POLICY_PV_MAX => emulate::paravirtual(true),
        abi::CPU_POLICY_PV_DEFAULT => emulate::paravirtual(false),
        abi::CPU_POLICY_HVM_MAX | abi::CPU_POLICY_HVM_DEFAULT => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    };
    policy.ok_or(Errno::ENOMEM)
}

/// `XEN_SYSCTL_get_cpu_featureset`. Without a buffer, how many words it has.
pub(super) fn featureset(
    _permission: Authorized<op::SysctlGetCpuFeatureset>,
    request: &mut CpuFeatureset,
) -> Result<(), Errno> {
    /// Words that Xen 4.17 knows.
    const WORDS: u32 = 14;
    let Featureset(words) = match request.index {
        abi::CPU_FEATURESET_RAW => policy(abi::CPU_POLICY_RAW)?,
        abi::CPU_FEATURESET_HOST => policy(abi::CPU_POLICY_HOST)?,
        abi::CPU_FEATURESET_PV => policy(abi::CPU_POLICY_PV_DEFAULT)?,
        abi::CPU_FEATURESET_PV_MAX => policy(abi::CPU_POLICY_PV_MAX)?,
        abi::CPU_FEATURESET_HVM | abi::CPU_FEATURESET_HVM_MAX => return Err(Errno::EOPNOTSUPP),
        _ => return Err(Errno::EINVAL),
    }
    .features();
    let room = request.nr_features;
    request.nr_features = WORDS;
    if request.features.is_null() {
        return Ok(());
    }
    for (index, word) in (0..room.min(WORDS)).zip(words) {
        let at = request
            .features
            .element(u64::from(index))
            .ok_or(Errno::EFAULT)?;
        write(at.address, &word)?;
    }
    request.nr_features = room.min(WORDS);
    if room < WORDS {
        return Err(Errno::ENOBUFS);
    }
    Ok(())
}

/// `XEN_SYSCTL_get_cpu_policy`.
pub(super) fn cpu_policy(
    _permission: Authorized<op::SysctlGetCpuPolicy>,
    request: &mut CpuPolicy,
) -> Result<(), Errno> {
    let policy = policy(request.index)?;
    write_policy(
        &policy,
        (request.leaves, &mut request.nr_leaves),
        (request.msrs, &mut request.nr_msrs),
    )
}

/// `XEN_SYSCTL_get_cpu_levelling_caps`: no leaf is masked by the processor.
pub(super) fn levelling(
    _permission: Authorized<op::SysctlGetCpuLevellingCaps>,
    answer: &mut CpuLevellingCaps,
) -> Result<(), Errno> {
    answer.caps = 0;
    Ok(())
}
