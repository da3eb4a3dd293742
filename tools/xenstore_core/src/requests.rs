//! Requests: each operation's payload, who may ask, and its reply.

use std::sync::Arc;

use crate::Error;
use crate::connection::{Cause, Outgoing, Waiting, domain_of};
use crate::event::{ConnectionId, DOMAIN_0, DomainId, Effect, Host};
use crate::lifecycle::watch_memory;
use crate::nodes::Asker;
use crate::path;
use crate::permissions::{self, Access, Permission, Permissions};
use crate::quota::Quota;
use crate::store::Store;
use crate::transaction::Transaction;
use crate::watch::{Watch, WatchId};
use crate::wire::{self, Header, Operation, PAYLOAD_MAX, number, only_string};

/// The first number that no domain has.
const FIRST_RESERVED: u64 = 0x7ff0;
const DOMID_SELF: u64 = 0x7ff0;

/// What any request costs, in steps of work: taking it in, its reply and its record in the journal take as many
/// instructions as about so many steps in the tree.
const REQUEST_WORK: u64 = 64;

/// What is sent back at once, if anything.
pub(crate) enum Answer {
    /// `OK`.
    Done,
    /// A payload.
    Payload(Arc<[u8]>),
    /// `OK`, and then the watch's first event.
    Watching(WatchId),
    /// Later: the daemon has something to do first.
    Later,
}

impl From<Vec<u8>> for Answer {
    fn from(payload: Vec<u8>) -> Self {
        Answer::Payload(payload.into())
    }
}

/// A request on its way.
pub(crate) struct Request<'a> {
    pub(crate) asker: Asker,
    pub(crate) header: Header,
    pub(crate) payload: &'a [u8],
}

impl Store {
    /// A number for a request whose effects are counted until they are delivered.
    pub(crate) fn new_cause(&mut self, id: ConnectionId) -> Cause {
        let domain = domain_of(id);
        (domain != DOMAIN_0).then(|| {
            self.last_cause += 1;
            (domain, self.last_cause)
        })
    }

    /// Queues a reply.
    pub(crate) fn reply(
        &mut self,
        id: ConnectionId,
        header: Header,
        result: Result<Arc<[u8]>, Error>,
        cause: Cause,
    ) {
        let result = result.and_then(|payload| {
            if payload.len() > PAYLOAD_MAX {
                Err(Error::E2big)
            } else {
                Ok(payload)
            }
        });
        let (kind, payload) = match result {
            Ok(payload) => (header.kind, payload),
            Err(error) => {
                if let Some(domain) = self.domains.get_mut(domain_of(id)) {
                    domain.counters.errors += 1;
                }
                let name = format!("{error}\0");
                (xen_abi::io::xs_wire::XS_ERROR, name.into_bytes().into())
            }
        };
        let header = Header {
            kind,
            length: u32::try_from(payload.len()).unwrap_or(0),
            ..header
        };
        let message = Outgoing {
            header: header.to_bytes(),
            payload,
            is_event: false,
            cause,
            expires: 0,
        };
        self.queue(id, message);
    }

    /// Handles a request from its parsed header on.
    pub(crate) fn handle(
        &mut self,
        id: ConnectionId,
        header: Header,
        payload: &[u8],
        host: &dyn Host,
    ) {
        self.work.add(REQUEST_WORK);
        let asker = Asker {
            connection: id,
            subject: self.subject(id),
            cause: self.new_cause(id),
        };
        let request = Request {
            asker,
            header,
            payload,
        };
        let (result, event) = match self.in_transaction(&request, host) {
            Ok(Answer::Done) => (Ok(b"OK\0"[..].into()), None),
            Ok(Answer::Payload(payload)) => (Ok(payload), None),
            Ok(Answer::Watching(watch)) => (Ok(b"OK\0"[..].into()), Some(watch)),
            Ok(Answer::Later) => return,
            Err(error) => (Err(error), None),
        };
        self.reply(id, header, result, asker.cause);
        if let Some(watch) = event
            && let Some(path) = self.watches.get(watch).map(|watch| watch.path.clone())
        {
            self.send_event(id, watch, &path, None);
        }
        self.trim_versions();
    }

