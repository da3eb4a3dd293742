//! [`BuildPlan`]: where everything goes, and the building by it.

use std::fs::File;
use std::io;
use std::mem::offset_of;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use addr::{Maddr, PAGE_SIZE, Pfn, Vaddr};
use pv_layout::{DomainPages, Layout, Request, Role, StartInfoContent};
use xen_abi::DomId;
use xen_abi::arch_x86::{FLAT_RING3_CS64, FLAT_RING3_SS64};
use xen_abi::grant_table::{GNTTAB_RESERVED_CONSOLE, GNTTAB_RESERVED_XENSTORE};
use xen_abi::shared_info::{SharedInfo, VcpuInfo};
use xen_abi::vcpu_context::{VGCF_IN_KERNEL, VGCF_ONLINE, VcpuGuestContext};
use xen_control::{EvtchnPort, GrantedFrame};
use zerocopy::{FromZeros, IntoBytes};

use crate::error::BuildError;
use crate::kernel::{self, Content, Kernel};
use crate::pages::{self, FrameRanges};
use crate::target::{GuestPages, Target};

const PAGE: usize = PAGE_SIZE as usize;
/// Pages of an extent of 2 MiB, and its order.
const LARGE_PAGES: u64 = 512;
const LARGE_ORDER: u32 = 9;
/// Interrupts on, and the bit that is always set.
const RFLAGS: u64 = 1 << 9 | 1 << 1;
/// vCPUs that have a `vcpu_info` in the shared info page.
const LEGACY_VCPUS: usize = 32;
/// What a p2m has for frames that do not exist.
const INVALID_FRAME: u64 = u64::MAX;

/// The event channels that a domain is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ports {
    /// To xenstore.
    pub store: EvtchnPort,
    /// To its console.
    pub console: EvtchnPort,
}

/// A built domain's pages, as machine frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Built {
    /// The xenstore page.
    pub store: u64,
    /// The console page.
    pub console: u64,
}

/// Where everything of a domain goes.
#[derive(Clone, Debug)]
pub struct BuildPlan {
    kernel: Kernel,
    layout: Layout,
    command_line: Vec<u8>,
    initrd: Option<(Arc<File>, PathBuf)>,
    /// What is mapped and written.
    written: FrameRanges,
    /// What has to be zero and is not written: the ends of the kernel's parts.
    cleared: FrameRanges,
}

impl BuildPlan {
    /// Plans a domain of so many pages.
    ///
    /// # Errors
    ///
    /// A file that cannot be read, a command line that is too long, a kernel that does not fit into the memory.
    pub fn new(
        kernel: Kernel,
        ramdisk: Option<&Path>,
        command_line: &str,
        pages: u64,
    ) -> Result<Self, BuildError> {
        let ramdisk = match ramdisk {
            Some(path) => Some((kernel::open("ramdisk", path)?, path.to_owned())),
            None => None,
        };
        let layout = Layout::compute(&Request {
            kernel: kernel.place,
            initrd_bytes: ramdisk.as_ref().map(|((_, bytes), _)| *bytes),
            pages,
            role: Role::Guest,
        })?;
        let contents = kernel.parts.iter().map(|part| (part.address, part.length));
        let written = pages::written(&layout, contents)?;
        let mut all = Vec::new();
        for part in &kernel.parts {
            let frames = pages::frames_of(&layout, part.address, part.memory_size);
            all.push(frames.ok_or(BuildError::Inconsistent("a part of the kernel"))?);
        }
        let cleared = FrameRanges::new(all).without(&written);
        let plan = Self {
            kernel,
            layout,
            command_line: command_line.as_bytes().to_vec(),
            initrd: ramdisk.map(|((file, _), path)| (file, path)),
            written,
            cleared,
        };
        // An error that is known now is told now.
        let no_ports = Ports {
            store: 0,
            console: 0,
        };
        plan.start_info(0, 0, 0, no_ports)?;
        Ok(plan)
    }

