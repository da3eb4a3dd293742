//! Control registers, flags and debug registers (SDM 3A §2.3, §2.5, §2.6, §17.2; APM 2 §3.1).

use bitflags::bitflags;

bitflags! {
    /// CR0.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Cr0: u64 {
        /// Protected mode.
        const PE = 1 << 0;
        /// `wait` obeys `TS`.
        const MP = 1 << 1;
        /// No FPU: its instructions give #NM.
        const EM = 1 << 2;
        /// Task switched: FPU instructions give #NM.
        const TS = 1 << 3;
        /// Always set.
        const ET = 1 << 4;
        /// FPU errors give #MF.
        const NE = 1 << 5;
        /// Read-only pages bind the kernel too.
        const WP = 1 << 16;
        /// Alignment checks in ring 3.
        const AM = 1 << 18;
        /// Not write-through.
        const NW = 1 << 29;
        /// Caches disabled.
        const CD = 1 << 30;
        /// Paging.
        const PG = 1 << 31;
    }
}

bitflags! {
    /// CR4.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Cr4: u64 {
        /// Virtual-8086 extensions.
        const VME = 1 << 0;
        /// Protected-mode virtual interrupts.
        const PVI = 1 << 1;
        /// `rdtsc` in ring 0 only.
        const TSD = 1 << 2;
        /// Debugging extensions: DR4 and DR5 give #UD.
        const DE = 1 << 3;
        /// Large pages without PAE.
        const PSE = 1 << 4;
        /// Physical address extension; long mode needs it.
        const PAE = 1 << 5;
        /// Machine checks.
        const MCE = 1 << 6;
        /// Global pages.
        const PGE = 1 << 7;
        /// `rdpmc` in every ring.
        const PCE = 1 << 8;
        /// `fxsave` and SSE.
        const OSFXSR = 1 << 9;
        /// #XM.
        const OSXMMEXCPT = 1 << 10;
        /// `sgdt`, `sidt`, `sldt`, `smsw`, `str` in ring 0 only.
        const UMIP = 1 << 11;
        /// Page tables of 5 levels.
        const LA57 = 1 << 12;
        /// VMX.
        const VMXE = 1 << 13;
        /// SMX.
        const SMXE = 1 << 14;
        /// `rdfsbase` and the like.
        const FSGSBASE = 1 << 16;
        /// Process-context identifiers.
        const PCIDE = 1 << 17;
        /// `xsave` and `xsetbv`.
        const OSXSAVE = 1 << 18;
        /// Key locker.
        const KL = 1 << 19;
        /// The kernel does not execute user pages.
        const SMEP = 1 << 20;
        /// The kernel does not read or write user pages, unless `AC`.
        const SMAP = 1 << 21;
        /// Protection keys for user pages.
        const PKE = 1 << 22;
        /// Control-flow enforcement.
        const CET = 1 << 23;
        /// Protection keys for kernel pages.
        const PKS = 1 << 24;
        /// User interrupts.
        const UINTR = 1 << 25;
    }
}

bitflags! {
    /// EFER.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Efer: u64 {
        /// `syscall` and `sysret`.
        const SCE = 1 << 0;
        /// Long mode enabled.
        const LME = 1 << 8;
        /// Long mode active.
        const LMA = 1 << 10;
        /// `EntryFlags::NO_EXECUTE`.
        const NXE = 1 << 11;
        /// AMD: SVM.
        const SVME = 1 << 12;
        /// AMD: segment limits in long mode.
        const LMSLE = 1 << 13;
        /// AMD: `fxsave` without SSE registers.
        const FFXSR = 1 << 14;
        /// AMD: translation cache extension.
        const TCE = 1 << 15;
        /// AMD: automatic IBRS.
        const AIBRSE = 1 << 21;
    }
}

