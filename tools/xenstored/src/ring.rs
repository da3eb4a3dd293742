//! The page of two rings between a domain and xenstored.
//!
//! The domain may write anything into the page at any time. So this side's own indices are kept here, and only stored
//! there; the other side's are read once for each decision, and believed if they make a distance of at most a ring.
//!
//! Nothing that is read or written counts before its index is published, which the owner does when the journal has
//! it: see `daemon::rings`.
//!
//! Source: `public/io/xs_wire.h`, Xen's `docs/misc/xenstore-ring.txt`.

use xen_abi::io::xs_wire;
use xen_sys::SharedPages;

/// Bytes of each ring.
pub const RING_SIZE: u32 = xs_wire::XENSTORE_RING_SIZE;
const REQUESTS: usize = 0;
const RESPONSES: usize = 1024;
const REQUEST_CONSUMER: usize = 2048;
const REQUEST_PRODUCER: usize = 2052;
const RESPONSE_CONSUMER: usize = 2056;
const RESPONSE_PRODUCER: usize = 2060;
const SERVER_FEATURES: usize = 2064;
const CONNECTION: usize = 2068;
const ERROR: usize = 2072;

/// The other side's index cannot be: the rings are of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WildIndex {
    /// This side's index.
    pub ours: u32,
    /// What the page has as the other's.
    pub theirs: u32,
}

/// The daemon's end.
#[derive(Debug)]
pub struct Ring {
    page: SharedPages,
    /// How far requests were taken, published or not.
    request_consumer: u32,
    /// How far responses were written, published or not.
    response_producer: u32,
}

impl Ring {
    /// The end that continues at these indices.
    pub fn new(page: SharedPages, request_consumer: u32, response_producer: u32) -> Self {
        Self {
            page,
            request_consumer,
            response_producer,
        }
    }

    /// The end that continues where the page says that the daemon is.
    pub fn from_page(page: SharedPages) -> Self {
        let request_consumer = page.load_u32(REQUEST_CONSUMER);
        let response_producer = page.load_u32(RESPONSE_PRODUCER);
        Self::new(page, request_consumer, response_producer)
    }

    /// The indices: of requests taken, of responses written.
    pub fn indices(&self) -> (u32, u32) {
        (self.request_consumer, self.response_producer)
    }

    /// Takes requests: fills `buffer` as far as there are any; gives how many bytes.
    pub fn take_requests(&mut self, buffer: &mut [u8]) -> Result<usize, WildIndex> {
        let producer = self.page.load_u32(REQUEST_PRODUCER);
        let available = distance(self.request_consumer, producer)?;
        let count = available.min(buffer.len());
        self.copy(REQUESTS, self.request_consumer, count, |page, at, range| {
            page.copy_out(at, &mut buffer[range]);
        });
        // At most a ring's size.
        self.request_consumer = self.request_consumer.wrapping_add(count as u32);
        Ok(count)
    }

    /// Whether requests wait.
    pub fn has_requests(&self) -> Result<bool, WildIndex> {
        let producer = self.page.load_u32(REQUEST_PRODUCER);
        Ok(distance(self.request_consumer, producer)? > 0)
    }

    /// Room for responses, in bytes.
    pub fn response_space(&self) -> Result<usize, WildIndex> {
        let consumer = self.page.load_u32(RESPONSE_CONSUMER);
        let used = distance(consumer, self.response_producer).map_err(|_| WildIndex {
            ours: self.response_producer,
            theirs: consumer,
        })?;
        Ok(RING_SIZE as usize - used)
    }

    /// Writes responses behind those that are there, as far as `space`, which is at most
    /// [`Ring::response_space`]; gives how many bytes.
    pub fn put_responses(&mut self, bytes: &[u8], space: usize) -> usize {
        let count = bytes.len().min(space).min(RING_SIZE as usize);
        self.copy(
            RESPONSES,
            self.response_producer,
            count,
            |page, at, range| page.copy_in(at, &bytes[range]),
        );
        self.response_producer = self.response_producer.wrapping_add(count as u32);
        count
    }

    /// Copies `count` bytes, at most a ring's size, from an index on: in two parts if they wrap.
    fn copy(
        &self,
        ring: usize,
        index: u32,
        count: usize,
        mut part: impl FnMut(&SharedPages, usize, std::ops::Range<usize>),
    ) {
        let start = (index % RING_SIZE) as usize;
        let first = count.min(RING_SIZE as usize - start);
        part(&self.page, ring + start, 0..first);
        if first < count {
            part(&self.page, ring, first..count);
        }
    }

