//! Domains built on a hypervisor that is a table of frames: what the guest would see, and what happens when any call
//! fails.

#[path = "../../../logic/kernel_image/tests/elf_file/mod.rs"]
mod elf_file;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use domain_builder::cache::Cache;
use domain_builder::{BuildError, BuildPlan, GuestPages, Kernel, Ports, Target};
use elf_file::{ElfFile, number};
use xen_abi::elf_note as note;
use xen_abi::start_info::StartInfo;
use xen_abi::vcpu_context::VcpuGuestContext;
use xen_control::{ControlError, DomId, Errno, GrantedFrame};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const PAGE: usize = 4096;
const BASE: u64 = 0xffff_ffff_8000_0000;
const P2M: u64 = 0x80_0000_0000;
const SHARED_INFO: u64 = 77;
const DOMAIN: DomId = 5;

type Memory = Rc<RefCell<HashMap<u64, Vec<u8>>>>;

struct Pages {
    memory: Memory,
    frames: Vec<u64>,
    mapped: Rc<Cell<bool>>,
}

impl GuestPages for Pages {
    fn write(&self, offset: usize, bytes: &[u8]) {
        for (index, byte) in bytes.iter().enumerate() {
            let at = offset + index;
            let frame = self.frames[at / PAGE];
            let mut memory = self.memory.borrow_mut();
            memory.get_mut(&frame).expect("the frame exists")[at % PAGE] = *byte;
        }
    }

    fn read_file(&self, offset: usize, file: &File, from: u64, length: usize) -> io::Result<()> {
        let mut bytes = vec![0; length];
        file.read_exact_at(&mut bytes, from)?;
        self.write(offset, &bytes);
        Ok(())
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        self.mapped.set(false);
    }
}

/// A hypervisor with so many frames, whose `fails`th call fails.
struct Fake {
    memory: Memory,
    next: Cell<u64>,
    left: Cell<u64>,
    calls: Cell<u32>,
    fails: Option<u32>,
    /// Only single pages are to be had.
    scattered: bool,
    mapped: Rc<Cell<bool>>,
    pinned: Cell<Option<u64>>,
    context: RefCell<Option<VcpuGuestContext>>,
    grants: RefCell<Vec<GrantedFrame>>,
}

impl Fake {
    fn new(frames: u64) -> Self {
        let memory = HashMap::from([(SHARED_INFO, vec![0; PAGE])]);
        Self {
            memory: Rc::new(RefCell::new(memory)),
            next: Cell::new(0x1000),
            left: Cell::new(frames),
            calls: Cell::new(0),
            fails: None,
            scattered: false,
            mapped: Rc::default(),
            pinned: Cell::default(),
            context: RefCell::default(),
            grants: RefCell::default(),
        }
    }

    fn call(&self) -> Result<(), ControlError> {
        let number = self.calls.get();
        self.calls.set(number + 1);
        if self.fails == Some(number) {
            return Err(ControlError {
                operation: "do this",
                domain: Some(DOMAIN),
                errno: Errno::EIO,
            });
        }
        Ok(())
    }

    fn word(&self, frame: u64, index: usize) -> u64 {
        let memory = self.memory.borrow();
        u64::from_le_bytes(memory[&frame][index * 8..index * 8 + 8].try_into().unwrap())
    }

    /// Walks the page tables as the CPU does.
    fn walk(&self, address: u64) -> Option<(u64, bool)> {
        let mut frame = self.pinned.get()?;
        let mut writable = true;
        for level in (0..4).rev() {
            let index = (address >> (12 + 9 * level) & 511) as usize;
            let entry = self.word(frame, index);
            if entry & 1 == 0 {
                return None;
            }
            writable &= entry & 2 != 0;
            frame = entry >> 12 & 0xff_ffff_ffff;
        }
        Some((frame, writable))
    }

    fn read(&self, address: u64, length: usize) -> Vec<u8> {
        (address..address + length as u64)
            .map(|at| {
                let (frame, _) = self
                    .walk(at)
                    .unwrap_or_else(|| panic!("{at:#x} is not mapped"));
                self.memory.borrow()[&frame][at as usize % PAGE]
            })
            .collect()
    }
}

impl Target for Fake {
    type Pages = Pages;

