//! The checks, for a p2m in the kernel's map or at an address of its own.
//!
//! The guest's arguments are to be [`COMMAND_LINE`]; the initrd, if there is one, is of bytes that [`initrd_byte`] gives.

use guest_runtime::memory::{self, M2P, PAGE, entry_of, mfn_of, pfn_of, pte, read};
use guest_runtime::traps::{self, CS64, IF, SS};
use guest_runtime::xen_abi::start_info::{
    SIF_INITDOMAIN, SIF_MOD_START_PFN, SIF_PRIVILEGED, StartInfo,
};
use guest_runtime::xen_abi::{features, hypercall as number, version};
use guest_runtime::{check_eq, expect, expect_eq, hypercalls, initial_registers, println, shared};

/// With spaces and quotes that nobody may change.
const COMMAND_LINE: &[u8] = b"test  \"x  y\" z=1 'q' -- tail ";
/// Bytes after the last thing that must be mapped.
const SLACK: u64 = 512 << 10;

fn initrd_byte(position: u64) -> u8 {
    (position * 7 + (position >> 8)) as u8
}

pub(crate) fn run(info: &StartInfo, p2m: Option<u64>) {
    traps::init();
    registers(info);
    fields(info, p2m);
    map(info, p2m);
    machine_frames(info);
    initrd(info, p2m);
    println!("shared page");
    shared::map(info);
    expect!(shared::upcall_mask() || !shared::upcall_pending());
    expect!(shared::now() > 0);
    versions();
    calls_by_page();
}

fn registers(info: &StartInfo) {
    let [
        rax,
        rbx,
        rcx,
        rdx,
        rsi,
        rdi,
        rbp,
        rsp,
        rflags,
        cs,
        ss,
        ds,
        r8,
        r15,
    ] = initial_registers();
    expect_eq!([rax, rbx, rcx, rdx, rdi, rbp, r8, r15], [0; 8]);
    expect_eq!(rsi, (&raw const *info).expose_provenance() as u64);
    expect_eq!([cs & 0xffff, ss & 0xffff], [CS64, SS]);
    expect!(ds & 0xffff == SS || ds & 0xffff == 0);
    // Interrupts on, nothing else; the stack is a page behind the page tables.
    expect_eq!(rflags & !0x46, IF);
    expect_eq!(rsp, info.pt_base + (info.nr_pt_frames + 1) * PAGE);
}

fn fields(info: &StartInfo, p2m: Option<u64>) {
    println!(
        "{} pages, tables at {:#x} ({}), p2m at {:#x} (frames {:#x}, {}), initrd {:#x} ({})",
        info.nr_pages,
        info.pt_base,
        info.nr_pt_frames,
        info.mfn_list,
        info.first_p2m_pfn,
        info.nr_p2m_frames,
        info.mod_start,
        info.mod_len
    );
    let mut magic = [0; 32];
    // With a letter for the note of PAE.
    magic[..15].copy_from_slice(b"xen-3.0-x86_64p");
    expect_eq!(info.magic, magic);
    expect!(info.nr_pages >= 2048);
    expect_eq!(info.shared_info % PAGE, 0);
    let by_frame = if p2m.is_some() && info.mod_len != 0 {
        SIF_MOD_START_PFN
    } else {
        0
    };
    expect_eq!(
        info.flags & !0xff00,
        SIF_PRIVILEGED | SIF_INITDOMAIN | by_frame
    );
    // Domain 0 starts xenstore itself.
    expect_eq!((info.store_mfn, info.store_evtchn), (0, 0));
    let console = info.console.dom0();
    // Behind it is what the screen shows, if domain 0 is told.
    if console.info_size != 0 {
        expect_eq!(u64::from(console.info_off), size_of::<StartInfo>() as u64);
        expect!((4..=64).contains(&console.info_size));
    }
    expect_eq!((info.pt_base % PAGE, info.mfn_list % PAGE), (0, 0));
    let frames = (info.nr_pages * 8).div_ceil(PAGE);
    match p2m {
        Some(address) => {
            expect_eq!(info.mfn_list, address);
            expect!(info.nr_p2m_frames >= frames);
            expect!(info.first_p2m_pfn + info.nr_p2m_frames <= info.nr_pages);
        }
        None => {
            expect_eq!(info.nr_p2m_frames, 0);
            expect!(info.mfn_list < info.pt_base);
        }
    }
    // To the byte, and zeros behind it.
    let end = info
        .cmd_line
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(0);
    let (line, rest) = info.cmd_line.split_at(end);
    if line != COMMAND_LINE {
        println!("command line: {:?}", core::str::from_utf8(line));
    }
    expect!(line == COMMAND_LINE);
    expect!(rest.iter().all(|byte| *byte == 0));
}

