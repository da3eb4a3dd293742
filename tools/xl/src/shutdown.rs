//! `xl shutdown` and `xl reboot`: a request through xenstore, which the guest acknowledges.

use std::time::{Duration, Instant};

use clap::{ArgAction, Args};
use xen_control::DomId;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome};
use crate::list::chosen;
use crate::monitor::{self, Until};

/// How long a guest has to acknowledge a request.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a watch on the request is called.
const TOKEN: &str = "request";

/// Options of `xl shutdown`.
#[derive(Args, Debug)]
pub(crate) struct Shutdown {
    /// The domains, by name or number
    #[arg(value_name = "DOMAIN", required_unless_present = "all")]
    domains: Vec<String>,
    /// Shut down all guest domains
    #[arg(short, long, conflicts_with = "domains")]
    all: bool,
    /// Wait for the domains to stop; given twice, to be gone
    #[arg(short, long, action = ArgAction::Count)]
    wait: u8,
    /// Fall back to an ACPI power event (of no meaning for paravirtual guests)
    #[arg(short = 'F')]
    fallback: bool,
}

impl Run for Shutdown {
    const NAME: &'static str = "shutdown";
    const ABOUT: &'static str = "Issue a shutdown signal to a domain";

    fn run(self, context: &Context) -> Outcome {
        ask(
            context,
            &self.domains,
            self.wait,
            "poweroff",
            "Shutting down",
            "shutdown",
        )
    }
}

/// Options of `xl reboot`.
#[derive(Args, Debug)]
pub(crate) struct Reboot {
    /// The domains, by name or number
    #[arg(value_name = "DOMAIN", required_unless_present = "all")]
    domains: Vec<String>,
    /// Reboot all guest domains
    #[arg(short, long, conflicts_with = "domains")]
    all: bool,
    /// Wait for the domains to stop; given twice, to be gone
    #[arg(short, long, action = ArgAction::Count)]
    wait: u8,
    /// Fall back to an ACPI power event (of no meaning for paravirtual guests)
    #[arg(short = 'F')]
    fallback: bool,
}

impl Run for Reboot {
    const NAME: &'static str = "reboot";
    const ABOUT: &'static str = "Issue a reboot signal to a domain";

    fn run(self, context: &Context) -> Outcome {
        ask(
            context,
            &self.domains,
            self.wait,
            "reboot",
            "Rebooting",
            "reboot",
        )
    }
}

fn ask(
    context: &Context,
    words: &[String],
    wait: u8,
    request: &str,
    doing: &str,
    name: &str,
) -> Outcome {
    let domains: Vec<DomId> = if words.is_empty() {
        let all = chosen(context, &[])?;
        let numbers = all.iter().map(|(info, _)| info.domain);
        numbers.filter(|domain| *domain != 0).collect()
    } else {
        let find = |word: &String| context.find_domain(word).map(|info| info.domain);
        words.iter().map(find).collect::<Result<_, _>>()?
    };
    let mut failures = Vec::new();
    let mut asked = Vec::new();
    for domain in domains {
        if !context.json {
            println!("{doing} domain {domain}");
        }
        match ask_one(context, domain, request) {
            Ok(()) => asked.push(domain),
            Err(failure) => failures.push(format!("{failure}\n{name} failed (rc=-9)")),
        }
    }
    if wait > 0 {
        let until = if wait > 1 {
            Until::Gone
        } else {
            Until::Stopped
        };
        monitor::wait(context, &asked, until)?;
    }
    if failures.is_empty() {
        Ok(())
    } else {
        Err(Failure::new(failures.join("\n")))
    }
}

/// Writes the request and waits until the guest has taken it.
fn ask_one(context: &Context, domain: DomId, request: &str) -> Outcome {
    let path = format!("/local/domain/{domain}/control/shutdown");
    let control = context.control()?;
    let is_gone = || {
        let info = control.domain_info(domain)?;
        Ok::<bool, Failure>(info.is_none_or(|info| info.is_dying || info.shutdown.is_some()))
    };
    let _working = context.working(format_args!("waiting for domain {domain} to answer"));
    let mut store = context.store()?;
    store.watch(&path, TOKEN)?;
    store.write(&path, request)?;
    let deadline = Instant::now() + PATIENCE;
    let acknowledged = loop {
        match store.read_string(&path) {
            Ok(value) if value != request => break true,
            Err(error) if error.is_not_found() => break true,
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        if is_gone()? {
            break true;
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break false;
        }
        // A guest that dies in between makes no event here: look again now and then.
        store.next_event(Some(left.min(Duration::from_secs(1))))?;
    };
    store.unwatch(&path, TOKEN)?;
    while store.pending_event().is_some() {}
    if acknowledged {
        return Ok(());
    }
    // The request is taken back, or the guest would follow it whenever it likes.
    store.transaction(|transaction| {
        if transaction.read_string(&path)? == request {
            transaction.write(&path, "")?;
        }
        Ok(())
    })?;
    Err(Failure::new(format!(
        "domain {domain}: guest didn't acknowledge control request within {} s",
        PATIENCE.as_secs()
    )))
}
