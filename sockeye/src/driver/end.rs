//! The end of a connection: the closing handshake, and what follows it until the transport is of no more use.

use std::task::{Poll, ready};

use sockeye_proto::close::{CloseCode, CloseFrame, CloseState};
use sockeye_proto::connection::Role;
use sockeye_proto::error::ProtocolError;
use tokio::io::{AsyncRead, AsyncWrite};

use super::rare::ClosedBy;
use super::{Driver, Ending, Wakers};
use crate::error::Error;

impl<T> Driver<T> {
    /// Where the closing handshake stands; a connection that ended without one is closed too.
    pub(crate) fn state(&self) -> CloseState {
        match self.ending {
            Ending::Not => self.connection.state(),
            _ => CloseState::Closed,
        }
    }

    /// Queues a Close, from when the peer has the close timeout to answer.
    pub(crate) fn queue_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        let queued = self.queue_now(|connection, output| connection.close(code, reason, output));
        if !matches!(queued, Err(Error::Send(_))) {
            self.timer.start_closing();
        }
        if queued.is_ok() {
            self.close_was_sent(reason);
        }
        queued
    }

    /// The same, if no Close has been queued, for one who then waits for the end, which tells of a broken transport.
    pub(crate) fn begin_close(&mut self, code: CloseCode, reason: &str) -> Result<(), Error> {
        if self.state() != CloseState::Open {
            return Ok(());
        }
        match self.queue_close(code, reason) {
            Err(Error::Io(_)) => Ok(()),
            queued => queued,
        }
    }

    /// The peer's Close has come, and is answered.
    pub(super) fn close_was_received(&mut self, frame: Option<&CloseFrame>) {
        self.watch.close_received(frame);
        let rare = self.rare();
        rare.closed_by.get_or_insert(ClosedBy::Peer);
        rare.reason_received = frame.map(|frame| frame.reason.clone()).unwrap_or_default();
        // A limit of ours that was met is why the connection ends, also when the peer agrees.
        let failure = rare.expired.map(Error::Timeout);
        self.end_with(failure);
    }

    /// The peer broke the protocol or a limit; it has been told, unless a Close had been sent.
    pub(super) fn fail(&mut self, error: ProtocolError) {
        if self.rare.as_ref().is_none_or(|rare| rare.closed_by.is_none()) {
            self.close_was_sent(error.reason());
        }
        self.end_with(Some(error.into()));
    }

    /// The result is being told.
    pub(super) fn end(&mut self) {
        self.ending = Ending::Over;
        if let Some(rare) = &mut self.rare {
            // Those who wait for their answers learn that none will come.
            rare.pings.clear();
        }
    }

    /// The same for an error that is being told.
    pub(super) fn end_by(&mut self, error: &Error) {
        self.watch.ends_by(error);
        self.end();
    }

    fn end_with(&mut self, failure: Option<Error>) {
        if let Some(error) = &failure {
            self.watch.ends_by(error);
        }
        self.timer.start_closing();
        self.rare().failure = failure;
        self.ending = Ending::Shutdown;
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// The end: write what is left, shut down, and let the peer end its side, all before the deadline.
    pub(super) fn poll_end(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<Result<(), Error>> {
        if self.poll_shutdown_and_drain(cx).is_pending() && !self.deadline_passed(cx.write) {
            return Poll::Pending;
        }
        self.end();
        let failure = self.rare.as_mut().and_then(|rare| rare.failure.take());
        Poll::Ready(failure.map_or(Ok(()), Err))
    }

    /// Ready when the transport is of no more use; errors of it no longer matter.
    fn poll_shutdown_and_drain(&mut self, cx: &mut Wakers<'_, '_, '_>) -> Poll<()> {
        if self.ending == Ending::Shutdown {
            if ready!(self.poll_flush(cx.write)).is_err() {
                return Poll::Ready(());
            }
            // RFC 6455 §5.5.1: "The server MUST close the underlying TCP connection immediately; the client SHOULD wait for
            // the server to close the connection". After a failure both are the one that closes.
            let failed = self.rare.as_ref().is_some_and(|rare| rare.failure.is_some());
            if failed || self.connection.role() == Role::Server {
                if ready!(self.outlet.with(|outlet| outlet.poll_shutdown(cx.write))).is_err() {
                    return Poll::Ready(());
                }
                // What was received and not read would make the system reset the connection, and the Close with it.
                if !failed && self.input.is_empty() {
                    return Poll::Ready(());
                }
            }
            self.ending = Ending::Drain;
        }
        while self.ending == Ending::Drain {
            if self.deadline_passed(cx.write) {
                break;
            }
            self.input.clear();
            match ready!(self.poll_read(cx.read)) {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        Poll::Ready(())
    }
}
