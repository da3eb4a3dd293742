//! A vCPU's two address spaces, its kernel's and its programs', and the crossings between them.
//!
//! The entry code makes the common crossings by itself ([`platform_cpu::crossing`]) with what [`VcpuState::arm_crossings`]
//! gave it; [`crate::bounce`] makes all others.
//!
//! **Invariant: a CPU is armed anew before it enters a guest whose address spaces are others than it was armed with**:
//! they are private to this module, and changing them is noted.

use ::hypercall::CrashReason;
use frames::RootRef;
use platform_cpu::crossing::Handler;
use x86_defs::exception::Exception;
use xen_abi::vm_assist::TYPE_ARCHITECTURAL_IOPL;

use crate::bounce::Callback;
use crate::domain::Domain;
use crate::vcpu::{Vcpu, VcpuState};
use crate::{mm, trap};

/// Roots of the page tables that a vCPU runs on.
#[derive(Default)]
pub struct Roots {
    kernel: Option<RootRef<'static>>,
    user: Option<RootRef<'static>>,
    stale: Stale,
    /// The CPU that has the vCPU loaded is armed with its handlers.
    is_armed: bool,
}

/// What a CPU is not armed with as it is now.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Stale {
    /// Nothing.
    #[default]
    Nothing,
    /// The roots or the kernel's stack, which change with each process.
    Process,
    /// All.
    All,
}

impl Roots {
    /// While the kernel runs; always there once the vCPU is initialised.
    #[inline]
    pub fn kernel(&self) -> Option<&RootRef<'static>> {
        self.kernel.as_ref()
    }

    /// While a program runs.
    #[inline]
    pub fn user(&self) -> Option<&RootRef<'static>> {
        self.user.as_ref()
    }

    /// Changes the kernel's, and returns what it was.
    pub fn replace_kernel(&mut self, root: Option<RootRef<'static>>) -> Option<RootRef<'static>> {
        self.note_process();
        core::mem::replace(&mut self.kernel, root)
    }

    /// Changes the programs', and returns what it was.
    pub fn replace_user(&mut self, root: Option<RootRef<'static>>) -> Option<RootRef<'static>> {
        self.note_process();
        core::mem::replace(&mut self.user, root)
    }

    /// Notes that the kernel's stack is another.
    #[inline]
    pub fn note_process(&mut self) {
        if self.stale == Stale::Nothing {
            self.stale = if self.is_armed {
                Stale::Process
            } else {
                Stale::All
            };
        }
    }

    /// Notes that the vCPU is loaded, or that something changed that crossings are made with: a handler, the I/O
    /// privilege level, whether the guest sees it, where its `vcpu_info` is, whether NMIs are masked.
    #[inline]
    pub fn note_change(&mut self) {
        self.stale = Stale::All;
    }
}

impl VcpuState {
    /// Root of the page tables that are in use, if there are any.
    #[inline]
    pub fn current_root(&self) -> Option<&RootRef<'static>> {
        if self.in_kernel {
            self.roots.kernel()
        } else {
            self.roots.user()
        }
    }

    /// Switches between the guest's kernel and its programs: page tables and the base of GS.
    ///
    /// # Errors
    /// There is no page table to switch to.
    #[inline]
    pub fn toggle_mode(&mut self) -> Result<(), CrashReason> {
        let root = if self.in_kernel {
            self.roots.user()
        } else {
            self.roots.kernel()
        };
        mm::cross_to(root.ok_or(CrashReason::NoUserPageTable)?);
        platform_cpu::segments::swap_gs();
        self.in_kernel = !self.in_kernel;
        Ok(())
    }

    /// Gives the entry code what it makes crossings of this vCPU with, if that has changed.
    #[inline]
    pub fn arm_crossings(&mut self, domain: &Domain, vcpu: &Vcpu) {
        match core::mem::take(&mut self.roots.stale) {
            Stale::Nothing => {}
            Stale::Process => self.set_process(),
            Stale::All => self.arm(domain, vcpu),
        }
    }

    fn set_process(&mut self) {
        self.roots.is_armed = match (self.roots.kernel(), self.roots.user()) {
            // The return from a handler of NMIs is more than a crossing; it notes a change.
            (Some(kernel), Some(user)) if !self.nmi_masked => {
                platform_memory::set_crossing_process(kernel, user, self.kernel_sp)
            }
            _ => {
                platform_cpu::crossing::disarm();
                false
            }
        };
    }

    #[inline(never)]
    fn arm(&mut self, domain: &Domain, vcpu: &Vcpu) {
        let sees_iopl = domain.assists(TYPE_ARCHITECTURAL_IOPL);
        let handler = |callback: Callback| Handler {
            address: callback.address,
            masks_events: callback.masks_events,
        };
        let page_fault = trap::handler(&self.traps[usize::from(Exception::PAGE_FAULT.0)]);
        let (info_page, info_offset) = vcpu.info().place();
        platform_memory::arm_crossings(
            info_page,
            info_offset,
            handler(self.callbacks.syscall),
            handler(page_fault),
            sees_iopl.then_some(self.iopl),
        );
        self.set_process();
    }
}