    /// Tells the domain how far requests were taken, and responses are there. Gives whether that is news.
    pub fn publish(&mut self) -> bool {
        let mut news = false;
        for (offset, value) in [
            (RESPONSE_PRODUCER, self.response_producer),
            (REQUEST_CONSUMER, self.request_consumer),
        ] {
            if self.page.load_u32(offset) != value {
                self.page.store_u32(offset, value);
                news = true;
            }
        }
        if news {
            self.page.fence();
        }
        news
    }

    /// Whether the domain wants to begin anew.
    pub fn wants_reconnection(&self) -> bool {
        self.page.load_u32(CONNECTION) == xs_wire::XENSTORE_RECONNECT
    }

    /// Begins anew: both rings empty, no error, connected.
    pub fn reset(&mut self, features: u32) {
        self.request_consumer = 0;
        self.response_producer = 0;
        for offset in [
            REQUEST_CONSUMER,
            REQUEST_PRODUCER,
            RESPONSE_CONSUMER,
            RESPONSE_PRODUCER,
        ] {
            self.page.store_u32(offset, 0);
        }
        self.set_features(features);
        self.set_error(xs_wire::XENSTORE_ERROR_NONE);
        // The last: from now on the domain may use it.
        self.page.store_u32(CONNECTION, xs_wire::XENSTORE_CONNECTED);
        self.page.fence();
    }

    /// Begins where the page says that the domain is: it may have spoken before anyone listened.
    pub fn begin(&mut self, features: u32) {
        self.set_features(features);
        self.set_error(xs_wire::XENSTORE_ERROR_NONE);
        self.page.store_u32(CONNECTION, xs_wire::XENSTORE_CONNECTED);
        self.page.fence();
    }

    /// Tells the domain what this daemon can do.
    pub fn set_features(&mut self, features: u32) {
        self.page.store_u32(SERVER_FEATURES, features);
    }

    /// Tells the domain why it is no longer served (`XENSTORE_ERROR_*`).
    pub fn set_error(&mut self, error: u32) {
        self.page.store_u32(ERROR, error);
    }
}

/// How far `producer` is ahead of `consumer`.
fn distance(consumer: u32, producer: u32) -> Result<usize, WildIndex> {
    let distance = producer.wrapping_sub(consumer);
    if distance > RING_SIZE {
        return Err(WildIndex {
            ours: consumer,
            theirs: producer,
        });
    }
    Ok(distance as usize)
}

/// The domain's end, for tests and simulated domains.
#[derive(Debug)]
pub struct DomainEnd {
    page: SharedPages,
}

impl DomainEnd {
    /// The other end of a page.
    pub fn new(page: SharedPages) -> Self {
        Self { page }
    }

    /// Writes as much of a request as there is room for; gives how many bytes. A page that the daemon is resetting
    /// has no room.
    pub fn put_requests(&self, bytes: &[u8]) -> usize {
        let producer = self.page.load_u32(REQUEST_PRODUCER);
        let consumer = self.page.load_u32(REQUEST_CONSUMER);
        let used = producer.wrapping_sub(consumer).min(RING_SIZE) as usize;
        let count = bytes.len().min(RING_SIZE as usize - used);
        for (index, byte) in bytes[..count].iter().enumerate() {
            let at = producer.wrapping_add(index as u32) % RING_SIZE;
            self.page.store_u8(REQUESTS + at as usize, *byte);
        }
        self.page
            .store_u32(REQUEST_PRODUCER, producer.wrapping_add(count as u32));
        self.page.fence();
        count
    }

    /// Takes the responses that are there.
    pub fn take_responses(&self) -> Vec<u8> {
        let producer = self.page.load_u32(RESPONSE_PRODUCER);
        let consumer = self.page.load_u32(RESPONSE_CONSUMER);
        let count = producer.wrapping_sub(consumer).min(RING_SIZE);
        let bytes = (0..count)
            .map(|index| {
                let at = consumer.wrapping_add(index) % RING_SIZE;
                self.page.load_u8(RESPONSES + at as usize)
            })
            .collect();
        self.page
            .store_u32(RESPONSE_CONSUMER, consumer.wrapping_add(count));
        self.page.fence();
        bytes
    }

    /// Asks the daemon to begin anew.
    pub fn ask_reconnection(&self) {
        self.page.store_u32(CONNECTION, xs_wire::XENSTORE_RECONNECT);
        self.page.fence();
    }

    /// The daemon's features, the state of the connection, the error.
    pub fn state(&self) -> (u32, u32, u32) {
        (
            self.page.load_u32(SERVER_FEATURES),
            self.page.load_u32(CONNECTION),
            self.page.load_u32(ERROR),
        )
    }

    /// The page, for those who want to spoil it.
    pub fn page(&self) -> &SharedPages {
        &self.page
    }
}

#[cfg(test)]
mod tests;
