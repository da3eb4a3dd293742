//! [`Layout`]: addresses and frame numbers of everything.

use crate::tables::Tables;
use addr::{PAGE_SHIFT, PAGE_SIZE, Pfn, Vaddr, pages_for};
use core::fmt;
use kernel_image::PvKernel;
use xen_abi::start_info::{Dom0VgaConsoleInfo, StartInfo};

/// First address of the hypervisor's part of every address space.
const HOLE_START: u64 = 0xffff_8000_0000_0000;
/// One past the last address of it.
const HOLE_END: u64 = 0xffff_8800_0000_0000;
/// The map's end is aligned to this.
const END_ALIGNMENT: u64 = 4 << 20;
/// Free bytes between the boot stack and the map's end, at least.
const SLACK: u64 = 512 << 10;
/// Bytes of a p2m entry.
const P2M_ENTRY: u64 = 8;

/// What kind of domain it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// Domain 0: the screen's state follows `start_info`.
    Domain0,
    /// Any other: pages for xenstore and console follow `start_info`.
    Guest,
}

/// What a kernel's notes say of its place. It is separate from the kernel, so that a builder that knows a kernel
/// already need not read its file again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelPlace {
    /// Where it starts.
    pub entry: Vaddr,
    /// Virtual address of pseudo-physical address 0.
    pub virt_base: Vaddr,
    /// One past the last address of its segments.
    pub end: Vaddr,
    /// Where it wants the hypercall page.
    pub hypercall_page: Option<Vaddr>,
    /// Where it wants the p2m; after the image if `None`.
    pub init_p2m: Option<Vaddr>,
    /// It can do with an initrd that is not mapped.
    pub mod_start_pfn: bool,
}

impl From<&PvKernel<'_>> for KernelPlace {
    fn from(kernel: &PvKernel<'_>) -> Self {
        Self {
            entry: kernel.entry,
            virt_base: kernel.virt_base,
            end: kernel.end,
            hypercall_page: kernel.hypercall_page,
            init_p2m: kernel.init_p2m,
            mod_start_pfn: kernel.mod_start_pfn,
        }
    }
}

/// What is to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Request {
    /// The kernel.
    pub kernel: KernelPlace,
    /// Size of the initrd in bytes, if there is one.
    pub initrd_bytes: Option<u64>,
    /// The guest's memory in pages: as many entries has the p2m.
    pub pages: u64,
    /// Domain 0 or not.
    pub role: Role,
}

/// An initrd's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Initrd {
    /// Its first frame.
    pub first: Pfn,
    /// Its frames.
    pub frames: u64,
    /// Its size.
    pub bytes: u64,
    /// Its address; `None` if it is not mapped and the guest is told its frame.
    pub address: Option<Vaddr>,
}

/// The p2m's place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct P2m {
    /// Its address.
    pub address: Vaddr,
    /// Its first frame.
    pub first: Pfn,
    /// Its frames, without page tables.
    pub frames: u64,
    /// Page tables that only it needs: the frames after its own. 0 if it is in the kernel's map.
    pub table_frames: u64,
    /// Whether it has an address of the kernel's choice (`INIT_P2M`).
    pub is_apart: bool,
}

/// Why a guest cannot be laid out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LayoutError {
    /// The map would reach into the hypervisor's part, or out of the address space.
    AddressSpace {
        /// Where the map begins.
        base: Vaddr,
        /// Bytes of what is to be mapped, if they can be counted.
        bytes: u64,
    },
    /// The p2m's own address collides with the kernel's map or the hypervisor's part.
    P2mAddress {
        /// That address.
        address: Vaddr,
    },
    /// The guest's memory is too small.
    Memory {
        /// Pages that it needs at least.
        needed: u64,
        /// Pages that it has.
        pages: u64,
    },
}

