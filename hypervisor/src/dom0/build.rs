//! Fills domain 0's memory and sets its first vCPU's registers.

use alloc::vec::Vec;
use core::sync::atomic::Ordering;

use addr::{Mfn, PAGE_SHIFT, PAGE_SIZE, Pfn};
use arrayvec::ArrayVec;
use boot_info::{BootInfo, MAX_MODULES, Video};
use frames::TableMemory;
use kernel_image::{KernelImage, PvKernel};
use platform_cpu::GuestRegs;
use platform_memory::{BootModule, DirectMap};
use pv_layout::{DomainPages, Initrd, Layout, Request, Role, StartInfoContent};
use x86_defs::control::RFlags;
use xen_abi::arch_x86::{FLAT_RING3_CS64, FLAT_RING3_SS64};
use xen_abi::start_info::{
    Dom0VgaConsoleInfo, Dom0VgaConsoleInfoTextMode3, Dom0VgaConsoleInfoUnion,
    Dom0VgaConsoleInfoVesaLfb, StartInfo,
};
use zerocopy::{FromZeros, IntoBytes};

use super::Dom0Error;
use super::pages::Pages;
use crate::domain::Domain;
use crate::hypercall::page as hypercall_page;
use crate::{config, console, mm};

/// Builds the contents of `domain` from the boot modules.
pub fn build(
    domain: &Domain,
    boot: &BootInfo,
    modules: ArrayVec<BootModule, MAX_MODULES>,
) -> Result<(), Dom0Error> {
    let module_frames: u64 = modules
        .iter()
        .map(|module| addr::pages_for(module.bytes().len() as u64))
        .sum();
    let available = mm::free_frames() + module_frames;
    let wanted = config::get()
        .dom0_memory
        .frames(available)
        .map_err(Dom0Error::Memory)?;

    let mut modules = modules.into_iter();
    let kernel_module = modules.next().ok_or(Dom0Error::NoKernel)?;
    let initrd_module = modules.next();

    let image = KernelImage::open(kernel_module.bytes())?;
    let mut unpacked = Vec::new();
    let file = match image.unpacked() {
        Some(file) => file,
        None => {
            unpacked
                .try_reserve_exact(image.unpacked_size())
                .map_err(|_| Dom0Error::NoMemory("unpacking its kernel"))?;
            unpacked.resize(image.unpacked_size(), 0);
            image.unpack(&mut unpacked)?;
            &unpacked
        }
    };
    let kernel = PvKernel::parse(file)?;
    kernel
        .check_dom0()
        .map_err(kernel_image::ImageError::from)?;

    let layout = Layout::compute(&Request {
        kernel: (&kernel).into(),
        initrd_bytes: initrd_module
            .as_ref()
            .map(|module| module.bytes().len() as u64),
        pages: wanted.initial,
        role: Role::Domain0,
    })?;
    report(&kernel, &layout, wanted.initial);

    let mut pages = Pages::new(domain);
    pages.grow_to(layout.used_frames)?;
    load_kernel(&pages, &layout, &kernel)?;
    if let (Some(place), Some(module)) = (layout.initrd, &initrd_module) {
        load_initrd(&pages, place, module.bytes())?;
    }
    let pae_mode = kernel.pae_mode;
    let has_pae_note = pae_mode == b"yes" || pae_mode.windows(7).any(|word| word == b"bimodal");
    // The kernel's file is not needed any more: its memory is domain 0's from here on.
    drop(kernel);
    drop(unpacked);
    // What the modules took is domain 0's now: only their copies count from here on.
    for module in [Some(kernel_module), initrd_module]
        .into_iter()
        .flatten()
        .chain(modules)
    {
        let (first, count) = module.release();
        mm::add_frames(first, count);
    }
    pages.grow_to(wanted.initial)?;
    domain.memory.limit.store(wanted.max, Ordering::Relaxed);

    if let Some(at) = layout.hypercall_page {
        let done = pages.write(&layout, at, &hypercall_page::stubs());
        done.then_some(()).ok_or(Dom0Error::Address {
            what: "its hypercall page",
            address: at.raw(),
        })?;
    }
    write_p2m(&pages, &layout)?;
    write_start_info(domain, &pages, &layout, boot, has_pae_note)?;
    let root = write_page_tables(&pages, &layout)?;
    start_vcpu(domain, &layout, root)
}

