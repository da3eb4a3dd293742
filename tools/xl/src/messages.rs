//! `xl dmesg`, `xl debug-keys`, `xl sysrq`, `xl trigger`.

use std::io::Write;

use clap::Args;
use serde_json::json;
use xen_abi::domctl;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome, print_json};

/// Options of `xl dmesg`.
#[derive(Args, Debug)]
pub(crate) struct Dmesg {
    /// Clear Xen's message buffer
    #[arg(short, long)]
    clear: bool,
}

impl Run for Dmesg {
    const NAME: &'static str = "dmesg";
    const ABOUT: &'static str = "Read and/or clear dmesg buffer";

    fn run(self, context: &Context) -> Outcome {
        let messages = context.control()?.console_ring(self.clear)?;
        if context.json {
            let text = String::from_utf8_lossy(&messages).into_owned();
            print_json(&text.lines().map(|line| json!(line)).collect());
        } else {
            std::io::stdout().write_all(&messages)?;
        }
        Ok(())
    }
}

/// Options of `xl debug-keys`.
#[derive(Args, Debug)]
pub(crate) struct DebugKeys {
    /// The keys
    keys: String,
}

impl Run for DebugKeys {
    const NAME: &'static str = "debug-keys";
    const ABOUT: &'static str = "Send debug keys to Xen";

    fn run(self, context: &Context) -> Outcome {
        Ok(context.control()?.debug_keys(&self.keys)?)
    }
}

/// Options of `xl sysrq`.
#[derive(Args, Debug)]
pub(crate) struct Sysrq {
    /// The domain, by name or number
    domain: String,
    /// The key
    key: String,
}

impl Run for Sysrq {
    const NAME: &'static str = "sysrq";
    const ABOUT: &'static str = "Send a sysrq to a domain";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let mut letters = self.key.chars();
        let (Some(letter), None) = (letters.next(), letters.next()) else {
            return Err(Failure::new("Invalid sysrq.\n"));
        };
        let path = format!("/local/domain/{}/control/sysrq", info.domain);
        context.store()?.write(&path, letter.to_string())?;
        Ok(())
    }
}

/// Options of `xl trigger`.
#[derive(Args, Debug)]
pub(crate) struct Trigger {
    /// The domain, by name or number
    domain: String,
    /// nmi, reset, init, power, sleep
    trigger: String,
    /// The vCPU
    #[arg(default_value_t = 0)]
    vcpu: u32,
}

impl Run for Trigger {
    const NAME: &'static str = "trigger";
    const ABOUT: &'static str = "Send a trigger to a domain";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let triggers = [
            ("nmi", domctl::SENDTRIGGER_NMI),
            ("reset", domctl::SENDTRIGGER_RESET),
            ("init", domctl::SENDTRIGGER_INIT),
            ("power", domctl::SENDTRIGGER_POWER),
            ("sleep", domctl::SENDTRIGGER_SLEEP),
        ];
        let found = triggers.iter().find(|(name, _)| *name == self.trigger);
        let (_, trigger) =
            found.ok_or_else(|| Failure::new(format!("Invalid trigger \"{}\"", self.trigger)))?;
        Ok(context
            .control()?
            .trigger(info.domain, *trigger, self.vcpu)?)
    }
}
