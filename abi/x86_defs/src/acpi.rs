//! ACPI's static tables (ACPI specification 6.5, §5.2). All are unaligned little-endian bytes, to be read from
//! firmware memory with `zerocopy`.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Declares table layouts: packed, unaligned.
macro_rules! tables {
    ($($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* })*) => {
        $(
            $(#[$meta])*
            #[derive(
                Clone, Copy, Debug, PartialEq, Eq,
                FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned,
            )]
            #[repr(C)]
            pub struct $name {
                $($(#[$field_meta])* pub $field: $type,)*
            }
        )*
    };
}

/// The signature of the root pointer, on a 16-byte boundary.
pub const RSDP_SIGNATURE: [u8; 8] = *b"RSD PTR ";
/// MADT.
pub const SIGNATURE_MADT: [u8; 4] = *b"APIC";
/// FADT.
pub const SIGNATURE_FADT: [u8; 4] = *b"FACP";
/// FACS; it has no checksum.
pub const SIGNATURE_FACS: [u8; 4] = *b"FACS";
/// HPET.
pub const SIGNATURE_HPET: [u8; 4] = *b"HPET";
/// PCI memory-mapped configuration.
pub const SIGNATURE_MCFG: [u8; 4] = *b"MCFG";
/// Affinities.
pub const SIGNATURE_SRAT: [u8; 4] = *b"SRAT";
/// Distances.
pub const SIGNATURE_SLIT: [u8; 4] = *b"SLIT";
/// Intel IOMMUs.
pub const SIGNATURE_DMAR: [u8; 4] = *b"DMAR";
/// AMD IOMMUs.
pub const SIGNATURE_IVRS: [u8; 4] = *b"IVRS";
/// Bytecode.
pub const SIGNATURE_DSDT: [u8; 4] = *b"DSDT";
/// Root table with 32-bit pointers.
pub const SIGNATURE_RSDT: [u8; 4] = *b"RSDT";
/// Root table with 64-bit pointers.
pub const SIGNATURE_XSDT: [u8; 4] = *b"XSDT";

