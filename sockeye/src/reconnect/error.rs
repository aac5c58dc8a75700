//! [`QueueError`] and [`GivenUp`]: what sending and receiving fail with. [`Cause`] is why there is no connection.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use sockeye_proto::message::Message;

use super::cause::Cause;

/// A message was not queued.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueError {
    /// There is no room, and the policy is [`Overflow::Refuse`](super::Overflow::Refuse), or the call one that does not wait.
    Full(Message),
    /// The client is closed, or about to be.
    Closed(Message),
}

impl QueueError {
    /// The message.
    #[must_use]
    pub fn into_message(self) -> Message {
        match self {
            Self::Full(message) | Self::Closed(message) => message,
        }
    }
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full(_) => "the queue has no room for the message",
            Self::Closed(_) => "the client is closed",
        })
    }
}

impl StdError for QueueError {}

/// There is no connection, and there will be none.
#[derive(Debug, Clone)]
pub struct GivenUp {
    pub(super) cause: Arc<Cause>,
    pub(super) attempts: u32,
}

impl GivenUp {
    /// Why the last attempt or connection ended.
    #[must_use]
    pub fn cause(&self) -> &Cause {
        &self.cause
    }

    /// How many attempts were made since the last stable connection, that is the one before it or the beginning.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }
}

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gave up after attempt {}: {}", self.attempts, self.cause)
    }
}

impl StdError for GivenUp {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.source()
    }
}
