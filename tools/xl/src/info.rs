//! `xl info`.

use clap::Args;
use serde_json::{Value, json};
use xen_abi::sysctl;

use crate::command::Run;
use crate::context::{Context, Outcome, print_json};

/// Options of `xl info`.
#[derive(Args, Debug)]
pub(crate) struct Info {
    /// List host NUMA topology information
    #[arg(short, long)]
    numa: bool,
}

/// What `virt_caps` names.
const CAPABILITIES: [(u32, &str); 9] = [
    (sysctl::PHYSCAP_PV, "pv"),
    (sysctl::PHYSCAP_HVM, "hvm"),
    (
        sysctl::PHYSCAP_HVM | sysctl::PHYSCAP_DIRECTIO,
        "hvm_directio",
    ),
    (sysctl::PHYSCAP_PV | sysctl::PHYSCAP_DIRECTIO, "pv_directio"),
    (sysctl::PHYSCAP_HAP, "hap"),
    (sysctl::PHYSCAP_SHADOW, "shadow"),
    (sysctl::PHYSCAP_IOMMU_HAP_PT_SHARE, "iommu_hap_pt_share"),
    (sysctl::PHYSCAP_GNTTAB_V1, "gnttab-v1"),
    (sysctl::PHYSCAP_GNTTAB_V2, "gnttab-v2"),
];

impl Run for Info {
    const NAME: &'static str = "info";
    const ABOUT: &'static str = "Get information about Xen host";

    fn run(self, context: &Context) -> Outcome {
        let lines = lines(context)?;
        if context.json {
            let mut map = serde_json::Map::new();
            for (name, value) in lines {
                map.insert(name.to_owned(), value);
            }
            if self.numa {
                map.insert("numa".to_owned(), numa(context)?);
            }
            print_json(&Value::Object(map));
            return Ok(());
        }
        for (name, value) in lines {
            let text = value
                .as_str()
                .map_or_else(|| value.to_string(), str::to_owned);
            println!("{name:<23}: {text}");
            if self.numa && name == "free_cpus" {
                print_numa(context)?;
            }
        }
        Ok(())
    }
}

/// All lines, by their names.
fn lines(context: &Context) -> Result<Vec<(&'static str, Value)>, crate::context::Failure> {
    let control = context.control()?;
    let machine = control.machine()?.info;
    let version = control.version()?;
    let system = rustix::system::uname();
    let text = |text: &std::ffi::CStr| json!(text.to_string_lossy());
    let hardware: Vec<String> = machine
        .hw_cap
        .iter()
        .map(|word| format!("{word:08x}"))
        .collect();
    let words: Vec<&str> = CAPABILITIES
        .iter()
        .filter(|(bits, _)| machine.capabilities & bits == *bits)
        .map(|(_, word)| *word)
        .collect();
    let pages_per_mebibyte = (1 << 20) / version.page_size.max(1);
    let mebibytes = |pages: u64| pages / pages_per_mebibyte.max(1);
    let free_cpus = control
        .free_cpus()
        .map_or(0, |bits| bits.iter().map(|byte| byte.count_ones()).sum());
    // The scheduler of the first pool is the default.
    let scheduler = control.scheduler()?;
    let build_id: String = version
        .build_id
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let free = machine.free_pages.saturating_sub(machine.outstanding_pages);
    Ok(vec![
        ("host", text(system.nodename())),
        ("release", text(system.release())),
        ("version", text(system.version())),
        ("machine", text(system.machine())),
        ("nr_cpus", json!(machine.nr_cpus)),
        ("max_cpu_id", json!(machine.max_cpu_id)),
        ("nr_nodes", json!(machine.nr_nodes)),
        ("cores_per_socket", json!(machine.cores_per_socket)),
        ("threads_per_core", json!(machine.threads_per_core)),
        (
            "cpu_mhz",
            json!(format!(
                "{}.{:03}",
                machine.cpu_khz / 1000,
                machine.cpu_khz % 1000
            )),
        ),
        ("hw_caps", json!(hardware.join(":"))),
        ("virt_caps", json!(words.join(" "))),
        ("total_memory", json!(mebibytes(machine.total_pages))),
        ("free_memory", json!(mebibytes(free))),
        ("sharing_freed_memory", json!(0)),
        ("sharing_used_memory", json!(0)),
        (
            "outstanding_claims",
            json!(mebibytes(machine.outstanding_pages)),
        ),
        ("free_cpus", json!(free_cpus)),
        ("xen_major", json!(version.major)),
        ("xen_minor", json!(version.minor)),
        ("xen_extra", json!(version.extra)),
        (
            "xen_version",
            json!(format!(
                "{}.{}{}",
                version.major, version.minor, version.extra
            )),
        ),
        ("xen_caps", json!(version.capabilities)),
        ("xen_scheduler", json!(scheduler.to_string())),
        ("xen_pagesize", json!(version.page_size)),
        (
            "platform_params",
            json!(format!("virt_start={:#x}", version.virtual_start)),
        ),
        ("xen_changeset", json!(version.changeset)),
        ("xen_commandline", json!(version.command_line)),
        ("cc_compiler", json!(version.compiler)),
        ("cc_compile_by", json!(version.compiled_by)),
        ("cc_compile_domain", json!(version.compile_domain)),
        ("cc_compile_date", json!(version.compile_date)),
        ("build_id", json!(build_id)),
        ("xend_config_format", json!(4)),
    ])
}

