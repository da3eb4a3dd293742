//! Prints a configuration as `xl list -l` does: the names of libxl's types.

use serde_json::{Map, Value, json};

use crate::disk::{Access, BackendType, Disk};
use crate::domain::{Action, Boot, DomainConfig};
use crate::vif::Vif;

/// libxl's booleans are words.
fn boolean(value: bool) -> Value {
    json!(if value { "True" } else { "False" })
}

fn action(action: Action) -> Value {
    json!(action.name().replace('-', "_"))
}

fn set(map: &mut Map<String, Value>, name: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        map.insert(name.to_owned(), value.into());
    }
}

impl DomainConfig {
    /// The member `config` of `xl list -l`.
    pub fn to_json(&self) -> Value {
        let mut create = Map::new();
        set(&mut create, "type", Some(self.kind.name()));
        set(&mut create, "name", Some(self.name.as_str()));
        set(&mut create, "uuid", self.uuid.map(|uuid| uuid.to_string()));
        set(&mut create, "poolid", self.pool.as_deref());
        set(&mut create, "run_hotplug_scripts", Some(boolean(true)));

        let mut scheduler = Map::new();
        set(&mut scheduler, "weight", self.cpu_weight);
        set(&mut scheduler, "cap", self.cap);

        let mut build = Map::new();
        set(&mut build, "max_vcpus", Some(self.maxvcpus));
        let online: Vec<u32> = (0..self.vcpus).collect();
        set(&mut build, "avail_vcpus", Some(online));
        let affinity: Vec<String> = self.cpus.iter().map(ToString::to_string).collect();
        if !affinity.is_empty() {
            set(&mut build, "vcpu_hard_affinity", Some(affinity));
        }
        set(&mut build, "max_memkb", Some(self.maxmem * 1024));
        set(&mut build, "target_memkb", Some(self.memory * 1024));
        set(&mut build, "sched_params", Some(scheduler));
        set(&mut build, "claim_mode", Some(boolean(true)));
        set(&mut build, "event_channels", self.event_channels);
        set(&mut build, "max_grant_frames", self.max_grant_frames);
        set(&mut build, "max_maptrack_frames", self.max_maptrack_frames);
        match &self.boot {
            Boot::Kernel { kernel, ramdisk } => {
                set(&mut build, "kernel", Some(kernel.as_str()));
                set(&mut build, "ramdisk", ramdisk.as_deref());
            }
            Boot::Bootloader { program, arguments } => {
                set(&mut build, "bootloader", Some(program.as_str()));
                set(&mut build, "bootloader_args", Some(arguments.clone()));
            }
            Boot::Nothing => {}
        }
        set(&mut build, "cmdline", self.cmdline.as_deref());
        build.insert(format!("type.{}", self.kind.name()), json!({}));
        build.insert("arch_arm".to_owned(), json!({}));
        let msr_relaxed = json!({"msr_relaxed": boolean(self.msr_relaxed)});
        build.insert("arch_x86".to_owned(), msr_relaxed);

        let mut config = Map::new();
        set(&mut config, "c_info", Some(create));
        set(&mut config, "b_info", Some(build));
        if !self.disks.is_empty() {
            let disks: Vec<Value> = self.disks.iter().map(disk).collect();
            set(&mut config, "disks", Some(disks));
        }
        if !self.vifs.is_empty() {
            let vifs: Vec<Value> = self.vifs.iter().enumerate().map(vif).collect();
            set(&mut config, "nics", Some(vifs));
        }
        for (name, chosen) in [
            ("on_poweroff", self.on_poweroff),
            ("on_reboot", self.on_reboot),
            ("on_watchdog", self.on_watchdog),
            ("on_crash", self.on_crash),
            ("on_soft_reset", self.on_soft_reset),
        ] {
            config.insert(name.to_owned(), action(chosen));
        }
        Value::Object(config)
    }
}

fn disk(disk: &Disk) -> Value {
    let mut map = Map::new();
    set(&mut map, "backend_domname", disk.backend.as_deref());
    set(&mut map, "pdev_path", disk.target.as_deref());
    set(&mut map, "vdev", Some(disk.device.name.as_str()));
    let backend = disk.backend_type.map(|backend| match backend {
        BackendType::Phy => "phy",
        BackendType::Qdisk => "qdisk",
        BackendType::Tap => "tap",
    });
    set(&mut map, "backend", backend);
    set(&mut map, "format", Some(disk.format.name()));
    set(&mut map, "script", disk.script.as_deref());
    set(&mut map, "removable", disk.is_cdrom.then_some(1));
    let is_writable = disk.access == Access::ReadWrite;
    set(&mut map, "readwrite", is_writable.then_some(1));
    set(&mut map, "is_cdrom", disk.is_cdrom.then_some(1));
    Value::Object(map)
}

fn vif((index, vif): (usize, &Vif)) -> Value {
    let mut map = Map::new();
    set(&mut map, "backend_domname", vif.backend.as_deref());
    set(&mut map, "devid", Some(vif.number.unwrap_or(index as u32)));
    set(&mut map, "mtu", vif.mtu);
    set(&mut map, "mac", vif.mac.map(|mac| mac.to_string()));
    set(&mut map, "ip", vif.ip.as_deref());
    set(&mut map, "bridge", vif.bridge.as_deref());
    set(&mut map, "ifname", vif.name.as_deref());
    set(&mut map, "script", vif.script.as_deref());
    set(&mut map, "gatewaydev", vif.gateway_device.as_deref());
    if let Some(rate) = vif.rate {
        set(&mut map, "rate_bytes_per_interval", Some(rate.bytes));
        let interval = rate.interval_microseconds;
        set(&mut map, "rate_interval_usecs", Some(interval));
    }
    Value::Object(map)
}
