/* Prints sizes, alignments, offsets and values of Xen's public headers, one "key: value" a line. */
#define __XEN_TOOLS__ 1
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <xen/xen.h>
#include <xen/argo.h>
#include <xen/callback.h>
#include <xen/domctl.h>
#include <xen/elfnote.h>
#include <xen/event_channel.h>
#include <xen/features.h>
#include <xen/grant_table.h>
#include <xen/hypfs.h>
#include <xen/kexec.h>
#include <xen/memory.h>
#include <xen/nmi.h>
#include <xen/physdev.h>
#include <xen/platform.h>
#include <xen/pmu.h>
#include <xen/sched.h>
#include <xen/sysctl.h>
#include <xen/vcpu.h>
#include <xen/version.h>
#include <xen/vm_event.h>
#include <xen/arch-x86/cpufeatureset.h>
#include <xen/arch-x86/cpuid.h>
#include <xen/arch-x86/hvm/start_info.h>
#include <xen/arch-x86/xen-mca.h>
#include <xen/hvm/dm_op.h>
#include <xen/hvm/e820.h>
#include <xen/hvm/hvm_info_table.h>
#include <xen/hvm/hvm_op.h>
#include <xen/hvm/hvm_vcpu.h>
#include <xen/hvm/ioreq.h>
#include <xen/hvm/params.h>
#include <xen/hvm/save.h>
#include <xen/io/blkif.h>
#include <xen/io/console.h>
#include <xen/io/netif.h>
#include <xen/io/ring.h>
#include <xen/io/xenbus.h>
#include <xen/io/xs_wire.h>
#include <xen/xsm/flask_op.h>

/* Two of the error numbers are declared for the hypervisor only. */
#define __XEN__
#define XEN_ERRNO(name, value) XEN_##name = value,
enum {
#include <xen/errno.h>
};
#undef __XEN__

#define SIZE(key, size) printf("%s: %zu\n", key, (size_t)(size))
#define VALUE(key, value)                                                                \
    printf("%s: %s%llu\n", key, (value) < 0 ? "-" : "",                                  \
           (value) < 0 ? 0ULL - (unsigned long long)(value) : (unsigned long long)(value))

int main(void)
{
    /* What has no declaration of its own in Rust's modules: see tests/layout.rs. */
    SIZE("DomId size", sizeof(domid_t));
    SIZE("EvtchnPort size", sizeof(evtchn_port_t));
    SIZE("GrantRef size", sizeof(grant_ref_t));
    SIZE("GrantHandle size", sizeof(grant_handle_t));
    SIZE("XenPfn size", sizeof(xen_pfn_t));
    SIZE("IoServerId size", sizeof(ioservid_t));
    SIZE("GuestHandle size", sizeof(XEN_GUEST_HANDLE_64(xen_pfn_t)));
    SIZE("GuestHandle alignment", _Alignof(XEN_GUEST_HANDLE_64(xen_pfn_t)));
    SIZE("RingHeader size", offsetof(struct blkif_sring, ring));
    SIZE("RingHeader.rsp_event offset", offsetof(struct blkif_sring, rsp_event));
    SIZE("RingHeader.pvt offset", offsetof(struct blkif_sring, pvt));
    SIZE("RingHeader.padding offset", offsetof(struct blkif_sring, __pad));
