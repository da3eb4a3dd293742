//! A store made of a snapshot, and of a journal.

use std::sync::Arc;

use crate::codec::{Reader, checksum};
use crate::connection::{Connection, Waiting, domain_of};
use crate::decode::{
    read_domain, read_header, read_limits, read_message, read_node, read_path, read_permissions,
    read_watch, small,
};
use crate::domain::{CONFLICT_BURST, Delta};
use crate::event::{ConnectionId, DOMAIN_0, DomainId};
use crate::journal::{RECORD_HEADER, RECORD_MAX, kind};
use crate::map::Work;
use crate::path;
use crate::snapshot::{MAGIC, Problem, VERSION};
use crate::store::{Config, Store};
use crate::transaction::{Changed, Fire, Seen, Transaction};
use crate::transactions::overlay;
use crate::tree::{Node, Tree};

/// What was in a journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Whole records.
    pub records: usize,
    /// Their bytes; the journal is to be cut here before more is appended.
    pub bytes: usize,
    /// Why it was not read to its end: a torn record, as a rule.
    pub problem: Option<Problem>,
}

type Result<T> = std::result::Result<T, Problem>;

impl Store {
    /// The store of which this is the snapshot, sockets and transactions included: for a live update.
    pub fn restore(config: Config, snapshot: &[u8]) -> Result<Store> {
        let body = body(snapshot)?;
        let mut reader = Reader::new(body);
        let mut store = read_body(config, &mut reader)?;
        if !reader.is_empty() {
            return Err(reader.problem("there is more than a snapshot"));
        }
        if let Some(problem) = store.check().into_iter().next() {
            return Err(problem);
        }
        store.forget_steps();
        for id in store.connections().collect::<Vec<_>>() {
            store.consider(id);
        }
        Ok(store)
    }

    /// The store after a crash: of the last snapshot, if there is one, and the journal that was begun with it. Sockets are
    /// gone. Transactions that were open go on, but their ends answer EAGAIN.
    pub fn recover(
        config: Config,
        snapshot: Option<&[u8]>,
        journal: &[u8],
    ) -> Result<(Store, Recovered)> {
        let mut store = match snapshot {
            Some(snapshot) => Store::restore(config, snapshot)?,
            None => Store::new(config),
        };
        for id in store.connections().collect::<Vec<_>>() {
            if matches!(id, ConnectionId::Socket(_)) {
                store.drop_connection(id);
            }
        }
        store.forget_turns();
        let enabled = store.config.journal;
        store.journal = crate::journal::Journal::new(false);
        let recovered = store.replay(journal)?;
        store.forget_turns();
        for connection in store.connections.values_mut() {
            connection.waiting = None;
            for transaction in connection.transactions.values_mut() {
                transaction.conflict = true;
            }
        }
        store.introducing.clear();
        store.journal = crate::journal::Journal::new(enabled);
        store.forget_steps();
        for id in store.connections().collect::<Vec<_>>() {
            store.consider(id);
        }
        Ok((store, recovered))
    }

    /// What the journal does not tell the later course of: turns, and who waits for the effects of what.
    fn forget_turns(&mut self) {
        self.turns.clear();
        self.throttled.clear();
        for connection in self.connections.values_mut() {
            connection.queued = false;
            connection.credit = 0;
            for message in &mut connection.output {
                message.cause = None;
            }
        }
        for domain in self.domains.0.values_mut() {
            domain.outstanding.clear();
            domain.conflict_credit = CONFLICT_BURST;
            domain.note_peak();
        }
    }

    fn forget_steps(&mut self) {
        self.effects.clear();
        self.journal.take();
        let connections = self.connections.iter();
        let behind = connections.filter(|(_, connection)| connection.backlog() > 0);
        self.behind = behind.map(|(id, _)| *id).collect();
    }

    fn replay(&mut self, journal: &[u8]) -> Result<Recovered> {
        let mut recovered = Recovered {
            records: 0,
            bytes: 0,
            problem: None,
        };
        let mut reader = Reader::new(journal);
        while !reader.is_empty() {
            match record(&mut reader) {
                Ok(body) => {
                    // A whole record that cannot be applied is not a torn end: going on would lose what came after it.
                    self.apply(body).map_err(|problem| Problem {
                        offset: Some(recovered.bytes),
                        text: format!("record {}: {problem}", recovered.records),
                    })?;
                    recovered.records += 1;
                    recovered.bytes = reader.position();
                }
                Err(problem) => {
                    recovered.problem = Some(problem);
                    break;
                }
            }
        }
        self.effects.clear();
        Ok(recovered)
    }

    fn apply(&mut self, body: &[u8]) -> Result<()> {
        let mut reader = Reader::new(body);
        let generation = reader.u64()?;
        while !reader.is_empty() {
            self.apply_change(&mut reader)?;
        }
        self.generation = generation;
        Ok(())
    }

