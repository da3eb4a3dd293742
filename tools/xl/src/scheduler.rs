//! `xl sched-credit2`.

use clap::Args;
use serde_json::json;
use xen_control::{Credit2, Scheduler};

use crate::command::Run;
use crate::context::{Context, Failure, Outcome, print_json};
use crate::domains::{pool_name, pool_named};
use crate::list::chosen;

/// Options of `xl sched-credit2`.
#[derive(Args, Debug)]
pub(crate) struct SchedCredit2 {
    /// The domain, by name or number
    #[arg(short, long)]
    domain: Option<String>,
    /// Its weight, in comparison to other domains'
    #[arg(short, long, requires = "domain", value_parser = clap::value_parser!(u16).range(1..))]
    weight: Option<u16>,
    /// The most it may use, in hundredths of a CPU; 0 is all
    #[arg(short, long, requires = "domain")]
    cap: Option<u16>,
    /// Scheduler parameters
    #[arg(short, long, conflicts_with = "domain")]
    schedparam: bool,
    /// How long, in µs, a vCPU may run before another takes its place; 0 is no limit
    #[arg(short, long, requires = "schedparam", value_name = "RLIMIT")]
    ratelimit_us: Option<u32>,
    /// Only this CPU pool
    #[arg(short = 'p', long, conflicts_with = "domain")]
    cpupool: Option<String>,
}

impl Run for SchedCredit2 {
    const NAME: &'static str = "sched-credit2";
    const ABOUT: &'static str = "Get/set credit2 scheduler parameters";

    fn run(self, context: &Context) -> Outcome {
        match &self.domain {
            Some(domain) => self.one(context, domain),
            None => self.pools(context),
        }
    }
}

const HEADER: &str = "Name                                ID Weight  Cap";

fn line(name: &str, domain: u16, share: Credit2) -> String {
    format!(
        "{name:<33} {domain:>4} {:>6} {:>4}",
        share.weight, share.cap
    )
}

impl SchedCredit2 {
    fn one(&self, context: &Context, domain: &str) -> Outcome {
        let control = context.control()?;
        let info = context.find_domain(domain)?;
        let now = control.credit2(info.domain)?;
        if self.weight.is_none() && self.cap.is_none() {
            let name = context.name_of(info.domain)?.unwrap_or_default();
            if context.json {
                print_json(
                    &json!({ "domid": info.domain, "name": name, "weight": now.weight, "cap": now.cap }),
                );
            } else {
                println!("{HEADER}\n{}", line(&name, info.domain, now));
            }
            return Ok(());
        }
        let share = Credit2 {
            weight: self.weight.unwrap_or(now.weight),
            cap: self.cap.unwrap_or(now.cap),
        };
        control.set_credit2(info.domain, share)?;
        crate::record::change(info.handle, |config| {
            config.cpu_weight = Some(share.weight);
            config.cap = Some(share.cap);
        })?;
        Ok(())
    }

    fn pools(&self, context: &Context) -> Outcome {
        let control = context.control()?;
        let wanted = match &self.cpupool {
            Some(name) => Some(pool_named(context, name)?),
            None => None,
        };
        let mut all = Vec::new();
        let mut found = false;
        for pool in control.cpu_pools()? {
            if pool.scheduler != Scheduler::CREDIT2
                || wanted.is_some_and(|wanted| wanted != pool.id)
            {
                continue;
            }
            found = true;
            if let Some(limit) = self.ratelimit_us {
                control.set_credit2_rate_limit(pool.id, limit)?;
                continue;
            }
            let name = pool_name(context, pool.id)?;
            let limit = control.credit2_rate_limit(pool.id)?;
            if !context.json {
                println!("Cpupool {name}: ratelimit={limit}us");
            }
            let mut domains = Vec::new();
            if !self.schedparam {
                if !context.json {
                    println!("{HEADER}");
                }
                for (info, name) in chosen(context, &[])? {
                    if info.cpu_pool != pool.id {
                        continue;
                    }
                    let share = control.credit2(info.domain)?;
                    if context.json {
                        domains.push(json!({ "domid": info.domain, "name": name, "weight": share.weight, "cap": share.cap }));
                    } else {
                        println!("{}", line(&name, info.domain, share));
                    }
                }
            }
            all.push(json!({ "cpupool": name, "ratelimit_us": limit, "domains": domains }));
        }
        if context.json {
            print_json(&json!(all));
        }
        if found {
            Ok(())
        } else {
            Err(Failure::new(
                "there is no CPU pool with the scheduler credit2",
            ))
        }
    }
}