    fn populate(
        &self,
        _: DomId,
        first: &[u64],
        order: u32,
        got: &mut dyn FnMut(u64, u64),
    ) -> Result<usize, ControlError> {
        self.call()?;
        let size = 1 << order;
        let mut done = 0;
        for pfn in first {
            if self.left.get() < size || self.scattered && order > 0 {
                break;
            }
            self.left.set(self.left.get() - size);
            // Frames are not in the guest's order, and are not clean.
            let frame = self.next.get();
            self.next.set(frame + size + 3);
            for index in 0..size {
                self.memory
                    .borrow_mut()
                    .insert(frame + index, vec![0xcc; PAGE]);
            }
            got(*pfn, frame);
            done += 1;
        }
        Ok(done)
    }

    fn map(&self, _: DomId, frames: &[u64]) -> Result<Pages, ControlError> {
        self.call()?;
        self.mapped.set(true);
        Ok(Pages {
            memory: Rc::clone(&self.memory),
            frames: frames.to_vec(),
            mapped: Rc::clone(&self.mapped),
        })
    }

    fn clear(&self, _: DomId, frames: &[u64]) -> Result<(), ControlError> {
        self.call()?;
        for frame in frames {
            self.memory.borrow_mut().insert(*frame, vec![0; PAGE]);
        }
        Ok(())
    }

    fn pin_root(&self, _: DomId, frame: u64) -> Result<(), ControlError> {
        self.call()?;
        assert!(!self.mapped.get(), "tables are mapped writable");
        self.pinned.set(Some(frame));
        Ok(())
    }

    fn write_hypercall_page(&self, _: DomId, frame: u64) -> Result<(), ControlError> {
        self.call()?;
        self.memory.borrow_mut().insert(frame, vec![0xaa; PAGE]);
        Ok(())
    }

    fn shared_info(&self, _: DomId) -> Result<u64, ControlError> {
        self.call()?;
        Ok(SHARED_INFO)
    }

    fn set_context(&self, _: DomId, context: &VcpuGuestContext) -> Result<(), ControlError> {
        self.call()?;
        *self.context.borrow_mut() = Some(*context);
        Ok(())
    }

    fn seed_grants(&self, _: DomId, grants: &[GrantedFrame]) -> Result<(), ControlError> {
        self.call()?;
        self.grants.borrow_mut().extend_from_slice(grants);
        Ok(())
    }
}

struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("xenolith-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const PORTS: Ports = Ports {
    store: 3,
    console: 4,
};

fn kernel() -> ElfFile {
    ElfFile::kernel(BASE, 0x10_0000, 0x5000)
        .with(number(note::INIT_P2M, P2M))
        .with(number(note::MOD_START_PFN, 1))
        .with(number(note::HYPERCALL_PAGE, BASE + 0x10_3000))
}

fn plan(scratch: &Scratch, pages: u64) -> BuildPlan {
    let kernel = scratch.file("kernel", &kernel().build());
    let initrd = scratch.file("initrd", &[7; 5000]);
    let kernel = Kernel::load(&kernel, &Cache::none(), drop).unwrap();
    BuildPlan::new(
        kernel,
        Some(Path::new(&initrd)),
        "quiet root=/dev/xvda",
        pages,
    )
    .unwrap()
}

