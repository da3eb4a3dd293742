//! Progress, for a person at a terminal: what has taken longer than a second, and for how long.
//!
//! A thread of its own tells it, which is only there where somebody looks: who works may be in the kernel meanwhile.

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often it is told, and how long there is nothing to tell.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is being done.
#[derive(Debug)]
struct Step {
    text: String,
    began: Instant,
    /// Something stands on the last line of the terminal.
    is_told: bool,
}

#[derive(Debug, Default)]
struct Shared {
    step: Mutex<Option<Step>>,
    changed: Condvar,
}

/// The teller.
#[derive(Debug)]
pub(crate) struct Progress(Arc<Shared>);

/// Something is being done as long as this is there.
#[derive(Debug)]
pub(crate) struct Working<'a>(Option<&'a Progress>);

impl Progress {
    /// A teller, if somebody looks. It tells nothing where no thread can be had.
    pub(crate) fn new() -> Option<Self> {
        if !std::io::stderr().is_terminal() {
            return None;
        }
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("progress".to_owned());
        thread.spawn(move || of_thread.tell()).ok()?;
        Some(Self(shared))
    }

    /// Begins with something.
    pub(crate) fn begin(this: Option<&Self>, text: impl FnOnce() -> String) -> Working<'_> {
        if let Some(progress) = this {
            *progress.0.lock() = Some(Step {
                text: text(),
                began: Instant::now(),
                is_told: false,
            });
            progress.0.changed.notify_one();
        }
        Working(this)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        let Some(progress) = self.0 else {
            return;
        };
        if progress.0.lock().take().is_some_and(|step| step.is_told) {
            eprintln!();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Step>> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self) {
        let mut step = self.lock();
        loop {
            let patience = match step.as_mut() {
                None => Duration::MAX,
                Some(step) => {
                    let age = step.began.elapsed();
                    if age >= INTERVAL {
                        eprint!("\rxl: {}: {} s", step.text, age.as_secs());
                        // Nobody is left to be told if it fails.
                        let _ = std::io::stderr().flush();
                        step.is_told = true;
                    }
                    INTERVAL - Duration::from_nanos(age.subsec_nanos().into())
                }
            };
            step = match self.changed.wait_timeout(step, patience) {
                Ok((step, _)) => step,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
    }
}