/// Says what is built, in Xen's words.
fn report(kernel: &PvKernel<'_>, layout: &Layout, pages: u64) {
    log::info!(
        " Dom0 kernel: 64-bit, PAE, lsb, {:#x} -> {:#x}",
        kernel.start.raw(),
        kernel.end.raw()
    );
    log::info!(" Dom0 memory: {} KiB", pages * (PAGE_SIZE / 1024));
    log::info!("VIRTUAL MEMORY ARRANGEMENT:");
    log::info!(
        " Loaded kernel: {:016x}->{:016x}",
        kernel.start.raw(),
        kernel.end.raw()
    );
    if let Some(initrd) = layout.initrd {
        log::info!(
            " Init. ramdisk: page {:#x}, {} bytes",
            initrd.first.raw(),
            initrd.bytes
        );
    }
    log::info!(
        " Phys-Mach map: {:016x}->{:016x}",
        layout.p2m.address.raw(),
        layout.p2m.address.raw() + layout.p2m.frames * PAGE_SIZE
    );
    log::info!(" Start info:    {:016x}", layout.start_info.raw());
    log::info!(
        " Page tables:   {:016x}->{:016x}",
        layout.page_tables.raw(),
        layout.stack.raw()
    );
    log::info!(" Boot stack:    {:016x}", layout.stack.raw());
    log::info!(
        " TOTAL:         {:016x}->{:016x}",
        layout.base.raw(),
        layout.end.raw()
    );
    log::info!(" ENTRY ADDRESS: {:016x}", layout.entry.raw());
}

/// Copies the kernel's segments and zeroes what follows their contents.
fn load_kernel(pages: &Pages<'_>, layout: &Layout, kernel: &PvKernel<'_>) -> Result<(), Dom0Error> {
    for segment in kernel.segments() {
        let outside = Dom0Error::Address {
            what: "a segment",
            address: segment.address.raw(),
        };
        let len = segment.bytes.len() as u64;
        let copied = pages.write(layout, segment.address, segment.bytes);
        let cleared = segment
            .address
            .checked_add(len)
            .is_some_and(|end| pages.clear(layout, end, segment.memory_size.saturating_sub(len)));
        if !copied || !cleared {
            return Err(outside);
        }
    }
    Ok(())
}

fn load_initrd(pages: &Pages<'_>, place: Initrd, bytes: &[u8]) -> Result<(), Dom0Error> {
    for (index, part) in bytes.chunks(PAGE_SIZE as usize).enumerate() {
        let pfn = Pfn::new(place.first.raw() + index as u64);
        let page = pages.page(pfn).ok_or(Dom0Error::NoMemory("its initrd"))?;
        platform_memory::map(&page).copy_to(0, part);
    }
    Ok(())
}

/// Writes the table by which domain 0 finds its frames.
fn write_p2m(pages: &Pages<'_>, layout: &Layout) -> Result<(), Dom0Error> {
    const ENTRIES: usize = PAGE_SIZE as usize / 8;
    let mut frames = pages.frames();
    for index in 0..layout.p2m.frames {
        let page = pages
            .page(Pfn::new(layout.p2m.first.raw() + index))
            .ok_or(Dom0Error::NoMemory("its p2m"))?;
        let page = platform_memory::map(&page);
        for entry in 0..ENTRIES {
            let value = frames.next().unwrap_or(Mfn::INVALID);
            page.store_u64(entry * 8, value.raw());
        }
    }
    Ok(())
}

/// Writes `start_info`, and behind it what the screen shows.
fn write_start_info(
    domain: &Domain,
    pages: &Pages<'_>,
    layout: &Layout,
    boot: &BootInfo,
    has_pae_note: bool,
) -> Result<(), Dom0Error> {
    let video = video(boot);
    let shared_info = domain
        .shared_info
        .frame()
        .maddr()
        .ok_or(Dom0Error::NoMemory("the shared info page"))?;
    let command_line = boot.module(0).map_or(&[][..], |module| module.command_line);
    let content = StartInfoContent {
        layout,
        shared_info,
        command_line,
        domain: DomainPages::Domain0 {
            has_video: video.is_some(),
        },
        flags: 0,
        has_pae_note,
    };
    let info = content.build().map_err(Dom0Error::CommandLine)?;
    let video = video.unwrap_or_else(Dom0VgaConsoleInfo::new_zeroed);
    let at = layout.start_info;
    let written = pages.clear(layout, at, PAGE_SIZE)
        && pages.write(layout, at, info.as_bytes())
        && at
            .checked_add(size_of::<StartInfo>() as u64)
            .is_some_and(|at| pages.write(layout, at, video.as_bytes()));
    written.then_some(()).ok_or(Dom0Error::Address {
        what: "its start info",
        address: at.raw(),
    })
}

