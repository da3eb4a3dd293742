//! What a paravirtual guest finds in `start_info` when it starts.
//!
//! Source: `public/xen.h`.

#![allow(
    missing_docs,
    reason = "fields have the names that the header gives and documents them by"
)]

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::XenPfn;

crate::macros::constants! { u32;
    MAX_GUEST_CMDLINE = 1024;
    SIF_PRIVILEGED = 1 << 0;
    SIF_INITDOMAIN = 1 << 1;
    SIF_MULTIBOOT_MOD = 1 << 2;
    SIF_MOD_START_PFN = 1 << 3;
    SIF_VIRT_P2M_4TOOLS = 1 << 4;
    SIF_PM_MASK = 0xff00;
    XEN_VGATYPE_TEXT_MODE_3 = 0x3;
    XEN_VGATYPE_VESA_LFB = 0x23;
    XEN_VGATYPE_EFI_LFB = 0x70;
}

/// The first thing that a paravirtual guest sees: rsi points to it.
#[doc(alias = "start_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StartInfo {
    pub magic: [u8; 32],
    pub nr_pages: u64,
    pub shared_info: u64,
    pub flags: u32,
    pub _hole0: [u8; 4],
    pub store_mfn: XenPfn,
    pub store_evtchn: u32,
    pub _hole1: [u8; 4],
    pub console: StartInfoConsole,
    pub pt_base: u64,
    pub nr_pt_frames: u64,
    pub mfn_list: u64,
    pub mod_start: u64,
    pub mod_len: u64,
    pub cmd_line: [u8; 1024],
    pub first_p2m_pfn: u64,
    pub nr_p2m_frames: u64,
}

crate::macros::union! {
    /// The union `start_info.console`.
    StartInfoConsole: [u64; 2], "start_info.console" {
        #[doc(alias = "domU")]
        dom_u: StartInfoConsoleDomU,
        dom0: StartInfoConsoleDom0,
    }
}

/// The member `start_info.console.domU`.
#[doc(alias = "start_info.console.domU")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StartInfoConsoleDomU {
    pub mfn: XenPfn,
    pub evtchn: u32,
    pub _hole0: [u8; 4],
}

/// The member `start_info.console.dom0`.
#[doc(alias = "start_info.console.dom0")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StartInfoConsoleDom0 {
    pub info_off: u32,
    pub info_size: u32,
}

/// An entry of the module list, when `SIF_MULTIBOOT_MOD` is set.
#[doc(alias = "xen_multiboot_mod_list")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MultibootModList {
    pub mod_start: u32,
    pub mod_end: u32,
    pub cmdline: u32,
    pub pad: u32,
}

/// The state of the screen, as domain 0 finds it behind `start_info`.
#[doc(alias = "dom0_vga_console_info")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Dom0VgaConsoleInfo {
    pub video_type: u8,
    pub _hole0: [u8; 3],
    pub u: Dom0VgaConsoleInfoUnion,
}

crate::macros::union! {
    /// The union `dom0_vga_console_info.u`.
    Dom0VgaConsoleInfoUnion: [u32; 9], "dom0_vga_console_info.u" {
        text_mode_3: Dom0VgaConsoleInfoTextMode3,
        vesa_lfb: Dom0VgaConsoleInfoVesaLfb,
    }
}

/// The member `dom0_vga_console_info.u.text_mode_3`.
#[doc(alias = "dom0_vga_console_info.u.text_mode_3")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Dom0VgaConsoleInfoTextMode3 {
    pub font_height: u16,
    pub cursor_x: u16,
    pub cursor_y: u16,
    pub rows: u16,
    pub columns: u16,
}

/// The member `dom0_vga_console_info.u.vesa_lfb`.
#[doc(alias = "dom0_vga_console_info.u.vesa_lfb")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Dom0VgaConsoleInfoVesaLfb {
    pub width: u16,
    pub height: u16,
    pub bytes_per_line: u16,
    pub bits_per_pixel: u16,
    pub lfb_base: u32,
    pub lfb_size: u32,
    pub red_pos: u8,
    pub red_size: u8,
    pub green_pos: u8,
    pub green_size: u8,
    pub blue_pos: u8,
    pub blue_size: u8,
    pub rsvd_pos: u8,
    pub rsvd_size: u8,
    pub gbl_caps: u32,
    pub mode_attrs: u16,
    pub pad: u16,
    pub ext_lfb_base: u32,
}
