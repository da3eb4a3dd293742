//! The guest's code segment, and the bytes of its instructions.

use addr::{PAGE_SIZE, Vaddr};
use arrayvec::ArrayVec;
use frames::TableMemory;
use platform_cpu::guest::{self, Fault};
use platform_memory::DirectMap;
use privileged_ops::{MAX_LENGTH, Mode};
use xen_abi::arch_x86::{FLAT_RING3_CS32, FLAT_RING3_CS64};

use crate::context::Context;

/// Selector: its descriptor is in the LDT.
const LOCAL: u16 = 1 << 2;
/// Descriptors in a page.
const PER_PAGE: usize = (PAGE_SIZE / 8) as usize;
/// The first selector of the hypervisor's part of the GDT.
const HYPERVISOR_SELECTORS: u16 = 14 * PAGE_SIZE as u16;

/// Descriptor bits: code, of a program, present, 64-bit, 32-bit.
const CODE: u64 = 1 << 43;
const NOT_SYSTEM: u64 = 1 << 44;
const PRESENT: u64 = 1 << 47;
const LONG: u64 = 1 << 53;
const DEFAULT_32: u64 = 1 << 54;

/// A guest's code segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// How its bytes are read.
    pub mode: Mode,
    base: u32,
}

/// The segment that the guest's code is in; `None` for 16-bit code, and if its descriptor is gone.
pub fn code_segment(context: &Context<'_>) -> Option<Code> {
    let selector = context.regs.cs | 3;
    let flat = |mode| Some(Code { mode, base: 0 });
    match selector {
        FLAT_RING3_CS64 => return flat(Mode::Long),
        FLAT_RING3_CS32 => return flat(Mode::Compatibility),
        _ => {}
    }
    let descriptor = descriptor(context, selector)?;
    if descriptor & (CODE | NOT_SYSTEM | PRESENT) != CODE | NOT_SYSTEM | PRESENT {
        return None;
    }
    if descriptor & LONG != 0 {
        flat(Mode::Long)
    } else if descriptor & DEFAULT_32 != 0 {
        let base = ((descriptor >> 16) & 0xff_ffff) | ((descriptor >> 56) << 24);
        Some(Code {
            mode: Mode::Compatibility,
            base: base as u32,
        })
    } else {
        None
    }
}

/// The descriptor of a selector in the guest's tables.
fn descriptor(context: &Context<'_>, selector: u16) -> Option<u64> {
    let index = u32::from(selector >> 3);
    let state = &context.state;
    if selector & LOCAL != 0 {
        if index >= state.ldt_entries {
            return None;
        }
        let at = state.ldt_base.checked_add(u64::from(index) * 8)?;
        return guest::read_u64(Vaddr::new(at)).ok();
    }
    if selector >= HYPERVISOR_SELECTORS || index >= state.gdt_entries {
        return None;
    }
    let page = state.gdt_frames.get(index as usize / PER_PAGE)?;
    Some(DirectMap.read_entry(page.frame(), index as usize % PER_PAGE))
}

/// `rdmsr` without prefixes.
const RDMSR: u16 = u16::from_le_bytes([0x0f, 0x32]);
/// Its length.
pub const RDMSR_LENGTH: u8 = 2;

impl Code {
    /// Whether 64-bit code is about to execute a plain `rdmsr`, as Linux does at each switch of processes: it is known
    /// without decoding. False where the bytes cannot be read.
    #[inline]
    pub fn is_at_rdmsr(&self, rip: u64) -> bool {
        self.mode == Mode::Long
            && guest::read_u32(Vaddr::new(rip)).is_ok_and(|bytes| bytes as u16 == RDMSR)
    }

    /// The bytes at `rip`: as many as an instruction can have, or fewer where the rest cannot be read.
    ///
    /// # Errors
    /// The first one cannot be read.
    pub fn fetch(&self, rip: u64) -> Result<ArrayVec<u8, MAX_LENGTH>, Fault> {
        let start = match self.mode {
            Mode::Long => rip,
            Mode::Compatibility => u64::from((rip as u32).wrapping_add(self.base)),
        };
        let start = Vaddr::new(start);
        let mut bytes = [0; MAX_LENGTH];
        let on_page = (PAGE_SIZE - start.page_offset()).min(MAX_LENGTH as u64);
        let (first, rest) = bytes.split_at_mut(on_page as usize);
        guest::copy_from(first, start)?;
        let mut length = first.len();
        if let Some(next) = start.checked_add(on_page)
            && guest::copy_from(rest, next).is_ok()
        {
            length = MAX_LENGTH;
        }
        let mut fetched = ArrayVec::from(bytes);
        fetched.truncate(length);
        Ok(fetched)
    }

    /// The instruction pointer behind an instruction of `length` bytes.
    pub fn advance(&self, rip: u64, length: u8) -> u64 {
        let next = rip.wrapping_add(u64::from(length));
        match self.mode {
            Mode::Long => next,
            Mode::Compatibility => next & u64::from(u32::MAX),
        }
    }
}
