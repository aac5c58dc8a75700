//! A connection that a [`Server`](crate::Server) holds: how it takes leave when the server shuts down, and when the task
//! that has it panics.

use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use sockeye_proto::close::{CloseCode, CloseState};
use sockeye_proto::connection::Connection;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::time::Instant;

use super::{Driver, Ending, Wakers};
use crate::observe::Watch;
use crate::outlet::Inner;
use crate::server::place::{Place, Stopping};

/// What ties a connection to its server.
pub(crate) struct Served<T> {
    pub(crate) place: Arc<Place>,
    /// Finishes the closing handshake of a driver that is dropped. A pointer, since `Drop` knows less of `T`.
    finish: Option<fn(&mut Driver<T>)>,
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Served<T> {
    pub(crate) fn new(place: Arc<Place>) -> Self {
        Self {
            place,
            finish: Some(Driver::finish),
        }
    }
}

impl<T> Driver<T> {
    /// The driver of a connection that a server may hold.
    pub(crate) fn served_by(mut self, served: Option<Served<T>>) -> Self {
        if let Some(served) = &served {
            served.place.opened();
        }
        self.served = served;
        self
    }

    pub(crate) fn watch(&mut self) -> &mut Watch {
        &mut self.watch
    }

    /// Takes leave, if it is time: before the connection reads more, what it has read being delivered.
    #[inline]
    pub(super) fn leave_if_told(&mut self) {
        if let Some(stopping) = self.told() {
            self.go_away(stopping);
        }
    }

    /// Takes leave, if it is high time: before something is sent, which is likely to be an answer.
    #[inline]
    pub(super) fn leave_if_late(&mut self) {
        if let Some(stopping) = self.told()
            && stopping.last_word(self.timer.close_within()) <= Instant::now()
        {
            self.go_away(stopping);
        }
    }

    /// Before the task waits for input: takes leave, if it is time, and otherwise has the task woken when it is. Whether it
    /// did.
    #[inline]
    pub(super) fn leave_or_wait(&mut self, cx: &mut Context<'_>) -> bool {
        if let Some(served) = &self.served
            && !self.leaving
            && let Poll::Ready(stopping) = served.place.poll_leave(cx)
        {
            self.go_away(stopping);
            return true;
        }
        false
    }

    /// Before the task waits for room: no longer than the server does.
    #[inline]
    pub(super) fn wait_no_longer(&mut self, cx: &mut Context<'_>) {
        if let Some(served) = &self.served
            && !self.timer.is_closing()
            && let Poll::Ready(stopping) = served.place.poll_leave(cx)
        {
            self.timer.end_by(stopping.deadline);
        }
    }

    #[inline]
    fn told(&self) -> Option<Stopping> {
        let served = self.served.as_ref().filter(|_| !self.leaving)?;
        served.place.leaving()
    }

    #[cold]
    fn go_away(&mut self, stopping: Stopping) {
        self.leaving = true;
        // The closing handshake has its own time, from now or from when it began, and no more than this.
        if let Some(own) = Instant::now().checked_add(self.timer.close_within()) {
            self.timer.end_by(own);
        }
        self.timer.end_by(stopping.deadline);
        if self.state() == CloseState::Open {
            // RFC 6455 §7.4.1: "1001 indicates that an endpoint is "going away", such as a server going down". A transport
            // that is broken is found to be so by whoever waits for it.
            let queued = self.queue_now(|connection, output| connection.close(CloseCode::GOING_AWAY, REASON, output));
            if queued.is_ok() {
                self.close_was_sent(REASON);
            }
        }
    }

    /// Takes everything out of a driver that is dropped.
    fn take(&mut self) -> Self {
        let spent = Connection::new(self.connection.role(), self.connection.config().clone());
        Self {
            outlet: self.outlet.hand_over(),
            connection: mem::replace(&mut self.connection, spent),
            input: mem::take(&mut self.input),
            replies: mem::take(&mut self.replies),
            timer: self.timer.take(),
            rare: self.rare.take(),
            unanswered: self.unanswered,
            send_queue: self.send_queue,
            settled: false,
            stalled: self.stalled,
            streaming: false,
            within_message: self.within_message,
            ending: self.ending,
            leaving: self.leaving,
            served: self.served.take(),
            watch: mem::take(&mut self.watch),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Driver<T> {
    /// Hands the connection to a task that finishes the closing handshake, within its deadline, for one who has dropped it
    /// without.
    #[cold]
    fn finish(&mut self) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut rest = self.take();
        runtime.spawn(async move {
            rest.leave_if_told();
            // RFC 6455 §7.4.1: "1011 indicates that a server is terminating the connection because it encountered an
            // unexpected condition that prevented it from fulfilling the request."
            let _ = rest.begin_close(CloseCode::INTERNAL_ERROR, "");
            rest.timer.start_closing();
            // How it ends is seen when the rest is dropped.
            while let Ok(Some(_)) = poll_fn(|cx| {
                let mut write = Context::from_waker(cx.waker());
                let mut wakers = Wakers {
                    write: &mut write,
                    read: &mut Context::from_waker(cx.waker()),
                };
                rest.poll_next(&mut wakers, Some)
            })
            .await
            {}
        });
    }
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        if let Some(served) = &mut self.served
            && self.ending == Ending::Not
            && (std::thread::panicking() || served.place.leaving().is_some())
            // Once: the task that finishes may be dropped too.
            && let Some(finish) = served.finish.take()
        {
            finish(self);
        }
        let clean = self.ending == Ending::Over
            && self.connection.state() == CloseState::Closed
            && self.connection.close_received().is_some();
        if let Some(served) = &self.served
            && clean
        {
            served.place.closed();
        }
        // A transport that broke where something was sent, and nobody received any more.
        if !clean {
            self.watch
                .ends_by_transport(|| self.outlet.look_if_there(Inner::broken).flatten());
        }
        self.watch.closed(&self.connection, clean);
    }
}

/// What a client is told beside code 1001.
const REASON: &str = "the server shuts down";