bitflags! {
    /// RFLAGS.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct RFlags: u64 {
        /// Carry.
        const CF = 1 << 0;
        /// Always set.
        const FIXED = 1 << 1;
        /// Parity.
        const PF = 1 << 2;
        /// Adjust.
        const AF = 1 << 4;
        /// Zero.
        const ZF = 1 << 6;
        /// Sign.
        const SF = 1 << 7;
        /// Trap after each instruction.
        const TF = 1 << 8;
        /// Interrupts enabled.
        const IF = 1 << 9;
        /// String direction.
        const DF = 1 << 10;
        /// Overflow.
        const OF = 1 << 11;
        /// I/O privilege level.
        const IOPL = 3 << 12;
        /// Nested task.
        const NT = 1 << 14;
        /// Resume.
        const RF = 1 << 16;
        /// Virtual-8086 mode.
        const VM = 1 << 17;
        /// Alignment check; with SMAP: the kernel may access user pages.
        const AC = 1 << 18;
        /// Virtual interrupt flag.
        const VIF = 1 << 19;
        /// Virtual interrupt pending.
        const VIP = 1 << 20;
        /// `cpuid` exists.
        const ID = 1 << 21;
    }
}

impl RFlags {
    /// The I/O privilege level, 0 to 3.
    pub const fn iopl(self) -> u8 {
        ((self.bits() >> 12) & 3) as u8
    }
}

bitflags! {
    /// XCR0: the state components that `xsave` saves.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Xcr0: u64 {
        /// x87, always set.
        const X87 = 1 << 0;
        /// XMM registers.
        const SSE = 1 << 1;
        /// YMM registers.
        const AVX = 1 << 2;
        /// MPX bound registers.
        const BNDREGS = 1 << 3;
        /// MPX configuration.
        const BNDCSR = 1 << 4;
        /// AVX-512 mask registers.
        const OPMASK = 1 << 5;
        /// AVX-512, upper halves.
        const ZMM_HIGH = 1 << 6;
        /// AVX-512, registers 16 to 31.
        const HIGH_ZMM = 1 << 7;
        /// Protection keys.
        const PKRU = 1 << 9;
        /// AMX configuration.
        const TILECFG = 1 << 17;
        /// AMX data.
        const TILEDATA = 1 << 18;
        /// AMD: lightweight profiling.
        const LWP = 1 << 62;
    }
}

/// CR3: bit 63 of a value written, do not flush (with CR4.PCIDE).
pub const CR3_NO_FLUSH: u64 = 1 << 63;
/// CR3: the process-context identifier (with CR4.PCIDE).
pub const CR3_PCID_MASK: u64 = 0xfff;

bitflags! {
    /// DR6, why #DB.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct Dr6: u64 {
        /// Breakpoint 0.
        const B0 = 1 << 0;
        /// Breakpoint 1.
        const B1 = 1 << 1;
        /// Breakpoint 2.
        const B2 = 1 << 2;
        /// Breakpoint 3.
        const B3 = 1 << 3;
        /// Access to a debug register.
        const BD = 1 << 13;
        /// Single step.
        const BS = 1 << 14;
        /// Task switch.
        const BT = 1 << 15;
        /// Not in a transaction.
        const RTM = 1 << 16;
    }
}

/// DR6 after reset; the bits that are always set.
pub const DR6_DEFAULT: u64 = 0xffff_0ff0;
/// DR7 after reset; the bit that is always set.
pub const DR7_DEFAULT: u64 = 0x0000_0400;
/// DR7: bits that are always clear.
pub const DR7_RESERVED_ZERO: u64 = 0xffff_ffff_0000_d800;
/// DR7: the enable bits of all four breakpoints, local and global.
pub const DR7_ACTIVE_MASK: u64 = 0xff;
/// DR7: accesses to debug registers trap.
pub const DR7_GENERAL_DETECT: u64 = 1 << 13;
/// DR7: where the condition and length of breakpoint 0 begin; 4 bits each.
pub const DR7_CONTROL_SHIFT: u32 = 16;

/// MXCSR after reset.
pub const MXCSR_DEFAULT: u32 = 0x1f80;
/// The x87 control word after `fninit`.
pub const FCW_DEFAULT: u16 = 0x037f;
