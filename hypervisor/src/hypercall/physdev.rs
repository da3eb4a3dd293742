//! `physdev_op`: interrupts and PCI devices of the domain that owns the machine's hardware (public/physdev.h).

use ::hypercall::{Authorized, Operation, Outcome, authorize, op};
use addr::Vaddr;
use platform_cpu::guest;
use platform_devices::pci::PciAddress;
use xen_abi::errno::Errno;
use xen_abi::{domid, physdev};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::context::Context;
use crate::domain::DomId;
use crate::hypercall::not_implemented;
use crate::irq::{self, pirq};

/// Highest number of I/O ports.
const PORTS: u32 = 65_536;

/// Handles the call.
#[inline(never)]
pub fn physdev_op(context: &mut Context<'_>, command: u64, argument: u64) -> Outcome {
    let at = Vaddr::new(argument);
    let command = u32::try_from(command).unwrap_or(u32::MAX);
    let result = match command {
        physdev::EOI => read::<physdev::Eoi>(at).and_then(|request| {
            may::<op::PhysdevEoi>(context)?;
            pirq::end(context.domain, request.irq)
        }),
        physdev::IRQ_STATUS_QUERY => update(at, |request: &mut physdev::IrqStatusQuery| {
            may::<op::PhysdevIrqStatusQuery>(context)?;
            let (needs_end, shared) = pirq::status(context.domain, request.irq)?;
            request.flags = if needs_end {
                physdev::XENIRQSTAT_NEEDS_EOI
            } else {
                0
            } | if shared {
                physdev::XENIRQSTAT_SHARED
            } else {
                0
            };
            Ok(())
        }),
        physdev::SET_IOPL => read::<physdev::SetIopl>(at).and_then(|request| {
            may::<op::PhysdevSetIopl>(context)?;
            context.state.iopl = u8::try_from(request.iopl)
                .ok()
                .filter(|&iopl| iopl <= 3)
                .ok_or(Errno::EINVAL)?;
            context.state.roots.note_change();
            Ok(())
        }),
        physdev::SET_IOBITMAP => read::<physdev::SetIobitmap>(at).and_then(|request| {
            may::<op::PhysdevSetIobitmap>(context)?;
            if request.nr_ports > PORTS {
                return Err(Errno::EINVAL);
            }
            context.state.io_bitmap = request.bitmap.address;
            context.state.io_bitmap_ports = request.nr_ports;
            Ok(())
        }),
        physdev::APIC_READ => update(at, |request: &mut physdev::Apic| {
            may::<op::PhysdevApicRead>(context)?;
            request.value = irq::read_ioapic(request.apic_physbase, request.reg)?;
            Ok(())
        }),
        physdev::ALLOC_IRQ_VECTOR => update(at, |request: &mut physdev::Irq| {
            may::<op::PhysdevAllocIrqVector>(context)?;
            // Vectors are no business of domain 0's any more: it is told the number that it gave.
            request.vector = request.irq;
            Ok(())
        }),
        physdev::MAP_PIRQ => update(at, |request| map_pirq(context, request)),
        physdev::UNMAP_PIRQ => read::<physdev::UnmapPirq>(at).and_then(|request| {
            let _permission = authorize::<op::PhysdevUnmapPirq>(
                context.domain.caller(),
                own(context, request.domid)?,
            )?;
            pirq::unmap(request.pirq)
        }),
        physdev::SETUP_GSI => read::<physdev::SetupGsi>(at).and_then(|request| {
            may::<op::PhysdevSetupGsi>(context)?;
            irq::setup_gsi(request.gsi, request.triggering != 0, request.polarity != 0)
        }),
        physdev::GET_FREE_PIRQ => update(at, |request: &mut physdev::GetFreePirq| {
            may::<op::PhysdevGetFreePirq>(context)?;
            if !context.domain.is_hardware() {
                return Err(Errno::EINVAL);
            }
            request.pirq = pirq::keep_free()?;
            Ok(())
        }),
        physdev::MANAGE_PCI_ADD => read::<physdev::ManagePci>(at).and_then(|request| {
            may::<op::PhysdevManagePciAdd>(context)?;
            add(function(0, request.bus, request.devfn))
        }),
        physdev::MANAGE_PCI_REMOVE => read::<physdev::ManagePci>(at).and_then(|request| {
            may::<op::PhysdevManagePciRemove>(context)?;
            remove(function(0, request.bus, request.devfn))
        }),
        physdev::MANAGE_PCI_ADD_EXT => read::<physdev::ManagePciExt>(at).and_then(|request| {
            may::<op::PhysdevManagePciAddExt>(context)?;
            if request.is_extfn > 1 || request.is_virtfn > 1 {
                return Err(Errno::EINVAL);
            }
            add(function(0, request.bus, request.devfn))
        }),
        physdev::PCI_DEVICE_ADD => read::<physdev::PciDeviceAdd>(at).and_then(|request| {
            may::<op::PhysdevPciDeviceAdd>(context)?;
            add(function(request.seg, request.bus, request.devfn))
        }),
        physdev::PCI_DEVICE_REMOVE => read::<physdev::PciDevice>(at).and_then(|request| {
            may::<op::PhysdevPciDeviceRemove>(context)?;
            remove(function(request.seg, request.bus, request.devfn))
        }),
        physdev::RESTORE_MSI => read::<physdev::RestoreMsi>(at).and_then(|request| {
            may::<op::PhysdevRestoreMsi>(context)?;
            pirq::restore(function(0, request.bus, request.devfn))
        }),
        physdev::RESTORE_MSI_EXT => read::<physdev::PciDevice>(at).and_then(|request| {
            may::<op::PhysdevRestoreMsiExt>(context)?;
            pirq::restore(function(request.seg, request.bus, request.devfn))
        }),
        physdev::PREPARE_MSIX => read::<physdev::PciDevice>(at).and_then(|request| {
            may::<op::PhysdevPrepareMsix>(context)?;
            is_there(function(request.seg, request.bus, request.devfn))
        }),
        physdev::RELEASE_MSIX => read::<physdev::PciDevice>(at).and_then(|request| {
            may::<op::PhysdevReleaseMsix>(context)?;
            is_there(function(request.seg, request.bus, request.devfn))
        }),
        physdev::PCI_MMCFG_RESERVED => read::<physdev::PciMmcfgReserved>(at).and_then(|_| {
            // Domain 0 says that it keeps its hands off the window; it is not used from here.
            may::<op::PhysdevPciMmcfgReserved>(context)
        }),
        physdev::DBGP_OP => read::<physdev::DbgpOp>(at).and_then(|request| {
            may::<op::PhysdevDbgpOp>(context)?;
            // There is no console on a USB debug port that a reset could disturb.
            match u32::from(request.op) {
                physdev::DBGP_RESET_PREPARE | physdev::DBGP_RESET_DONE => Ok(()),
                _ => Err(Errno::EINVAL),
            }
        }),
        _ => return not_implemented(context, "physdev_op", command),
    };
    result.into()
}

