//! The last things that happened to a vCPU, printed when its domain crashes: a wrong selector, a missed
//! interrupt and a lost event look alike from outside, and differ here.

/// Entries kept for each vCPU; a power of two.
const DEPTH: usize = 16;

/// Something that happened at the boundary between a guest and the hypervisor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Happening {
    /// Nothing yet.
    #[default]
    Nothing,
    /// A hypercall: number, first two arguments.
    Hypercall(u32, u64, u64),
    /// A system call of a program, passed to its kernel.
    SystemCall,
    /// A trap: vector, error code, address (of the fault, or 0).
    Trap(u8, u32, u64),
    /// An event upcall.
    Upcall,
    /// A physical interrupt.
    Interrupt(u8),
}

/// A ring of happenings with the guest's instruction pointer at each.
#[derive(Default)]
pub struct History {
    entries: [(Happening, u64); DEPTH],
    next: usize,
}

impl History {
    /// Notes that `what` happened with the guest at `rip`.
    #[inline]
    pub fn note(&mut self, what: Happening, rip: u64) {
        let slot = self.next % DEPTH;
        if let Some(entry) = self.entries.get_mut(slot) {
            *entry = (what, rip);
        }
        self.next = self.next.wrapping_add(1);
    }

    /// From the oldest to the newest.
    pub fn iter(&self) -> impl Iterator<Item = (Happening, u64)> + '_ {
        let start = self.next % DEPTH;
        self.entries
            .iter()
            .cycle()
            .skip(start)
            .take(DEPTH)
            .copied()
            .filter(|(what, _)| *what != Happening::Nothing)
    }
}

impl core::fmt::Display for Happening {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {
            Self::Nothing => write!(f, "-"),
            Self::Hypercall(number, first, second) => write!(
                f,
                "hypercall {} ({first:#x}, {second:#x})",
                ::hypercall::call_name(u64::from(number))
            ),
            Self::SystemCall => write!(f, "system call"),
            Self::Trap(vector, code, address) => {
                write!(f, "trap {vector} code {code:#x} address {address:#x}")
            }
            Self::Upcall => write!(f, "event upcall"),
            Self::Interrupt(vector) => write!(f, "interrupt {vector:#x}"),
        }
    }
}
