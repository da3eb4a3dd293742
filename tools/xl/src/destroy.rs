//! `xl destroy`, and the end of domains in general.

use clap::Args;
use domain_config::Uuid;
use xen_control::{DomId, Errno};
use xenstore::TransactionId;
use xenstore::wire::Operation;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome};
use crate::record::{self, State, Worker};
use crate::{devices, nodes};

/// Options of `xl destroy`.
#[derive(Args, Debug)]
pub(crate) struct Destroy {
    /// The domain, by name or number
    domain: String,
    /// Even domain 0
    #[arg(short)]
    force: bool,
}

impl Run for Destroy {
    const NAME: &'static str = "destroy";
    const ABOUT: &'static str = "Terminate a domain immediately";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        if info.domain == 0 && !self.force && !context.force {
            return Err(Failure::new(
                "Not destroying domain 0; use -f to force.\nThis can only be done when using a test-hypervisor and toolstack.",
            ));
        }
        remove(context, info.domain, Uuid(info.handle))
    }
}

/// Ends a domain and removes all that belongs to it. What is not there (any more) is no error, so that it can be done
/// again after a failure or a kill.
pub(crate) fn remove(context: &Context, domain: DomId, uuid: Uuid) -> Outcome {
    let record = record::head_of_uuid(uuid);
    if let Some(record) = &record
        && record.state == State::Running
    {
        let mut ending = record.clone();
        ending.state = State::Building;
        ending.worker = Worker::this();
        // Without it, a kill from here on is found out by what is left in xenstore.
        let _ = ending.save();
    }
    let control = context.control()?;
    let _working = context.working(format_args!("domain {domain} gives back what it has"));
    match control.destroy(domain) {
        Ok(()) => {}
        Err(error) if error.errno == Errno::ESRCH => {}
        Err(error) => return Err(error.into()),
    }
    devices::detach_all(context, domain)?;
    let requests = nodes::removal(domain, uuid);
    let answers = context.store()?.batch(TransactionId::NONE, &requests)?;
    for ((operation, _), answer) in requests.iter().zip(answers) {
        match answer {
            Ok(_) => {}
            // Nothing to remove, or nobody that xenstored knows.
            Err(error) if error.0 == Errno::ENOENT || *operation == Operation::Release => {}
            Err(error) => {
                return Err(Failure::new(format!(
                    "domain {domain}: its nodes in xenstore cannot be removed: {error}"
                )));
            }
        }
    }
    if let Some(record) = record {
        record.remove();
    }
    Ok(())
}