/// Whether the caller may do `O` to itself.
fn may<O: Operation>(context: &Context<'_>) -> Result<(), Errno> {
    let caller = context.domain.caller();
    let _permission: Authorized<O> = authorize(caller, caller.domid)?;
    Ok(())
}

fn read<T: FromBytes + IntoBytes>(at: Vaddr) -> Result<T, Errno> {
    guest::read(at).map_err(|_| Errno::EFAULT)
}

/// Reads a request, changes it, and writes it back if that went well.
fn update<T: FromBytes + IntoBytes + Immutable>(
    at: Vaddr,
    change: impl FnOnce(&mut T) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let mut request = read(at)?;
    change(&mut request)?;
    guest::write(at, &request).map_err(|_| Errno::EFAULT)
}

/// The domain that is meant, which has to be the caller: no other has hardware yet.
fn own(context: &Context<'_>, domain: DomId) -> Result<DomId, Errno> {
    let caller = context.domain.id();
    if domain == domid::DOMID_SELF || domain == caller {
        Ok(caller)
    } else if crate::domains::find(domain).is_some() {
        // COMPAT: Xen lets domain 0 map interrupts for other domains, which then drive the device.
        Err(Errno::EOPNOTSUPP)
    } else {
        Err(Errno::ESRCH)
    }
}

fn function(segment: u16, bus: u8, devfn: u8) -> PciAddress {
    PciAddress {
        segment,
        bus,
        devfn,
    }
}

fn map_pirq(context: &Context<'_>, request: &mut physdev::MapPirq) -> Result<(), Errno> {
    let target = own(context, request.domid)?;
    let _permission = authorize::<op::PhysdevMapPirq>(context.domain.caller(), target)?;
    if !context.domain.is_hardware() {
        return Err(Errno::EPERM);
    }
    let kind = u32::try_from(request.kind).map_err(|_| Errno::EINVAL)?;
    // The bus has the segment above it, but in the oldest kind.
    let segment = if kind == physdev::MAP_PIRQ_TYPE_MSI {
        0
    } else {
        (request.bus >> 16) as u16
    };
    let at = function(segment, request.bus as u8, request.devfn as u8);
    let pirq = match kind {
        physdev::MAP_PIRQ_TYPE_GSI => pirq::map_line(request.index, request.pirq)?,
        physdev::MAP_PIRQ_TYPE_MSI | physdev::MAP_PIRQ_TYPE_MSI_SEG => {
            if request.table_base == 0 {
                pirq::map_msi(at, 1, request.pirq)?
            } else {
                pirq::map_msix(at, request.entry_nr, request.pirq)?
            }
        }
        physdev::MAP_PIRQ_TYPE_MULTI_MSI => {
            let count = u32::try_from(request.entry_nr).map_err(|_| Errno::EDOM)?;
            pirq::map_msi(at, count, request.pirq)?
        }
        _ => return Err(Errno::EINVAL),
    };
    request.pirq = i32::try_from(pirq).map_err(|_| Errno::EINVAL)?;
    Ok(())
}

fn is_there(at: PciAddress) -> Result<(), Errno> {
    // Functions of other segments cannot be seen through the ports; domain 0 knows that they exist.
    if at.segment != 0 || pirq::function_exists(at) {
        Ok(())
    } else {
        Err(Errno::ENODEV)
    }
}

fn add(at: PciAddress) -> Result<(), Errno> {
    is_there(at)?;
    log::info!("PCI add device {at}");
    Ok(())
}

fn remove(at: PciAddress) -> Result<(), Errno> {
    log::info!("PCI remove device {at}");
    Ok(())
}