#[test]
fn the_guest_finds_everything() {
    for scattered in [false, true] {
        let scratch = Scratch::new(&format!("guest-{scattered}"));
        let pages = 4096 + 17;
        let plan = plan(&scratch, pages);
        let mut fake = Fake::new(pages);
        fake.scattered = scattered;
        let built = plan.apply(&fake, DOMAIN, PORTS).unwrap();
        assert_eq!(fake.left.get(), 0, "all memory is there from the start");

        let context = fake.context.borrow().unwrap();
        assert_eq!(context.user_regs.rip, BASE + 0x10_0000);
        assert_eq!(context.ctrlreg[3], fake.pinned.get().unwrap() << 12);
        // The kernel's content, and zeros behind it, whatever was in memory.
        let content = fake.read(BASE + 0x10_0000, 0x5000);
        assert_eq!(content[..64], [0x90; 64]);
        assert!(content[64..0x3000].iter().all(|byte| *byte == 0));
        assert!(
            content[0x3000..0x4000].iter().all(|byte| *byte == 0xaa),
            "hypercall page"
        );
        assert!(content[0x4000..].iter().all(|byte| *byte == 0));

        let info = fake.read(context.user_regs.rsi, size_of::<StartInfo>());
        let info = StartInfo::read_from_bytes(&info).unwrap();
        assert_eq!(info.nr_pages, pages);
        assert_eq!(info.shared_info, SHARED_INFO << 12);
        assert_eq!((info.store_mfn, info.store_evtchn), (built.store, 3));
        assert_eq!(
            (info.console.dom_u().mfn, info.console.dom_u().evtchn),
            (built.console, 4)
        );
        assert!(info.cmd_line.starts_with(b"quiet root=/dev/xvda\0"));
        assert_eq!(info.mod_len, 5000);

        // The p2m names each frame once; by it the initrd is found.
        let p2m = fake.read(P2M, pages as usize * 8);
        let p2m: Vec<u64> = p2m
            .chunks(8)
            .map(|word| u64::from_le_bytes(word.try_into().unwrap()))
            .collect();
        let mut sorted = p2m.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(sorted.len() as u64, pages);
        let memory = fake.memory.borrow();
        let initrd = p2m[info.mod_start as usize];
        assert_eq!(memory[&initrd], vec![7; PAGE]);
        // Rings begin empty, and no events are taken before the kernel wants them.
        for frame in [built.store, built.console] {
            assert_eq!(memory[&frame], vec![0; PAGE]);
        }
        assert_eq!(
            (memory[&SHARED_INFO][1], memory[&SHARED_INFO][31 * 64 + 1]),
            (1, 1)
        );
        let grants = fake.grants.borrow();
        assert_eq!(
            grants.iter().map(|grant| grant.frame).collect::<Vec<_>>(),
            [built.console, built.store]
        );
        drop(memory);

        // Page tables cannot be written by the guest itself.
        let tables = plan.layout().page_tables.raw();
        for index in 0..plan.layout().table_frames() {
            assert!(!fake.walk(tables + index * 4096).unwrap().1);
        }
        assert!(fake.walk(context.user_regs.rsp - 8).unwrap().1);
    }
}

#[test]
fn every_call_may_fail() {
    let scratch = Scratch::new("fail");
    let plan = plan(&scratch, 2048);
    let whole = Fake::new(2048);
    plan.apply(&whole, DOMAIN, PORTS).unwrap();
    for call in 0..whole.calls.get() {
        let mut fake = Fake::new(2048);
        fake.fails = Some(call);
        let error = plan.apply(&fake, DOMAIN, PORTS).unwrap_err();
        assert!(
            matches!(error, BuildError::Control(_)),
            "call {call}: {error}"
        );
        assert!(!fake.mapped.get(), "call {call} leaves memory mapped");
        assert!(
            fake.grants.borrow().is_empty(),
            "call {call}: the last step was not made"
        );
    }
}

#[test]
fn too_little_memory() {
    let scratch = Scratch::new("memory");
    let plan = plan(&scratch, 2048);
    let error = plan.apply(&Fake::new(2047), DOMAIN, PORTS).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is not enough free memory: the domain got 8188 of 8192 KiB"
    );
    let kernel = Kernel::load(&scratch.0.join("kernel"), &Cache::none(), drop).unwrap();
    let error = BuildPlan::new(kernel.clone(), None, "", 64).unwrap_err();
    assert!(
        error.to_string().contains("the domain has 256 KiB"),
        "{error}"
    );
    let error = BuildPlan::new(kernel, None, &"x".repeat(1024), 2048).unwrap_err();
    assert!(error.to_string().contains("command line"), "{error}");
}

#[test]
fn files_that_are_not_as_they_should_be() {
    let scratch = Scratch::new("files");
    let load = |path: &Path| {
        Kernel::load(path, &Cache::none(), drop)
            .map(drop)
            .unwrap_err()
            .to_string()
    };
    let missing = load(&scratch.0.join("nothing"));
    assert!(missing.contains("nothing: No such file"), "{missing}");
    let text = load(&scratch.file("text", b"not a kernel"));
    assert!(text.contains("text cannot be used"), "{text}");
    // An initrd that is cut short after the plan was made.
    let plan = plan(&scratch, 2048);
    scratch.file("initrd", &[7; 100]);
    let error = plan.apply(&Fake::new(2048), DOMAIN, PORTS).unwrap_err();
    assert!(
        matches!(
            error,
            BuildError::File {
                what: "ramdisk",
                ..
            }
        ),
        "{error}"
    );
    let mut context = VcpuGuestContext::new_zeroed();
    assert!(context.as_mut_bytes().iter().all(|byte| *byte == 0));
}