/// Everything is mapped where it belongs: writable, but for the tables.
fn map(info: &StartInfo, p2m: Option<u64>) {
    let tables = info.pt_base..info.pt_base + info.nr_pt_frames * PAGE;
    let end = tables.end + PAGE + SLACK;
    for at in (0..end).step_by(PAGE as usize) {
        let entry = entry_of(at, 1).map_or(0, |entry| entry.value);
        let flags = if tables.contains(&at) {
            pte::P
        } else {
            pte::P | pte::RW
        };
        expect_eq!(entry & (pte::P | pte::RW | pte::NX), flags, "at {at:#x}");
        expect_eq!(
            (entry & pte::ADDRESS) / PAGE,
            mfn_of(at / PAGE),
            "at {at:#x}"
        );
    }
    // The map goes on to a multiple of 4 MiB, not beyond, and there is nothing else in the guest's part.
    let mapped = end.next_multiple_of(4 << 20);
    for level in 1..=4 {
        if let Some(entry) = entry_of(mapped, level)
            && level == 1
        {
            expect_eq!(entry.value & pte::P, 0);
        }
    }
    for slot in (1..256).chain(272..512) {
        let expected = p2m.is_some_and(|p2m| memory::index_at(p2m, 4) == slot);
        let entry = read::<u64>(memory::root() + 8 * slot);
        expect_eq!(entry & pte::P != 0, expected, "slot {slot}");
    }
    if p2m.is_some() {
        let window = memory::Page::take();
        let mut last = info.first_p2m_pfn.wrapping_sub(1);
        for index in 0..(info.nr_pages * 8).div_ceil(PAGE) {
            let entry = entry_through(window, info.mfn_list + index * PAGE);
            expect_eq!(entry & (pte::P | pte::RW), pte::P | pte::RW);
            let pfn = pfn_of((entry & pte::ADDRESS) / PAGE);
            // In order, in the range that the guest may use again, beside the tables for it.
            expect!(index == 0 || pfn == last + 1);
            expect!(pfn.wrapping_sub(info.first_p2m_pfn) < info.nr_p2m_frames);
            last = pfn;
        }
    }
}

/// An L1 entry by way of tables that are not mapped themselves.
fn entry_through(window: memory::Page, address: u64) -> u64 {
    let mut entry = read::<u64>(memory::root() + 8 * memory::index_at(address, 4));
    for level in (1..=3).rev() {
        if entry & pte::P == 0 {
            return 0;
        }
        let table = entry & pte::ADDRESS;
        check_eq!(
            memory::update_va_mapping(window.address, table | pte::PAGE_RO),
            0
        );
        entry = window.get(memory::index_at(address, level));
    }
    check_eq!(window.map_rw(), 0);
    entry
}

/// The two tables say the same, so no frame is there twice.
fn machine_frames(info: &StartInfo) {
    let mut wrong = 0;
    for pfn in 0..info.nr_pages {
        let mfn = mfn_of(pfn);
        // (The initrd's frames may be at the end of a larger p2m, or no longer the guest's in it.)
        if mfn > 1 << 28 || pfn_of(mfn) != pfn {
            wrong += 1;
        }
    }
    expect_eq!(wrong, 0);
    // No frame of the guest's is the shared page, whose number is none.
    expect!(pfn_of(info.shared_info / PAGE) >= info.nr_pages);
    let _ = M2P;
}

