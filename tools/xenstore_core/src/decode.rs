//! Parts of snapshots and journals, read and checked.

use std::sync::Arc;

use crate::codec::Reader;
use crate::connection::Outgoing;
use crate::domain::Domain;
use crate::event::{ConnectionId, DOMAIN_0, DomainId};
use crate::path;
use crate::permissions::{Access, Permission, Permissions};
use crate::quota::{Limits, Quota};
use crate::snapshot::Problem;
use crate::tree::Node;
use crate::watch::Watch;
use crate::wire::{HEADER_SIZE, Header};

type Result<T> = std::result::Result<T, Problem>;

/// A canonical path.
pub(crate) fn read_path<'a>(reader: &mut Reader<'a>) -> Result<&'a str> {
    let path = reader.text()?;
    let canonical = path::canonical(path.as_bytes(), DOMAIN_0, true, 0);
    match canonical {
        Ok((_, false)) => Ok(path),
        _ => Err(reader.problem("a path that is none")),
    }
}

pub(crate) fn read_node(reader: &mut Reader<'_>) -> Result<(String, Node)> {
    let path = read_path(reader)?.to_string();
    let data = reader.bytes()?.into();
    let permissions = Arc::new(read_permissions(reader)?);
    let content_generation = reader.u64()?;
    let children_generation = reader.u64()?;
    let writer = reader.u16()?;
    let node = Node {
        data,
        permissions,
        children: Default::default(),
        child_bytes: 0,
        content_generation,
        children_generation,
        writer,
    };
    Ok((path, node))
}

pub(crate) fn read_permissions(reader: &mut Reader<'_>) -> Result<Permissions> {
    let generation = reader.u64()?;
    let count = reader.count()?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let domain = reader.u16()?;
        let access = Access::from_bits(reader.u8()?)
            .ok_or_else(|| reader.problem("permissions of no kind"))?;
        entries.push(Permission { domain, access });
    }
    if entries.is_empty() {
        return Err(reader.problem("permissions without an owner"));
    }
    Ok(Permissions {
        generation,
        entries,
    })
}

pub(crate) fn read_domain(reader: &mut Reader<'_>) -> Result<Domain> {
    let mut domain = Domain::new(reader.u64()?);
    let introduced = reader.bool()?;
    let place = (reader.u64()?, reader.u32()?);
    domain.introduced = introduced.then_some(place);
    domain.shut_down = reader.bool()?;
    domain.target = small(reader)?;
    domain.features = reader.u32()?;
    for _ in 0..reader.count()? {
        let number = reader.u8()?;
        let limit = reader.u32()?;
        let quota = Quota::all()
            .find(|quota| *quota as u8 == number)
            .ok_or_else(|| reader.problem("a quota of an unknown kind"))?;
        domain.limits.insert(quota, limit);
    }
    Ok(domain)
}

pub(crate) fn read_watch(reader: &mut Reader<'_>, connection: ConnectionId) -> Result<Watch> {
    let path = read_path(reader)?.to_string();
    let token = reader.bytes()?.to_vec();
    let relative = reader.bool()?;
    let depth = match reader.option()? {
        Some(depth) => Some(u32::try_from(depth).map_err(|_| reader.problem("too deep"))?),
        None => None,
    };
    Ok(Watch {
        connection,
        path,
        token,
        relative,
        depth,
    })
}

pub(crate) fn read_header(reader: &mut Reader<'_>) -> Result<Header> {
    let bytes = reader.take(HEADER_SIZE)?;
    Header::parse(bytes).ok_or_else(|| reader.problem("a short header"))
}

pub(crate) fn read_message(reader: &mut Reader<'_>) -> Result<Outgoing> {
    let is_event = reader.bool()?;
    let (domain, number) = (reader.u16()?, reader.u64()?);
    let header = read_header(reader)?;
    let payload = reader.bytes()?;
    if header.length as usize != payload.len() {
        return Err(reader.problem("a message of another length than its header says"));
    }
    Ok(Outgoing {
        header: header.to_bytes(),
        payload: payload.into(),
        is_event,
        cause: (number != 0).then_some((domain, number)),
        expires: 0,
    })
}

pub(crate) fn read_limits(reader: &mut Reader<'_>) -> Result<Limits> {
    let mut limits = Limits::hard_defaults();
    for quota in Quota::all() {
        limits.set(quota, reader.u32()?);
    }
    Ok(limits)
}

pub(crate) fn small(reader: &mut Reader<'_>) -> Result<Option<DomainId>> {
    match reader.option()? {
        Some(value) => match u16::try_from(value) {
            Ok(value) => Ok(Some(value)),
            Err(_) => Err(reader.problem("a domain with too high a number")),
        },
        None => Ok(None),
    }
}
