//! Event channels with priorities: one word a port, a queue a priority.

use guest_runtime::memory::{Page, mmuext, read, write};
use guest_runtime::xen_abi::domid;
use guest_runtime::xen_abi::event_channel as op;
use guest_runtime::xen_abi::mmu::{MMUEXT_PIN_L1_TABLE, MMUEXT_UNPIN_TABLE};
use guest_runtime::{expect, expect_eq, shared};

use crate::{EINVAL, ENOENT, bind_ipi, channel, close, send, unmask};

const EACCES: i64 = -13;
const EOPNOTSUPP: i64 = -95;
const PENDING: u32 = 1 << op::EVTCHN_FIFO_PENDING;
const MASKED: u32 = 1 << op::EVTCHN_FIFO_MASKED;
const LINKED: u32 = 1 << op::EVTCHN_FIFO_LINKED;
const LINK: u32 = op::EVTCHN_FIFO_LINK_MASK;

struct Queues {
    control: Page,
    words: Page,
}

impl Queues {
    fn word(&self, port: u32) -> u64 {
        self.words.address + 4 * u64::from(port)
    }

    fn get(&self, port: u32) -> u32 {
        read(self.word(port))
    }

    fn unmask(&self, port: u32) {
        write(self.word(port), self.get(port) & !MASKED);
    }

    fn ready(&self) -> u32 {
        read(self.control.address)
    }

    fn head(&self, priority: u32) -> u64 {
        self.control.address + 8 + 4 * u64::from(priority)
    }

    /// Takes the next event: the port, by priority and then by order.
    fn take(&self) -> Option<u32> {
        loop {
            let ready = self.ready();
            if ready == 0 {
                return None;
            }
            let priority = ready.trailing_zeros();
            let port = read::<u32>(self.head(priority));
            if port == 0 {
                write(self.control.address, ready & !(1 << priority));
                continue;
            }
            let word = self.get(port);
            let next = word & LINK;
            write(self.word(port), word & !(LINKED | LINK));
            write(self.head(priority), next);
            if next == 0 {
                write(self.control.address, self.ready() & !(1 << priority));
            }
            if word & PENDING != 0 && word & MASKED == 0 {
                write(self.word(port), self.get(port) & !PENDING);
                return Some(port);
            }
        }
    }
}

