//! Who may do what to whom, and the proof that it was asked.

use core::marker::PhantomData;

use xen_abi::errno::Errno;

/// Who may make a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// Any domain. The call acts on the caller alone, or its object carries its own permission (a
    /// grant, an event channel's peer).
    Any,
    /// The domain that the call is about, its device model, or a control domain.
    SelfOrController,
    /// The device model of the domain that the call is about, or a control domain; the domain itself
    /// is refused.
    DeviceModel,
    /// The xenstore domain or a control domain.
    XenstoreOrControl,
    /// A control domain.
    Control,
    /// The domain that owns the machine's devices.
    Hardware,
}

/// The domain that makes a call, as far as permissions go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Its number.
    pub domid: u16,
    /// It may control other domains.
    pub is_control: bool,
    /// It owns the machine's devices.
    pub is_hardware: bool,
    /// It runs the xenstore.
    pub is_xenstore: bool,
    /// The domain whose device model it is.
    pub device_model_for: Option<u16>,
}

impl Caller {
    /// A domain without any privilege.
    pub const fn unprivileged(domid: u16) -> Self {
        Self {
            domid,
            is_control: false,
            is_hardware: false,
            is_xenstore: false,
            device_model_for: None,
        }
    }

    /// Domain 0 of an ordinary system: control and hardware domain in one.
    pub const fn domain0() -> Self {
        Self {
            domid: 0,
            is_control: true,
            is_hardware: true,
            is_xenstore: false,
            device_model_for: None,
        }
    }

    /// Whether this domain is of the class `who` towards `target`.
    #[inline]
    pub fn is(&self, who: Who, target: u16) -> bool {
        match who {
            Who::Any => true,
            Who::SelfOrController => self.domid == target || self.controls(target),
            Who::DeviceModel => self.controls(target),
            Who::XenstoreOrControl => self.is_xenstore || self.is_control,
            Who::Control => self.is_control,
            Who::Hardware => self.is_hardware,
        }
    }

    fn controls(&self, target: u16) -> bool {
        self.is_control || self.device_model_for == Some(target)
    }
}

/// A row of the table as a type: what a token is a token of.
pub trait Operation {
    /// The call's number.
    const CALL: u32;
    /// The sub-operation, for calls that have them.
    const SUB_OP: Option<u32>;
    /// Who may make it.
    const WHO: Who;
}

/// Proof that the caller may do `O` to [`target`](Self::target). Made by [`authorize`] only.
#[derive(Debug)]
#[must_use]
pub struct Authorized<O> {
    target: u16,
    operation: PhantomData<fn() -> O>,
}

impl<O> Authorized<O> {
    /// The domain that the permission is about.
    pub const fn target(&self) -> u16 {
        self.target
    }
}

/// Mints the token of operation `O` on `target`. For operations that act on the caller alone, `target`
/// is the caller.
///
/// # Errors
/// `EPERM` when the caller is not of the operation's class. (Whether `target` exists was found out before,
/// with the errno of that call's family.)
#[inline(always)]
pub fn authorize<O: Operation>(caller: &Caller, target: u16) -> Result<Authorized<O>, Errno> {
    if caller.is(O::WHO, target) {
        Ok(Authorized {
            target,
            operation: PhantomData,
        })
    } else {
        Err(Errno::EPERM)
    }
}
