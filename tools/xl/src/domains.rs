//! Finding domains by name or number.

use std::collections::HashMap;

use xen_control::{DomId, DomainInfo};
use xenstore::TransactionId;
use xenstore::wire::Operation;

use crate::context::{Context, Failure};
use crate::record;

impl Context {
    /// The domain that a person names: by its number, or by its name.
    ///
    /// # Errors
    ///
    /// That there is none, in Xen's words.
    pub(crate) fn find_domain(&self, word: &str) -> Result<DomainInfo, Failure> {
        let missing = || Failure::new(format!("{word} is an invalid domain identifier (rc=-6)"));
        let domain = match word.parse() {
            Ok(domain) => domain,
            Err(_) => self.domain_named(word)?.ok_or_else(missing)?,
        };
        self.control()?.domain_info(domain)?.ok_or_else(missing)
    }

    /// The number of the domain of this name.
    pub(crate) fn domain_named(&self, name: &str) -> Result<Option<DomId>, Failure> {
        if let Some(found) = self.recorded_as(name)? {
            return Ok(Some(found));
        }
        let domains = self.control()?.domains()?;
        let others: Vec<DomId> = domains.iter().map(|info| info.domain).collect();
        let names = self.names(&others)?;
        let found = names.into_iter().find(|(_, known)| known == name);
        Ok(found.map(|(domain, _)| domain))
    }

    /// The domain of ours of this name: these are known by a record each, so that finding one does not take longer the
    /// more there are.
    fn recorded_as(&self, name: &str) -> Result<Option<DomId>, Failure> {
        let Some(record) = record::of_name(name) else {
            return Ok(None);
        };
        let Some(domain) = record.domain else {
            return Ok(None);
        };
        let info = self.control()?.domain_info(domain)?;
        let is_it = info.is_some_and(|info| info.handle == record.uuid.0);
        Ok(is_it.then_some(domain))
    }

    /// The domain that keeps a new one from having this name. Domains of ours are known by their records; only another
    /// toolstack's are asked for in xenstore.
    pub(crate) fn holder_of(&self, name: &str) -> Result<Option<DomId>, Failure> {
        if let Some(found) = self.recorded_as(name)? {
            return Ok(Some(found));
        }
        // Asking for each domain would take longer the more there are.
        let there: Vec<DomId> = self
            .children("/local/domain")?
            .iter()
            .filter_map(|child| child.parse().ok())
            .collect();
        let names = self.names(&record::not_ours(&there))?;
        let found = names.into_iter().find(|(_, known)| known == name);
        Ok(found.map(|(domain, _)| domain))
    }

    /// The name of a domain.
    pub(crate) fn name_of(&self, domain: DomId) -> Result<Option<String>, Failure> {
        self.read(&format!("/local/domain/{domain}/name"))
    }

    /// The names of domains, where they have one.
    pub(crate) fn names(&self, domains: &[DomId]) -> Result<HashMap<DomId, String>, Failure> {
        let requests: Vec<_> = domains
            .iter()
            .map(|domain| {
                let path = format!("/local/domain/{domain}/name\0");
                (Operation::Read, path.into_bytes())
            })
            .collect();
        let answers = self.store()?.batch(TransactionId::NONE, &requests)?;
        let named = domains.iter().zip(answers).filter_map(|(domain, answer)| {
            let name = String::from_utf8_lossy(&answer.ok()?).into_owned();
            Some((*domain, name))
        });
        Ok(named.collect())
    }

    /// What to call a domain where it has no name: as Xen's `xl` does.
    pub(crate) fn display_name(names: &HashMap<DomId, String>, domain: DomId) -> String {
        names
            .get(&domain)
            .cloned()
            .unwrap_or_else(|| "(null)".to_owned())
    }
}

/// The number of the CPU pool of this name, or of this number.
pub(crate) fn pool_named(context: &Context, word: &str) -> Result<u32, Failure> {
    let pools = context.control()?.cpu_pools()?;
    for pool in &pools {
        let is_it = word.parse() == Ok(pool.id) || pool_name(context, pool.id)? == word;
        if is_it {
            return Ok(pool.id);
        }
    }
    Err(Failure::new(format!("unknown cpupool '{word}'")))
}

/// The name of a CPU pool.
pub(crate) fn pool_name(context: &Context, pool: u32) -> Result<String, Failure> {
    let known = context.read(&format!("/local/pool/{pool}/name"))?;
    Ok(known.unwrap_or_else(|| format!("Pool-{pool}")))
}