tables! {
    /// The root pointer of ACPI 1.0.
    Rsdp {
        /// [`RSDP_SIGNATURE`].
        signature: [u8; 8],
        /// All 20 bytes add to 0.
        checksum: u8,
        /// The firmware's maker.
        oem_id: [u8; 6],
        /// 0, or 2 if [`RsdpExtension`] follows.
        revision: u8,
        /// Physical address of the RSDT.
        rsdt_address: U32,
    }

    /// The rest of the root pointer from ACPI 2.0 on.
    RsdpExtension {
        /// Of the whole, 36.
        length: U32,
        /// Physical address of the XSDT.
        xsdt_address: U64,
        /// All bytes add to 0.
        extended_checksum: u8,
        /// Zero.
        reserved: [u8; 3],
    }

    /// The header of every other table.
    TableHeader {
        /// Which table.
        signature: [u8; 4],
        /// Of the whole table.
        length: U32,
        /// Of the table's layout.
        revision: u8,
        /// All bytes add to 0.
        checksum: u8,
        /// The firmware's maker.
        oem_id: [u8; 6],
        /// The table's name.
        oem_table_id: [u8; 8],
        /// The table's version.
        oem_revision: U32,
        /// The compiler.
        creator_id: [u8; 4],
        /// The compiler's version.
        creator_revision: U32,
    }

    /// Where a register is.
    GenericAddress {
        /// [`SPACE_MEMORY`], [`SPACE_IO`] or others.
        space_id: u8,
        /// Bits.
        bit_width: u8,
        /// First bit.
        bit_offset: u8,
        /// 0 undefined, 1 byte, 2 word, 3 double word, 4 quad word.
        access_size: u8,
        /// Address or port.
        address: U64,
    }

    /// The MADT's fields; entries follow.
    Madt {
        /// The table's header.
        header: TableHeader,
        /// Physical address of the local APICs.
        lapic_address: U32,
        /// [`MADT_PCAT_COMPAT`].
        flags: U32,
    }

    /// The header of an entry of the MADT, and of the SRAT.
    EntryHeader {
        /// What it is.
        kind: u8,
        /// With this header.
        length: u8,
    }

    /// MADT type 0: a CPU.
    MadtLocalApic {
        /// Type 0, length 8.
        header: EntryHeader,
        /// ACPI's number of the CPU.
        acpi_id: u8,
        /// The APIC's.
        apic_id: u8,
        /// [`LAPIC_ENABLED`], [`LAPIC_ONLINE_CAPABLE`].
        flags: U32,
    }

    /// MADT type 1: an IO-APIC.
    MadtIoApic {
        /// Type 1, length 12.
        header: EntryHeader,
        /// Its APIC ID.
        id: u8,
        /// Zero.
        reserved: u8,
        /// Physical address.
        address: U32,
        /// The GSI of its first pin.
        gsi_base: U32,
    }

    /// MADT type 2: an ISA interrupt that is not the GSI of the same number.
    MadtInterruptOverride {
        /// Type 2, length 10.
        header: EntryHeader,
        /// Zero: ISA.
        bus: u8,
        /// The ISA interrupt.
        source: u8,
        /// Its GSI.
        gsi: U32,
        /// Polarity in bits 0 and 1, trigger in bits 2 and 3 (`MPS_*`).
        flags: U16,
    }

    /// MADT type 3: a pin that is an NMI.
    MadtNmiSource {
        /// Type 3, length 8.
        header: EntryHeader,
        /// As for overrides.
        flags: U16,
        /// The pin.
        gsi: U32,
    }

    /// MADT type 4: a local APIC pin that is an NMI.
    MadtLocalApicNmi {
        /// Type 4, length 6.
        header: EntryHeader,
        /// ACPI's number of the CPU, 0xff for all.
        acpi_id: u8,
        /// As for overrides.
        flags: U16,
        /// LINT0 or LINT1.
        lint: u8,
    }

    /// MADT type 5: a 64-bit address of the local APICs.
    MadtAddressOverride {
        /// Type 5, length 12.
        header: EntryHeader,
        /// Zero.
        reserved: U16,
        /// Physical address.
        address: U64,
    }

    /// MADT type 9: a CPU with an x2APIC.
    MadtLocalX2Apic {
        /// Type 9, length 16.
        header: EntryHeader,
        /// Zero.
        reserved: U16,
        /// The APIC's.
        x2apic_id: U32,
        /// As for local APICs.
        flags: U32,
        /// ACPI's number of the CPU.
        acpi_id: U32,
    }

    /// MADT type 10: an x2APIC pin that is an NMI.
    MadtLocalX2ApicNmi {
        /// Type 10, length 12.
        header: EntryHeader,
        /// As for overrides.
        flags: U16,
        /// ACPI's number of the CPU, 0xffffffff for all.
        acpi_id: U32,
        /// LINT0 or LINT1.
        lint: u8,
        /// Zero.
        reserved: [u8; 3],
    }

    /// The FADT as of ACPI 1.0, the first 116 bytes. [`FadtExtension`] follows in later revisions.
    Fadt {
        /// The table's header.
        header: TableHeader,
        /// Physical address of the FACS.
        firmware_ctrl: U32,
        /// Physical address of the DSDT.
        dsdt: U32,
        /// Zero.
        reserved: u8,
        /// Desktop, server...
        preferred_profile: u8,
        /// Interrupt of power management.
        sci_interrupt: U16,
        /// Port of SMI commands.
        smi_command: U32,
        /// Command: take over from the firmware.
        acpi_enable: u8,
        /// Command: give back to the firmware.
        acpi_disable: u8,
        /// Command: S4 by the firmware.
        s4_bios_request: u8,
        /// Command: performance states.
        pstate_control: u8,
        /// Port of PM1a events.
        pm1a_event_block: U32,
        /// Port of PM1b events.
        pm1b_event_block: U32,
        /// Port of PM1a control.
        pm1a_control_block: U32,
        /// Port of PM1b control.
        pm1b_control_block: U32,
        /// Port of PM2 control.
        pm2_control_block: U32,
        /// Port of the PM timer.
        pm_timer_block: U32,
        /// Port of general-purpose events 0.
        gpe0_block: U32,
        /// Port of general-purpose events 1.
        gpe1_block: U32,
        /// Bytes of a PM1 event block.
        pm1_event_length: u8,
        /// Bytes of a PM1 control block.
        pm1_control_length: u8,
        /// Bytes of the PM2 control block.
        pm2_control_length: u8,
        /// Bytes of the PM timer.
        pm_timer_length: u8,
        /// Bytes.
        gpe0_length: u8,
        /// Bytes.
        gpe1_length: u8,
        /// Number of the first event of block 1.
        gpe1_base: u8,
        /// Command: C states.
        cstate_control: u8,
        /// Microseconds.
        c2_latency: U16,
        /// Microseconds.
        c3_latency: U16,
        /// Lines to flush.
        flush_size: U16,
        /// Bytes of a line.
        flush_stride: U16,
        /// In the CPU's P_CNT register.
        duty_offset: u8,
        /// In the CPU's P_CNT register.
        duty_width: u8,
        /// Index of the RTC's alarm day.
        day_alarm: u8,
        /// Index of the RTC's alarm month.
        month_alarm: u8,
        /// Index of the RTC's century.
        century: u8,
        /// `IAPC_*`.
        boot_flags: U16,
        /// Zero.
        reserved1: u8,
        /// `FADT_*`.
        flags: U32,
    }

    /// The rest of the FADT as of ACPI 2.0, bytes 116 to 243.
    FadtExtension {
        /// If [`FADT_RESET_REGISTER`].
        reset_register: GenericAddress,
        /// What to write there.
        reset_value: u8,
        /// ARM's.
        arm_boot_flags: U16,
        /// Of the revision.
        minor_version: u8,
        /// Physical address of the FACS, 64 bits.
        x_firmware_ctrl: U64,
        /// Physical address of the DSDT, 64 bits.
        x_dsdt: U64,
        /// As without `x_`.
        x_pm1a_event_block: GenericAddress,
        /// As without `x_`.
        x_pm1b_event_block: GenericAddress,
        /// As without `x_`.
        x_pm1a_control_block: GenericAddress,
        /// As without `x_`.
        x_pm1b_control_block: GenericAddress,
        /// As without `x_`.
        x_pm2_control_block: GenericAddress,
        /// As without `x_`.
        x_pm_timer_block: GenericAddress,
        /// As without `x_`.
        x_gpe0_block: GenericAddress,
        /// As without `x_`.
        x_gpe1_block: GenericAddress,
    }

    /// What the firmware and the OS share.
    Facs {
        /// [`SIGNATURE_FACS`].
        signature: [u8; 4],
        /// At least 64.
        length: U32,
        /// Changes with the hardware.
        hardware_signature: U32,
        /// Where to wake, real mode.
        waking_vector: U32,
        /// Between firmware and OS.
        global_lock: U32,
        /// S4BIOS, 64-bit wake.
        flags: U32,
        /// Where to wake, protected mode.
        x_waking_vector: U64,
        /// Of the layout.
        version: u8,
        /// Zero.
        reserved: [u8; 31],
    }

    /// The HPET table.
    Hpet {
        /// The table's header.
        header: TableHeader,
        /// Of the timer block.
        block_id: U32,
        /// Of the registers.
        address: GenericAddress,
        /// Its number.
        number: u8,
        /// Ticks that keep periodic interrupts from being lost.
        minimum_tick: U16,
        /// Page protection.
        flags: u8,
    }

    /// The MCFG's fields; allocations follow.
    Mcfg {
        /// The table's header.
        header: TableHeader,
        /// Zero.
        reserved: U64,
    }

    /// Configuration space of a range of buses.
    McfgAllocation {
        /// Physical address of bus 0's.
        address: U64,
        /// PCI segment.
        segment: U16,
        /// First bus.
        start_bus: u8,
        /// Last bus.
        end_bus: u8,
        /// Zero.
        reserved: U32,
    }

    /// The SRAT's fields; entries follow.
    Srat {
        /// The table's header.
        header: TableHeader,
        /// One.
        reserved0: U32,
        /// Zero.
        reserved1: U64,
    }

    /// SRAT type 0: a CPU's node.
    SratLocalApic {
        /// Type 0, length 16.
        header: EntryHeader,
        /// Node, bits 0 to 7.
        domain_low: u8,
        /// The APIC's.
        apic_id: u8,
        /// Bit 0: in use.
        flags: U32,
        /// Of the APIC.
        sapic_eid: u8,
        /// Node, bits 8 to 31.
        domain_high: [u8; 3],
        /// Clock.
        clock_domain: U32,
    }

    /// SRAT type 1: a memory range's node.
    SratMemory {
        /// Type 1, length 40.
        header: EntryHeader,
        /// Node.
        domain: U32,
        /// Zero.
        reserved0: U16,
        /// First byte.
        base: U64,
        /// Bytes.
        length: U64,
        /// Zero.
        reserved1: U32,
        /// Bit 0: in use; bit 1: hot-plug; bit 2: non-volatile.
        flags: U32,
        /// Zero.
        reserved2: U64,
    }

    /// SRAT type 2: an x2APIC CPU's node.
    SratLocalX2Apic {
        /// Type 2, length 24.
        header: EntryHeader,
        /// Zero.
        reserved0: U16,
        /// Node.
        domain: U32,
        /// The APIC's.
        x2apic_id: U32,
        /// Bit 0: in use.
        flags: U32,
        /// Clock.
        clock_domain: U32,
        /// Zero.
        reserved1: U32,
    }
}