fn numa(context: &Context) -> Result<Value, crate::context::Failure> {
    let control = context.control()?;
    let cpus = control.cpu_topology()?;
    let nodes = control.nodes()?;
    Ok(json!({
        "cpus": cpus.iter().map(|cpu| json!({
            "cpu": cpu.cpu, "core": cpu.core, "socket": cpu.socket, "node": cpu.node,
        })).collect::<Vec<_>>(),
        "nodes": nodes.iter().map(|node| json!({
            "node": node.node, "memory_mib": node.size >> 20, "free_mib": node.free >> 20,
        })).collect::<Vec<_>>(),
    }))
}

/// The PCI devices: segment, bus, device and function; in ascending order.
fn pci_devices() -> Vec<(u16, u8, u8)> {
    let entries = std::fs::read_dir("/sys/bus/pci/devices");
    let mut all: Vec<_> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let (place, function) = name.split_once('.')?;
            let mut parts = place.split(':');
            let segment = u16::from_str_radix(parts.next()?, 16).ok()?;
            let bus = u8::from_str_radix(parts.next()?, 16).ok()?;
            let device = u8::from_str_radix(parts.next()?, 16).ok()?;
            let function: u8 = function.parse().ok()?;
            Some((segment, bus, device << 3 | function & 7))
        })
        .collect();
    all.sort_unstable();
    all
}

fn print_numa(context: &Context) -> Outcome {
    let control = context.control()?;
    println!("cpu_topology           :");
    println!("cpu:    core    socket     node");
    for cpu in control.cpu_topology()? {
        println!(
            "{:>3}:    {:>4}     {:>4}     {:>4}",
            cpu.cpu, cpu.core, cpu.socket, cpu.node
        );
    }
    let devices = pci_devices();
    println!("device topology        :\ndevice           node");
    for ((segment, bus, function), node) in devices.iter().zip(control.device_nodes(&devices)?) {
        if let Some(node) = node {
            let (device, function) = (function >> 3, function & 7);
            println!("{segment:04x}:{bus:02x}:{device:02x}.{function:x}      {node}");
        }
    }
    println!("numa_info              :");
    println!("node:    memsize    memfree    distances");
    for node in control.nodes()? {
        println!(
            "{:>4}:    {:>6}     {:>6}      10",
            node.node,
            node.size >> 20,
            node.free >> 20
        );
    }
    Ok(())
}
