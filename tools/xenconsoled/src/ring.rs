//! The two rings of a console's page, with a guest on the other side that may write anything at any time.
//!
//! The indices count bytes, without end, modulo 2^32. Each side owns one index of each ring: we trust our own copies of
//! ours, never what the page says of them. The guest's are checked at each use: a distance larger than the ring is
//! [`Wild`], upon which the ring is left alone until both of its indices make sense again.
//!
//! Source: `public/io/console.h`.

use std::fmt;

/// The page, as a guest and we see it. Offsets are below 4096, words aligned.
pub trait Page {
    /// Loads a word; what is read afterwards is at least as new.
    fn load(&self, offset: usize) -> u32;
    /// Stores a word after everything that was read or written before.
    fn store(&self, offset: usize, value: u32);
    /// Copies bytes out.
    fn copy_out(&self, offset: usize, bytes: &mut [u8]);
    /// Copies bytes in.
    fn copy_in(&self, offset: usize, bytes: &[u8]);
    /// Orders earlier stores before later loads.
    fn fence(&self);
}

/// `in`: what we tell the guest.
const INPUT: usize = 0;
/// The size of the ring towards the guest, in bytes.
pub const INPUT_SIZE: u32 = 1024;
/// `out`: what the guest tells us.
const OUTPUT: usize = 1024;
/// The size of the ring from the guest, in bytes.
pub const OUTPUT_SIZE: u32 = 2048;
const INPUT_CONSUMER: usize = 3072;
const INPUT_PRODUCER: usize = 3076;
const OUTPUT_CONSUMER: usize = 3080;
const OUTPUT_PRODUCER: usize = 3084;

/// Indices that no honest guest could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wild {
    /// Which ring: `in` or `out`.
    pub ring: &'static str,
    /// The consumer's index.
    pub consumer: u32,
    /// The producer's index.
    pub producer: u32,
}

impl fmt::Display for Wild {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ring `{}` has wild indices: consumer {:#x}, producer {:#x}",
            self.ring, self.consumer, self.producer
        )
    }
}

/// Our side of both rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rings {
    /// How far we have read what the guest tells.
    output_consumer: u32,
    /// How far we have written what we tell the guest.
    input_producer: u32,
}

impl Rings {
    /// Takes over a page as it is.
    ///
    /// # Errors
    ///
    /// [`Wild`] if its indices make no sense: try again when the guest has changed them.
    pub fn adopt(page: &impl Page) -> Result<Rings, Wild> {
        let rings = Rings {
            output_consumer: page.load(OUTPUT_CONSUMER),
            input_producer: page.load(INPUT_PRODUCER),
        };
        rings.readable(page)?;
        rings.writable(page)?;
        Ok(rings)
    }

    /// Takes over a page of which `consumed` is known to be what has been read of it.
    ///
    /// # Errors
    ///
    /// [`Wild`] if the guest cannot have got from there to where it is.
    pub fn resume(page: &impl Page, consumed: u32) -> Result<Rings, Wild> {
        let rings = Rings {
            output_consumer: consumed,
            input_producer: page.load(INPUT_PRODUCER),
        };
        rings.readable(page)?;
        rings.writable(page)?;
        page.store(OUTPUT_CONSUMER, consumed);
        Ok(rings)
    }

    /// How far the guest's bytes have been read.
    pub fn consumed(&self) -> u32 {
        self.output_consumer
    }

    fn readable(&self, page: &impl Page) -> Result<u32, Wild> {
        distance(
            "out",
            OUTPUT_SIZE,
            self.output_consumer,
            page.load(OUTPUT_PRODUCER),
        )
    }

    /// Copies what the guest told to the end of `bytes`, without taking it; gives how much.
    ///
    /// # Errors
    ///
    /// [`Wild`], and nothing is copied.
    pub fn peek(&self, page: &impl Page, bytes: &mut Vec<u8>) -> Result<u32, Wild> {
        let count = self.readable(page)?;
        let from = self.output_consumer % OUTPUT_SIZE;
        let first = count.min(OUTPUT_SIZE - from);
        copy_out(page, OUTPUT + from as usize, first, bytes);
        copy_out(page, OUTPUT, count - first, bytes);
        Ok(count)
    }

    /// Gives the room of `count` bytes, that were peeked at, back to the guest.
    pub fn take(&mut self, page: &impl Page, count: u32) {
        self.output_consumer = self.output_consumer.wrapping_add(count);
        page.store(OUTPUT_CONSUMER, self.output_consumer);
        // The guest may have written while we read: the caller looks again after telling it.
        page.fence();
    }

