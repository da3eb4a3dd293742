//! [`BootInfo`]: what either multiboot protocol tells, in owned form.
//!
//! It copies all strings, because the boot loader's memory is taken over soon after.

use crate::acpi::Rsdp;
use crate::{MemoryMap, MemoryMapFull};
use addr::Maddr;
use arrayvec::ArrayVec;
use core::fmt;
use core::ops::Range;

/// How many boot modules are accepted.
pub const MAX_MODULES: usize = 32;
/// Bytes for all strings together.
const TEXT_BYTES: usize = 12 << 10;

/// Owned facts of the boot.
#[derive(Clone, Debug)]
pub struct BootInfo {
    /// The firmware's memory map.
    pub memory_map: MemoryMap,
    /// The screen as the boot loader left it.
    pub video: Option<Video>,
    /// ACPI's root, if the boot loader passed it on (needed with EFI firmware).
    pub rsdp: Option<Rsdp>,
    /// EFI's system table, if the boot loader passed it on.
    pub efi_system_table: Option<Maddr>,
    text: ArrayVec<u8, TEXT_BYTES>,
    command_line: Range<u16>,
    loader_name: Range<u16>,
    modules: ArrayVec<StoredModule, MAX_MODULES>,
}

#[derive(Clone, Debug)]
struct StoredModule {
    start: Maddr,
    len: u64,
    command_line: Range<u16>,
}

/// A file that the boot loader put into memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Module<'a> {
    /// First byte.
    pub start: Maddr,
    /// Size in bytes.
    pub len: u64,
    /// The text that came with it, without the file's name.
    pub command_line: &'a [u8],
}

/// What the screen shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Video {
    /// EGA text mode.
    Text {
        /// Address of the text.
        address: Maddr,
        /// Characters in a line.
        columns: u32,
        /// Lines.
        rows: u32,
    },
    /// Linear pixels.
    Pixels(Framebuffer),
}

/// A linear frame buffer with direct colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Framebuffer {
    /// Address of the first pixel.
    pub address: Maddr,
    /// Bytes from line to line.
    pub pitch: u32,
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Bits for a pixel.
    pub bits_per_pixel: u8,
    /// Bit position and size of red, green and blue.
    pub colours: [(u8, u8); 3],
}

/// Why the boot loader's information cannot be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BootInfoError {
    /// `what` is at an address where there is no readable memory.
    Unreadable {
        /// Which structure.
        what: &'static str,
        /// Where.
        at: Maddr,
    },
    /// A structure is shorter than its fields, or longer than what holds it.
    BadSize {
        /// Which structure.
        what: &'static str,
        /// Its size as it says.
        size: u64,
    },
    /// A module ends before it starts.
    BadModule {
        /// Its place in the list, from 0.
        index: usize,
    },
    /// More modules than [`MAX_MODULES`].
    TooManyModules {
        /// How many there are.
        count: usize,
    },
    /// Command lines are longer than there is room for.
    TextTooLong,
    /// No memory map, nor sizes of low and high memory.
    NoMemoryMap,
    /// The map has too many entries.
    MemoryMapFull,
}

impl From<MemoryMapFull> for BootInfoError {
    fn from(_: MemoryMapFull) -> Self {
        Self::MemoryMapFull
    }
}

impl fmt::Display for BootInfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("multiboot: ")?;
        match self {
            Self::Unreadable { what, at } => {
                write!(f, "{what} at {at:#x} is not in readable memory")
            }
            Self::BadSize { what, size } => write!(f, "{what} has impossible size {size}"),
            Self::BadModule { index } => write!(f, "module {index} ends before it starts"),
            Self::TooManyModules { count } => {
                write!(f, "{count} modules, at most {MAX_MODULES} are possible")
            }
            Self::TextTooLong => {
                write!(
                    f,
                    "command lines are longer than {TEXT_BYTES} bytes together"
                )
            }
            Self::NoMemoryMap => f.write_str("the boot loader gave no memory map"),
            Self::MemoryMapFull => MemoryMapFull.fmt(f),
        }
    }
}

impl BootInfo {
    pub(crate) const fn empty() -> Self {
        Self {
            memory_map: MemoryMap::new(),
            video: None,
            rsdp: None,
            efi_system_table: None,
            text: ArrayVec::new_const(),
            command_line: 0..0,
            loader_name: 0..0,
            modules: ArrayVec::new_const(),
        }
    }

    fn store(&mut self, text: &[u8]) -> Result<Range<u16>, BootInfoError> {
        // TEXT_BYTES fits into u16, so neither cast can lose bits.
        let start = self.text.len() as u16;
        self.text
            .try_extend_from_slice(text)
            .map_err(|_| BootInfoError::TextTooLong)?;
        Ok(start..self.text.len() as u16)
    }

    fn text(&self, range: &Range<u16>) -> &[u8] {
        self.text
            .get(usize::from(range.start)..usize::from(range.end))
            .unwrap_or(&[])
    }

    pub(crate) fn set_loader_name(&mut self, name: &[u8]) -> Result<(), BootInfoError> {
        self.loader_name = self.store(name)?;
        Ok(())
    }

    pub(crate) fn set_command_line(&mut self, text: &[u8]) -> Result<(), BootInfoError> {
        self.command_line = self.store(text)?;
        Ok(())
    }

    pub(crate) fn add_module(
        &mut self,
        start: u64,
        end: u64,
        text: &[u8],
    ) -> Result<(), BootInfoError> {
        let index = self.modules.len();
        let len = end
            .checked_sub(start)
            .ok_or(BootInfoError::BadModule { index })?;
        let command_line = self.store(text)?;
        self.modules
            .try_push(StoredModule {
                start: Maddr::new(start),
                len,
                command_line,
            })
            .map_err(|_| BootInfoError::TooManyModules { count: index + 1 })
    }

    /// Which boot loader it was, as it names itself.
    pub fn loader_name(&self) -> &[u8] {
        self.text(&self.loader_name)
    }

    /// The hypervisor's command line, without the image's name.
    pub fn command_line(&self) -> &[u8] {
        self.without_image_name(self.text(&self.command_line))
    }

    /// The modules in the boot loader's order.
    pub fn modules(&self) -> impl ExactSizeIterator<Item = Module<'_>> {
        self.modules.iter().map(|module| Module {
            start: module.start,
            len: module.len,
            command_line: self.without_image_name(self.text(&module.command_line)),
        })
    }

    /// The `index`th module.
    pub fn module(&self, index: usize) -> Option<Module<'_>> {
        self.modules().nth(index)
    }

    /// Tells that a module was moved to `start`.
    pub fn relocate_module(&mut self, index: usize, start: Maddr) {
        if let Some(module) = self.modules.get_mut(index) {
            module.start = start;
        }
    }

    /// GRUB 1.9x and 2 pass arguments only; all other loaders put the file's name first.
    fn without_image_name<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let text = without_leading_spaces(text);
        let marker = b"GRUB ";
        let loader = self.loader_name();
        let version = loader
            .windows(marker.len())
            .position(|window| window == marker)
            .and_then(|at| loader.get(at + marker.len()));
        if version.is_some_and(|&digit| digit != b'0') {
            return text;
        }
        let name_end = text
            .iter()
            .position(|&byte| byte == b' ')
            .unwrap_or(text.len());
        without_leading_spaces(text.get(name_end..).unwrap_or(&[]))
    }
}

fn without_leading_spaces(text: &[u8]) -> &[u8] {
    let start = text
        .iter()
        .position(|&byte| byte != b' ')
        .unwrap_or(text.len());
    text.get(start..).unwrap_or(&[])
}
