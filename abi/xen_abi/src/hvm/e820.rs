//! Where an HVM guest's memory map is.
//!
//! Source: `public/hvm/e820.h`.

crate::macros::constants! { u32;
    HVM_E820_PAGE = 0x90000;
    HVM_E820_NR_OFFSET = 0x1e8;
    HVM_E820_OFFSET = 0x2d0;
    HVM_BELOW_4G_RAM_END = 0xf0000000;
    HVM_BELOW_4G_MMIO_START = 0xf0000000;
}

crate::macros::constants! { u64;
    HVM_BELOW_4G_MMIO_LENGTH = 1 << 28;
}