impl fmt::Display for LayoutError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |pages: u64| pages.saturating_mul(PAGE_SIZE / 1024);
        match *self {
            Self::AddressSpace { base, bytes } => {
                write!(
                    f,
                    "{} KiB do not fit into the address space at {base:#x}",
                    bytes / 1024
                )
            }
            Self::P2mAddress { address } => {
                write!(
                    f,
                    "the p2m at {address:#x} collides with the kernel or the hypervisor"
                )
            }
            Self::Memory { needed, pages } => write!(
                f,
                "kernel, initrd and tables need {} KiB, the domain has {} KiB",
                kib(needed),
                kib(pages)
            ),
        }
    }
}

/// A guest's initial memory.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The guest's memory in pages.
    pub pages: u64,
    /// First address of the map; it is of frame 0.
    pub base: Vaddr,
    /// One past the last address of the map, but for a p2m apart.
    pub end: Vaddr,
    /// The initrd.
    pub initrd: Option<Initrd>,
    /// The table from pseudo-physical to machine frames.
    pub p2m: P2m,
    /// `start_info`, and for domain 0 behind it `dom0_vga_console_info`.
    pub start_info: Vaddr,
    /// The xenstore page.
    pub store: Option<Vaddr>,
    /// The console page.
    pub console: Option<Vaddr>,
    /// The page tables: the L4 is the first.
    pub page_tables: Vaddr,
    /// The boot stack's page.
    pub stack: Vaddr,
    /// Where the guest starts.
    pub entry: Vaddr,
    /// Where it wants the hypercall page.
    pub hypercall_page: Option<Vaddr>,
    /// Frames from 0 on that are in use: those of the map and, behind them, of what is not in the map.
    pub used_frames: u64,
    pub(crate) tables: Tables,
}

/// Gives out consecutive pages.
struct Cursor {
    next: u64,
}

impl Cursor {
    fn take(&mut self, bytes: u64) -> Option<u64> {
        let start = self.next;
        self.next = pages_for(bytes)
            .checked_mul(PAGE_SIZE)?
            .checked_add(start)?;
        Some(start)
    }
}

