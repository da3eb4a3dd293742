//! `xl list` and its relatives: `xl vm-list`, `xl uptime`, `xl claims`.

use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;
use domain_config::Uuid;
use serde_json::{Value, json};
use xen_control::DomainInfo;

use crate::command::Run;
use crate::context::{Context, Outcome, print_json};
use crate::domains::pool_name;
use crate::record;

/// Options of `xl list`.
#[derive(Args, Debug)]
pub(crate) struct List {
    /// Domains, by name or number; all if none
    domains: Vec<String>,
    /// Output all VM details
    #[arg(short, long)]
    long: bool,
    /// Prints out UUIDs and security context
    #[arg(short, long)]
    verbose: bool,
    /// Prints out security context
    #[arg(short = 'Z', long)]
    context: bool,
    /// Prints the cpupool the domain is in
    #[arg(short, long)]
    cpupool: bool,
    /// Prints out NUMA node affinity
    #[arg(short, long)]
    numa: bool,
}

/// The domains that are asked for, each with its name.
pub(crate) fn chosen(
    context: &Context,
    words: &[String],
) -> Result<Vec<(DomainInfo, String)>, crate::context::Failure> {
    let infos = if words.is_empty() {
        context.control()?.domains()?
    } else {
        words
            .iter()
            .map(|word| context.find_domain(word))
            .collect::<Result<_, _>>()?
    };
    let numbers: Vec<_> = infos.iter().map(|info| info.domain).collect();
    let names = context.names(&numbers)?;
    Ok(infos
        .into_iter()
        .map(|info| (info, Context::display_name(&names, info.domain)))
        .collect())
}

/// The header and the first six columns of `xl list`.
const HEADER: &str = "Name                                        ID   Mem VCPUs\tState\tTime(s)";

fn mebibytes(info: &DomainInfo) -> u64 {
    (info.pages + info.outstanding_pages) / 256
}

fn columns(info: &DomainInfo, name: &str) -> String {
    format!(
        "{name:<40} {:>5} {:>5} {:>5}     {}  {:>8.1}",
        info.domain,
        mebibytes(info),
        info.online_vcpus,
        info.state_letters(),
        info.cpu_time as f64 / 1e9
    )
}

/// What `--json` tells of a domain.
pub(crate) fn domain_json(info: &DomainInfo, name: &str) -> Value {
    json!({
        "domid": info.domain,
        "name": name,
        "uuid": Uuid(info.handle).to_string(),
        "memory_mib": mebibytes(info),
        "max_memory_mib": info.max_pages / 256,
        "vcpus": info.online_vcpus,
        "max_vcpus": info.vcpus,
        "state": info.state_letters(),
        "shutdown_reason": info.shutdown.map(|reason| reason.to_string()),
        "cpu_time_seconds": info.cpu_time as f64 / 1e9,
        "cpupool": info.cpu_pool,
    })
}

/// What `xl list -l` tells of a domain.
fn long(info: &DomainInfo, name: &str) -> Value {
    let config = match record::of_uuid(Uuid(info.handle)) {
        Some(record) => record.config.to_json(),
        None => json!({
            "c_info": { "type": "pv", "name": name, "uuid": Uuid(info.handle).to_string() },
            "b_info": {
                "max_vcpus": info.vcpus,
                "max_memkb": info.max_pages.saturating_mul(4),
                "target_memkb": info.pages * 4,
                "type.pv": {},
            },
        }),
    };
    json!({ "domid": info.domain, "config": config })
}

impl Run for List {
    const NAME: &'static str = "list";
    const ABOUT: &'static str = "List information about all/some domains";

    fn run(self, context: &Context) -> Outcome {
        let domains = chosen(context, &self.domains)?;
        if self.long {
            let all = domains.iter().map(|(info, name)| long(info, name));
            print_json(&all.collect());
            return Ok(());
        }
        if context.json {
            let all = domains.iter().map(|(info, name)| domain_json(info, name));
            print_json(&all.collect());
            return Ok(());
        }
        let mut header = HEADER.to_owned();
        if self.verbose {
            header.push_str("   UUID                            Reason-Code\tSecurity Label");
        }
        if self.context && !self.verbose {
            header.push_str("   Security Label");
        }
        if self.cpupool {
            header.push_str("         Cpupool");
        }
        if self.numa {
            header.push_str(" NODE Affinity");
        }
        println!("{header}");
        for (info, name) in &domains {
            let mut line = columns(info, name);
            if self.verbose {
                let reason = info
                    .shutdown
                    .map_or_else(|| "-".to_owned(), |reason| reason.code().to_string());
                line.push_str(&format!(" {} {reason:>8}", Uuid(info.handle)));
            }
            if self.verbose || self.context {
                line.push_str(&format!(" {:>16}", "-"));
            }
            if self.cpupool {
                line.push_str(&format!(" {:>15}", pool_name(context, info.cpu_pool)?));
            }
            if self.numa {
                line.push_str(" all");
            }
            println!("{line}");
        }
        Ok(())
    }
}

