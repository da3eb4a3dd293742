//! Transactions of the client that waits.

use xen_abi::Errno;

use crate::client::Client;
use crate::error::ClientError;
use crate::permission::Permission;
use crate::request::{self, Parts, TransactionId, payload, permissions_payload, write_payload};
use crate::wire::Operation;

/// A transaction: sees the store as it was, and changes it all at once or not at all. One that is dropped without
/// [`Transaction::commit`] is aborted.
#[derive(Debug)]
pub struct Transaction<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) id: TransactionId,
}

impl Transaction<'_> {
    fn request(&mut self, operation: Operation, payload: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.client.request(operation, self.id, payload)
    }

    /// A node's value.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>, ClientError> {
        self.request(Operation::Read, &payload(&[path])?)
    }

    /// A node's value as text.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`.
    pub fn read_string(&mut self, path: &str) -> Result<String, ClientError> {
        let value = self.read(path)?;
        Ok(String::from_utf8_lossy(&value).into_owned())
    }

    /// The names of a node's children, however many there are.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`.
    pub fn directory(&mut self, path: &str) -> Result<Vec<String>, ClientError> {
        match self.request(Operation::Directory, &payload(&[path])?) {
            Ok(answer) => Ok(request::strings(&answer).collect()),
            Err(error) if request::is_too_big(&error) => {
                let mut parts = Parts::default();
                loop {
                    let answer = self.request(Operation::DirectoryPart, &parts.request(path)?)?;
                    if parts.add(&answer)? {
                        return Ok(parts.names());
                    }
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Whether a node is there and may be read.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub fn exists(&mut self, path: &str) -> Result<bool, ClientError> {
        match self.read(path) {
            Ok(_) => Ok(true),
            Err(ClientError::Store(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sets a node's value.
    ///
    /// # Errors
    ///
    /// `EACCES`, `ENOSPC` for a quota.
    pub fn write(&mut self, path: &str, value: impl AsRef<[u8]>) -> Result<(), ClientError> {
        self.request(Operation::Write, &write_payload(path, value.as_ref())?)
            .map(drop)
    }

    /// Makes a node, if it is not there.
    ///
    /// # Errors
    ///
    /// `EACCES`, `ENOSPC` for a quota.
    pub fn make_directory(&mut self, path: &str) -> Result<(), ClientError> {
        self.request(Operation::MakeDirectory, &payload(&[path])?)
            .map(drop)
    }

    /// Removes a node and all below it.
    ///
    /// # Errors
    ///
    /// `EACCES`, `ENOENT`.
    pub fn remove(&mut self, path: &str) -> Result<(), ClientError> {
        self.request(Operation::Remove, &payload(&[path])?)
            .map(drop)
    }

    /// A node's permissions, the owner's first.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`.
    pub fn permissions(&mut self, path: &str) -> Result<Vec<Permission>, ClientError> {
        let answer = self.request(Operation::GetPermissions, &payload(&[path])?)?;
        request::permissions(&answer)
    }

    /// Sets a node's permissions, the owner's first.
    ///
    /// # Errors
    ///
    /// `ENOENT`, `EACCES`, `EINVAL`.
    pub fn set_permissions(
        &mut self,
        path: &str,
        permissions: &[Permission],
    ) -> Result<(), ClientError> {
        let payload = permissions_payload(path, permissions)?;
        self.request(Operation::SetPermissions, &payload).map(drop)
    }

    /// Commits; `false` if another change got in the way, and nothing was done.
    ///
    /// # Errors
    ///
    /// `ENOSPC` for a quota, the connection's.
    pub fn commit(mut self) -> Result<bool, ClientError> {
        match self.end(b"T\0") {
            Ok(()) => Ok(true),
            Err(error) if error.errno() == Some(Errno::EAGAIN) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Ends the transaction without doing anything.
    ///
    /// # Errors
    ///
    /// The connection's.
    pub fn abort(mut self) -> Result<(), ClientError> {
        self.end(b"F\0")
    }

    /// Leaves the transaction open, for [`Client::resume_transaction`].
    pub fn keep_open(mut self) -> TransactionId {
        std::mem::replace(&mut self.id, TransactionId::NONE)
    }

    fn end(&mut self, how: &[u8]) -> Result<(), ClientError> {
        let id = std::mem::replace(&mut self.id, TransactionId::NONE);
        if id == TransactionId::NONE {
            return Ok(());
        }
        self.client
            .request(Operation::TransactionEnd, id, how)
            .map(drop)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        // Without a connection the transaction has ended anyway.
        let _ = self.end(b"F\0");
    }
}
