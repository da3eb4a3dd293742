//! Assists that a guest turns on and off, `__HYPERVISOR_vm_assist`.
//!
//! Source: `public/xen.h`.

crate::macros::constants! { u32;
    CMD_ENABLE = 0, "VMASST_CMD_enable";
    CMD_DISABLE = 1, "VMASST_CMD_disable";
    TYPE_4GB_SEGMENTS = 0, "VMASST_TYPE_4gb_segments";
    TYPE_4GB_SEGMENTS_NOTIFY = 1, "VMASST_TYPE_4gb_segments_notify";
    TYPE_WRITABLE_PAGETABLES = 2, "VMASST_TYPE_writable_pagetables";
    TYPE_PAE_EXTENDED_CR3 = 3, "VMASST_TYPE_pae_extended_cr3";
    TYPE_ARCHITECTURAL_IOPL = 4, "VMASST_TYPE_architectural_iopl";
    TYPE_RUNSTATE_UPDATE_FLAG = 5, "VMASST_TYPE_runstate_update_flag";
    TYPE_M2P_STRICT = 32, "VMASST_TYPE_m2p_strict";
}