    /// Where everything goes.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Fills a new domain, which has vCPUs and may have as much memory, and no memory yet.
    ///
    /// # Errors
    ///
    /// The hypervisor's refusal; too little free memory; a file that changed since the plan was made. What was done
    /// until then stays with the domain.
    pub fn apply<T: Target>(
        &self,
        target: &T,
        domain: DomId,
        ports: Ports,
    ) -> Result<Built, BuildError> {
        let frames = self.populate(target, domain)?;
        let frame = |pfn: u64| {
            let found = usize::try_from(pfn).ok().and_then(|pfn| frames.get(pfn));
            found.copied().ok_or(BuildError::Inconsistent("a frame"))
        };
        let machine = |ranges: &FrameRanges| -> Result<Vec<u64>, BuildError> {
            ranges.frames().map(frame).collect()
        };
        target.clear(domain, &machine(&self.cleared)?)?;
        let shared_info = target.shared_info(domain)?;
        let mut machine_frames = machine(&self.written)?;
        let shared_info_at = machine_frames.len() * PAGE;
        machine_frames.push(shared_info);
        let mapped = target.map(domain, &machine_frames)?;
        mask_events(&mapped, shared_info_at);
        let writer = Writer {
            pages: &mapped,
            written: &self.written,
            layout: &self.layout,
        };
        self.write_kernel(&writer)?;
        self.write_initrd(&writer)?;
        self.write_p2m(&writer, &frames)?;
        self.write_tables(&writer, &frames)?;

        let frame_at = |address: Option<Vaddr>| {
            let pfn = address.and_then(|address| self.layout.frame_at(address));
            frame(pfn.ok_or(BuildError::Inconsistent("a special page"))?.raw())
        };
        let store = frame_at(self.layout.store)?;
        let console = frame_at(self.layout.console)?;
        let start_info = self.start_info(shared_info, store, console, ports)?;
        writer.write_at(self.layout.start_info, &start_info)?;
        for page in [self.layout.store, self.layout.console]
            .into_iter()
            .flatten()
        {
            writer.write_at(page, &[0; PAGE])?;
        }
        // Page tables may not be mapped writable by anybody when they become such.
        drop(mapped);

        if let Some(address) = self.layout.hypercall_page {
            target.write_hypercall_page(domain, frame_at(Some(address))?)?;
        }
        let root = frame(self.layout.root().raw())?;
        target.pin_root(domain, root)?;
        target.set_context(domain, &self.context(root))?;
        target.seed_grants(
            domain,
            &[
                GrantedFrame {
                    reference: GNTTAB_RESERVED_CONSOLE,
                    frame: console,
                    to: 0,
                },
                GrantedFrame {
                    reference: GNTTAB_RESERVED_XENSTORE,
                    frame: store,
                    to: 0,
                },
            ],
        )?;
        Ok(Built { store, console })
    }

    /// Gets all memory, in large extents where possible; gives each frame's machine frame.
    fn populate<T: Target>(&self, target: &T, domain: DomId) -> Result<Vec<u64>, BuildError> {
        let pages = self.layout.pages;
        let length = usize::try_from(pages).map_err(|_| BuildError::Inconsistent("memory"))?;
        let mut frames = vec![INVALID_FRAME; length];
        let large: Vec<u64> = (0..pages / LARGE_PAGES)
            .map(|index| index * LARGE_PAGES)
            .collect();
        let got = target.populate(domain, &large, LARGE_ORDER, &mut |first, machine| {
            for (index, frame) in frames.iter_mut().skip(first as usize).take(512).enumerate() {
                *frame = machine + index as u64;
            }
        })?;
        let done = got as u64 * LARGE_PAGES;
        let small: Vec<u64> = (done..pages).collect();
        let got = if small.is_empty() {
            0
        } else {
            target.populate(domain, &small, 0, &mut |first, machine| {
                if let Some(frame) = frames.get_mut(first as usize) {
                    *frame = machine;
                }
            })?
        };
        let got = done + got as u64;
        if got != pages {
            return Err(BuildError::Memory { got, wanted: pages });
        }
        Ok(frames)
    }

    fn write_kernel<P: GuestPages>(&self, writer: &Writer<'_, P>) -> Result<(), BuildError> {
        let missing = BuildError::Inconsistent("a part of the kernel");
        for part in &self.kernel.parts {
            let address = Vaddr::new(part.address);
            match &self.kernel.content {
                Content::Bytes(bytes) => {
                    let range = part.offset as usize..(part.offset + part.length) as usize;
                    let Some(bytes) = bytes.get(range) else {
                        return Err(missing);
                    };
                    writer.write_at(address, bytes)?;
                }
                Content::File(file) => {
                    let at = writer.offset(address, part.length)?;
                    let read = writer
                        .pages
                        .read_file(at, file, part.offset, part.length as usize);
                    read.map_err(|error| BuildError::File {
                        what: "kept kernel",
                        path: PathBuf::from("of the cache"),
                        error,
                    })?;
                }
            }
            // The rest of the last page; pages after it are cleared apart. And what is before in the first one
            // is another part's, or nobody's: pages come clean.
            let end = part.address + part.length;
            let rest = end.next_multiple_of(PAGE_SIZE) - end;
            let rest = rest.min(part.memory_size - part.length);
            if rest > 0 {
                writer.write_at(Vaddr::new(end), &vec![0; rest as usize])?;
            }
        }
        Ok(())
    }

    fn write_initrd<P: GuestPages>(&self, writer: &Writer<'_, P>) -> Result<(), BuildError> {
        let (Some(place), Some((file, path))) = (self.layout.initrd, &self.initrd) else {
            return Ok(());
        };
        let at = writer.frame_offset(place.first.raw(), place.bytes)?;
        let read = |error: io::Error| BuildError::File {
            what: "ramdisk",
            path: path.clone(),
            error,
        };
        let length = place.bytes as usize;
        writer.pages.read_file(at, file, 0, length).map_err(read)
    }

