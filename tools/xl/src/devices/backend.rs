//! What all devices have in common: places in xenstore, and states.
//!
//! Source: `public/io/xenbus.h`; Xen's `docs/misc/xenstore-paths.pandoc`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use xen_control::DomId;
use xenstore::TransactionId;

use crate::context::{Context, Failure, Outcome};
use crate::nodes::{self, Owner, Requests};

/// States of either end (`XenbusState*`).
pub(crate) const INITIALISING: u32 = 1;
pub(crate) const INIT_WAIT: u32 = 2;
pub(crate) const CLOSING: u32 = 5;
pub(crate) const CLOSED: u32 = 6;

/// How long a back end may take for a step.
const PATIENCE: Duration = Duration::from_secs(20);
/// What watches on devices are called.
const TOKEN: &str = "device";

/// A kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Disk,
    Vif,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Disk => "vbd",
            Self::Vif => "vif",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Disk, Self::Vif]
            .into_iter()
            .find(|kind| kind.name() == name)
    }
}

/// A device of a domain, served by domain 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    pub(crate) kind: Kind,
    pub(crate) domain: DomId,
    pub(crate) number: u32,
}

impl Device {
    /// The back end's nodes.
    pub(crate) fn backend(&self) -> String {
        let Self {
            kind,
            domain,
            number,
        } = self;
        format!("/local/domain/0/backend/{}/{domain}/{number}", kind.name())
    }

    /// The front end's nodes.
    pub(crate) fn frontend(&self) -> String {
        let Self {
            kind,
            domain,
            number,
        } = self;
        format!("/local/domain/{domain}/device/{}/{number}", kind.name())
    }

    /// What the tools keep, where the guest cannot write.
    pub(crate) fn record(&self) -> String {
        let Self {
            kind,
            domain,
            number,
        } = self;
        format!("/libxl/{domain}/device/{}/{number}", kind.name())
    }

    /// The kernel's own place of the back end.
    fn kernel_path(&self) -> PathBuf {
        let Self {
            kind,
            domain,
            number,
        } = self;
        let name = format!("{}-{domain}-{number}", kind.name());
        Path::new("/sys/bus/xen-backend/devices").join(name)
    }

    /// A value of the back end.
    pub(crate) fn read(&self, context: &Context, name: &str) -> Result<Option<String>, Failure> {
        context.read(&format!("{}/{name}", self.backend()))
    }

    /// Writes the nodes of both ends. The states come last, since with them the kernels begin.
    pub(crate) fn write(
        &self,
        context: &Context,
        backend: &[(&str, &str)],
        frontend: &[(&str, &str)],
    ) -> Outcome {
        let (at_back, at_front, record) = (self.backend(), self.frontend(), self.record());
        let domain = self.domain.to_string();
        let state = INITIALISING.to_string();
        let ends = [
            ("frontend", at_front.as_str()),
            ("frontend-id", &domain),
            ("online", "1"),
        ];
        let mut requests = Requests::new();
        nodes::owned(&mut requests, &record, "", Owner::Control);
        nodes::write(&mut requests, &format!("{record}/backend"), &at_back);
        nodes::owned(&mut requests, &at_back, "", Owner::GuestReads(self.domain));
        for place in [&at_back, &record] {
            for (name, value) in ends.iter().chain(backend) {
                nodes::write(&mut requests, &format!("{place}/{name}"), value);
            }
        }
        nodes::owned(
            &mut requests,
            &at_front,
            "",
            Owner::GuestShownTo(self.domain, 0),
        );
        let ends = [("backend", at_back.as_str()), ("backend-id", "0")];
        for (name, value) in ends.iter().chain(frontend) {
            nodes::write(&mut requests, &format!("{at_front}/{name}"), value);
        }
        for place in [&record, &at_back, &at_front] {
            nodes::write(&mut requests, &format!("{place}/state"), &state);
        }
        for answer in context.store()?.batch(TransactionId::NONE, &requests)? {
            answer.map_err(|error| {
                Failure::new(format!("{self}: its nodes cannot be written: {error}")).with_code(3)
            })?;
        }
        Ok(())
    }

