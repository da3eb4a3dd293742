//! Guest memory: the page allocator, who owns what, page tables, descriptor tables, TLB flushes.
//!
//! What may be mapped as what is decided in `logic/frames`; here is the machine that it works on
//! ([`Machine`]), and what the rest of the hypervisor needs of it.

mod descriptors;
mod flush;
mod machine;
mod pages;
mod roots;
mod table_write;
mod walk;

pub use descriptors::{
    LdtShadow, MAX_GDT_ENTRIES, MAX_LDT_ENTRIES, descriptor_table_fault, forget_ldt,
    load_descriptor_tables, set_descriptor_frames, set_ldt,
};
pub use flush::{
    CpuSet, cross_to, flush_all_cpus, flush_local, flush_on, flush_page_on, init_cpu, load_root,
    note_guest_loaded, serve_flushes, unload_guest, wake_flush_waiters,
};
pub use machine::{Machine, validator};
pub use pages::{
    LentPage, LoosePage, Stolen, add_frames, allocate_for, assign_charged, assign_pages,
    claimed_frames, collect_limbo, end_stealing, frame_table, free_frames, free_frames_below,
    give_back, give_back_charged, max_frame, ram_frames, release_page, share_new_page, steal_page,
    take_uncharged,
};
pub use roots::{WritablePage, guest_root, pin_root, release_root, writable_page};
pub use table_write::emulate_table_write;
pub use walk::{Leaf, walk_to_l1};

/// Takes over memory from boot. Once, before anything else of this module is used.
pub fn init(memory: &platform_memory::MemoryInit, map: &boot_info::MemoryMap) {
    pages::init(memory, map);
    flush::init();
    descriptors::init();
}