    /// Finds the request's transaction, handles the request, and puts the transaction back if it is not over.
    fn in_transaction(&mut self, request: &Request<'_>, host: &dyn Host) -> Result<Answer, Error> {
        let operation = Operation::from_number(request.header.kind).ok_or(Error::Enosys)?;
        let asker = &request.asker;
        if let Some(domain) = self.domains.get_mut(asker.subject.domain) {
            domain.counters.operation(operation);
        }
        if operation.privileged() && !asker.subject.privileged {
            return Err(Error::Eacces);
        }
        if self.storage_full && operation.changes() {
            return Err(Error::Enospc);
        }
        if operation.grows() && self.is_too_large() {
            return Err(Error::Enomem);
        }
        let number = request.header.transaction;
        if number == 0 || operation.ignores_transaction() {
            return self.operate(operation, request, &mut None, host);
        }
        let taken = self
            .connections
            .get_mut(&asker.connection)
            .and_then(|connection| connection.transactions.remove(&number));
        let mut transaction = Some(taken.ok_or(Error::Enoent)?);
        let steps = transaction.as_ref().map_or(0, |t| t.steps);
        let result = self.operate(operation, request, &mut transaction, host);
        let Some(transaction) = transaction else {
            return result;
        };
        if operation == Operation::ResetWatches {
            self.close_transaction(asker.connection, number, &transaction);
            return result;
        }
        self.journal_private(asker.connection, number, &transaction, steps);
        if let Some(connection) = self.connections.get_mut(&asker.connection) {
            connection.transactions.insert(number, transaction);
        }
        result
    }

    fn operate(
        &mut self,
        operation: Operation,
        request: &Request<'_>,
        transaction: &mut Option<Transaction>,
        host: &dyn Host,
    ) -> Result<Answer, Error> {
        let asker = &request.asker;
        let payload = request.payload;
        match operation {
            Operation::Read => {
                let path = self.path(asker, only_string(payload)?, false)?;
                let node = self.find(asker, transaction, &path, Access::READ)?;
                Ok(Answer::Payload(node.data.clone()))
            }
            Operation::Directory => self.directory(request, transaction),
            Operation::DirectoryPart => self.directory_part(request, transaction),
            Operation::GetPerms => {
                let path = self.path(asker, only_string(payload)?, true)?;
                let node = self.find(asker, transaction, &path, Access::READ)?;
                let stale = node
                    .permissions
                    .without_stale(|domain| self.domains.since(domain));
                let entries = stale.as_ref().unwrap_or(&node.permissions.entries);
                Ok(Permissions::to_wire(entries).into())
            }
            Operation::SetPerms => self.set_perms(request, transaction, host),
            Operation::Write => {
                let (path, data) = wire::split_string(payload)?;
                let path = self.path(asker, path, false)?;
                self.write(asker, transaction, &path, Some(data))?;
                Ok(Answer::Done)
            }
            Operation::Mkdir => {
                let path = self.path(asker, only_string(payload)?, false)?;
                self.write(asker, transaction, &path, None)?;
                Ok(Answer::Done)
            }
            Operation::Rm => {
                let path = self.path(asker, only_string(payload)?, false)?;
                self.remove(asker, transaction, &path)?;
                Ok(Answer::Done)
            }
            Operation::Watch => self.watch(request),
            Operation::Unwatch => self.unwatch(request),
            Operation::ResetWatches => {
                self.drop_watches(asker.connection);
                self.drop_transactions(asker.connection);
                Ok(Answer::Done)
            }
            Operation::TransactionStart => {
                if transaction.is_some() {
                    return Err(Error::Ebusy);
                }
                let id = self.begin(asker)?;
                Ok(format!("{id}\0").into_bytes().into())
            }
            Operation::TransactionEnd => self.end(request, transaction),
            Operation::GetDomainPath => {
                let domain = domain_number(only_string(payload)?)?;
                Ok(format!("{}\0", path::domain_path(domain))
                    .into_bytes()
                    .into())
            }
            Operation::Introduce => self.ask_to_introduce(request),
            Operation::Release => {
                let domain = self.introduced_domain(only_string(payload)?)?;
                // The domain is told nothing of its own end.
                self.drop_watches(ConnectionId::Domain(domain));
                self.domain_gone(domain);
                Ok(Answer::Done)
            }
            Operation::IsDomainIntroduced => {
                let domain = number(only_string(payload)?).ok_or(Error::Einval)?;
                let known = u16::try_from(domain).is_ok_and(|id| self.is_introduced(id));
                let answer = if known || domain == DOMID_SELF {
                    b"T\0"
                } else {
                    b"F\0"
                };
                Ok(answer.to_vec().into())
            }
            Operation::Resume => {
                let id = self.introduced_domain(only_string(payload)?)?;
                if let Some(domain) = self.domains.get_mut(id) {
                    domain.shut_down = false;
                }
                self.journal_domain(id);
                Ok(Answer::Done)
            }
            Operation::SetTarget => self.set_target(payload),
            Operation::Control => self.control(request),
            Operation::GetFeature => self.get_feature(request),
            Operation::SetFeature => self.set_feature(payload, host),
            Operation::GetQuota => self.get_quota(payload),
            Operation::SetQuota => self.set_quota(payload, host),
        }
    }

