//! What commands share: options for all of them, the hypervisor, xenstore, errors.

use std::cell::{OnceCell, RefCell, RefMut};
use std::fmt;
use std::io;
use std::time::Instant;

use domain_builder::BuildError;
use serde_json::Value;
use xen_control::{Control, ControlError};
use xenstore::{Client, ClientError};

use crate::progress::{Progress, Working};

/// Why a command failed, and its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) code: u8,
}

impl Failure {
    /// The usual exit code of Xen's `xl`.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            code: 1,
        }
    }

    pub(crate) fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// What was done when it went wrong.
    pub(crate) fn context(self, what: impl fmt::Display) -> Self {
        Self {
            message: format!("{what}: {}", self.message),
            ..self
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<ControlError> for Failure {
    fn from(error: ControlError) -> Self {
        Self::new(error.to_string())
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        Self::new(format!("xenstore: {error}"))
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        Self::new(error.to_string()).with_code(3)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(error.to_string())
    }
}

/// How a command ended.
pub(crate) type Outcome = Result<(), Failure>;

/// What commands share.
#[derive(Debug)]
pub(crate) struct Context {
    /// Tell in JSON.
    pub(crate) json: bool,
    /// Tell more on the way.
    pub(crate) verbose: bool,
    /// Only tell what would be done.
    pub(crate) dry_run: bool,
    /// Do it even if it is not wise.
    pub(crate) force: bool,
    began: Instant,
    control: OnceCell<Control>,
    store: OnceCell<RefCell<Client>>,
    progress: OnceCell<Option<Progress>>,
}

impl Default for Context {
    fn default() -> Self {
        Self {
            json: false,
            verbose: false,
            dry_run: false,
            force: false,
            began: Instant::now(),
            control: OnceCell::new(),
            store: OnceCell::new(),
            progress: OnceCell::new(),
        }
    }
}

impl Context {
    /// The hypervisor.
    pub(crate) fn control(&self) -> Result<&Control, Failure> {
        if let Some(control) = self.control.get() {
            return Ok(control);
        }
        let control = Control::open()?;
        Ok(self.control.get_or_init(|| control))
    }

    /// Xenstore.
    pub(crate) fn store(&self) -> Result<RefMut<'_, Client>, Failure> {
        if self.store.get().is_none() {
            let client = Client::connect()
                .map_err(|error| Failure::new(format!("cannot reach xenstored: {error}")))?;
            self.store.get_or_init(|| RefCell::new(client));
        }
        let store = self.store.get().map(RefCell::try_borrow_mut);
        match store {
            Some(Ok(store)) => Ok(store),
            _ => Err(Failure::new(
                "xenstore is in use already: a mistake in this program",
            )),
        }
    }

    /// Tells what only `-v` is to tell, and how long after the beginning.
    pub(crate) fn detail(&self, text: impl fmt::Display) {
        if self.verbose {
            let microseconds = self.began.elapsed().as_micros();
            eprintln!("xl: {microseconds} µs: {text}");
        }
    }

    /// Tells a person what is being done, if it takes longer than a second, until what is given back is dropped.
    pub(crate) fn working(&self, what: impl fmt::Display) -> Working<'_> {
        let progress = self
            .progress
            .get_or_init(|| (!self.json).then(Progress::new).flatten());
        Progress::begin(progress.as_ref(), || what.to_string())
    }

    /// A value of xenstore; `None` if it is not there.
    pub(crate) fn read(&self, path: &str) -> Result<Option<String>, Failure> {
        match self.store()?.read_string(path) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(Failure::from(error).context(path)),
        }
    }

    /// The children of a node of xenstore; none if it is not there.
    pub(crate) fn children(&self, path: &str) -> Result<Vec<String>, Failure> {
        match self.store()?.directory(path) {
            Ok(children) => Ok(children),
            Err(error) if error.is_not_found() => Ok(Vec::new()),
            Err(error) => Err(Failure::from(error).context(path)),
        }
    }
}

/// Prints a value as JSON.
pub(crate) fn print_json(value: &Value) {
    println!("{value:#}");
}
