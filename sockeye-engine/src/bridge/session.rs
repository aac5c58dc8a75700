//! [`Session`]: a connection, as its task sees it.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, MutexGuard};

use sockeye_proto::close::CloseCode;
use sockeye_proto::handshake::server::Request;
use sockeye_proto::message::Message;

use super::{Link, State, weight};
use crate::handler::{Cause, End};
use crate::shared::Handle;

/// A connection, in its task.
///
/// Dropping it closes the connection, after what was sent.
#[derive(Debug)]
pub struct Session {
    pub(super) sender: SessionSender,
    pub(super) receive_limit: usize,
    pub(super) request: Box<Request>,
    pub(super) peer_addr: Option<SocketAddr>,
    pub(super) subprotocol: Option<Box<str>>,
}

impl Session {
    /// The next message.
    ///
    /// # Errors
    ///
    /// [`Ended`]: the connection is over, and all that came before has been received. Again each time.
    ///
    /// # Cancel safety
    ///
    /// Safe: no message is lost.
    pub async fn recv(&mut self) -> Result<Message, Ended> {
        let SessionSender { link, handle, .. } = &self.sender;
        loop {
            {
                let mut state = link.lock();
                if let Some(message) = state.inbound.pop_front() {
                    state.inbound_bytes -= weight(&message);
                    if state.paused && state.inbound_bytes <= self.receive_limit / 2 {
                        state.paused = false;
                        handle.resume();
                    }
                    return Ok(message);
                }
                if let Some(ended) = &state.ended {
                    return Err(ended.clone());
                }
            }
            link.arrived.notified().await;
        }
    }

    /// As [`SessionSender::send`].
    ///
    /// # Errors
    ///
    /// Those of [`SessionSender::send`].
    ///
    /// # Cancel safety
    ///
    /// As [`SessionSender::send`].
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SessionError> {
        self.sender.send(message).await
    }

    /// What sends on this connection from other tasks too.
    #[must_use]
    pub fn sender(&self) -> SessionSender {
        self.sender.clone()
    }

    /// As [`SessionSender::close`].
    pub fn close(&self, code: CloseCode, reason: &str) {
        self.sender.close(code, reason);
    }

    /// The request by which it was opened.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Where the peer is; behind a proxy, where that is. `None` if it was gone when the task began.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        self.peer_addr
    }

    /// The subprotocol that was agreed on.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let SessionSender { link, handle, .. } = &self.sender;
        let mut state = link.lock();
        state.deserted = true;
        state.inbound.clear();
        state.inbound_bytes = 0;
        let paused = std::mem::take(&mut state.paused);
        drop(state);
        if paused {
            // So that the peer's Close is read.
            handle.resume();
        }
        let code = match std::thread::panicking() {
            true => CloseCode::INTERNAL_ERROR,
            false => CloseCode::NORMAL,
        };
        self.sender.close(code, "");
    }
}

/// Sends on a connection of a [`Bridge`](crate::Bridge). Cheap to clone.
#[derive(Debug, Clone)]
pub struct SessionSender {
    pub(super) link: Arc<Link>,
    pub(super) handle: Handle,
    pub(super) limit: usize,
}

impl SessionSender {
    /// Sends a message, behind all that was sent before. Waits while as much as [`Bridge::send_limit`](crate::Bridge::send_limit) allows waits already,
    /// because the peer does not read.
    ///
    /// # Errors
    ///
    /// [`SessionError`]: the connection is over, or being closed.
    ///
    /// # Cancel safety
    ///
    /// Cancelled while it waits, the message is not sent. Several that wait get room in any order.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SessionError> {
        let message = message.into();
        let weight = weight(&message);
        loop {
            // Before the look, so that room which is made after it is not missed.
            let room = self.link.room.notified();
            {
                let mut state = self.link.lock();
                state.check()?;
                if state.outbound.is_empty() || state.outbound_bytes + weight <= self.limit {
                    state.outbound_bytes += weight;
                    state.outbound.push_back(message);
                    self.wake(state);
                    return Ok(());
                }
            }
            room.await;
        }
    }

    /// Begins the closing handshake when all that was sent has left; nothing can be sent any more. A reason of more than 123
    /// bytes is cut, and 1000 stands in for a code that must not be sent (RFC 6455 §7.4). The first call counts.
    pub fn close(&self, code: CloseCode, reason: &str) {
        let mut state = self.link.lock();
        if state.check().is_ok() {
            state.closing = Some((code, reason.into()));
            self.wake(state);
        }
    }

    /// Output that waits for the shard, in bytes, with what messages themselves take.
    #[must_use]
    pub fn buffered_amount(&self) -> usize {
        self.link.lock().outbound_bytes
    }

    /// The connection, to subscribe it to topics, or to end it at once. What is sent by this handle overtakes what waits here.
    #[must_use]
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Has the shard look at what is outbound, once.
    fn wake(&self, mut state: MutexGuard<'_, State>) {
        let told = std::mem::replace(&mut state.woken, true);
        drop(state);
        if !told {
            self.handle.wake();
        }
    }
}

impl State {
    /// Whether something may be sent.
    fn check(&self) -> Result<(), SessionError> {
        if self.ended.is_some() {
            return Err(SessionError::Ended);
        }
        match self.closed || self.closing.is_some() {
            true => Err(SessionError::Closing),
            false => Ok(()),
        }
    }
}

/// How a connection ended: [`End`], to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// The code of the peer's Close; [`CloseCode::NO_STATUS`] for one without a code, [`CloseCode::ABNORMAL`] if none came
    /// (RFC 6455 §7.1.5).
    pub code: CloseCode,
    /// The reason in the peer's Close.
    pub reason: Arc<str>,
    /// Whether both sides sent a Close (RFC 6455 §7.1.4).
    pub clean: bool,
    /// The code of the Close that was sent, if one was.
    pub sent: Option<CloseCode>,
    /// Why the engine ended it, if it did.
    pub cause: Option<Cause>,
}

impl From<End<'_>> for Ended {
    fn from(end: End<'_>) -> Self {
        Self {
            code: end.code,
            reason: end.reason.into(),
            clean: end.clean,
            sent: end.sent,
            cause: end.cause,
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the connection has ended with code {}", self.code)
    }
}

impl std::error::Error for Ended {}

/// Why a task cannot send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionError {
    /// [`SessionSender::close`] has been called.
    Closing,
    /// The connection is over: [`Session::recv`] tells how.
    Ended,
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closing => "the connection is being closed",
            Self::Ended => "the connection has ended",
        })
    }
}

impl std::error::Error for SessionError {}