    fn apply_change(&mut self, reader: &mut Reader<'_>) -> Result<()> {
        let kind = reader.u8()?;
        match kind {
            kind::NODE => {
                let generation = reader.u64()?;
                let path = read_path(reader)?;
                let data: Arc<[u8]> = reader.bytes()?.into();
                let permissions = Arc::new(read_permissions(reader)?);
                let writer = reader.u16()?;
                self.generation = generation.saturating_sub(1);
                if self.tree.get(path::parent(path), &self.work).is_none() {
                    return Err(reader.problem("a node without a parent"));
                }
                self.put(&mut None, path, data, permissions, writer);
                return Ok(());
            }
            kind::REMOVE => {
                let generation = reader.u64()?;
                let path = read_path(reader)?;
                let writer = reader.u16()?;
                self.generation = generation.saturating_sub(1);
                self.take(&mut None, path, writer);
                return Ok(());
            }
            kind::LIMITS => {
                self.config.hard = read_limits(reader)?;
                self.config.soft = read_limits(reader)?;
                return Ok(());
            }
            _ => {}
        }
        let domain = reader.u16()?;
        let id = ConnectionId::Domain(domain);
        match kind {
            kind::DOMAIN => self.apply_domain(domain, reader)?,
            kind::DOMAIN_GONE => {
                self.drop_connection(id);
                self.forget_domain(domain);
            }
            kind::CLEARED => {
                self.connections.entry(id).or_default().ignored = false;
                self.clear(id);
            }
            kind::IGNORED => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.ignored = true;
                }
            }
            kind::WATCH => {
                let watch = read_watch(reader, id)?;
                self.add_watch(watch);
            }
            kind::UNWATCH => {
                let path = reader.text()?.to_string();
                let token = reader.bytes()?;
                self.remove_watch(id, path, token)
                    .map_err(|_| reader.problem("a watch that was not set is taken back"))?;
            }
            kind::UNWATCH_ALL => self.drop_watches(id),
            kind::BEGIN | kind::PRIVATE | kind::END => self.apply_transaction(kind, id, reader)?,
            _ => self.apply_bytes(kind, id, reader)?,
        }
        Ok(())
    }

    fn apply_domain(&mut self, id: DomainId, reader: &mut Reader<'_>) -> Result<()> {
        let read = read_domain(reader)?;
        match self.domains.get_mut(id) {
            Some(domain) => {
                domain.introduced = read.introduced;
                domain.shut_down = read.shut_down;
                domain.target = read.target;
                domain.features = read.features;
                domain.limits = read.limits;
            }
            None => {
                self.domains.0.insert(id, read);
            }
        }
        if self.is_introduced(id) {
            self.connections
                .entry(ConnectionId::Domain(id))
                .or_default();
        }
        Ok(())
    }

    fn apply_transaction(
        &mut self,
        kind: u8,
        id: ConnectionId,
        reader: &mut Reader<'_>,
    ) -> Result<()> {
        let number = reader.u32()?;
        if kind == kind::BEGIN {
            let transaction = Transaction::new(self.tree.clone(), self.changes);
            self.open_transaction(id, number, transaction);
            if let Some(connection) = self.connections.get_mut(&id) {
                connection.next_transaction = number.wrapping_add(1);
            }
            return Ok(());
        }
        let taken = self
            .connections
            .get_mut(&id)
            .and_then(|connection| connection.transactions.remove(&number));
        let Some(mut transaction) = taken else {
            return Err(reader.problem("a transaction that was not begun"));
        };
        if kind == kind::END {
            self.close_transaction(id, number, &transaction);
            return Ok(());
        }
        let path = read_path(reader)?;
        let node = if reader.bool()? {
            let data = reader.bytes()?.into();
            let permissions = Arc::new(read_permissions(reader)?);
            Some(Node::new(data, permissions, self.generation, DOMAIN_0))
        } else {
            None
        };
        transaction.see(path, None, false);
        transaction.change(path, None, None);
        let generation = self.next_generation();
        overlay(&mut transaction.tree, path, node, generation, &self.work);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.transactions.insert(number, transaction);
        }
        Ok(())
    }

    /// Changes of what a ring has received and is to get.
    fn apply_bytes(&mut self, kind: u8, id: ConnectionId, reader: &mut Reader<'_>) -> Result<()> {
        match kind {
            kind::RECEIVED => {
                let bytes = reader.bytes()?;
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.input.extend_from_slice(bytes);
                    connection.received_total += bytes.len() as u64;
                }
            }
            kind::CONSUMED => {
                let payload = reader.u32()? as usize;
                let taken = self
                    .connections
                    .get_mut(&id)
                    .and_then(Connection::take_message);
                if taken.is_none_or(|(_, taken)| taken.len() != payload) {
                    return Err(reader.problem("a request that was not received"));
                }
            }
            kind::QUEUED => {
                let message = read_message(reader)?;
                self.queue(id, message);
            }
            kind::SENT => {
                let count = reader.u32()? as usize;
                self.sent(id, count);
            }
            kind::DROPPED => {
                let index = reader.u32()? as usize;
                let dropped = self.connections.get_mut(&id).and_then(|connection| {
                    let message = connection.output.remove(index)?;
                    connection.output_bytes -= message.length();
                    connection.pending_events.remove(&message.payload);
                    Some(message)
                });
                let Some(message) = dropped else {
                    return Err(reader.problem("a message is dropped that was not queued"));
                };
                self.delivered(id, &message);
            }
            kind::REMEMBER => {
                let bytes = reader.bytes()?;
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.remembered = bytes.to_vec();
                }
            }
            _ => return Err(reader.problem("a change of an unknown kind")),
        }
        Ok(())
    }
}

