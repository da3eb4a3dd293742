//! Interrupt controllers: local APIC (SDM 3A §10), IO-APIC (82093AA data sheet), MSI (SDM 3A §10.11), the legacy
//! 8259A pair.

/// Where the local APIC is unless moved.
pub const LAPIC_DEFAULT_ADDRESS: u64 = 0xfee0_0000;
/// Where the first IO-APIC usually is.
pub const IOAPIC_DEFAULT_ADDRESS: u64 = 0xfec0_0000;

/// Registers of the local APIC, as offsets into its page. The x2APIC's MSR is `X2APIC_BASE + offset / 16`.
pub mod lapic {
    /// APIC ID; in bits 24 to 31 unless x2APIC.
    pub const ID: u32 = 0x20;
    /// Version, and in bits 16 to 23 the number of LVT entries less one.
    pub const VERSION: u32 = 0x30;
    /// Task priority.
    pub const TASK_PRIORITY: u32 = 0x80;
    /// Processor priority.
    pub const PROCESSOR_PRIORITY: u32 = 0xa0;
    /// End of interrupt.
    pub const EOI: u32 = 0xb0;
    /// Logical destination.
    pub const LOGICAL_DESTINATION: u32 = 0xd0;
    /// Destination format; not in x2APIC.
    pub const DESTINATION_FORMAT: u32 = 0xe0;
    /// Spurious interrupt vector, with [`SPURIOUS_ENABLE`].
    pub const SPURIOUS: u32 = 0xf0;
    /// In service, 8 registers.
    pub const IN_SERVICE: u32 = 0x100;
    /// Trigger mode, 8 registers.
    pub const TRIGGER_MODE: u32 = 0x180;
    /// Requested, 8 registers.
    pub const REQUEST: u32 = 0x200;
    /// Error status; write before reading.
    pub const ERROR_STATUS: u32 = 0x280;
    /// Corrected machine checks.
    pub const LVT_CMCI: u32 = 0x2f0;
    /// Interrupt command, low half; writing sends. In x2APIC, one 64-bit register.
    pub const COMMAND_LOW: u32 = 0x300;
    /// Interrupt command, high half: the destination in bits 24 to 31.
    pub const COMMAND_HIGH: u32 = 0x310;
    /// Timer.
    pub const LVT_TIMER: u32 = 0x320;
    /// Thermal sensor.
    pub const LVT_THERMAL: u32 = 0x330;
    /// Performance counters.
    pub const LVT_PERFORMANCE: u32 = 0x340;
    /// Pin LINT0.
    pub const LVT_LINT0: u32 = 0x350;
    /// Pin LINT1.
    pub const LVT_LINT1: u32 = 0x360;
    /// Errors.
    pub const LVT_ERROR: u32 = 0x370;
    /// Timer, initial count; writing starts it.
    pub const TIMER_INITIAL: u32 = 0x380;
    /// Timer, current count.
    pub const TIMER_CURRENT: u32 = 0x390;
    /// Timer, divider.
    pub const TIMER_DIVIDE: u32 = 0x3e0;
    /// x2APIC only: an interrupt to this CPU.
    pub const SELF_IPI: u32 = 0x3f0;

    /// [`SPURIOUS`]: the APIC is on.
    pub const SPURIOUS_ENABLE: u32 = 1 << 8;
    /// [`SPURIOUS`]: no EOI messages to IO-APICs.
    pub const SPURIOUS_SUPPRESS_EOI: u32 = 1 << 12;
    /// LVT entries: masked.
    pub const LVT_MASKED: u32 = 1 << 16;
    /// LVT entries: level triggered.
    pub const LVT_LEVEL: u32 = 1 << 15;
    /// LVT entries: active low.
    pub const LVT_ACTIVE_LOW: u32 = 1 << 13;
    /// LVT entries and commands: deliver as NMI.
    pub const DELIVERY_NMI: u32 = 4 << 8;
    /// LVT entries: deliver as from the 8259A.
    pub const DELIVERY_EXTINT: u32 = 7 << 8;
    /// Commands: INIT.
    pub const DELIVERY_INIT: u32 = 5 << 8;
    /// Commands: start-up; the vector is the page number.
    pub const DELIVERY_STARTUP: u32 = 6 << 8;
    /// [`COMMAND_LOW`]: logical destination.
    pub const COMMAND_LOGICAL: u32 = 1 << 11;
    /// [`COMMAND_LOW`]: not sent yet; not in x2APIC.
    pub const COMMAND_BUSY: u32 = 1 << 12;
    /// [`COMMAND_LOW`]: assert.
    pub const COMMAND_ASSERT: u32 = 1 << 14;
    /// [`COMMAND_LOW`]: level.
    pub const COMMAND_LEVEL: u32 = 1 << 15;
    /// [`COMMAND_LOW`]: to this CPU.
    pub const COMMAND_SELF: u32 = 1 << 18;
    /// [`COMMAND_LOW`]: to all CPUs.
    pub const COMMAND_ALL: u32 = 2 << 18;
    /// [`COMMAND_LOW`]: to all other CPUs.
    pub const COMMAND_OTHERS: u32 = 3 << 18;
    /// [`LVT_TIMER`]: fires again and again.
    pub const TIMER_PERIODIC: u32 = 1 << 17;
    /// [`LVT_TIMER`]: fires at the time in the MSR `TSC_DEADLINE`.
    pub const TIMER_TSC_DEADLINE: u32 = 2 << 17;
    /// [`TIMER_DIVIDE`]: by 1.
    pub const DIVIDE_BY_1: u32 = 0xb;
    /// [`TIMER_DIVIDE`]: by 16.
    pub const DIVIDE_BY_16: u32 = 0x3;
}

