//! The content of `start_info` (`public/xen.h`).

use crate::Layout;
use addr::Maddr;
use core::fmt;
use xen_abi::start_info::{
    Dom0VgaConsoleInfo, MAX_GUEST_CMDLINE, SIF_INITDOMAIN, SIF_MOD_START_PFN, SIF_PRIVILEGED,
    StartInfo, StartInfoConsoleDom0, StartInfoConsoleDomU,
};
use zerocopy::FromZeros;

/// A command line that has no room in `start_info`, with its NUL.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommandLineTooLong {
    /// Its length.
    pub bytes: usize,
}

impl fmt::Display for CommandLineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max = MAX_GUEST_CMDLINE - 1;
        write!(
            f,
            "the command line has {} bytes, at most {max} are possible",
            self.bytes
        )
    }
}

/// What only one kind of domain has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DomainPages {
    /// Domain 0.
    Domain0 {
        /// Whether a `dom0_vga_console_info` follows `start_info` in memory.
        has_video: bool,
    },
    /// Any other.
    Guest {
        /// Machine frame of the xenstore page.
        store_mfn: u64,
        /// Event channel to xenstore.
        store_port: u32,
        /// Machine frame of the console page.
        console_mfn: u64,
        /// Event channel to the console.
        console_port: u32,
    },
}

/// What `start_info` tells beyond the layout.
#[derive(Clone, Copy, Debug)]
pub struct StartInfoContent<'a> {
    /// The layout.
    pub layout: &'a Layout,
    /// The shared info page.
    pub shared_info: Maddr,
    /// The command line, without NUL.
    pub command_line: &'a [u8],
    /// Domain 0 or not.
    pub domain: DomainPages,
    /// More `SIF_*` flags.
    pub flags: u32,
    /// Whether the kernel's notes say that it knows PAE: the magic tells it so again, also in 64 bits.
    pub has_pae_note: bool,
}

impl StartInfoContent<'_> {
    /// Makes it.
    pub fn build(&self) -> Result<StartInfo, CommandLineTooLong> {
        let magic: &[u8] = if self.has_pae_note {
            b"xen-3.0-x86_64p"
        } else {
            b"xen-3.0-x86_64"
        };
        let layout = self.layout;
        let mut info = StartInfo::new_zeroed();
        for (to, from) in info.magic.iter_mut().zip(magic) {
            *to = *from;
        }
        info.nr_pages = layout.pages;
        info.shared_info = self.shared_info.raw();
        info.flags = self.flags;
        match self.domain {
            DomainPages::Domain0 { has_video } => {
                info.flags |= SIF_PRIVILEGED | SIF_INITDOMAIN;
                if has_video {
                    info.console.set(StartInfoConsoleDom0 {
                        info_off: size_of::<StartInfo>() as u32,
                        info_size: size_of::<Dom0VgaConsoleInfo>() as u32,
                    });
                }
            }
            DomainPages::Guest {
                store_mfn,
                store_port,
                console_mfn,
                console_port,
            } => {
                info.store_mfn = store_mfn;
                info.store_evtchn = store_port;
                info.console.set(StartInfoConsoleDomU {
                    mfn: console_mfn,
                    evtchn: console_port,
                    ..StartInfoConsoleDomU::new_zeroed()
                });
            }
        }
        info.pt_base = layout.page_tables.raw();
        info.nr_pt_frames = layout.table_frames();
        info.mfn_list = layout.p2m.address.raw();
        if layout.p2m.is_apart {
            info.first_p2m_pfn = layout.p2m.first.raw();
            info.nr_p2m_frames = layout.p2m.frames + layout.p2m.table_frames;
        }
        if let Some(initrd) = layout.initrd {
            info.mod_len = initrd.bytes;
            match initrd.address {
                Some(address) => info.mod_start = address.raw(),
                None => {
                    info.mod_start = initrd.first.raw();
                    info.flags |= SIF_MOD_START_PFN;
                }
            }
        }
        // The last byte stays NUL.
        let room = info.cmd_line.len() - 1;
        let bytes = self.command_line.len();
        info.cmd_line
            .get_mut(..bytes)
            .filter(|_| bytes <= room)
            .ok_or(CommandLineTooLong { bytes })?
            .copy_from_slice(self.command_line);
        Ok(info)
    }
}