    /// How many bytes the guest has room for.
    ///
    /// # Errors
    ///
    /// [`Wild`].
    pub fn writable(&self, page: &impl Page) -> Result<u32, Wild> {
        let waiting = distance(
            "in",
            INPUT_SIZE,
            page.load(INPUT_CONSUMER),
            self.input_producer,
        )?;
        Ok(INPUT_SIZE - waiting)
    }

    /// Tells the guest as much of `bytes` as it has room for; gives how much that is.
    ///
    /// # Errors
    ///
    /// [`Wild`], and nothing is told.
    pub fn tell(&mut self, page: &impl Page, bytes: &[u8]) -> Result<usize, Wild> {
        let room = self.writable(page)? as usize;
        let (bytes, _) = bytes.split_at(bytes.len().min(room));
        let to = (self.input_producer % INPUT_SIZE) as usize;
        let (first, rest) = bytes.split_at(bytes.len().min(INPUT_SIZE as usize - to));
        page.copy_in(INPUT + to, first);
        page.copy_in(INPUT, rest);
        if !bytes.is_empty() {
            // At most the ring's size, which is far below 2^32.
            self.input_producer = self.input_producer.wrapping_add(bytes.len() as u32);
            page.store(INPUT_PRODUCER, self.input_producer);
            page.fence();
        }
        Ok(bytes.len())
    }
}

fn distance(ring: &'static str, size: u32, consumer: u32, producer: u32) -> Result<u32, Wild> {
    let count = producer.wrapping_sub(consumer);
    if count > size {
        return Err(Wild {
            ring,
            consumer,
            producer,
        });
    }
    Ok(count)
}