/// A snapshot's body, if its header says the truth about it.
pub(crate) fn body(snapshot: &[u8]) -> Result<&[u8]> {
    let mut reader = Reader::new(snapshot);
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(Problem::whole("it is not a snapshot of a store"));
    }
    let version = reader.u32()?;
    if version != VERSION {
        return Err(reader.problem(&format!("version {version} is unknown, {VERSION} is known")));
    }
    let length = reader.u64()?;
    let expected = reader.u32()?;
    let length = usize::try_from(length).map_err(|_| reader.problem("too long"))?;
    let body = reader.take(length)?;
    if !reader.is_empty() {
        return Err(reader.problem("there is more after the snapshot's end"));
    }
    let found = checksum(body);
    if found != expected {
        let text = format!("checksum is {found:08x}, and should be {expected:08x}");
        return Err(Problem::whole(text));
    }
    Ok(body)
}

/// The next record's body.
fn record<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    let mut ahead = reader.clone();
    let length = ahead.u32()? as usize;
    let expected = ahead.u32()?;
    if length > RECORD_MAX {
        return Err(reader.problem("a record's length is nonsense"));
    }
    let body = ahead.take(length)?;
    if checksum(body) != expected {
        return Err(reader.problem("a record's checksum is wrong"));
    }
    reader.take(RECORD_HEADER + length)?;
    Ok(body)
}

fn read_body(mut config: Config, reader: &mut Reader<'_>) -> Result<Store> {
    let generation = reader.u64()?;
    config.hard = read_limits(reader)?;
    config.soft = read_limits(reader)?;
    let mut store = Store::with_tree(config, Tree::empty(), Work::default());
    store.journal = crate::journal::Journal::new(false);
    store.domains.0.clear();
    for _ in 0..reader.count()? {
        let id = reader.u16()?;
        let mut domain = read_domain(reader)?;
        domain.conflict_credit = reader.u64()?.cast_signed().min(CONFLICT_BURST);
        if domain.conflict_credit < CONFLICT_BURST {
            store.throttled.insert(id);
        }
        store.domains.0.insert(id, domain);
    }
    if store.domains.get(DOMAIN_0).is_none() {
        return Err(reader.problem("domain 0 is missing"));
    }
    let mut nodes = Vec::new();
    for _ in 0..reader.u64()? {
        nodes.push(read_node(reader)?);
    }
    for (path, node) in &nodes {
        let bare = Arc::new(node.clone());
        if path != "/" && !path.starts_with('@') {
            let there = store.tree.get(path::parent(path), &store.work).is_some();
            if !there || store.tree.get(path, &store.work).is_some() {
                return Err(
                    reader.problem(&format!("node {path} is there twice, or has no parent"))
                );
            }
        }
        store.tree.insert(path, bare, 0, node.writer, &store.work);
    }
    set_generations(&mut store.tree, &nodes, &store.work);
    store.recount();
    store.generation = generation;
    for _ in 0..reader.count()? {
        let domain = reader.u16()?;
        let place = (reader.u64()?, reader.u32()?);
        store.introducing.insert(domain, place);
    }
    for _ in 0..reader.count()? {
        let id = read_connection_id(reader)?;
        if store.domains.get(domain_of(id)).is_none() {
            return Err(reader.problem("a connection of an unknown domain"));
        }
        read_connection(&mut store, id, reader)?;
    }
    for _ in 0..reader.count()? {
        // With those that cannot run now: they keep their places.
        let id = read_connection_id(reader)?;
        if let Some(connection) = store.connections.get_mut(&id).filter(|c| !c.queued) {
            connection.queued = true;
            store.turns.push_back(id);
        }
    }
    let enabled = store.config.journal;
    store.journal = crate::journal::Journal::new(enabled);
    Ok(store)
}

