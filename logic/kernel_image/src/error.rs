//! What can be wrong with a kernel image. Each error is one line that names the problem.

use crate::Compression;
use core::fmt;

/// Why an image cannot be booted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ImageError {
    /// Neither a bzImage, nor packed in a known way, nor ELF.
    NotAKernel,
    /// A bzImage whose boot protocol is older than 2.08: it does not tell where its payload is.
    OldBootProtocol {
        /// Its version, for example 0x207.
        version: u16,
    },
    /// A bzImage whose payload is not inside of it.
    PayloadOutside {
        /// End of the payload in the file.
        end: u64,
        /// The file's size.
        size: u64,
    },
    /// A bzImage whose payload is neither packed in a known way nor ELF.
    UnknownCompression {
        /// Its first bytes.
        magic: [u8; 4],
    },
    /// The packed data cannot be unpacked.
    Packed {
        /// How it is packed.
        compression: Compression,
        /// What is wrong.
        problem: PackedProblem,
    },
    /// The unpacked file is not an ELF file that can be booted.
    Elf(ElfProblem),
    /// The ELF file is not a paravirtual kernel.
    Pv(PvProblem),
}

/// What is wrong with packed data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PackedProblem {
    /// It ends too early.
    Truncated,
    /// It cannot be: `what` is wrong.
    Corrupt(&'static str),
    /// The unpacked bytes have another checksum.
    Checksum,
    /// It needs something that Linux never uses.
    Unsupported(&'static str),
    /// It unpacks to more bytes than it says.
    TooLong,
    /// It unpacks to fewer bytes than it says.
    TooShort {
        /// How many it unpacks to.
        unpacked: u64,
        /// How many it says.
        expected: u64,
    },
    /// It does not tell how many bytes it unpacks to.
    UnknownSize,
    /// It would unpack to more bytes than any kernel has.
    TooLarge {
        /// How many.
        size: u64,
    },
    /// No memory for the decoder's tables.
    OutOfMemory,
}

/// What is wrong with an ELF file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElfProblem {
    /// No ELF magic.
    NotElf,
    /// A file for 32-bit machines.
    Is32Bit,
    /// Of another byte order, or of another version.
    BadIdentification,
    /// For another kind of machine.
    WrongMachine {
        /// ELF's number of it.
        machine: u16,
    },
    /// An object file, library or dump.
    NotExecutable {
        /// ELF's number of what it is.
        kind: u16,
    },
    /// A part of it is outside the file: truncated.
    Outside {
        /// Which part.
        what: &'static str,
        /// Where that part ends.
        end: u64,
        /// The file's size.
        size: u64,
    },
    /// A segment that is larger in the file than in memory, or passes the end of the address space.
    BadSegment {
        /// Its place in the list.
        index: usize,
    },
    /// Two segments want the same memory.
    Overlap {
        /// Address where they do.
        address: u64,
    },
    /// Nothing to load.
    NoSegments,
    /// More segments than can be handled.
    TooManySegments,
}

/// Why an ELF file is not a paravirtual kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PvProblem {
    /// No notes of owner "Xen", nor the older `__xen_guest` section.
    NoNotes,
    /// No note gives an entry for paravirtual mode, only one for PVH.
    OnlyPvh,
    /// A note with a value of another size than it has.
    BadNote {
        /// Its type.
        kind: u32,
    },
    /// Made for another interface than "xen-3.0".
    WrongXenVersion,
    /// Made for another loader than the "generic" one.
    WrongLoader,
    /// `PADDR_OFFSET` is given without `VIRT_BASE`.
    OffsetWithoutBase,
    /// Segments, entry, hypercall page or p2m lie where they cannot.
    OutOfBounds {
        /// Which of them.
        what: &'static str,
        /// Where it is.
        address: u64,
    },
    /// A required feature that nobody knows.
    UnknownFeature,
    /// Not made for domain 0.
    NotForDom0,
}

