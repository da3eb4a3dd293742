//! Files that come and go.

use std::fs::{self, File};
use std::io;

use crate::timing::Timing;

/// An empty file made, closed and removed, in memory.
pub(crate) fn create(timing: &Timing) -> io::Result<()> {
    let directory = std::env::temp_dir().join(format!("bench-{}", std::process::id()));
    fs::create_dir(&directory)?;
    let path = directory.join("file");
    let result = timing.operation("file_create", (1_000, 1), || {
        drop(File::create_new(&path)?);
        fs::remove_file(&path)
    });
    fs::remove_dir_all(&directory)?;
    result.map(drop)
}