fn read_connection_id(reader: &mut Reader<'_>) -> Result<ConnectionId> {
    let kind = reader.u8()?;
    let number = reader.u64()?;
    match (kind, u16::try_from(number)) {
        (0, Ok(domain)) => Ok(ConnectionId::Domain(domain)),
        (1, _) => Ok(ConnectionId::Socket(number)),
        _ => Err(reader.problem("a connection of an unknown kind")),
    }
}

/// Inserting children changed their parents' generations: gives nodes those that they had.
fn set_generations(tree: &mut Tree, nodes: &[(String, Node)], work: &Work) {
    for (path, node) in nodes {
        if let Some(there) = tree.get_mut(path, work) {
            there.content_generation = node.content_generation;
            there.children_generation = node.children_generation;
            there.writer = node.writer;
        }
    }
}

fn read_connection(store: &mut Store, id: ConnectionId, reader: &mut Reader<'_>) -> Result<()> {
    let mut connection = Connection {
        ignored: reader.bool()?,
        credit: reader.u64()?.cast_signed(),
        received_total: reader.u64()?,
        sent_total: reader.u64()?,
        remembered: reader.bytes()?.to_vec(),
        input: reader.bytes()?.to_vec(),
        ..Connection::default()
    };
    if reader.bool()? {
        let header = read_header(reader)?;
        let introducing = small(reader)?;
        connection.waiting = Some(Waiting {
            header,
            introducing,
        });
    }
    connection.full = connection.space() == 0;
    let ignored = std::mem::take(&mut connection.ignored);
    let sent = reader.u32()? as usize;
    store.connections.insert(id, connection);
    for _ in 0..reader.count()? {
        let message = read_message(reader)?;
        if let Some((_, number)) = message.cause {
            store.last_cause = store.last_cause.max(number);
        }
        store.queue(id, message);
    }
    let bad_sent = store
        .connections
        .get(&id)
        .is_none_or(|c| sent != 0 && c.output.front().is_none_or(|first| sent >= first.length()));
    if bad_sent {
        return Err(reader.problem("more was sent of a message than it has"));
    }
    for _ in 0..reader.count()? {
        let watch = read_watch(reader, id)?;
        store.add_watch(watch);
    }
    let next_transaction = reader.u32()?;
    for _ in 0..reader.count()? {
        let number = reader.u32()?;
        let transaction = read_transaction(store, reader)?;
        store.open_transaction(id, number, transaction);
    }
    if let Some(connection) = store.connections.get_mut(&id) {
        connection.ignored = ignored;
        connection.sent = sent;
        connection.next_transaction = next_transaction;
    }
    Ok(())
}

fn read_transaction(store: &Store, reader: &mut Reader<'_>) -> Result<Transaction> {
    let mut transaction = Transaction::new(store.tree.clone(), store.changes);
    transaction.failed = reader.bool()?;
    transaction.conflict = reader.bool()?;
    transaction.memory = reader.u64()?;
    for _ in 0..reader.count()? {
        let domain = reader.u16()?;
        let delta = Delta {
            nodes: reader.u64()?.cast_signed(),
            memory: reader.u64()?.cast_signed(),
        };
        transaction.deltas.insert(domain, delta);
    }
    for _ in 0..reader.count()? {
        let path = read_path(reader)?.to_string();
        let seen = Seen {
            content: reader.u64()?,
            children: reader.u64()?,
            used_children: reader.bool()?,
        };
        transaction.seen.insert(path, seen);
    }
    for _ in 0..reader.count()? {
        let path = read_path(reader)?.to_string();
        let order = reader.u64()?;
        let fire = match reader.u8()? {
            0 => None,
            1 => Some(Fire::Above),
            2 => Some(Fire::Exactly),
            _ => return Err(reader.problem("a change that fires nonsense")),
        };
        let before = match reader.bool()? {
            true => Some(Arc::new(read_permissions(reader)?)),
            false => None,
        };
        let touched = 0;
        transaction.changed.insert(
            path,
            Changed {
                order,
                touched,
                fire,
                before,
            },
        );
    }
    let mut nodes = Vec::new();
    for _ in 0..reader.count()? {
        if reader.bool()? {
            let (path, node) = read_node(reader)?;
            let bare = Arc::new(node.clone());
            overlay(&mut transaction.tree, &path, Some(bare), 0, &store.work);
            nodes.push((path, node));
        } else {
            let path = read_path(reader)?;
            overlay(&mut transaction.tree, path, None, 0, &store.work);
        }
    }
    set_generations(&mut transaction.tree, &nodes, &store.work);
    Ok(transaction)
}
