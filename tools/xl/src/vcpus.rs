//! `xl vcpu-list`, `xl vcpu-set`, `xl vcpu-pin`.

use clap::Args;
use domain_config::{CpuSet, bitmap_to_text};
use serde_json::json;
use xenstore::TransactionId;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome, print_json};
use crate::list::chosen;
use crate::nodes;

/// Options of `xl vcpu-list`.
#[derive(Args, Debug)]
pub(crate) struct VcpuList {
    /// Domains, by name or number; all if none
    domains: Vec<String>,
}

impl Run for VcpuList {
    const NAME: &'static str = "vcpu-list";
    const ABOUT: &'static str = "List the VCPUs for all/some domains";

    fn run(self, context: &Context) -> Outcome {
        let control = context.control()?;
        let cpus = control.machine()?.info.max_cpu_id + 1;
        let mut all = Vec::new();
        if !context.json {
            println!(
                "Name                                ID  VCPU   CPU State   Time(s) Affinity (Hard / Soft)"
            );
        }
        for (info, name) in chosen(context, &self.domains)? {
            for vcpu in 0..info.vcpus {
                let Some(state) = control.vcpu_info(info.domain, vcpu)? else {
                    continue;
                };
                let affinity = control.affinity(info.domain, vcpu)?;
                let hard = bitmap_to_text(&affinity.hard, cpus);
                let soft = bitmap_to_text(&affinity.soft, cpus);
                let letters = if state.is_online {
                    let letter = |is: bool, letter: char| if is { letter } else { '-' };
                    format!(
                        "{}{}-",
                        letter(state.is_running, 'r'),
                        letter(state.is_blocked, 'b')
                    )
                } else {
                    "--p".to_owned()
                };
                let time = state.cpu_time as f64 / 1e9;
                if context.json {
                    all.push(json!({
                        "domid": info.domain, "name": name, "vcpu": vcpu,
                        "cpu": state.is_online.then_some(state.cpu),
                        "state": letters, "cpu_time_seconds": time,
                        "hard_affinity": hard, "soft_affinity": soft,
                    }));
                    continue;
                }
                let cpu = if state.is_online {
                    state.cpu.to_string()
                } else {
                    "-".to_owned()
                };
                println!(
                    "{name:<32} {:>5} {vcpu:>5} {cpu:>4}   {letters} {time:>9.1}  {hard} / {soft}",
                    info.domain
                );
            }
        }
        if context.json {
            print_json(&json!(all));
        }
        Ok(())
    }
}

/// Options of `xl vcpu-set`.
#[derive(Args, Debug)]
pub(crate) struct VcpuSet {
    /// The domain, by name or number
    domain: String,
    /// How many vCPUs it is to have
    vcpus: u32,
    /// More than there are CPUs
    #[arg(short, long)]
    ignore_host: bool,
}

impl Run for VcpuSet {
    const NAME: &'static str = "vcpu-set";
    const ABOUT: &'static str = "Set the number of active VCPUs allowed for the domain";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let control = context.control()?;
        if self.vcpus == 0 || self.vcpus > info.vcpus {
            return Err(Failure::new(format!(
                "a domain has at least one vCPU, and this one at most {}",
                info.vcpus
            )));
        }
        let cpus = control.machine()?.info.nr_cpus;
        if self.vcpus > cpus && !self.ignore_host {
            return Err(Failure::new(format!(
                "You are overcommmitting! You have {cpus} physical CPUs and want {} vCPUs! Aborting, use --ignore-host to continue",
                self.vcpus
            )));
        }
        let mut requests = nodes::Requests::new();
        for vcpu in 0..info.vcpus {
            let state = if vcpu < self.vcpus {
                "online"
            } else {
                "offline"
            };
            let path = format!("/local/domain/{}/cpu/{vcpu}/availability", info.domain);
            nodes::write(&mut requests, &path, state);
        }
        for answer in context.store()?.batch(TransactionId::NONE, &requests)? {
            answer.map_err(|error| Failure::new(format!("xenstore: {error}")))?;
        }
        Ok(())
    }
}

/// Options of `xl vcpu-pin`.
#[derive(Args, Debug)]
pub(crate) struct VcpuPin {
    /// The domain, by name or number
    domain: String,
    /// The vCPU, or `all`
    vcpu: String,
    /// Where it may run: `all`, `0-3,^1`, or `-` to leave that
    hard: String,
    /// Where it should run
    soft: Option<String>,
    /// Even what a driver pinned for a time
    #[arg(short, long)]
    force: bool,
}

impl Run for VcpuPin {
    const NAME: &'static str = "vcpu-pin";
    const ABOUT: &'static str = "Set which CPUs a VCPU can use";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let control = context.control()?;
        let cpus = control.machine()?.info.max_cpu_id + 1;
        let bits = |text: &str| -> Result<Option<Vec<u8>>, Failure> {
            if text == "-" {
                return Ok(None);
            }
            let set: CpuSet = text
                .parse()
                .map_err(|error| Failure::new(format!("Error: Invalid argument {error}")))?;
            let bits = set.to_bitmap(cpus);
            if bits.iter().all(|byte| *byte == 0) {
                return Err(Failure::new(format!("there is none of the CPUs {text}")));
            }
            Ok(Some(bits))
        };
        let hard = bits(&self.hard)?;
        let soft = self.soft.as_deref().map_or(Ok(None), bits)?;
        let vcpus = if self.vcpu == "all" {
            0..info.vcpus
        } else {
            let vcpu: u32 = self
                .vcpu
                .parse()
                .ok()
                .filter(|&vcpu| vcpu < info.vcpus)
                .ok_or_else(|| {
                    Failure::new(format!("Error: Invalid argument {} as VCPU.", self.vcpu))
                })?;
            vcpu..vcpu + 1
        };
        for vcpu in vcpus {
            control.set_affinity(
                info.domain,
                vcpu,
                hard.as_deref(),
                soft.as_deref(),
                self.force || context.force,
            )?;
        }
        Ok(())
    }
}