    fn path(&self, asker: &Asker, path: &[u8], special: bool) -> Result<String, Error> {
        let domain = asker.subject.domain;
        let limit = if asker.subject.privileged {
            0
        } else {
            self.limit(domain, Quota::PathMax)
        };
        path::canonical(path, domain, special, limit).map(|(path, _)| path)
    }

    fn directory(
        &mut self,
        request: &Request<'_>,
        transaction: &mut Option<Transaction>,
    ) -> Result<Answer, Error> {
        let asker = &request.asker;
        let path = self.path(asker, only_string(request.payload)?, false)?;
        let node = self.find(asker, transaction, &path, Access::READ)?;
        self.see(asker, transaction, &path, true)?;
        if node.child_bytes as usize > PAYLOAD_MAX {
            return Err(Error::E2big);
        }
        let mut names = Vec::with_capacity(node.child_bytes as usize);
        for (name, _) in node.children.iter() {
            names.extend_from_slice(name.as_bytes());
            names.push(0);
        }
        self.work.add(node.children.len() as u64 / 8);
        Ok(names.into())
    }

    fn directory_part(
        &mut self,
        request: &Request<'_>,
        transaction: &mut Option<Transaction>,
    ) -> Result<Answer, Error> {
        let asker = &request.asker;
        let mut strings = wire::strings(request.payload);
        let (Some(path), Some(offset), None) = (strings.next(), strings.next(), strings.next())
        else {
            return Err(Error::Einval);
        };
        let offset = number(offset).ok_or(Error::Einval)?;
        let path = self.path(asker, path, false)?;
        let node = self.find(asker, transaction, &path, Access::READ)?;
        self.see(asker, transaction, &path, true)?;
        let mut part = format!("{}\0", node.generation()).into_bytes();
        self.work.add(node.children.len() as u64 / 8);
        let mut position = 0u64;
        for (name, _) in node.children.iter() {
            let end = position + name.len() as u64 + 1;
            if end > offset {
                let begin = usize::try_from(offset.saturating_sub(position)).unwrap_or(usize::MAX);
                let rest = name.as_bytes().get(begin..).unwrap_or_default();
                // One byte stays for the empty name at the list's end.
                if part.len() + rest.len() + 2 > PAYLOAD_MAX {
                    return Ok(part.into());
                }
                part.extend_from_slice(rest);
                part.push(0);
            }
            position = end;
        }
        part.push(0);
        Ok(part.into())
    }