impl From<ElfProblem> for ImageError {
    fn from(problem: ElfProblem) -> Self {
        Self::Elf(problem)
    }
}

impl From<PvProblem> for ImageError {
    fn from(problem: PvProblem) -> Self {
        Self::Pv(problem)
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAKernel => {
                f.write_str("not a kernel: neither bzImage, nor ELF, nor compressed")
            }
            Self::OldBootProtocol { version } => {
                let (major, minor) = (version >> 8, version & 0xff);
                write!(
                    f,
                    "bzImage: boot protocol {major}.{minor:02} is older than 2.08"
                )
            }
            Self::PayloadOutside { end, size } => {
                write!(
                    f,
                    "bzImage: truncated: the payload ends at {end}, the file at {size}"
                )
            }
            Self::UnknownCompression { magic } => {
                write!(
                    f,
                    "bzImage: unknown compression, it starts with {magic:02x?}"
                )
            }
            Self::Packed {
                compression,
                problem,
            } => write!(f, "{compression} data: {problem}"),
            Self::Elf(problem) => write!(f, "kernel's ELF file: {problem}"),
            Self::Pv(problem) => problem.fmt(f),
        }
    }
}

impl fmt::Display for PackedProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("truncated"),
            Self::Corrupt(what) => write!(f, "corrupt: {what}"),
            Self::Checksum => f.write_str("corrupt: wrong checksum"),
            Self::Unsupported(what) => write!(f, "{what} is not supported"),
            Self::TooLong => f.write_str("corrupt: unpacks to more bytes than it says"),
            Self::TooShort { unpacked, expected } => {
                write!(
                    f,
                    "corrupt: unpacks to {unpacked} bytes instead of {expected}"
                )
            }
            Self::UnknownSize => f.write_str("does not tell its unpacked size"),
            Self::TooLarge { size } => write!(f, "corrupt: unpacked size of {size} bytes"),
            Self::OutOfMemory => f.write_str("no memory to unpack"),
        }
    }
}

impl fmt::Display for ElfProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotElf => f.write_str("no ELF magic"),
            Self::Is32Bit => f.write_str("a 32-bit kernel; only 64-bit ones are supported"),
            Self::BadIdentification => f.write_str("not little-endian, or of an unknown version"),
            Self::WrongMachine { machine } => {
                write!(f, "made for machine {machine}, not for x86_64 (62)")
            }
            Self::NotExecutable { kind } => write!(f, "of type {kind}, not executable"),
            Self::Outside { what, end, size } => {
                write!(f, "truncated: {what} end at {end}, the file at {size}")
            }
            Self::BadSegment { index } => write!(f, "segment {index} has impossible sizes"),
            Self::Overlap { address } => write!(f, "segments overlap at {address:#x}"),
            Self::NoSegments => f.write_str("no segment to load"),
            Self::TooManySegments => write!(f, "more than {} segments", crate::MAX_SEGMENTS),
        }
    }
}

impl fmt::Display for PvProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a paravirtual kernel: ")?;
        match self {
            Self::NoNotes => f.write_str("no Xen ELF notes"),
            Self::OnlyPvh => f.write_str("its ELF notes are for PVH only"),
            Self::BadNote { kind } => write!(f, "ELF note {kind} has a value of the wrong size"),
            Self::WrongXenVersion => f.write_str("its XEN_VERSION is not xen-3.0"),
            Self::WrongLoader => f.write_str("its LOADER is not generic"),
            Self::OffsetWithoutBase => f.write_str("it has PADDR_OFFSET but no VIRT_BASE"),
            Self::OutOfBounds { what, address } => {
                write!(f, "{what} at {address:#x} is out of bounds")
            }
            Self::UnknownFeature => f.write_str("it requires a feature of unknown name"),
            Self::NotForDom0 => f.write_str("its notes do not say that it can be domain 0"),
        }
    }
}
