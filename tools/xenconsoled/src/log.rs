//! A log file: filtered, stamped, rotated; a full disk is no reason to stop.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::SystemTime;

use crate::escape::Filter;
use crate::rotation::Rotation;
use crate::stamp::Stamper;

/// A log of one stream.
#[derive(Debug)]
pub struct Log {
    path: PathBuf,
    rotation: Rotation,
    file: Option<File>,
    size: u64,
    filter: Filter,
    stamper: Option<Stamper>,
    /// Bytes that could not be written since it last worked.
    lost: u64,
    /// Whether the last write failed: errors are told once.
    failing: bool,
}

impl Log {
    /// A log at `path`, opened at the first write.
    pub fn new(path: PathBuf, rotation: Rotation, stamped: bool) -> Log {
        Log {
            path,
            rotation,
            file: None,
            size: 0,
            filter: Filter::default(),
            stamper: stamped.then(Stamper::default),
            lost: 0,
            failing: false,
        }
    }

    /// Closes the file: the next write opens it again, by its name.
    pub fn reopen(&mut self) {
        self.file = None;
    }

    /// Adds bytes, as they came from the guest.
    ///
    /// # Errors
    ///
    /// Says once that it cannot be written, and once that it can again. It is then written from here on.
    pub fn write(&mut self, bytes: &[u8], now: SystemTime) -> Result<(), String> {
        let mut filtered = Vec::with_capacity(bytes.len() + 16);
        self.filter.push(bytes, &mut filtered);
        let mut lines = Vec::with_capacity(filtered.len() + 32);
        match &mut self.stamper {
            Some(stamper) => stamper.push(&filtered, now, &mut lines),
            None => lines = filtered,
        }
        if lines.is_empty() {
            return Ok(());
        }
        match self.append(&lines) {
            Ok(()) if self.failing => {
                self.failing = false;
                let lost = std::mem::take(&mut self.lost);
                let note =
                    format!("\n[{lost} bytes are missing here: the log could not be written]\n");
                // If even this fails, the next write tells.
                let _ = self.append(note.as_bytes());
                Err(format!(
                    "{} is written again; {lost} bytes are missing",
                    self.path.display()
                ))
            }
            Ok(()) => Ok(()),
            Err((written, error)) => {
                self.lost = self.lost.saturating_add((lines.len() - written) as u64);
                self.file = None;
                if std::mem::replace(&mut self.failing, true) {
                    return Ok(());
                }
                Err(format!("cannot write {}: {error}", self.path.display()))
            }
        }
    }

    /// Appends all or as much as possible; the error has how much.
    fn append(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut file = self
            .prepare(bytes.len() as u64)
            .map_err(|error| (0, error))?;
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match file.write(rest) {
                Ok(0) => return Err((written, io::ErrorKind::WriteZero.into())),
                Ok(count) => {
                    written += count;
                    self.size = self.size.saturating_add(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((written, error)),
            }
        }
        self.file = Some(file);
        Ok(())
    }

    /// The file, with room for `more` bytes.
    fn prepare(&mut self, more: u64) -> io::Result<File> {
        let file = match self.file.take() {
            Some(file) => file,
            None => self.open(false)?,
        };
        if !self.rotation.is_due(self.size, more) {
            return Ok(file);
        }
        for (from, to) in self.rotation.renames(&self.path) {
            match fs::rename(from, to) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.open(self.rotation.keep == 0)
    }

    fn open(&mut self, empty: bool) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).append(true).mode(0o640);
        let file = options.open(&self.path)?;
        if empty {
            file.set_len(0)?;
        }
        self.size = file.metadata()?.len();
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("xenconsoled-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn read(path: &std::path::Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn rotates_and_keeps_what_it_should() {
        let directory = directory("rotates");
        let path = directory.join("guest-a.log");
        let rotation = Rotation { limit: 10, keep: 1 };
        let mut log = Log::new(path.clone(), rotation, false);
        for line in ["one 567\n", "two 567\n", "three 9\n"] {
            log.write(line.as_bytes(), SystemTime::now()).unwrap();
        }
        assert_eq!(read(&path), "three 9\n");
        assert_eq!(read(&directory.join("guest-a.log.1")), "two 567\n");
        assert!(!directory.join("guest-a.log.2").exists());
        // Another program renamed it; we are told by a signal.
        fs::rename(&path, directory.join("taken")).unwrap();
        log.reopen();
        log.write(b"four\n", SystemTime::now()).unwrap();
        assert_eq!(read(&path), "four\n");
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn a_full_disk_is_told_once_and_the_log_goes_on() {
        let mut log = Log::new("/dev/full".into(), Rotation { limit: 0, keep: 0 }, false);
        assert!(
            log.write(b"x", SystemTime::now())
                .unwrap_err()
                .contains("No space left")
        );
        assert_eq!(log.write(b"more", SystemTime::now()), Ok(()));
        let directory = directory("full");
        let path = directory.join("again.log");
        log.path = path.clone();
        let message = log.write(b"back\n", SystemTime::now()).unwrap_err();
        assert!(message.ends_with("5 bytes are missing"), "{message}");
        assert_eq!(log.write(b"well\n", SystemTime::now()), Ok(()));
        assert_eq!(
            read(&path),
            "back\n\n[5 bytes are missing here: the log could not be written]\nwell\n"
        );
        fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn an_escape_does_not_reach_the_file() {
        let directory = directory("escape");
        let path = directory.join("e.log");
        let mut log = Log::new(path.clone(), Rotation { limit: 0, keep: 0 }, false);
        log.write(b"\x1b]0;x\x07\n", SystemTime::now()).unwrap();
        assert_eq!(read(&path), "^[]0;x^G\n");
        fs::remove_dir_all(directory).unwrap();
    }
}