/// [`GenericAddress`]: memory.
pub const SPACE_MEMORY: u8 = 0;
/// [`GenericAddress`]: ports.
pub const SPACE_IO: u8 = 1;
/// [`GenericAddress`]: PCI configuration space.
pub const SPACE_PCI: u8 = 2;

/// [`Madt`]: there is a pair of 8259A, to be disabled.
pub const MADT_PCAT_COMPAT: u32 = 1 << 0;
/// [`MadtLocalApic`]: usable.
pub const LAPIC_ENABLED: u32 = 1 << 0;
/// [`MadtLocalApic`]: can be enabled later.
pub const LAPIC_ONLINE_CAPABLE: u32 = 1 << 1;
/// MADT entry types.
pub mod madt_type {
    /// `MadtLocalApic`.
    pub const LOCAL_APIC: u8 = 0;
    /// `MadtIoApic`.
    pub const IO_APIC: u8 = 1;
    /// `MadtInterruptOverride`.
    pub const INTERRUPT_OVERRIDE: u8 = 2;
    /// `MadtNmiSource`.
    pub const NMI_SOURCE: u8 = 3;
    /// `MadtLocalApicNmi`.
    pub const LOCAL_APIC_NMI: u8 = 4;
    /// `MadtAddressOverride`.
    pub const ADDRESS_OVERRIDE: u8 = 5;
    /// `MadtLocalX2Apic`.
    pub const LOCAL_X2APIC: u8 = 9;
    /// `MadtLocalX2ApicNmi`.
    pub const LOCAL_X2APIC_NMI: u8 = 10;
}

