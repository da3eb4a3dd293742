//! Many requests in one turn.

use std::io::Write;

use crate::client::Client;
use crate::error::{ClientError, StoreError};
use crate::request::TransactionId;
use crate::transport::Transport;
use crate::wire::Operation;

/// Requests of a batch that are sent before their answers are read.
const BATCH: usize = 64;

impl Client {
    /// Makes requests all at once, then waits for all answers, in their order: over a socket one turn of the
    /// daemon instead of one for each. A request that is refused does not keep those behind it from being made.
    ///
    /// # Errors
    ///
    /// The connection's end, or an argument that cannot be sent: then none was made.
    pub fn batch(
        &mut self,
        transaction: TransactionId,
        requests: &[(Operation, Vec<u8>)],
    ) -> Result<Vec<Result<Vec<u8>, StoreError>>, ClientError> {
        let mut all = Vec::with_capacity(requests.len());
        if matches!(self.transport, Transport::Device(_)) {
            // The device takes one message at a time.
            for (operation, payload) in requests {
                match self.request(*operation, transaction, payload) {
                    Ok(answer) => all.push(Ok(answer)),
                    Err(ClientError::Store(error)) => all.push(Err(error)),
                    Err(error) => return Err(error),
                }
            }
            return Ok(all);
        }
        // So few at a time that neither side waits for the other to read.
        for part in requests.chunks(BATCH) {
            let mut messages = Vec::new();
            let mut last = 0;
            for (operation, payload) in part {
                let (number, message) = self.session.request(*operation, transaction, payload)?;
                messages.extend_from_slice(&message);
                last = number;
            }
            self.transport.write_all(&messages)?;
            let mut is_answered = part.is_empty();
            while !is_answered {
                while let Some(answer) = self.session.next_answer()? {
                    is_answered = answer.request == last;
                    all.push(answer.result);
                }
                if !is_answered {
                    self.receive()?;
                }
            }
        }
        Ok(all)
    }
}
