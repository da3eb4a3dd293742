//! `xl mem-set` and `xl mem-max`.

use clap::Args;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome};

/// KiB that a domain may have beyond its memory, as with libxl.
const SLACK_KIB: u64 = 1024;

/// A size as Xen's `xl` takes it: MiB, or with a unit (`k`, `m`, `g`, `t`); in KiB.
fn kibibytes(text: &str) -> Result<u64, Failure> {
    let invalid = || Failure::new(format!("invalid memory size: {text}"));
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| invalid())?;
    let factor = match lower.get(digits.len()..).unwrap_or_default() {
        "b" => return Ok(number / 1024),
        "k" | "kb" => 1,
        "" | "m" | "mb" => 1 << 10,
        "g" | "gb" => 1 << 20,
        "t" | "tb" => 1 << 30,
        _ => return Err(invalid()),
    };
    number.checked_mul(factor).ok_or_else(invalid)
}

/// Options of `xl mem-set`.
#[derive(Args, Debug)]
pub(crate) struct MemSet {
    /// The domain, by name or number
    domain: String,
    /// MiB, or with a unit: b, k, m, g, t
    memory: String,
}

impl Run for MemSet {
    const NAME: &'static str = "mem-set";
    const ABOUT: &'static str = "Set the current memory usage for a domain";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let kib = kibibytes(&self.memory)?;
        let home = format!("/local/domain/{}/memory", info.domain);
        let most = context
            .read(&format!("{home}/static-max"))?
            .and_then(|text| text.parse().ok());
        if let Some(most) = most.filter(|&most: &u64| kib > most) {
            return Err(Failure::new(format!(
                "cannot set memory of domain {} to {kib} KiB: its maximum is {most} KiB",
                info.domain
            )));
        }
        if kib == 0 {
            return Err(Failure::new("invalid memory size: 0"));
        }
        let control = context.control()?;
        // The limit follows the target, so that a guest that does not balloon down cannot grow either.
        control.set_max_memory(info.domain, kib + SLACK_KIB)?;
        context
            .store()?
            .write(&format!("{home}/target"), kib.to_string())?;
        Ok(())
    }
}

/// Options of `xl mem-max`.
#[derive(Args, Debug)]
pub(crate) struct MemMax {
    /// The domain, by name or number
    domain: String,
    /// MiB, or with a unit: b, k, m, g, t
    memory: String,
}

impl Run for MemMax {
    const NAME: &'static str = "mem-max";
    const ABOUT: &'static str = "Set the maximum amount reservation for a domain";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        let kib = kibibytes(&self.memory)?;
        let home = format!("/local/domain/{}/memory", info.domain);
        let target = context
            .read(&format!("{home}/target"))?
            .and_then(|text| text.parse().ok());
        if let Some(target) = target.filter(|&target: &u64| kib < target) {
            return Err(Failure::new(format!(
                "cannot set the maximum memory of domain {} to {kib} KiB: its target is {target} KiB",
                info.domain
            )));
        }
        context
            .control()?
            .set_max_memory(info.domain, kib + SLACK_KIB)?;
        context
            .store()?
            .write(&format!("{home}/static-max"), kib.to_string())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::kibibytes;

    #[test]
    fn sizes() {
        for (text, kib) in [
            ("64", 65536),
            ("64m", 65536),
            ("1G", 1 << 20),
            ("2048k", 2048),
            ("4096b", 4),
        ] {
            assert_eq!(kibibytes(text).ok(), Some(kib), "{text}");
        }
        for bad in ["", "m", "-1", "1x", "99999999999999999t"] {
            assert!(kibibytes(bad).is_err(), "{bad}");
        }
    }
}
