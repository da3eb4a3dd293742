//! CONTROL, and the requests about features and quotas. Source: what `xenstore-control` sends, `docs/misc/xenstore.txt`.

use std::fmt::Write;

use crate::Error;
use crate::event::{ConnectionId, ControlCommand, DomainId, Effect, Host, Level};
use crate::quota::{Limits, Quota};
use crate::requests::{Answer, Request, domain_number};
use crate::store::Store;
use crate::wire::{self, FEATURES, only_string};

const HELP: &str = "\
check           
log             [on|off|+<switch>|-<switch>]
live-update     [-c <cmdline>] [-F] [-t <timeout>] [-v <version>] <file>
logfile         <file>
memreport       [<file>]
metrics         [<domid>]
print           <string>
quota           [set [<domid>] <name> <val>|<domid>|max [-r]]
quota-soft      [set <name> <val>]
help            
";

impl Store {
    /// CONTROL: what the core knows it does, the rest is the daemon's.
    pub(crate) fn control(&mut self, request: &Request<'_>) -> Result<Answer, Error> {
        let mut words = Vec::new();
        for word in wire::strings(request.payload) {
            words.push(std::str::from_utf8(word).map_err(|_| Error::Einval)?);
        }
        // Clients of old send the command without its NUL.
        if words.is_empty() {
            return Err(Error::Einval);
        }
        let command = words.remove(0);
        let own = |text: &str| text.to_string();
        let command = match (command, words.as_slice()) {
            ("check", []) => return self.control_check(),
            ("help", []) => return Ok(text(HELP)),
            ("quota", words) => return self.control_quota(words),
            ("quota-soft", []) => return Ok(show(&self.config.soft, "warning")),
            ("quota-soft", ["set", name, value]) => {
                let (quota, value) = setting(name, value)?;
                self.config.soft.set(quota, value);
                self.journal.limits(&self.config.hard, &self.config.soft);
                return Ok(Answer::Done);
            }
            ("log", []) => ControlCommand::Log(None),
            ("log", [switch]) => ControlCommand::Log(Some(own(switch))),
            ("logfile", [file]) => ControlCommand::LogFile(own(file)),
            ("memreport", []) => ControlCommand::MemoryReport(None),
            ("memreport", [file]) => ControlCommand::MemoryReport(Some(own(file))),
            ("print", [line]) => ControlCommand::Print(own(line)),
            ("metrics", []) => ControlCommand::Metrics,
            ("metrics", [domain]) => {
                let domain = domain_number(domain.as_bytes())?;
                return Ok(text(&self.metrics_of(domain).ok_or(Error::Enoent)?));
            }
            ("live-update", words) => {
                ControlCommand::LiveUpdate(words.iter().map(|word| own(word)).collect())
            }
            _ => return Err(Error::Einval),
        };
        self.wait(request, None);
        self.effects.push(Effect::Control {
            connection: request.asker.connection,
            command,
        });
        Ok(Answer::Later)
    }

    /// The daemon has done what a command asked for.
    pub(crate) fn control_done(&mut self, id: ConnectionId, result: Result<&[u8], Error>) {
        let waiting = self.connections.get_mut(&id).and_then(|connection| {
            let waiting = connection.waiting?;
            if waiting.introducing.is_some() {
                return None;
            }
            connection.waiting.take()
        });
        if let Some(waiting) = waiting {
            let cause = self.new_cause(id);
            self.reply(id, waiting.header, result.map(Into::into), cause);
            self.consider(id);
        }
    }

    fn control_check(&mut self) -> Result<Answer, Error> {
        let problems = self.check();
        if problems.is_empty() {
            return Ok(Answer::Done);
        }
        for problem in &problems {
            self.log(Level::Error, format!("check: {problem}"));
        }
        Err(Error::Eio)
    }

    fn control_quota(&mut self, words: &[&str]) -> Result<Answer, Error> {
        match words {
            [] => Ok(show(&self.config.hard, "error")),
            ["set", name, value] => {
                let (quota, value) = setting(name, value)?;
                self.config.hard.set(quota, value);
                self.journal.limits(&self.config.hard, &self.config.soft);
                self.reconsider();
                Ok(Answer::Done)
            }
            ["set", domain, name, value] => {
                let (quota, value) = setting(name, value)?;
                self.set_domain_quota(domain_number(domain.as_bytes())?, quota, value)
            }
            ["max"] => Ok(self.show_peaks()),
            ["max", "-r"] => {
                let answer = self.show_peaks();
                for domain in self.domains.0.values_mut() {
                    domain.peak = domain.usage;
                }
                Ok(answer)
            }
            [domain] => self.show_domain(domain_number(domain.as_bytes())?),
            _ => Err(Error::Einval),
        }
    }

    fn set_domain_quota(
        &mut self,
        id: DomainId,
        quota: Quota,
        value: u32,
    ) -> Result<Answer, Error> {
        let domain = self.domains.get_mut(id).ok_or(Error::Enoent)?;
        domain.limits.insert(quota, value);
        self.journal_domain(id);
        self.reconsider();
        Ok(Answer::Done)
    }

    /// Limits have changed: clients that were held back may go on.
    fn reconsider(&mut self) {
        let all: Vec<ConnectionId> = self.connections.keys().copied().collect();
        for id in all {
            self.consider(id);
        }
    }

