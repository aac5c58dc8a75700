//! The halves of a connection, for two threads or more.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::connection::{Compress, Connection, Event};
use sockeye_proto::error::SendError;
use sockeye_proto::keepalive::Timeout;
use sockeye_proto::message::{Message, Payload};
use sockeye_proto::prepared::Prepared;

use super::deadline::Deadline;
use super::driver::Driver;
use super::outbox::{Outbox, Outgoing, Shared};
use super::socket::Waited;
use super::transport::TryClone;
use crate::error::Error;

pub(super) fn split<S: TryClone>(driver: Driver<S, Outgoing>) -> io::Result<(Sender<S>, Receiver<S>)> {
    let io = driver.io.try_clone()?;
    let write_timeout = driver.write_timeout;
    let transport = Arc::new(Handles {
        writing: Mutex::new(driver.io.try_clone()?),
        ending: io,
    });
    let driver = driver.map(Shared::new);
    let sender = Sender {
        shared: driver.outbox.clone(),
        transport,
        write_timeout,
    };
    Ok((sender, Receiver { driver }))
}

/// The half that sends. Clones of it send over the same connection, a message at a time.
///
/// Dropping it, and all clones, leaves the connection open for the other half.
pub struct Sender<S> {
    shared: Arc<Shared>,
    transport: Arc<Handles<S>>,
    write_timeout: Option<Duration>,
}

/// The senders' handles of the transport. The one to end it with is there also while a thread is stuck in writing.
struct Handles<S> {
    writing: Mutex<S>,
    ending: S,
}

impl<S: TryClone> Sender<S> {
    /// Sends a message, and waits until the transport has taken it.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::send`](super::WebSocket::send).
    pub fn send(&self, message: impl Into<Message>) -> Result<(), Error> {
        let message = message.into();
        self.send_by(|connection, output| connection.send(&message, output))
    }

    /// Sends a message that is borrowed, with a say in its compression.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_with<'a>(&self, payload: impl Into<Payload<'a>>, compress: Compress) -> Result<(), Error> {
        self.send_by(|connection, output| connection.send_with(payload, compress, output))
    }

    /// Sends one fragment of a message whose length is not known yet; the one with `fin` ends it (RFC 6455 §5.4). Nobody
    /// else can send a message in between.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`SendError::MessageInProgress`] for a fragment of another kind than the first.
    pub fn send_fragment<'a>(&self, payload: impl Into<Payload<'a>>, fin: bool) -> Result<(), Error> {
        self.send_by(|connection, output| connection.send_fragment(payload, fin, Compress::Auto, output))
    }

    /// Sends a message that was encoded once for many connections.
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send).
    pub fn send_prepared(&self, prepared: &Prepared) -> Result<(), Error> {
        self.send_by(|connection, output| connection.send_prepared(prepared, output))
    }

    /// Sends a ping of at most 125 bytes. Its pong shows in the other half's [`next_event`](Receiver::next_event).
    ///
    /// # Errors
    ///
    /// As [`send`](Self::send); [`SendError::ControlFrameTooLong`].
    pub fn ping(&self, payload: &[u8]) -> Result<(), Error> {
        self.send_by(|connection, output| connection.ping(payload, output))
    }

    /// Sends a Close and waits until the other half, whose thread goes on receiving, has seen the end of the connection.
    /// With [`CloseCode::NO_STATUS`] the Close has no body.
    ///
    /// # Errors
    ///
    /// [`Error::Send`] for a code that must not be sent or a reason of more than 123 bytes, and nothing happened.
    /// [`Error::Timeout`] when the end has not come within the deadline (5 s by default): the transport has been ended, both
    /// ways. [`Error::ConnectionLost`] when it came without the peer's Close; the other half is told why.
    pub fn close(&self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let close = |out: &mut Outgoing| out.begin_close(code, reason);
        match self.shared.send(&self.transport.writing, self.write_timeout, close) {
            // The deadline counts from the Close on, whether it has left or not.
            Err(Error::Io(_)) => {}
            sent => sent?,
        }
        let ended = self.shared.wait_for_end();
        let (answered, late) = self
            .shared
            .look(|out| (out.connection.close_received().is_some(), out.close_by.passed()));
        match (ended, answered, late) {
            (true, true, _) => Ok(()),
            (true, false, false) => Err(Error::ConnectionLost),
            // Whichever half was the first to notice.
            (true, false, true) => Err(Error::Timeout(Timeout::Close)),
            (false, ..) => {
                // What is broken needs no end.
                let _ = self.transport.ending.abort();
                Err(Error::Timeout(Timeout::Close))
            }
        }
    }

    /// Where the closing handshake stands.
    #[must_use]
    pub fn state(&self) -> CloseState {
        self.shared.look(|out| out.state())
    }

    fn send_by(
        &self,
        encode: impl FnOnce(&mut Connection, &mut Vec<u8>) -> Result<(), SendError>,
    ) -> Result<(), Error> {
        let queue = |out: &mut Outgoing| out.queue(encode);
        self.shared.send(&self.transport.writing, self.write_timeout, queue)
    }
}

impl<S> Clone for Sender<S> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
            transport: self.transport.clone(),
            write_timeout: self.write_timeout,
        }
    }
}

impl<S> fmt::Debug for Sender<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").finish_non_exhaustive()
    }
}

/// The half that receives. Its thread is to receive to the end: what the protocol answers is answered by it.
///
/// Dropping it ends the connection for the other half too, without a Close.
pub struct Receiver<S: TryClone> {
    driver: Driver<S, Arc<Shared>>,
}

impl<S: TryClone> Receiver<S> {
    /// The next message; `None` when the peer has closed the connection, or answered our Close.
    ///
    /// # Errors
    ///
    /// As [`WebSocket::recv`](super::WebSocket::recv).
    pub fn recv(&mut self) -> Result<Option<Message>, Error> {
        self.driver.message(Deadline::NEVER)?.without_deadline()
    }

    /// The next message, if it comes within `timeout`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<Waited, Error> {
        self.driver.message(Deadline::within(timeout)).map(Into::into)
    }

    /// The next event of any kind; then `None`.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub fn next_event(&mut self) -> Result<Option<Event<Bytes>>, Error> {
        self.driver.next(Deadline::NEVER, Some)?.without_deadline()
    }

    /// The code of the Close that the peer sent: [`CloseCode::NO_STATUS`] if it had none, `None` if no Close came.
    #[must_use]
    pub fn close_received(&self) -> Option<CloseCode> {
        self.driver.outbox.look(|out| out.connection.close_received())
    }
}

/// The other half must not wait for what nobody will receive.
impl<S: TryClone> Drop for Receiver<S> {
    fn drop(&mut self) {
        self.driver.outbox.end();
        // What is broken needs no end.
        let _ = self.driver.io.abort();
    }
}

impl<S: TryClone> fmt::Debug for Receiver<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").finish_non_exhaustive()
    }
}
