//! Commands of CONTROL that are about the daemon.

use std::fs;
use std::path::Path;

use xenstore_core::{ConnectionId, ControlCommand, Error, Event, Level};

use super::Daemon;

impl Daemon {
    /// Does a command, and answers it.
    pub(super) fn control(&mut self, connection: ConnectionId, command: ControlCommand) {
        let result = match command {
            ControlCommand::Log(None) => {
                Ok(if self.trace.is_on() { "on" } else { "off" }.to_owned())
            }
            ControlCommand::Log(Some(what)) => self.switch_trace(&what),
            ControlCommand::LogFile(path) => {
                self.trace.set_path(Path::new(&path));
                Ok("OK".to_owned())
            }
            ControlCommand::LiveUpdate(words) => match self.live_update(connection, &words) {
                // The successor answers.
                None => return,
                Some(result) => result,
            },
            ControlCommand::MemoryReport(None) => Ok(self.store.memory_report()),
            ControlCommand::MemoryReport(Some(path)) => {
                match fs::write(&path, self.store.memory_report()) {
                    Ok(()) => Ok("OK".to_owned()),
                    Err(error) => {
                        self.log.write(Level::Warning, &format!("{path}: {error}"));
                        Err(Error::Eio)
                    }
                }
            }
            ControlCommand::Print(text) => {
                self.log.write(Level::Info, &text);
                Ok("OK".to_owned())
            }
            ControlCommand::Metrics => Ok(self.metrics()),
        };
        self.answer(connection, result);
    }

    /// Answers a command. An answer that is too long for a message is cut at a line's end.
    pub(super) fn answer(&mut self, connection: ConnectionId, result: Result<String, Error>) {
        let result = result.map(|mut text| {
            const MOST: usize = 4095;
            const CUT: &str = "# more than a message holds\n";
            if text.len() > MOST {
                let end = text.floor_char_boundary(MOST - CUT.len());
                text.truncate(text[..end].rfind('\n').map_or(end, |line| line + 1));
                text.push_str(CUT);
            }
            text.push('\0');
            text.into_bytes()
        });
        self.step(Event::ControlDone {
            connection,
            result: match &result {
                Ok(bytes) => Ok(bytes),
                Err(error) => Err(*error),
            },
        });
    }

    fn switch_trace(&mut self, what: &str) -> Result<String, Error> {
        let on = match what {
            "on" | "+trace" => true,
            "off" | "-trace" => false,
            _ => return Err(Error::Einval),
        };
        match self.trace.switch(on) {
            Ok(()) => Ok("OK".to_owned()),
            Err(error) => {
                self.log.write(
                    Level::Warning,
                    &format!("the trace cannot be written: {error}; see logfile"),
                );
                Err(Error::Einval)
            }
        }
    }

    /// Counters of the core, and the daemon's own.
    pub(super) fn metrics(&self) -> String {
        let mut text = self.store.metrics();
        let room = self.state.as_ref().map_or(0, |state| state.room());
        let gauges = [
            (
                "journal_room_bytes",
                "Bytes until the next snapshot.",
                room as u64,
            ),
            (
                "storage_failed",
                "1 while the state cannot be written, and changes are refused.",
                u64::from(self.degraded),
            ),
            (
                "uptime_seconds",
                "Since this process began to serve.",
                self.started.elapsed().as_secs(),
            ),
        ];
        for (name, help, value) in gauges {
            text.push_str(&format!(
                "# HELP xenstore_{name} {help}\n# TYPE xenstore_{name} gauge\nxenstore_{name} {value}\n"
            ));
        }
        text
    }
}