    /// Waits until a value of the back end is as wanted; the value then. `None` after a while.
    pub(crate) fn wait_for(
        &self,
        context: &Context,
        name: &str,
        wanted: impl Fn(Option<&str>) -> bool,
    ) -> Result<Option<String>, Failure> {
        let path = format!("{}/{name}", self.backend());
        let deadline = Instant::now() + PATIENCE;
        let value = context.read(&path)?;
        if wanted(value.as_deref()) {
            return Ok(Some(value.unwrap_or_default()));
        }
        context.store()?.watch(&path, TOKEN)?;
        let found = loop {
            let value = context.read(&path)?;
            if wanted(value.as_deref()) {
                break Some(value.unwrap_or_default());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break None;
            }
            context.store()?.next_event(Some(left))?;
        };
        let mut store = context.store()?;
        store.unwatch(&path, TOKEN)?;
        while store.pending_event().is_some() {}
        Ok(found)
    }

    /// Waits until the back end has taken the device up.
    pub(crate) fn wait_until_ready(&self, context: &Context, driver: &str) -> Outcome {
        let state = self.wait_for(context, "state", |state| {
            state != Some(INITIALISING.to_string().as_str())
        })?;
        let state = state.map(|state| state.parse::<u32>().unwrap_or(0));
        match state {
            Some(state) if (INIT_WAIT..CLOSING).contains(&state) => Ok(()),
            None => Err(Failure::new(format!(
                "{self}: no back end takes it up within {} s; is {driver} loaded?",
                PATIENCE.as_secs()
            ))
            .with_code(3)),
            Some(_) => Err(self.refused(context)),
        }
    }

    /// What the back end says of its refusal.
    fn refused(&self, context: &Context) -> Failure {
        let Self {
            kind,
            domain,
            number,
        } = self;
        let path = format!(
            "/local/domain/0/error/backend/{}/{domain}/{number}/error",
            kind.name()
        );
        let why = context.read(&path).ok().flatten();
        let why = why.unwrap_or_else(|| "it does not say why; see the kernel's log".to_owned());
        Failure::new(format!("{self}: the back end refuses it: {why}")).with_code(3)
    }

    /// Waits until the kernel has let go of the device, for a while.
    pub(crate) fn wait_until_gone(&self, context: &Context) {
        let path = self.kernel_path();
        let deadline = Instant::now() + PATIENCE;
        while path.exists() {
            if Instant::now() >= deadline {
                context.detail(format_args!("{self}: the kernel still has it"));
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the back end has opened what it serves.
    pub(crate) fn wait_until_open(&self, context: &Context) -> Outcome {
        let path = self.kernel_path().join("physical_device");
        let deadline = Instant::now() + PATIENCE;
        while !path.exists() {
            let state = self.read(context, "state")?;
            let state = state.and_then(|state| state.parse().ok()).unwrap_or(0);
            if state >= CLOSING || Instant::now() >= deadline {
                return Err(self.refused(context));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }

    /// Takes the device from a running domain.
    pub(crate) fn detach(&self, context: &Context, force: bool) -> Outcome {
        let _working = context.working(format_args!("{self}: waiting for it to be let go of"));
        let mut requests = Requests::new();
        let backend = self.backend();
        nodes::write(&mut requests, &format!("{backend}/online"), "0");
        nodes::write(
            &mut requests,
            &format!("{backend}/state"),
            &CLOSING.to_string(),
        );
        for answer in context.store()?.batch(TransactionId::NONE, &requests)? {
            answer.map_err(|error| Failure::new(format!("{self}: {error}")))?;
        }
        let closed = self.wait_for(context, "state", |state| {
            state.is_none_or(|state| state == CLOSED.to_string())
        })?;
        if closed.is_none() && !force {
            return Err(Failure::new(format!(
                "{self}: the domain does not let go of it within {} s; is it in use?",
                PATIENCE.as_secs()
            )));
        }
        super::let_go(context, self)?;
        self.remove_nodes(context)?;
        self.wait_until_gone(context);
        Ok(())
    }

    /// Removes the nodes of both ends.
    pub(crate) fn remove_nodes(&self, context: &Context) -> Outcome {
        let mut requests = Requests::new();
        for path in [self.backend(), self.frontend(), self.record()] {
            nodes::remove(&mut requests, &path);
        }
        context.store()?.batch(TransactionId::NONE, &requests)?;
        Ok(())
    }
}

impl std::fmt::Display for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.kind {
            Kind::Disk => "disk",
            Kind::Vif => "network interface",
        };
        write!(f, "domain {}: {what} {}", self.domain, self.number)
    }
}

/// Loads a back end's driver if it is not there. Whether that worked is seen when it takes up its device.
pub(crate) fn need_driver(context: &Context, name: &str, module: &str) {
    if Path::new("/sys/bus/xen-backend/drivers")
        .join(name)
        .exists()
    {
        return;
    }
    context.detail(format_args!("loading {module}"));
    let _ = Command::new("modprobe")
        .arg(module)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}
