//! [`Finishing`] and [`Finished`]: the end that delivers first, and how it went.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use sockeye_proto::close::{CloseCode, CloseFrame};
use sockeye_proto::error::SendError;
use sockeye_proto::message::Message;
use tokio::time::Instant;

use super::cause::Cause;
use super::shared::Shared;

/// How an end went that was asked for by [`finish`](super::Reconnecting::finish).
#[derive(Debug)]
#[non_exhaustive]
pub enum Finished {
    /// All was sent, and the peer has answered our Close with this one; before that it had received all that its connection
    /// was given. What earlier connections took along when they were lost, the [module](super) says.
    Closed(Option<CloseFrame>),
    /// Nothing is left in the queue, and no answer to a Close has come: the end of what was sent may not have arrived. With
    /// [`Cause::Requested`] there was nothing to send, and no connection.
    Unconfirmed(Arc<Cause>),
    /// These messages were never given to any connection.
    Unsent {
        /// In the order in which they were queued.
        messages: Vec<Message>,
        /// Why there is no connection any more: [`Cause::Expired`] when the time was over, [`Cause::Requested`] when
        /// [`close`](super::Reconnecting::close) was called meanwhile.
        cause: Arc<Cause>,
    },
}

/// Waits for the end that [`finish`](super::Reconnecting::finish) has asked for, and tells how it went.
///
/// The end comes also if this is dropped. Messages that were never sent are told once: to this, another `Finishing`, or a
/// [`close`](super::Reconnecting::close).
#[must_use = "what was never sent is told by this alone"]
pub struct Finishing {
    shared: Arc<Shared>,
}

impl Finishing {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

impl Future for Finishing {
    type Output = Finished;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Finished> {
        self.shared.poll_finished(cx)
    }
}

impl fmt::Debug for Finishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finishing").finish_non_exhaustive()
    }
}

/// What the Close is to say, and what may go before it.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) code: CloseCode,
    pub(super) reason: Box<str>,
    pub(super) manner: Manner,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Manner {
    /// When the queue is empty, on whichever connection. `by` is when that must be, if ever.
    WhenSent { by: Option<Instant> },
    /// Now, on the connection that there is.
    AtOnce,
    /// It should have been, but the time is over.
    Late,
}

impl Manner {
    /// A time that no clock reaches is no limit.
    pub(super) fn within(time: Duration) -> Self {
        Self::WhenSent {
            by: Instant::now().checked_add(time),
        }
    }
}

impl Ending {
    pub(super) fn new(code: CloseCode, reason: &str, manner: Manner) -> Result<Self, SendError> {
        if !code.is_sendable() && code != CloseCode::NO_STATUS {
            return Err(SendError::InvalidCloseCode(code.as_u16()));
        }
        // RFC 6455 §5.5: "All control frames MUST have a payload length of 125 bytes or less", and the code takes two.
        if reason.len() > 123 {
            return Err(SendError::ReasonTooLong);
        }
        Ok(Self {
            code,
            reason: reason.into(),
            manner,
        })
    }
}
