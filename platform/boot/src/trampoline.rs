//! Starting the machine's other CPUs.

/// Why a CPU did not start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// There is no such CPU number.
    BadNumber,
    /// No memory for its block.
    NoMemory,
    /// No page below 1 MiB to start from.
    NoPage,
    /// It did not answer.
    NoAnswer,
}

/// Starts CPU `id`.
pub fn start_cpu(_id: usize) -> Result<(), StartError> {
    Err(StartError::NoMemory)
}