    fn show_domain(&self, id: DomainId) -> Result<Answer, Error> {
        let domain = self.domains.get(id).ok_or(Error::Enoent)?;
        let mut out = format!("Domain {id}:\n");
        for quota in Quota::all() {
            let (used, peak) = (domain.usage.get(quota), domain.peak.get(quota));
            let limit = domain.limit(quota, &self.config.hard);
            // Writing to a String does not fail.
            let _ = writeln!(
                out,
                "{:<17}: {used:8} (max {peak:8}) limit {limit}",
                quota.name()
            );
        }
        Ok(text(&out))
    }

    fn show_peaks(&self) -> Answer {
        let mut out = "Max. seen accounting values:\n".to_string();
        for quota in Quota::all() {
            let peak = self
                .domains
                .0
                .iter()
                .filter(|(id, _)| **id != crate::DOMAIN_0)
                .map(|(_, domain)| domain.peak.get(quota))
                .max()
                .unwrap_or(0);
            let _ = writeln!(out, "{:<17}: {peak:8}", quota.name());
        }
        text(&out)
    }

    pub(crate) fn get_feature(&mut self, request: &Request<'_>) -> Result<Answer, Error> {
        let asker = &request.asker;
        let features = if request.payload.is_empty() || request.payload == b"\0" {
            let domain = self.domains.get(asker.subject.domain);
            domain.map_or(FEATURES, |domain| domain.features)
        } else {
            if !asker.subject.privileged {
                return Err(Error::Eacces);
            }
            let domain = domain_number(only_string(request.payload)?)?;
            self.domains.get(domain).ok_or(Error::Enoent)?.features
        };
        Ok(text(&features.to_string()))
    }

    pub(crate) fn set_feature(&mut self, payload: &[u8], host: &dyn Host) -> Result<Answer, Error> {
        let mut strings = wire::strings(payload);
        let (Some(domain), Some(value), None) = (strings.next(), strings.next(), strings.next())
        else {
            return Err(Error::Einval);
        };
        let id = domain_number(domain)?;
        let value = wire::number(value)
            .and_then(|value| u32::try_from(value).ok())
            .filter(|value| value & !FEATURES == 0)
            .ok_or(Error::Einval)?;
        if self.is_introduced(id) {
            return Err(Error::Ebusy);
        }
        if !self.know(id, host) {
            return Err(Error::Enoent);
        }
        if let Some(domain) = self.domains.get_mut(id) {
            domain.features = value;
        }
        self.journal_domain(id);
        Ok(Answer::Done)
    }

    pub(crate) fn get_quota(&mut self, payload: &[u8]) -> Result<Answer, Error> {
        let strings: Vec<&[u8]> = wire::strings(payload).collect();
        match strings.as_slice() {
            [] | [b""] => {
                let names: Vec<&str> = Quota::all().map(Quota::name).collect();
                Ok(text(&names.join(" ")))
            }
            [name] => {
                let limit = self.config.hard.get(quota_name(name)?);
                Ok(text(&limit.to_string()))
            }
            [domain, name] => {
                let quota = quota_name(name)?;
                let id = domain_number(domain)?;
                let domain = self.domains.get(id).ok_or(Error::Enoent)?;
                let limit = domain.limit(quota, &self.config.hard);
                Ok(text(&limit.to_string()))
            }
            _ => Err(Error::Einval),
        }
    }

    pub(crate) fn set_quota(&mut self, payload: &[u8], host: &dyn Host) -> Result<Answer, Error> {
        let strings: Vec<&[u8]> = wire::strings(payload).collect();
        let value = |text: &[u8]| {
            wire::number(text)
                .and_then(|value| u32::try_from(value).ok())
                .ok_or(Error::Einval)
        };
        match strings.as_slice() {
            [name, limit] => {
                self.config.hard.set(quota_name(name)?, value(limit)?);
                self.journal.limits(&self.config.hard, &self.config.soft);
                self.reconsider();
                Ok(Answer::Done)
            }
            [domain, name, limit] => {
                let (quota, limit) = (quota_name(name)?, value(limit)?);
                let id = domain_number(domain)?;
                if !self.know(id, host) {
                    return Err(Error::Enoent);
                }
                self.set_domain_quota(id, quota, limit)
            }
            _ => Err(Error::Einval),
        }
    }
}

fn text(text: &str) -> Answer {
    format!("{text}\0").into_bytes().into()
}

fn quota_name(name: &[u8]) -> Result<Quota, Error> {
    let name = std::str::from_utf8(name).map_err(|_| Error::Einval)?;
    Quota::from_name(name).ok_or(Error::Einval)
}

fn setting(name: &str, value: &str) -> Result<(Quota, u32), Error> {
    let quota = Quota::from_name(name).ok_or(Error::Einval)?;
    let value = value.parse().map_err(|_| Error::Einval)?;
    Ok((quota, value))
}

fn show(limits: &Limits, level: &str) -> Answer {
    let mut out = "Quota settings:\n".to_string();
    for quota in Quota::all() {
        let limit = limits.get(quota);
        if level == "warning" && limit == 0 && quota != Quota::Memory {
            continue;
        }
        let description = quota.description();
        let note = if quota == Quota::Memory {
            format!(" ({level} level)")
        } else {
            String::new()
        };
        let _ = writeln!(out, "{:<17}: {limit:8} {description}{note}", quota.name());
    }
    text(&out)
}