pub(crate) fn run() {
    shared::set_upcall_mask(true);
    let queues = Queues {
        control: Page::take(),
        words: Page::take(),
    };
    // Before there are queues.
    let expand = |frame| channel(op::EXPAND_ARRAY, &mut op::ExpandArray { array_gfn: frame });
    expect_eq!(expand(queues.words.mfn()), EOPNOTSUPP);
    let init = |frame, offset, vcpu| {
        let mut init = op::InitControl {
            control_gfn: frame,
            offset,
            vcpu,
            link_bits: 0,
            _pad: [0; 7],
        };
        (channel(op::INIT_CONTROL, &mut init), init.link_bits)
    };
    // A vCPU, a frame, an offset that are none.
    expect_eq!(init(queues.control.mfn(), 0, 5).0, ENOENT);
    expect_eq!(init(queues.control.mfn(), 4, 0).0, EINVAL);
    expect_eq!(init(queues.control.mfn(), 4096 - 64, 0).0, EINVAL);
    expect!(init(1 << 40, 0, 0).0 < 0);
    expect!(init(0xfee00, 0, 0).0 < 0);
    let table = Page::take();
    expect_eq!(table.map_ro(), 0);
    expect_eq!(mmuext(MMUEXT_PIN_L1_TABLE, table.mfn(), 0), 0);
    expect!(init(table.mfn(), 0, 0).0 < 0);
    expect_eq!(mmuext(MMUEXT_UNPIN_TABLE, table.mfn(), 0), 0);
    expect_eq!(table.map_rw(), 0);

    expect_eq!(
        init(queues.control.mfn(), 0, 0),
        (0, op::EVTCHN_FIFO_LINK_BITS as u8)
    );
    expect!(init(queues.control.mfn(), 0, 0).0 < 0);
    // What both sides write can be no table.
    expect_eq!(queues.control.map_ro(), 0);
    expect!(mmuext(MMUEXT_PIN_L1_TABLE, queues.control.mfn(), 0) < 0);
    expect_eq!(queues.control.map_rw(), 0);
    // Ports without words: nothing comes, nothing breaks.
    let early = bind_ipi(0).unwrap_or(0);
    expect_eq!(send(early), 0);
    expect!(expand(1 << 40) < 0);
    expect!(expand(0xfee00) < 0);
    expect_eq!(expand(queues.words.mfn()), 0);

    for number in 0..1024 {
        write(queues.word(number), queues.get(number) | MASKED);
    }
    let ports = [(); 4].map(|()| bind_ipi(0).unwrap_or(0));
    let [low, middle, high, other] = ports;
    let priority =
        |port, priority| channel(op::SET_PRIORITY, &mut op::SetPriority { port, priority });
    expect_eq!(priority(low, 15), 0);
    expect_eq!(priority(high, 0), 0);
    expect_eq!(priority(high, 16), EINVAL);
    expect_eq!(priority(4000, 3), EACCES);
    expect_eq!(priority(u32::MAX, 3), EINVAL);
    for port in ports {
        queues.unmask(port);
    }
    // By priority, and within one by order.
    for order in [
        [low, other, middle, high],
        [high, low, other, middle],
        [other, middle, low, high],
    ] {
        shared::clear_upcall_pending();
        for port in order {
            expect_eq!(send(port), 0);
            expect_eq!(queues.get(port) & (PENDING | LINKED), PENDING | LINKED);
        }
        expect!(shared::upcall_pending());
        expect_eq!(
            queues.ready(),
            1 | 1 << op::EVTCHN_FIFO_PRIORITY_DEFAULT | 1 << 15
        );
        // Once more changes nothing.
        expect_eq!(send(middle), 0);
        expect_eq!(
            [(); 4].map(|()| queues.take()),
            [high, other, middle, low].map(Some)
        );
        expect_eq!(queues.take(), None);
    }
    // Masked: pending, and in no queue until it is unmasked.
    write(queues.word(middle), queues.get(middle) | MASKED);
    expect_eq!(send(middle), 0);
    expect_eq!(queues.get(middle) & (PENDING | LINKED), PENDING);
    expect_eq!(queues.take(), None);
    expect_eq!(unmask(middle), 0);
    expect_eq!(queues.take(), Some(middle));
    // A queue with words that are broken by the guest: its own loss.
    for broken in [LINK, 4000, low, 0] {
        expect_eq!(send(other), 0);
        write(queues.word(other), queues.get(other) & !LINK | broken);
        write(queues.head(7), broken);
        expect_eq!(send(middle), 0);
        expect_eq!(send(high), 0);
        for number in 0..1024 {
            write(queues.word(number), MASKED);
        }
        for number in 0..16 {
            write(queues.head(number), 0_u32);
        }
        write(queues.control.address, 0_u32);
        for port in ports {
            queues.unmask(port);
        }
    }
    // The queue heals: each tail is looked at before it is used.
    expect_eq!(send(high), 0);
    expect_eq!(queues.take(), Some(high));
    expect_eq!(close(other), 0);
    expect_eq!(send(other), EINVAL);
    // Back to two levels.
    let mut reset = op::Reset {
        dom: domid::DOMID_SELF,
    };
    expect_eq!(channel(op::RESET, &mut reset), 0);
    let port = bind_ipi(0).unwrap_or(0);
    shared::set_masked(port, false);
    expect_eq!(send(port), 0);
    expect!(shared::take_pending(port));
    expect_eq!(close(port), 0);
    // The hypervisor holds the pages no more: they can be tables.
    for page in [queues.words, queues.control] {
        page.clear();
        expect_eq!(page.map_ro(), 0);
        expect_eq!(mmuext(MMUEXT_PIN_L1_TABLE, page.mfn(), 0), 0);
        expect_eq!(mmuext(MMUEXT_UNPIN_TABLE, page.mfn(), 0), 0);
        expect_eq!(page.map_rw(), 0);
    }
}