/// Override flags: the polarity's bits.
pub const MPS_POLARITY_MASK: u16 = 3;
/// Override flags: active high.
pub const MPS_POLARITY_HIGH: u16 = 1;
/// Override flags: active low.
pub const MPS_POLARITY_LOW: u16 = 3;
/// Override flags: the trigger's bits.
pub const MPS_TRIGGER_MASK: u16 = 3 << 2;
/// Override flags: edge triggered.
pub const MPS_TRIGGER_EDGE: u16 = 1 << 2;
/// Override flags: level triggered.
pub const MPS_TRIGGER_LEVEL: u16 = 3 << 2;

/// [`Fadt`] boot flags: no VGA.
pub const IAPC_NO_VGA: u16 = 1 << 2;
/// [`Fadt`] boot flags: no CMOS RTC.
pub const IAPC_NO_CMOS_RTC: u16 = 1 << 5;
/// [`Fadt`] flags: `wbinvd` works.
pub const FADT_WBINVD: u32 = 1 << 0;
/// [`Fadt`] flags: the PM timer has 32 bits, not 24.
pub const FADT_TIMER_32: u32 = 1 << 8;
/// [`Fadt`] flags: [`FadtExtension::reset_register`] works.
pub const FADT_RESET_REGISTER: u32 = 1 << 10;
/// [`Fadt`] flags: no fixed hardware.
pub const FADT_HARDWARE_REDUCED: u32 = 1 << 20;

/// PM1 control: ACPI is on.
pub const PM1_SCI_ENABLE: u16 = 1 << 0;
/// PM1 control: where the sleep type is.
pub const PM1_SLEEP_TYPE_SHIFT: u32 = 10;
/// PM1 control: sleep now.
pub const PM1_SLEEP_ENABLE: u16 = 1 << 13;
/// PM1 status: woken.
pub const PM1_WAKE_STATUS: u16 = 1 << 15;
/// Ticks of the PM timer in a second.
pub const PM_TIMER_HZ: u32 = 3_579_545;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(size_of::<Rsdp>(), 20);
        assert_eq!(size_of::<Rsdp>() + size_of::<RsdpExtension>(), 36);
        assert_eq!(size_of::<TableHeader>(), 36);
        assert_eq!(size_of::<GenericAddress>(), 12);
        assert_eq!(size_of::<Madt>(), 44);
        assert_eq!(size_of::<MadtLocalApic>(), 8);
        assert_eq!(size_of::<MadtIoApic>(), 12);
        assert_eq!(size_of::<MadtInterruptOverride>(), 10);
        assert_eq!(size_of::<MadtNmiSource>(), 8);
        assert_eq!(size_of::<MadtLocalApicNmi>(), 6);
        assert_eq!(size_of::<MadtAddressOverride>(), 12);
        assert_eq!(size_of::<MadtLocalX2Apic>(), 16);
        assert_eq!(size_of::<MadtLocalX2ApicNmi>(), 12);
        assert_eq!(size_of::<Fadt>(), 116);
        assert_eq!(size_of::<Fadt>() + size_of::<FadtExtension>(), 244);
        assert_eq!(size_of::<Facs>(), 64);
        assert_eq!(size_of::<Hpet>(), 56);
        assert_eq!(size_of::<Mcfg>(), 44);
        assert_eq!(size_of::<McfgAllocation>(), 16);
        assert_eq!(size_of::<Srat>(), 48);
        assert_eq!(size_of::<SratLocalApic>(), 16);
        assert_eq!(size_of::<SratMemory>(), 40);
        assert_eq!(size_of::<SratLocalX2Apic>(), 24);
    }
}