fn copy_out(page: &impl Page, offset: usize, count: u32, bytes: &mut Vec<u8>) {
    let start = bytes.len();
    bytes.resize(start + count as usize, 0);
    if let Some(target) = bytes.get_mut(start..) {
        page.copy_out(offset, target);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;

    /// A page in memory, and the guest's honest side of it.
    struct Memory(RefCell<Vec<u8>>);

    impl Memory {
        fn new(output: u32, input: u32) -> Memory {
            let memory = Memory(RefCell::new(vec![0; 4096]));
            memory.store(OUTPUT_CONSUMER, output);
            memory.store(OUTPUT_PRODUCER, output);
            memory.store(INPUT_CONSUMER, input);
            memory.store(INPUT_PRODUCER, input);
            memory
        }

        /// The guest writes; gives how much it could.
        fn guest_writes(&self, bytes: &[u8]) -> usize {
            let producer = self.load(OUTPUT_PRODUCER);
            let used = producer.wrapping_sub(self.load(OUTPUT_CONSUMER));
            let count = bytes.len().min((OUTPUT_SIZE - used) as usize);
            for (index, byte) in bytes.iter().take(count).enumerate() {
                let at = producer.wrapping_add(index as u32) % OUTPUT_SIZE;
                self.0.borrow_mut()[OUTPUT + at as usize] = *byte;
            }
            self.store(OUTPUT_PRODUCER, producer.wrapping_add(count as u32));
            count
        }

        fn guest_reads(&self) -> Vec<u8> {
            let (from, to) = (self.load(INPUT_CONSUMER), self.load(INPUT_PRODUCER));
            self.store(INPUT_CONSUMER, to);
            let ring = self.0.borrow();
            (0..to.wrapping_sub(from))
                .map(|index| ring[(from.wrapping_add(index) % INPUT_SIZE) as usize])
                .collect()
        }
    }

    impl Page for Memory {
        fn load(&self, offset: usize) -> u32 {
            let memory = self.0.borrow();
            u32::from_le_bytes(memory[offset..offset + 4].try_into().unwrap())
        }

        fn store(&self, offset: usize, value: u32) {
            self.0.borrow_mut()[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        }

        fn copy_out(&self, offset: usize, bytes: &mut [u8]) {
            bytes.copy_from_slice(&self.0.borrow()[offset..offset + bytes.len()]);
        }

        fn copy_in(&self, offset: usize, bytes: &[u8]) {
            self.0.borrow_mut()[offset..offset + bytes.len()].copy_from_slice(bytes);
        }

        fn fence(&self) {}
    }

    #[test]
    fn offsets_are_those_of_the_header() {
        use std::mem::offset_of;
        use xen_abi::io::console::XenconsInterface as Interface;
        assert_eq!(offset_of!(Interface, input), INPUT);
        assert_eq!(offset_of!(Interface, output), OUTPUT);
        assert_eq!(offset_of!(Interface, in_cons), INPUT_CONSUMER);
        assert_eq!(offset_of!(Interface, in_prod), INPUT_PRODUCER);
        assert_eq!(offset_of!(Interface, out_cons), OUTPUT_CONSUMER);
        assert_eq!(offset_of!(Interface, out_prod), OUTPUT_PRODUCER);
    }

    #[test]
    fn a_wild_producer_is_refused_and_forgiven() {
        let page = Memory::new(0, 0);
        let mut rings = Rings::adopt(&page).unwrap();
        page.store(OUTPUT_PRODUCER, OUTPUT_SIZE + 1);
        let mut bytes = Vec::new();
        let wild = rings.peek(&page, &mut bytes).unwrap_err();
        assert_eq!((wild.ring, bytes.len()), ("out", 0));
        assert!(Rings::adopt(&page).is_err());
        page.store(OUTPUT_PRODUCER, OUTPUT_SIZE);
        assert_eq!(rings.peek(&page, &mut bytes), Ok(OUTPUT_SIZE));
        rings.take(&page, OUTPUT_SIZE);
        page.store(INPUT_CONSUMER, 1);
        assert_eq!(rings.tell(&page, b"x").unwrap_err().ring, "in");
    }

    #[test]
    fn a_guest_that_rewrites_our_index_gains_nothing() {
        let page = Memory::new(10, 0);
        let mut rings = Rings::adopt(&page).unwrap();
        page.guest_writes(b"hello");
        page.store(OUTPUT_CONSUMER, 0);
        let mut bytes = Vec::new();
        assert_eq!(rings.peek(&page, &mut bytes), Ok(5));
        rings.take(&page, 5);
        assert_eq!((bytes, page.load(OUTPUT_CONSUMER)), (b"hello".to_vec(), 15));
    }

    #[test]
    fn resuming_goes_on_where_it_was() {
        let page = Memory::new(0, 0);
        page.guest_writes(b"lost and found");
        // We died after keeping 5 bytes, and before telling the guest.
        let rings = Rings::resume(&page, 5).unwrap();
        let mut bytes = Vec::new();
        rings.peek(&page, &mut bytes).unwrap();
        assert_eq!(
            (bytes, page.load(OUTPUT_CONSUMER)),
            (b"and found".to_vec(), 5)
        );
        assert!(Rings::resume(&page, 15).is_err());
    }

    #[derive(Clone, Debug)]
    enum Step {
        GuestWrites(Vec<u8>),
        WeRead,
        WeWrite(Vec<u8>),
        GuestReads,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..3000);
        let step = prop_oneof![
            bytes().prop_map(Step::GuestWrites),
            Just(Step::WeRead),
            bytes().prop_map(Step::WeWrite),
            Just(Step::GuestReads),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// With an honest guest both directions are streams: nothing lost, doubled or out of order.
        #[test]
        fn streams_are_streams(steps in steps(), output: u32, input: u32) {
            let page = Memory::new(output, input);
            let mut rings = Rings::adopt(&page).unwrap();
            let (mut written, mut read) = (Vec::new(), Vec::new());
            let (mut told, mut heard) = (Vec::new(), Vec::new());
            for step in steps {
                match step {
                    Step::GuestWrites(bytes) => {
                        let count = page.guest_writes(&bytes);
                        written.extend_from_slice(&bytes[..count]);
                    }
                    Step::WeRead => {
                        let count = rings.peek(&page, &mut read).unwrap();
                        rings.take(&page, count);
                    }
                    Step::WeWrite(bytes) => {
                        let count = rings.tell(&page, &bytes).unwrap();
                        told.extend_from_slice(&bytes[..count]);
                    }
                    Step::GuestReads => heard.extend(page.guest_reads()),
                }
                prop_assert!(written.starts_with(&read));
                prop_assert!(told.starts_with(&heard));
            }
            let count = rings.peek(&page, &mut read).unwrap();
            rings.take(&page, count);
            heard.extend(page.guest_reads());
            prop_assert_eq!(written, read);
            prop_assert_eq!(told, heard);
        }

        /// Whatever stands in the page, nothing panics, and no more than a ring is ever taken.
        #[test]
        fn any_page_is_survived(words in proptest::collection::vec(any::<u32>(), 4), bytes: Vec<u8>) {
            let page = Memory::new(0, 0);
            let mut rings = Rings::adopt(&page).unwrap();
            for (word, offset) in words.iter().zip([INPUT_CONSUMER, INPUT_PRODUCER, OUTPUT_CONSUMER, OUTPUT_PRODUCER]) {
                page.store(offset, *word);
            }
            let mut out = Vec::new();
            if let Ok(count) = rings.peek(&page, &mut out) {
                prop_assert!(count <= OUTPUT_SIZE && out.len() == count as usize);
                rings.take(&page, count);
            }
            if let Ok(count) = rings.tell(&page, &bytes) {
                prop_assert!(count <= INPUT_SIZE as usize);
            }
            let _ = Rings::adopt(&page);
        }
    }
}