/// The IO-APIC: an index and a data register, and what they reach.
pub mod ioapic {
    /// Index register, an offset.
    pub const SELECT: u32 = 0x00;
    /// Data register, an offset.
    pub const WINDOW: u32 = 0x10;
    /// EOI register, an offset; from version 0x20.
    pub const EOI: u32 = 0x40;

    /// Index: ID.
    pub const ID: u32 = 0x00;
    /// Index: version; in bits 16 to 23 the number of entries less one.
    pub const VERSION: u32 = 0x01;
    /// Index: arbitration ID.
    pub const ARBITRATION: u32 = 0x02;
    /// Index: low half of the first redirection entry; 2 indices an entry.
    pub const REDIRECTION: u32 = 0x10;

    /// Entries: the vector.
    pub const ENTRY_VECTOR_MASK: u64 = 0xff;
    /// Entries: delivery mode.
    pub const ENTRY_DELIVERY_MASK: u64 = 7 << 8;
    /// Entries: logical destination.
    pub const ENTRY_LOGICAL: u64 = 1 << 11;
    /// Entries: being sent.
    pub const ENTRY_PENDING: u64 = 1 << 12;
    /// Entries: active low.
    pub const ENTRY_ACTIVE_LOW: u64 = 1 << 13;
    /// Entries: the local APIC accepted a level interrupt and has not ended it.
    pub const ENTRY_REMOTE_IRR: u64 = 1 << 14;
    /// Entries: level triggered.
    pub const ENTRY_LEVEL: u64 = 1 << 15;
    /// Entries: masked.
    pub const ENTRY_MASKED: u64 = 1 << 16;
    /// Entries: where the destination is.
    pub const ENTRY_DESTINATION_SHIFT: u32 = 56;
}

/// Message-signalled interrupts: the address and the data that a device writes.
pub mod msi {
    /// The address without a destination.
    pub const ADDRESS_BASE: u64 = 0xfee0_0000;
    /// The bits that say that an address is one of interrupts.
    pub const ADDRESS_BASE_MASK: u64 = 0xfff0_0000;
    /// Where the destination is.
    pub const ADDRESS_DESTINATION_SHIFT: u32 = 12;
    /// Redirection hint.
    pub const ADDRESS_REDIRECTION_HINT: u64 = 1 << 3;
    /// Logical destination.
    pub const ADDRESS_LOGICAL: u64 = 1 << 2;
    /// Data: the vector.
    pub const DATA_VECTOR_MASK: u32 = 0xff;
    /// Data: assert.
    pub const DATA_ASSERT: u32 = 1 << 14;
    /// Data: level triggered.
    pub const DATA_LEVEL: u32 = 1 << 15;
}

/// The legacy pair of 8259A controllers.
pub mod pic {
    /// Command port of the first.
    pub const MASTER_COMMAND: u16 = 0x20;
    /// Data port of the first.
    pub const MASTER_DATA: u16 = 0x21;
    /// Command port of the second.
    pub const SLAVE_COMMAND: u16 = 0xa0;
    /// Data port of the second.
    pub const SLAVE_DATA: u16 = 0xa1;
    /// Edge or level, interrupts 0 to 7.
    pub const ELCR_MASTER: u16 = 0x4d0;
    /// Edge or level, interrupts 8 to 15.
    pub const ELCR_SLAVE: u16 = 0x4d1;
    /// First initialisation word: cascade, with a fourth word.
    pub const ICW1_INIT: u8 = 0x11;
    /// Fourth initialisation word: 8086 mode.
    pub const ICW4_8086: u8 = 0x01;
    /// Non-specific end of interrupt.
    pub const EOI: u8 = 0x20;
}
