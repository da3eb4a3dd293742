//! Lists of calls, as a kernel makes them that pins or unpins a process's tables.

use xen_abi::mmu::{MmuextOp, MmuextOpArg1, MmuextOpArg2, UVMF_INVLPG};
use xen_abi::multicall::MulticallEntry;
use xen_abi::{domid, hypercall as number};

use crate::hypercalls::call;
use crate::memory::address_of;

/// Calls for one `multicall`, at most `N`.
pub struct List<const N: usize> {
    entries: [MulticallEntry; N],
    operations: [MmuextOp; N],
    length: usize,
}

impl<const N: usize> List<N> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let entry = MulticallEntry {
            op: 0,
            result: 0,
            args: [0; 6],
        };
        Self {
            entries: [(); N].map(|()| entry),
            operations: [(); N].map(|()| operation(0, 0)),
            length: 0,
        }
    }

    /// Adds an `update_va_mapping`.
    pub fn map(&mut self, address: u64, value: u64) -> &mut Self {
        let args = [address, value, UVMF_INVLPG, 0, 0, 0];
        self.add(number::UPDATE_VA_MAPPING, args)
    }

    /// Adds an extended operation of one argument.
    pub fn extended(&mut self, command: u32, arg1: u64) -> &mut Self {
        self.operations[self.length] = operation(command, arg1);
        self.add(
            number::MMUEXT_OP,
            [0, 1, 0, u64::from(domid::DOMID_SELF), 0, 0],
        )
    }

    fn add(&mut self, op: u32, args: [u64; 6]) -> &mut Self {
        self.entries[self.length] = MulticallEntry {
            op: u64::from(op),
            // No call's: it has to be written.
            result: 0x5a5a,
            args,
        };
        self.length += 1;
        self
    }

    /// Makes the calls and gives the result of each.
    ///
    /// # Panics
    /// If the multicall itself fails.
    pub fn make(&mut self) -> impl Iterator<Item = i64> {
        let calls = self.entries.iter_mut().zip(&mut self.operations);
        for (entry, operation) in calls.take(self.length) {
            if entry.op == u64::from(number::MMUEXT_OP) {
                entry.args[0] = address_of(operation);
            }
        }
        let at = self.entries.as_mut_ptr().expose_provenance() as u64;
        crate::expect_eq!(call(number::MULTICALL, &[at, self.length as u64]), 0);
        self.entries
            .iter()
            .take(self.length)
            .map(|entry| entry.result as i64)
    }
}

impl<const N: usize> Default for List<N> {
    fn default() -> Self {
        Self::new()
    }
}

fn operation(command: u32, arg1: u64) -> MmuextOp {
    MmuextOp {
        cmd: command,
        _hole0: [0; 4],
        arg1: MmuextOpArg1 { words: [arg1] },
        arg2: MmuextOpArg2 { words: [0] },
    }
}