    fn write_p2m<P: GuestPages>(
        &self,
        writer: &Writer<'_, P>,
        frames: &[u64],
    ) -> Result<(), BuildError> {
        let p2m = &self.layout.p2m;
        let mut at = writer.frame_offset(p2m.first.raw(), p2m.frames * PAGE_SIZE)?;
        let mut left = p2m.frames;
        for chunk in frames.chunks(PAGE / 8) {
            let mut page = [INVALID_FRAME; PAGE / 8];
            for (entry, frame) in page.iter_mut().zip(chunk) {
                *entry = *frame;
            }
            writer.pages.write(at, page.as_bytes());
            at += PAGE;
            left = left.saturating_sub(1);
        }
        if left == 0 {
            Ok(())
        } else {
            Err(BuildError::Inconsistent("the p2m"))
        }
    }

    fn write_tables<P: GuestPages>(
        &self,
        writer: &Writer<'_, P>,
        frames: &[u64],
    ) -> Result<(), BuildError> {
        let missing = || BuildError::Inconsistent("a page table");
        let mut entries = self.layout.entries().peekable();
        let mut empty: Vec<Pfn> = self.layout.tables().map(|(_, table)| table).collect();
        // Entries come table by table.
        while let Some(first) = entries.peek().copied() {
            let mut page = [0_u64; PAGE / 8];
            while let Some(entry) = entries.next_if(|entry| entry.table == first.table) {
                let frame = usize::try_from(entry.target.raw())
                    .ok()
                    .and_then(|target| frames.get(target))
                    .ok_or_else(missing)?;
                let slot = page.get_mut(entry.index).ok_or_else(missing)?;
                *slot = frame << addr::PAGE_SHIFT | entry.flags;
            }
            let at = writer.frame_offset(first.table.raw(), PAGE_SIZE)?;
            writer.pages.write(at, page.as_bytes());
            empty.retain(|table| *table != first.table);
        }
        // Each table has an entry, or it would not exist.
        if empty.is_empty() {
            Ok(())
        } else {
            Err(missing())
        }
    }

    fn start_info(
        &self,
        shared_info: u64,
        store: u64,
        console: u64,
        ports: Ports,
    ) -> Result<Vec<u8>, BuildError> {
        let shared_info = shared_info
            .checked_mul(PAGE_SIZE)
            .ok_or(BuildError::Inconsistent("the shared info page"))?;
        let content = StartInfoContent {
            layout: &self.layout,
            shared_info: Maddr::new(shared_info),
            command_line: &self.command_line,
            domain: DomainPages::Guest {
                store_mfn: store,
                store_port: ports.store,
                console_mfn: console,
                console_port: ports.console,
            },
            flags: 0,
            has_pae_note: self.kernel.has_pae_note,
        };
        let mut page = content.build()?.as_bytes().to_vec();
        page.resize(PAGE, 0);
        Ok(page)
    }

    /// The first vCPU's state (`public/xen.h`, "Start-of-day memory layout").
    fn context(&self, root: u64) -> VcpuGuestContext {
        let mut context = VcpuGuestContext::new_zeroed();
        let stack = self.layout.stack.raw() + PAGE_SIZE;
        context.flags = VGCF_IN_KERNEL | VGCF_ONLINE;
        context.user_regs.rip = self.layout.entry.raw();
        context.user_regs.rsp = stack;
        context.user_regs.rsi = self.layout.start_info.raw();
        context.user_regs.rflags = RFLAGS;
        context.user_regs.cs = FLAT_RING3_CS64;
        context.user_regs.ss = FLAT_RING3_SS64;
        context.kernel_ss = u64::from(FLAT_RING3_SS64);
        context.kernel_sp = stack;
        let [_, _, _, cr3, ..] = &mut context.ctrlreg;
        *cr3 = root << addr::PAGE_SHIFT;
        context
    }
}

/// Guests start with events masked, until they have told where these are to be delivered. Only the vCPUs whose
/// `vcpu_info` is in the shared page from the start; of others the hypervisor takes care when they get one.
fn mask_events(mapped: &impl GuestPages, shared_info: usize) {
    let first = offset_of!(SharedInfo, vcpu_info);
    for vcpu in 0..LEGACY_VCPUS {
        let at = first + vcpu * size_of::<VcpuInfo>() + offset_of!(VcpuInfo, evtchn_upcall_mask);
        mapped.write(shared_info + at, &[1]);
    }
}

/// Writes into mapped pages by the domain's addresses and frames.
struct Writer<'a, P> {
    pages: &'a P,
    written: &'a FrameRanges,
    layout: &'a Layout,
}

impl<P: GuestPages> Writer<'_, P> {
    fn offset(&self, address: Vaddr, length: u64) -> Result<usize, BuildError> {
        pages::byte_at(self.layout, address)
            .and_then(|byte| self.written.offset(byte, length))
            .ok_or(BuildError::Inconsistent("an address"))
    }

    fn frame_offset(&self, frame: u64, length: u64) -> Result<usize, BuildError> {
        frame
            .checked_mul(PAGE_SIZE)
            .and_then(|byte| self.written.offset(byte, length))
            .ok_or(BuildError::Inconsistent("a frame"))
    }

    fn write_at(&self, address: Vaddr, bytes: &[u8]) -> Result<(), BuildError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let at = self.offset(address, bytes.len() as u64)?;
        self.pages.write(at, bytes);
        Ok(())
    }
}
