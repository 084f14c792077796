//! COPY in both directions.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio_postgres::{CopyInSink, CopyOutStream};

use super::session::Session;
use crate::Result;

/// A running `COPY … FROM STDIN`.
pub struct CopyIn<'session> {
    session: &'session Session,
    operation: &'static str,
    sink: Pin<Box<CopyInSink<Bytes>>>,
    in_transaction: bool,
}

impl std::fmt::Debug for CopyIn<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CopyIn({:?})", self.session)
    }
}

impl<'session> CopyIn<'session> {
    pub(super) fn new(
        session: &'session Session,
        operation: &'static str,
        sink: CopyInSink<Bytes>,
    ) -> Self {
        let in_transaction = session.doubt();
        CopyIn { session, operation, sink: Box::pin(sink), in_transaction }
    }

    /// Sends a part of the data; where a part ends does not matter. Waits while the server
    /// does not take more.
    ///
    /// # Errors
    /// The connection is lost or silent. What the server refuses shows at
    /// [`CopyIn::finish`].
    pub async fn send(&mut self, data: Bytes) -> Result<()> {
        self.session.wait(self.operation, self.sink.send(data)).await
    }

    /// Ends the data and returns the number of rows that arrived.
    ///
    /// # Errors
    /// What the server refused, with line and column; a lost or silent connection.
    pub async fn finish(mut self) -> Result<u64> {
        let rows = self.session.wait(self.operation, self.sink.as_mut().finish()).await?;
        if self.in_transaction {
            self.session.trust();
        }
        Ok(rows)
    }
}

/// A running `COPY … TO STDOUT`.
pub struct CopyOut<'session> {
    session: &'session Session,
    operation: &'static str,
    stream: Pin<Box<CopyOutStream>>,
    in_transaction: bool,
}

impl std::fmt::Debug for CopyOut<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CopyOut({:?})", self.session)
    }
}

impl<'session> CopyOut<'session> {
    pub(super) fn new(
        session: &'session Session,
        operation: &'static str,
        stream: CopyOutStream,
    ) -> Self {
        let in_transaction = session.doubt();
        CopyOut { session, operation, stream: Box::pin(stream), in_transaction }
    }

    /// The next part of the data (a row in PostgreSQL's present protocol, but do not rely on
    /// it), `None` at the end.
    ///
    /// # Errors
    /// What the server refused; a lost or silent connection.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let next = async { self.stream.next().await.transpose() };
        let chunk = self.session.wait(self.operation, next).await?;
        if chunk.is_none() && self.in_transaction {
            self.session.trust();
        }
        Ok(chunk)
    }
}