/// What domain 0 is told of the screen, which is its own from now on.
fn video(boot: &BootInfo) -> Option<Dom0VgaConsoleInfo> {
    /// `video_type` of both kinds (public/xen.h).
    const TEXT_MODE_3: u8 = 3;
    const VESA_LFB: u8 = 0x23;
    let cursor = console::release_screen(config::get());
    let (kind, union) = match &boot.video {
        Some(Video::Pixels(frame_buffer)) => {
            let [red, green, blue] = frame_buffer.colours;
            let address = frame_buffer.address.raw();
            let kib64 =
                (u64::from(frame_buffer.pitch) * u64::from(frame_buffer.height)).div_ceil(64 << 10);
            let lfb = Dom0VgaConsoleInfoVesaLfb {
                width: frame_buffer.width as u16,
                height: frame_buffer.height as u16,
                bytes_per_line: frame_buffer.pitch as u16,
                bits_per_pixel: frame_buffer.bits_per_pixel.into(),
                lfb_base: address as u32,
                lfb_size: kib64 as u32,
                red_pos: red.0,
                red_size: red.1,
                green_pos: green.0,
                green_size: green.1,
                blue_pos: blue.0,
                blue_size: blue.1,
                ext_lfb_base: (address >> 32) as u32,
                ..Dom0VgaConsoleInfoVesaLfb::new_zeroed()
            };
            (VESA_LFB, Dom0VgaConsoleInfoUnion::new(lfb))
        }
        Some(Video::Text { columns, rows, .. }) => {
            let (row, column) = cursor?;
            (
                TEXT_MODE_3,
                text_mode(*rows as u16, *columns as u16, row, column),
            )
        }
        None => {
            let (row, column) = cursor?;
            (TEXT_MODE_3, text_mode(25, 80, row, column))
        }
    };
    Some(Dom0VgaConsoleInfo {
        video_type: kind,
        _hole0: [0; 3],
        u: union,
    })
}

fn text_mode(rows: u16, columns: u16, row: u16, column: u16) -> Dom0VgaConsoleInfoUnion {
    Dom0VgaConsoleInfoUnion::new(Dom0VgaConsoleInfoTextMode3 {
        font_height: 16,
        cursor_x: column,
        cursor_y: row,
        rows,
        columns,
    })
}

/// Writes the initial page tables; returns the frame of the root. They are checked when they are pinned.
fn write_page_tables(pages: &Pages<'_>, layout: &Layout) -> Result<Mfn, Dom0Error> {
    const MISSING: Dom0Error = Dom0Error::NoMemory("its page tables");
    for (_, table) in layout.tables() {
        platform_memory::map(&pages.page(table).ok_or(MISSING)?).zero();
    }
    let memory = DirectMap;
    for entry in layout.entries() {
        let table = pages.frame(entry.table).ok_or(MISSING)?;
        let target = pages.frame(entry.target).ok_or(MISSING)?;
        memory.write_entry(table, entry.index, target.raw() << PAGE_SHIFT | entry.flags);
    }
    pages.frame(layout.root()).ok_or(MISSING)
}

/// Gives vCPU 0 its page tables and registers (public/xen.h, "Start-of-day memory layout").
fn start_vcpu(domain: &Domain, layout: &Layout, root: Mfn) -> Result<(), Dom0Error> {
    mm::pin_root(domain, root).map_err(|_| Dom0Error::PageTables)?;
    let root = mm::guest_root(domain, root).map_err(|_| Dom0Error::PageTables)?;
    let vcpu = domain.vcpu(0).ok_or(Dom0Error::NoMemory("a vCPU"))?;
    let mut state = vcpu.state.lock();
    // It had none.
    state.roots.replace_kernel(Some(root));
    state.regs = GuestRegs {
        rip: layout.entry.raw(),
        cs: FLAT_RING3_CS64,
        rflags: (RFlags::IF | RFlags::FIXED).bits(),
        rsp: layout.stack.raw() + PAGE_SIZE,
        ss: FLAT_RING3_SS64,
        rsi: layout.start_info.raw(),
        ..GuestRegs::default()
    };
    // The kernel may take a trap before it sets its own stack: the boot stack serves until then.
    state.kernel_sp = layout.stack.raw() + PAGE_SIZE;
    state.kernel_ss = FLAT_RING3_SS64;
    Ok(())
}