    fn set_perms(
        &mut self,
        request: &Request<'_>,
        transaction: &mut Option<Transaction>,
        host: &dyn Host,
    ) -> Result<Answer, Error> {
        let asker = &request.asker;
        let mut strings = wire::strings(request.payload);
        let path = strings.next().ok_or(Error::Einval)?;
        let parsed: Vec<(u64, Access)> =
            strings.map(permissions::parse).collect::<Result<_, _>>()?;
        if parsed.is_empty() {
            return Err(Error::Einval);
        }
        let limit = self.limit(asker.subject.domain, Quota::NodePermissions);
        if !asker.subject.privileged && limit != 0 && parsed.len() > limit as usize {
            return Err(Error::Enospc);
        }
        let path = self.path(asker, path, true)?;
        // Entries for domains that do not exist mean nobody, now and later.
        let mut entries = Vec::with_capacity(parsed.len());
        for (index, (domain, access)) in parsed.into_iter().enumerate() {
            let domain = u16::try_from(domain).ok();
            let known = domain.filter(|domain| self.know(*domain, host));
            match known {
                Some(domain) => entries.push(Permission { domain, access }),
                None if index == 0 => return Err(Error::Enoent),
                None => {}
            }
        }
        let permissions = Permissions {
            generation: self.generation,
            entries,
        };
        self.set_permissions(asker, transaction, &path, permissions)?;
        Ok(Answer::Done)
    }

    fn watch(&mut self, request: &Request<'_>) -> Result<Answer, Error> {
        let asker = &request.asker;
        let mut strings = wire::strings(request.payload);
        let (Some(path), Some(token)) = (strings.next(), strings.next()) else {
            return Err(Error::Einval);
        };
        let depth = match strings.next() {
            None | Some(b"") => None,
            Some(depth) => {
                if self.features(asker.subject.domain) & wire::FEATURE_WATCH_DEPTH == 0 {
                    return Err(Error::Einval);
                }
                let depth = number(depth).ok_or(Error::Einval)?;
                Some(u32::try_from(depth).map_err(|_| Error::Einval)?)
            }
        };
        if strings.next().is_some() {
            return Err(Error::Einval);
        }
        let domain = asker.subject.domain;
        let limit = if asker.subject.privileged {
            0
        } else {
            self.limit(domain, Quota::PathMax)
        };
        let (path, relative) = path::canonical(path, domain, true, limit)?;
        let key = (path.clone(), token.to_vec());
        let connection = self
            .connections
            .get(&asker.connection)
            .ok_or(Error::Enoent)?;
        if connection.watches.contains_key(&key) {
            return Err(Error::Eexist);
        }
        let limit = self.limit(domain, Quota::Watches);
        let used = self.domains.get(domain).map_or(0, |d| d.usage.watches);
        if !asker.subject.privileged && limit != 0 && used >= u64::from(limit) {
            return Err(Error::E2big);
        }
        self.memory_left(domain, watch_memory(&path, token))?;
        let watch = Watch {
            connection: asker.connection,
            path,
            token: token.to_vec(),
            relative,
            depth,
        };
        Ok(Answer::Watching(self.add_watch(watch)))
    }