/// Options of `xl vm-list`.
#[derive(Args, Debug)]
pub(crate) struct VmList {}

impl Run for VmList {
    const NAME: &'static str = "vm-list";
    const ABOUT: &'static str = "List guest domains, excluding dom0, stubdoms, etc.";

    fn run(self, context: &Context) -> Outcome {
        let domains = chosen(context, &[])?;
        if context.json {
            let all = domains.iter().map(|(info, name)| {
                json!({ "uuid": Uuid(info.handle).to_string(), "domid": info.domain, "name": name })
            });
            print_json(&all.collect());
            return Ok(());
        }
        println!("UUID                                  ID    name");
        for (info, name) in &domains {
            println!("{}  {:<4} {name:<30}", Uuid(info.handle), info.domain);
        }
        Ok(())
    }
}

/// Options of `xl uptime`.
#[derive(Args, Debug)]
pub(crate) struct Uptime {
    /// Domains, by name or number; all if none
    domains: Vec<String>,
    /// In the form of uptime(1)
    #[arg(short)]
    short: bool,
}

/// `1 day, 2:03:04`, without seconds in the short form.
fn duration(seconds: u64, short: bool) -> String {
    let (days, hours) = (seconds / 86400, seconds / 3600 % 24);
    let (minutes, seconds) = (seconds / 60 % 60, seconds % 60);
    let mut text = String::new();
    if days > 1 {
        text.push_str(&format!("{days} days, "));
    } else if days == 1 {
        text.push_str("1 day, ");
    }
    text.push_str(&format!("{hours:>2}:{minutes:02}"));
    if !short {
        text.push_str(&format!(":{seconds:02}"));
    }
    text
}

/// Time since boot, in seconds.
fn system_uptime() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/uptime").ok()?;
    text.split('.').next()?.parse().ok()
}

impl Run for Uptime {
    const NAME: &'static str = "uptime";
    const ABOUT: &'static str = "Print uptime for all/some domains";

    fn run(self, context: &Context) -> Outcome {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs();
        let mut all = Vec::new();
        for (info, name) in chosen(context, &self.domains)? {
            let uptime = if info.domain == 0 {
                system_uptime().unwrap_or(0)
            } else {
                let path = format!("/vm/{}/start_time", Uuid(info.handle));
                let started = context.read(&path)?;
                let started = started.and_then(|text| text.split('.').next()?.parse().ok());
                now.saturating_sub(started.unwrap_or(now))
            };
            all.push((info.domain, name, uptime));
        }
        if context.json {
            let all = all.iter().map(|(domain, name, uptime)| {
                json!({ "domid": domain, "name": name, "uptime_seconds": uptime })
            });
            print_json(&all.collect());
            return Ok(());
        }
        if !self.short {
            println!("Name                                ID Uptime");
        }
        for (domain, name, uptime) in all {
            if self.short {
                let (hours, minutes, seconds) = (now / 3600 % 24, now / 60 % 60, now % 60);
                let uptime = duration(uptime, true);
                println!(" {hours:02}:{minutes:02}:{seconds:02} up {uptime}, {name} ({domain})");
            } else {
                println!("{name:<33} {domain:>4} {}", duration(uptime, false));
            }
        }
        Ok(())
    }
}

/// Options of `xl claims`.
#[derive(Args, Debug)]
pub(crate) struct Claims {}

impl Run for Claims {
    const NAME: &'static str = "claims";
    const ABOUT: &'static str = "List outstanding claim information about all domains";

    fn run(self, context: &Context) -> Outcome {
        let domains = chosen(context, &[])?;
        if context.json {
            let all = domains.iter().map(|(info, name)| {
                json!({ "domid": info.domain, "name": name, "claimed_mib": info.outstanding_pages / 256 })
            });
            print_json(&all.collect());
            return Ok(());
        }
        println!("{HEADER}  Claimed");
        for (info, name) in &domains {
            println!(
                "{} {:>5}",
                columns(info, name),
                info.outstanding_pages / 256
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{columns, duration};
    use xen_control::DomainInfo;

    /// Lines of Xen's `xl` 4.17.
    #[test]
    fn recorded_lines() {
        let info = DomainInfo {
            domain: 2,
            is_dying: false,
            is_paused: true,
            is_blocked: false,
            is_running: false,
            shutdown: None,
            pages: 16384,
            max_pages: 16640,
            outstanding_pages: 0,
            shared_info: 0,
            cpu_time: 0,
            online_vcpus: 1,
            vcpus: 2,
            handle: [0; 16],
            cpu_pool: 0,
        };
        assert_eq!(
            columns(&info, "g2"),
            "g2                                           2    64     1     --p---       0.0"
        );
        assert_eq!(duration(19, false), " 0:00:19");
        assert_eq!(duration(86400 + 3600, true), "1 day,  1:00");
    }
}
