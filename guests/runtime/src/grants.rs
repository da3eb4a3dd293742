//! Calls about grants.

use xen_abi::grant_table as op;
use xen_abi::{DomId, GuestHandle, hypercall as number};

use crate::memory::address_of;
use crate::{check_eq, hypercalls};

/// Frames that [`setup_table`] has room for.
pub const FRAMES: usize = 16;

/// `grant_table_op` with one argument.
pub fn grant_table<T>(operation: u32, argument: &mut T) -> i64 {
    hypercalls::call(
        number::GRANT_TABLE_OP,
        &[u64::from(operation), address_of(argument), 1],
    )
}

/// `GNTTABOP_setup_table` for `frames` frames, at most [`FRAMES`]: its status (0 or a negative one), and the frames.
pub fn setup_table(domain: DomId, frames: u32) -> (i16, [u64; FRAMES]) {
    let mut list = [0; FRAMES];
    let mut setup = op::SetupTable {
        dom: domain,
        _hole0: [0; 2],
        nr_frames: frames,
        status: 1,
        _hole1: [0; 6],
        frame_list: GuestHandle::new(address_of(&mut list)),
    };
    check_eq!(grant_table(op::SETUP_TABLE, &mut setup), 0);
    (setup.status, list)
}