    /// Sets a watch, whatever the quotas say.
    pub(crate) fn add_watch(&mut self, watch: Watch) -> WatchId {
        let id = watch.connection;
        if let ConnectionId::Domain(domain) = id {
            self.journal.watch(domain, &watch);
        }
        let key = (watch.path.clone(), watch.token.clone());
        self.charge_watch(id, &key.0, &key.1, true);
        let number = self.watches.add(watch);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.watches.insert(key, number);
        }
        if let Some(domain) = self.domains.get_mut(domain_of(id)) {
            domain.note_peak();
        }
        number
    }

    fn unwatch(&mut self, request: &Request<'_>) -> Result<Answer, Error> {
        let asker = &request.asker;
        let mut strings = wire::strings(request.payload);
        let (Some(path), Some(token)) = (strings.next(), strings.next()) else {
            return Err(Error::Einval);
        };
        let path = self.path(asker, path, true)?;
        self.remove_watch(asker.connection, path, token)?;
        Ok(Answer::Done)
    }

    /// Takes a watch back.
    pub(crate) fn remove_watch(
        &mut self,
        id: ConnectionId,
        path: String,
        token: &[u8],
    ) -> Result<(), Error> {
        let key = (path, token.to_vec());
        let watch = self
            .connections
            .get_mut(&id)
            .and_then(|connection| connection.watches.remove(&key))
            .ok_or(Error::Enoent)?;
        self.watches.remove(watch);
        self.charge_watch(id, &key.0, &key.1, false);
        if let ConnectionId::Domain(domain) = id {
            self.journal.unwatch(domain, &key.0, token);
        }
        Ok(())
    }

    fn end(
        &mut self,
        request: &Request<'_>,
        transaction: &mut Option<Transaction>,
    ) -> Result<Answer, Error> {
        let keep = match only_string(request.payload)? {
            b"T" => true,
            b"F" => false,
            _ => return Err(Error::Einval),
        };
        let ended = transaction.take().ok_or(Error::Enoent)?;
        let asker = &request.asker;
        self.close_transaction(asker.connection, request.header.transaction, &ended);
        if keep {
            self.commit(asker, &ended)?;
        }
        Ok(Answer::Done)
    }

    fn ask_to_introduce(&mut self, request: &Request<'_>) -> Result<Answer, Error> {
        let mut strings = wire::strings(request.payload);
        let (Some(domain), Some(frame), Some(port)) =
            (strings.next(), strings.next(), strings.next())
        else {
            return Err(Error::Einval);
        };
        let domain = domain_number(domain)?;
        // Signed decimal, says the protocol.
        let text = std::str::from_utf8(frame).map_err(|_| Error::Einval)?;
        let frame = text
            .parse::<i64>()
            .map(i64::cast_unsigned)
            .or_else(|_| text.parse::<u64>())
            .map_err(|_| Error::Einval)?;
        let port = number(port)
            .and_then(|port| u32::try_from(port).ok())
            .filter(|port| *port != 0)
            .ok_or(Error::Einval)?;
        if domain == DOMAIN_0 || u64::from(domain) >= FIRST_RESERVED {
            return Err(Error::Einval);
        }
        if self.introducing.contains_key(&domain) {
            return Err(Error::Ebusy);
        }
        self.introducing.insert(domain, (frame, port));
        self.wait(request, Some(domain));
        let again = self.is_introduced(domain);
        self.effects.push(Effect::Introduce {
            domain,
            frame,
            port,
            again,
        });
        Ok(Answer::Later)
    }

    /// Lets a request wait for the daemon.
    pub(crate) fn wait(&mut self, request: &Request<'_>, introducing: Option<DomainId>) {
        if let Some(connection) = self.connections.get_mut(&request.asker.connection) {
            connection.waiting = Some(Waiting {
                header: request.header,
                introducing,
            });
        }
    }

    /// The domain of a string, if it is introduced, and not domain 0.
    fn introduced_domain(&self, text: &[u8]) -> Result<DomainId, Error> {
        let domain = domain_number(text)?;
        if domain == DOMAIN_0 {
            return Err(Error::Einval);
        }
        if !self.is_introduced(domain) {
            return Err(Error::Enoent);
        }
        Ok(domain)
    }

    fn set_target(&mut self, payload: &[u8]) -> Result<Answer, Error> {
        let mut strings = wire::strings(payload);
        let (Some(domain), Some(target)) = (strings.next(), strings.next()) else {
            return Err(Error::Einval);
        };
        let (domain, target) = (domain_number(domain)?, domain_number(target)?);
        if !self.is_introduced(domain) || !self.is_introduced(target) {
            return Err(Error::Enoent);
        }
        if let Some(domain) = self.domains.get_mut(domain) {
            domain.target = Some(target);
        }
        self.journal_domain(domain);
        Ok(Answer::Done)
    }
}

/// A domain's number on the wire.
pub(crate) fn domain_number(text: &[u8]) -> Result<DomainId, Error> {
    number(text)
        .and_then(|number| u16::try_from(number).ok())
        .ok_or(Error::Einval)
}
