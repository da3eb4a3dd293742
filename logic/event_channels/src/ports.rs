//! The ports of a domain by number, in buckets that are allocated when first needed.

use alloc::vec::Vec;

use xen_abi::EvtchnPort;
use xen_abi::errno::Errno;

use crate::channel::{Channel, PortState};

/// Ports in a bucket. Xen's number, which a guest sees: `EVTCHNOP_status` tells a port that exists and is closed
/// from one that does not exist.
pub(crate) const BUCKET: u32 = 64;

#[derive(Clone)]
struct Bucket {
    /// [`BUCKET`] of them.
    channels: Vec<Channel>,
    /// How many are free: a full bucket is skipped in the search for a free port.
    free: u32,
}

/// Ports 0 up to a multiple of [`BUCKET`].
#[derive(Clone, Default)]
pub(crate) struct Ports {
    buckets: Vec<Bucket>,
}

impl Ports {
    /// Number of ports that exist.
    #[inline]
    pub(crate) fn len(&self) -> u32 {
        self.buckets.len() as u32 * BUCKET
    }

    #[inline]
    pub(crate) fn get(&self, port: EvtchnPort) -> Option<&Channel> {
        self.buckets
            .get((port / BUCKET) as usize)?
            .channels
            .get((port % BUCKET) as usize)
    }

    /// A port for changes other than to `state`.
    #[inline]
    pub(crate) fn get_mut(&mut self, port: EvtchnPort) -> Option<&mut Channel> {
        self.buckets
            .get_mut((port / BUCKET) as usize)?
            .channels
            .get_mut((port % BUCKET) as usize)
    }

    /// Changes what a port is bound to.
    pub(crate) fn set_state(&mut self, port: EvtchnPort, state: PortState) {
        let Some(bucket) = self.buckets.get_mut((port / BUCKET) as usize) else {
            return;
        };
        let Some(channel) = bucket.channels.get_mut((port % BUCKET) as usize) else {
            return;
        };
        let was_free = channel.state == PortState::Free;
        let is_free = state == PortState::Free;
        channel.state = state;
        bucket.free = bucket.free - u32::from(was_free) + u32::from(is_free);
    }

    /// Finds the lowest free port below `limit` that is not `busy`, adding a bucket if all are taken.
    ///
    /// # Errors
    /// `ENOSPC` at the limit, `ENOMEM`.
    pub(crate) fn find_free(
        &mut self,
        limit: u32,
        busy: impl Fn(EvtchnPort) -> bool,
    ) -> Result<EvtchnPort, Errno> {
        for (index, bucket) in self.buckets.iter().enumerate() {
            if bucket.free == 0 {
                continue;
            }
            let base = index as u32 * BUCKET;
            for (port, channel) in (base..).zip(&bucket.channels) {
                if port >= limit {
                    return Err(Errno::ENOSPC);
                }
                if channel.state == PortState::Free && !busy(port) {
                    return Ok(port);
                }
            }
        }
        let port = self.len();
        if port >= limit {
            return Err(Errno::ENOSPC);
        }
        self.grow()?;
        Ok(port)
    }

    /// Adds a bucket of free ports.
    ///
    /// # Errors
    /// `ENOMEM`; nothing has changed then.
    pub(crate) fn grow(&mut self) -> Result<(), Errno> {
        self.buckets.try_reserve(1).map_err(|_| Errno::ENOMEM)?;
        let mut channels = Vec::new();
        channels
            .try_reserve_exact(BUCKET as usize)
            .map_err(|_| Errno::ENOMEM)?;
        channels.resize(BUCKET as usize, Channel::FREE);
        self.buckets.push(Bucket {
            channels,
            free: BUCKET,
        });
        Ok(())
    }

    /// All ports in use, in order.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = (EvtchnPort, &Channel)> {
        (0..)
            .zip(self.buckets.iter().flat_map(|bucket| &bucket.channels))
            .filter(|(_, channel)| !matches!(channel.state, PortState::Free | PortState::Reserved))
    }
}
