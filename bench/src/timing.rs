//! The clock, and batches of an operation.

use std::io;

use rustix::time::{ClockId, clock_gettime};

/// How measurements are made.
pub(crate) struct Timing {
    /// Batches, of whose figures the median counts.
    pub(crate) batches: usize,
    /// How many times smaller they are than they may be.
    pub(crate) divisor: u64,
    /// Measurements and figures that are asked for; all where there is none.
    pub(crate) wanted: Vec<String>,
}

/// Nanoseconds of a clock that nobody adjusts.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::MonotonicRaw);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// A figure's name begins with its measurement's.
pub(crate) fn measurement_of(figure: &str) -> &str {
    figure.split('_').next().unwrap_or(figure)
}

impl Timing {
    /// Whether a measurement has a figure that is asked for.
    pub(crate) fn wants_some_of(&self, measurement: &str) -> bool {
        self.wanted.is_empty()
            || self
                .wanted
                .iter()
                .any(|wanted| measurement_of(wanted) == measurement)
    }

    /// Whether a figure is asked for, by its own name or its measurement's.
    fn wants(&self, figure: &str) -> bool {
        self.wanted.is_empty()
            || self
                .wanted
                .iter()
                .any(|wanted| wanted == figure || wanted == measurement_of(figure))
    }

    /// Times batches of `times` of an operation, after one that does not count, and prints the median's nanoseconds
    /// for each of `parts` parts of an operation.
    pub(crate) fn operation(
        &self,
        name: &str,
        (times, parts): (u64, u64),
        mut operation: impl FnMut() -> io::Result<()>,
    ) -> io::Result<()> {
        if !self.wants(name) {
            return Ok(());
        }
        operation()?;
        let times = times.div_ceil(self.divisor);
        self.batches(name, || {
            let start = now();
            for _ in 0..times {
                operation()?;
            }
            Ok((now() - start) as f64 / (times * parts) as f64)
        })
    }

    /// Prints the median of what `batch` gives.
    pub(crate) fn batches(
        &self,
        name: &str,
        batch: impl FnMut() -> io::Result<f64>,
    ) -> io::Result<()> {
        if self.wants(name) {
            println!("FIGURE {name} {:.1}", self.median(batch)?);
        }
        Ok(())
    }

    /// The median of what `batch` gives.
    pub(crate) fn median(&self, mut batch: impl FnMut() -> io::Result<f64>) -> io::Result<f64> {
        let mut figures = (0..self.batches)
            .map(|_| batch())
            .collect::<io::Result<Vec<f64>>>()?;
        figures.sort_by(f64::total_cmp);
        figures
            .get(figures.len() / 2)
            .copied()
            .ok_or_else(|| io::Error::other("no batch was measured"))
    }
}
