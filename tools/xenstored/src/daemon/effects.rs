//! What the core wants done, and the journal that has to be written before.

use std::io;

use xenstore_core::{ConnectionId, Effect, Event, Level};

use super::Daemon;

/// With less room than this in the journal a new generation begins: more than a round can need.
const JOURNAL_RESERVE: usize = 512 << 10;

impl Daemon {
    /// Writes the core's journal.
    pub(super) fn commit(&mut self) {
        let records = self.store.take_journal();
        let Some(state) = &mut self.state else {
            return;
        };
        if records.is_empty() {
            return;
        }
        let written = state.append(&records);
        if !written || state.room() < JOURNAL_RESERVE {
            // The snapshot has the records as well.
            self.begin_generation(true);
        }
    }

    /// Writes a snapshot, and begins an empty journal. If it `must`, for the old journal is full: in the reserve, if the disk
    /// is full as well.
    pub(super) fn begin_generation(&mut self, must: bool) {
        if self.journal_ended && must {
            // Not again with each record, but when it is time to look whether the disk has room.
            return;
        }
        let Some(state) = &mut self.state else {
            return;
        };
        let snapshot = self.store.snapshot();
        let Err(error) = state.begin(&snapshot) else {
            self.journal_ended = false;
            if self.degraded {
                self.degraded = false;
                self.log
                    .write(Level::Info, "the state can be written again");
                self.step(Event::Storage { full: false });
            }
            return;
        };
        if must && let Err(error) = state.begin_in_reserve(&snapshot) {
            self.journal_ended = true;
            self.log.write(
                Level::Error,
                &format!(
                    "nor in the reserve: {error}; what is done now would not outlive the daemon"
                ),
            );
        }
        self.degrade(error);
    }

    /// Refuses changes from now on: there may soon be no place for them. What else happens goes on, and into the journal.
    fn degrade(&mut self, error: io::Error) {
        if !self.degraded {
            self.degraded = true;
            self.log.write(
                Level::Error,
                &format!("the state cannot be written: {error}; changes are refused until it can"),
            );
            self.step(Event::Storage { full: true });
        }
    }

    /// Does what the core wants done.
    pub(super) fn do_effects(&mut self) {
        while let Some(effect) = self.effects.pop_front() {
            match effect {
                Effect::Output(connection) => self.outputs.push(connection),
                Effect::InputSpace(ConnectionId::Domain(domain)) => self.ready_rings.push(domain),
                Effect::InputSpace(ConnectionId::Socket(number)) => self.ready_sockets.push(number),
                Effect::Introduce {
                    domain,
                    frame,
                    port,
                    again,
                } => self.introduce(domain, frame, port, again),
                Effect::Release(domain) => self.remove_ring(domain),
                Effect::Disconnect {
                    connection: ConnectionId::Domain(domain),
                    reason,
                } => self.fail_ring(domain, reason.ring_error()),
                Effect::Disconnect {
                    connection: ConnectionId::Socket(number),
                    reason,
                } => {
                    self.log.write(
                        Level::Warning,
                        &format!("client {number} is disconnected: {reason:?}"),
                    );
                    self.closing.push(number);
                }
                Effect::Control {
                    connection,
                    command,
                } => self.control(connection, command),
                Effect::Log(level, line) => self.log.write(level, &line),
            }
        }
        // Answers to effects are changes, too.
        self.commit();
    }
}