impl Layout {
    /// Places everything.
    pub fn compute(request: &Request) -> Result<Self, LayoutError> {
        let kernel = request.kernel;
        let base = kernel.virt_base.raw();
        let p2m_bytes = request.pages.saturating_mul(P2M_ENTRY);
        let initrd_bytes = request.initrd_bytes.unwrap_or(0);
        let overflow = LayoutError::AddressSpace {
            base: kernel.virt_base,
            bytes: (kernel.end.raw().saturating_sub(base))
                .saturating_add(p2m_bytes)
                .saturating_add(initrd_bytes),
        };

        let mut cursor = Cursor { next: base };
        let mut take = |bytes| cursor.take(bytes).ok_or(overflow);
        take(kernel.end.checked_sub(kernel.virt_base).ok_or(overflow)?)?;
        let initrd_start = match request.initrd_bytes {
            Some(bytes) if !kernel.mod_start_pfn => Some(take(bytes)?),
            _ => None,
        };
        let p2m_start = match kernel.init_p2m {
            None => take(p2m_bytes)?,
            Some(address) => address.raw(),
        };
        let is_guest = request.role == Role::Guest;
        let tail = if is_guest {
            0
        } else {
            size_of::<Dom0VgaConsoleInfo>()
        };
        let start_info = take((size_of::<StartInfo>() + tail) as u64)?;
        let mut page = || take(PAGE_SIZE).map(Vaddr::new);
        let store = if is_guest { Some(page()?) } else { None };
        let console = if is_guest { Some(page()?) } else { None };
        let page_tables = cursor.next;

        // The tables map themselves, so their number depends on itself. Each round can only add some.
        let mut count = 4;
        let (stack, end) = loop {
            let stack = page_tables.checked_add(count * PAGE_SIZE).ok_or(overflow)?;
            let end = stack
                .checked_add(PAGE_SIZE + SLACK)
                .and_then(|end| end.checked_next_multiple_of(END_ALIGNMENT))
                .ok_or(overflow)?;
            let needed = Tables::count(base..end);
            if needed <= count {
                break (stack, end);
            }
            count = needed;
        };
        if !is_guest_range(base, end) {
            return Err(overflow);
        }

        let map_frames = (end - base) >> PAGE_SHIFT;
        let page_tables_pfn = Pfn::new((page_tables - base) >> PAGE_SHIFT);
        let mut frames = map_frames;
        let initrd = request.initrd_bytes.map(|bytes| {
            let first = match initrd_start {
                Some(start) => (start - base) >> PAGE_SHIFT,
                None => frames,
            };
            if initrd_start.is_none() {
                frames = frames.saturating_add(pages_for(bytes));
            }
            Initrd {
                first: Pfn::new(first),
                frames: pages_for(bytes),
                bytes,
                address: initrd_start.map(Vaddr::new),
            }
        });

        let p2m_address = Vaddr::new(p2m_start);
        let p2m_frames = pages_for(p2m_bytes);
        let is_apart = kernel.init_p2m.is_some();
        let collision = LayoutError::P2mAddress {
            address: p2m_address,
        };
        let mut apart = 0..0;
        let mut p2m_first = (p2m_start.wrapping_sub(base)) >> PAGE_SHIFT;
        if is_apart {
            let p2m_end = p2m_frames
                .checked_mul(PAGE_SIZE)
                .and_then(|bytes| p2m_start.checked_add(bytes))
                .ok_or(collision)?;
            let overlaps = p2m_start < end && base < p2m_end;
            if overlaps
                || !p2m_start.is_multiple_of(PAGE_SIZE)
                || !is_guest_range(p2m_start, p2m_end)
            {
                return Err(collision);
            }
            p2m_first = frames;
            apart = p2m_start..p2m_end;
            frames = frames.saturating_add(p2m_frames);
        }
        let tables = Tables::new(
            base..end,
            page_tables_pfn,
            apart,
            Pfn::new(p2m_first),
            frames,
        );
        frames = frames.saturating_add(tables.apart_frames());
        if frames > request.pages {
            return Err(LayoutError::Memory {
                needed: frames,
                pages: request.pages,
            });
        }
        Ok(Self {
            pages: request.pages,
            base: kernel.virt_base,
            end: Vaddr::new(end),
            initrd,
            p2m: P2m {
                address: p2m_address,
                first: Pfn::new(p2m_first),
                frames: p2m_frames,
                table_frames: tables.apart_frames(),
                is_apart,
            },
            start_info: Vaddr::new(start_info),
            store,
            console,
            page_tables: Vaddr::new(page_tables),
            stack: Vaddr::new(stack),
            entry: kernel.entry,
            hypercall_page: kernel.hypercall_page,
            used_frames: frames,
            tables,
        })
    }

    /// The frame that the initial map has at `address`; `None` outside of `base..end`.
    pub fn frame_at(&self, address: Vaddr) -> Option<Pfn> {
        (address < self.end)
            .then(|| address.checked_sub(self.base))?
            .map(|offset| Pfn::new(offset >> PAGE_SHIFT))
    }

    /// Number of frames in the map at `base..end`.
    pub fn map_frames(&self) -> u64 {
        (self.end.raw() - self.base.raw()) >> PAGE_SHIFT
    }

    /// The L4's frame.
    pub fn root(&self) -> Pfn {
        self.tables.root()
    }

    /// Number of page tables in the map at [`Self::page_tables`], the L4 included.
    pub fn table_frames(&self) -> u64 {
        self.tables.main_frames()
    }
}

/// Whether `start..end` is a part of the address space that a guest may use.
fn is_guest_range(start: u64, end: u64) -> bool {
    let Some(last) = end.checked_sub(1).filter(|&last| last >= start) else {
        return false;
    };
    let canonical = |address| Vaddr::new(address).is_canonical();
    // Both in the same half, so that the part between is canonical, too.
    canonical(start)
        && canonical(last)
        && (start >> 63) == (last >> 63)
        && (last < HOLE_START || start >= HOLE_END)
}
