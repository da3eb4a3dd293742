//! What the comparison leaves out, each with its reason. An entry that matches nothing fails the build.

/// Structures that have no C type of the same layout.
pub(crate) const STRUCTS: &[(&str, &str)] = &[(
    "io::ring::RingHeader",
    "C has one such type per driver, with the first entries of the ring in it; `tests/layout.rs` compares it with \
     the part of `struct blkif_sring` before the entries",
)];

/// Fields that C cannot take the offset of. Their structures' sizes and all other fields are compared.
pub(crate) const FIELDS: &[(&str, &str)] = &[
    ("hvm::ioreq::IoRequest.state_bits", "bit-fields in C"),
    ("hvm::ioreq::BufferedIoRequest.bits", "bit-fields in C"),
    (
        "platform::processor::ProcessorFlags.bits",
        "bit-fields in C",
    ),
    ("hvm::save::Vpic.init_bits", "bit-fields in C"),
    ("hvm::save::Vpic.mode_bits", "bit-fields in C"),
    ("vm_event::X86SelectorReg.bits", "bit-fields in C"),
    (
        "hvm::ioreq::BufferedIoPage.read_pointer",
        "a member of an anonymous structure only where the hypervisor is compiled; the same place",
    ),
];

/// Files that hold no part of the interface.
pub(crate) const FILES: &[(&str, &str)] = &[
    (
        "lib.rs",
        "modules; its type aliases are compared by tests/layout.rs",
    ),
    ("macros.rs", "the macros that declare constants and unions"),
    (
        "guest_handle.rs",
        "`GuestHandle<T>` stands for all of C's handle types; tests/layout.rs compares one",
    ),
];
