//! `xl domid`, `xl domname`, `xl rename`.

use clap::Args;
use domain_config::Uuid;
use serde_json::json;
use xenstore::TransactionId;

use crate::command::Run;
use crate::context::{Context, Failure, Outcome, print_json};
use crate::{nodes, record};

/// Options of `xl domid`.
#[derive(Args, Debug)]
pub(crate) struct DomId {
    /// The domain's name
    name: String,
}

impl Run for DomId {
    const NAME: &'static str = "domid";
    const ABOUT: &'static str = "Convert a domain name to domain id";

    fn run(self, context: &Context) -> Outcome {
        let name = &self.name;
        let domain = context.domain_named(name)?.ok_or_else(|| {
            Failure::new(format!(
                "Can't get domid of domain name '{name}', maybe this domain does not exist."
            ))
        })?;
        if context.json {
            print_json(&json!(domain));
        } else {
            println!("{domain}");
        }
        Ok(())
    }
}

/// Options of `xl domname`.
#[derive(Args, Debug)]
pub(crate) struct DomName {
    /// The domain's number
    domain: String,
}

impl Run for DomName {
    const NAME: &'static str = "domname";
    const ABOUT: &'static str = "Convert a domain id to domain name";

    fn run(self, context: &Context) -> Outcome {
        let domain = self
            .domain
            .parse()
            .map_err(|_| Failure::new(format!("Invalid domain id '{}'.\n", self.domain)))?;
        let name = context.name_of(domain)?.ok_or_else(|| {
            Failure::new(format!(
                "Can't get domain name of domain id '{domain}', maybe this domain does not exist."
            ))
        })?;
        if context.json {
            print_json(&json!(name));
        } else {
            println!("{name}");
        }
        Ok(())
    }
}

/// Options of `xl rename`.
#[derive(Args, Debug)]
pub(crate) struct Rename {
    /// The domain, by name or number
    domain: String,
    /// Its new name
    name: String,
}

impl Run for Rename {
    const NAME: &'static str = "rename";
    const ABOUT: &'static str = "Rename a domain";

    fn run(self, context: &Context) -> Outcome {
        let info = context.find_domain(&self.domain)?;
        rename(context, info.domain, Uuid(info.handle), &self.name)
    }
}

/// Gives a domain another name.
pub(crate) fn rename(
    context: &Context,
    domain: xen_control::DomId,
    uuid: Uuid,
    name: &str,
) -> Outcome {
    // The same rules as for a new domain's name.
    crate::create::parse("name", &format!("name = '{name}'"), "")?;
    if let Some(other) = context.domain_named(name)? {
        if other == domain {
            return Ok(());
        }
        return Err(Failure::new(format!(
            "Domain with name \"{name}\" already exists: its number is {other}"
        )));
    }
    if let Some(mut record) = record::of_uuid(uuid) {
        record
            .rename(name)
            .map_err(|error| Failure::new(format!("the name cannot be changed: {error}")))?;
    }
    let mut requests = nodes::Requests::new();
    nodes::write(&mut requests, &format!("/local/domain/{domain}/name"), name);
    if uuid != Uuid::NIL {
        nodes::write(&mut requests, &format!("/vm/{uuid}/name"), name);
    }
    for answer in context.store()?.batch(TransactionId::NONE, &requests)? {
        answer.map_err(|error| Failure::new(format!("xenstore: {error}")))?;
    }
    Ok(())
}