fn initrd(info: &StartInfo, p2m: Option<u64>) {
    if info.mod_len == 0 {
        expect_eq!(info.mod_start, 0);
        return;
    }
    if p2m.is_none() {
        expect_eq!(info.mod_start % PAGE, 0);
        expect!(info.mod_start + info.mod_len <= info.mfn_list);
    } else {
        expect!(info.mod_start < info.nr_pages);
    }
    // By frame it has to be mapped first.
    let window = memory::Page::take();
    let mut wrong = 0;
    for position in 0..info.mod_len {
        let at = if p2m.is_none() {
            info.mod_start + position
        } else {
            if position % PAGE == 0 {
                let mfn = mfn_of(info.mod_start + position / PAGE);
                expect_eq!(
                    memory::update_va_mapping(window.address, mfn * PAGE | pte::PAGE_RW),
                    0
                );
            }
            window.address + position % PAGE
        };
        wrong += u64::from(read::<u8>(at) != initrd_byte(position));
    }
    expect_eq!(wrong, 0);
    expect_eq!(window.map_rw(), 0);
}

fn versions() {
    println!("versions");
    let mut buffer = [0xa5_u8; 1024];
    let mut text = |operation: u32| -> (i64, [u8; 1024]) {
        buffer.fill(0xa5);
        let result = hypercalls::call_with(number::XEN_VERSION, operation, &mut buffer);
        (result, buffer)
    };
    let contains =
        |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
    let (result, extra) = text(version::EXTRAVERSION);
    expect_eq!(result, 0);
    // Sixteen bytes, with their end; no more is touched.
    expect!(extra[..16].contains(&0));
    expect_eq!(extra[16], 0xa5);
    expect_eq!(extra[0], b'.');
    let (result, capabilities) = text(version::CAPABILITIES);
    expect_eq!(result, 0);
    expect!(contains(&capabilities, b"xen-3.0-x86_64 "));
    expect!(capabilities[..1024].contains(&0));
    let (result, changeset) = text(version::CHANGESET);
    expect_eq!(result, 0);
    expect!(changeset[..64].contains(&0));
    expect_eq!(changeset[64], 0xa5);
    let (result, compile) = text(version::COMPILE_INFO);
    expect_eq!(result, 0);
    expect_eq!(compile[144], 0xa5);
    let (result, line) = text(version::COMMANDLINE);
    expect_eq!(result, 0);
    expect!(contains(&line, b"console=com1"));
    let (result, parameters) = text(version::PLATFORM_PARAMETERS);
    expect_eq!(result, 0);
    expect!(parameters[..8] == M2P.to_le_bytes());
    expect_eq!(parameters[8], 0xa5);
    expect_eq!(
        hypercalls::call(number::XEN_VERSION, &[u64::from(version::PAGESIZE), 0]),
        4096
    );
    let (result, _) = text(version::GUEST_HANDLE);
    expect_eq!(result, 0);
    // What is the same for every domain 0.
    let mut info = version::FeatureInfo {
        submap_idx: 0,
        submap: 0,
    };
    expect_eq!(
        hypercalls::call_with(number::XEN_VERSION, version::GET_FEATURES, &mut info),
        0
    );
    let wanted = [
        features::PAE_PGDIR_ABOVE_4GB,
        features::MMU_PT_UPDATE_PRESERVE_AD,
        features::HIGHMEM_ASSIST,
        features::GNTTAB_MAP_AVAIL_BITS,
        features::DOM0,
        features::MEMORY_OP_VNODE_SUPPORTED,
        features::DIRECT_MAPPED,
    ];
    let wanted = wanted.iter().fold(0, |bits, feature| bits | 1 << feature);
    println!("features {:#x}", info.submap);
    expect_eq!(
        info.submap & !(1 << features::DIRECT_MAPPED),
        wanted & !(1 << features::DIRECT_MAPPED)
    );
    info.submap_idx = 1;
    let result = hypercalls::call_with(number::XEN_VERSION, version::GET_FEATURES, &mut info);
    expect!(result == -22 || info.submap == 0);
}

/// The stubs of the hypercall page: each makes its own call, and keeps what a call keeps.
fn calls_by_page() {
    for nr in [number::XEN_VERSION, number::SCHED_OP] {
        // SAFETY: version 0 and yield take no pointers.
        let (by_page, inline) = unsafe {
            (
                hypercalls::hypercall_by_page(nr, [0; 5]),
                hypercalls::hypercall(nr, [0; 5]),
            )
        };
        expect_eq!(by_page, inline);
    }
    // SAFETY: nobody has this number.
    let unknown = unsafe { hypercalls::hypercall_by_page(62, [0; 5]) };
    expect_eq!(unknown, -38);
}
