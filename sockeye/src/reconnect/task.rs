//! The task that has the connection: attempts, waits, and what passes between the connection and the handles.
//!
//! Nothing here is ever cancelled but by the end of it all, so it may hold its state in futures.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_sink::Sink;
use sockeye_proto::close::{CloseCode, CloseFrame};
use sockeye_proto::connection::Event;
use sockeye_proto::error::SendError;
use sockeye_proto::utf8::Utf8Bytes;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use super::builder::{Attempt, Hooks, Socket};
use super::cause::Cause;
use super::finish::Manner;
use super::policy::{Backoff, Retries};
use super::shared::Shared;
use super::states::State;
use crate::client::Client;
use crate::error::Error;

pub(super) struct Task {
    pub(super) shared: Arc<Shared>,
    pub(super) client: Client,
    pub(super) url: String,
    pub(super) backoff: Backoff,
    pub(super) drain_timeout: Duration,
    pub(super) hooks: Hooks,
}

/// Why a connection is no longer used.
enum Stop {
    /// We are to close it.
    AtOnce,
    /// We are to close it when all is sent, which it is.
    Sent,
    /// We were, but the time is over.
    Late,
    Over(Cause),
}

impl Task {
    pub(super) async fn run(mut self) {
        // Also if this never ends by itself: a panic, the end of the runtime.
        let end = EndOnDrop(self.shared.clone());
        let shared = &end.0;
        let mut limit = Limit::default();
        let mut work = pin!(self.connect_and_come_back());
        let cause = poll_fn(|cx| {
            shared.register(cx);
            limit.poll(shared, cx);
            work.as_mut().poll(cx)
        });
        shared.end(cause.await);
    }

    /// Until there is to be no other attempt.
    async fn connect_and_come_back(&mut self) -> Arc<Cause> {
        let shared = self.shared.clone();
        let mut retries = Retries::new(self.backoff);
        let mut last = None;
        loop {
            let number = retries.begin();
            // The first has been announced since the beginning.
            if last.is_some() {
                shared.set_state(State::Connecting { attempt: number });
            }
            let cause = match while_needed(&shared, self.attempt(number, last)).await {
                Err(end) => return Arc::new(end),
                Ok(Err(cause)) => cause,
                Ok(Ok(mut ws)) => {
                    shared.set_state(State::Open);
                    let since = Instant::now();
                    let mut conversation = Conversation::new(&shared, &mut ws);
                    match conversation.go_on().await {
                        Stop::AtOnce => {
                            close(&shared, ws, self.drain_timeout).await;
                            return Arc::new(Cause::Requested);
                        }
                        Stop::Sent => return Arc::new(conversation.take_leave().await),
                        Stop::Late => return Arc::new(Cause::Expired),
                        // There is nothing to come back for.
                        Stop::Over(cause) if shared.has_sent_all() => return Arc::new(cause),
                        Stop::Over(cause) => {
                            retries.lost(since.elapsed());
                            cause
                        }
                    }
                }
            };
            let retry = cause.retry(SystemTime::now());
            let retry = (self.hooks.retry)(&cause, retry);
            let cause = Arc::new(cause);
            let Some(delay) = retries.wait(retry, (self.hooks.random)()) else {
                return cause;
            };
            shared.set_state(State::Waiting {
                delay,
                cause: cause.clone(),
            });
            if let Err(end) = while_needed(&shared, wait(&shared, delay)).await {
                return Arc::new(end);
            }
            last = Some(cause);
        }
    }

    /// The hook before it, the connection, and the hook on that.
    async fn attempt(&mut self, number: u32, last: Option<Arc<Cause>>) -> Result<Socket, Cause> {
        let mut attempt = Attempt::new(number, self.url.clone(), self.client.clone(), last);
        if let Some(before) = &mut self.hooks.before_attempt {
            attempt = before(attempt).await.map_err(Cause::Hook)?;
        }
        let ws = attempt.connect().await.map_err(Cause::Connect)?;
        match &mut self.hooks.on_open {
            Some(on_open) => on_open(ws).await.map_err(Cause::Hook),
            None => Ok(ws),
        }
    }
}

/// The time that `finish` was given.
#[derive(Default)]
struct Limit(Option<Pin<Box<Sleep>>>);

impl Limit {
    fn poll(&mut self, shared: &Shared, cx: &mut Context<'_>) {
        let Some(Manner::WhenSent { by: Some(by) }) = shared.manner() else {
            return;
        };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(by)));
        if sleep.as_mut().poll(cx).is_ready() {
            shared.expire();
        }
    }
}

/// Waits for what is to lead to a connection, and drops it when none is needed any more, for this cause.
async fn while_needed<F: Future>(shared: &Shared, future: F) -> Result<F::Output, Cause> {
    let mut future = pin!(future);
    poll_fn(|cx| match shared.needs_none() {
        Some(cause) => Poll::Ready(Err(cause)),
        None => future.as_mut().poll(cx).map(Ok),
    })
    .await
}

/// Lets what is queued go first, for as long as the connection lasts and the time for it; then the closing handshake, which
/// has a deadline of its own. How it ends does not matter any more.
async fn close(shared: &Shared, mut ws: Socket, drain_timeout: Duration) {
    let draining = poll_fn(|cx| poll_drain(shared, &mut ws, cx));
    if timeout(drain_timeout, draining).await.is_err() {
        // The peer does not read: a Close would never reach it behind all that.
        return;
    }
    if let Some((code, reason)) = shared.close_frame() {
        let _ = ws.close(code, &reason).await;
    }
}

/// The wait for the next attempt, which a hurry ends.
async fn wait(shared: &Shared, delay: Duration) {
    let mut delay = pin!(sleep(delay));
    poll_fn(|cx| match shared.take_hurry() {
        true => Poll::Ready(()),
        false => delay.as_mut().poll(cx),
    })
    .await;
}

struct Conversation<'a> {
    shared: &'a Shared,
    ws: &'a mut Socket,
    /// The peer's Close, once it has come.
    closed: Option<Option<CloseFrame>>,
    /// Whether our Close has been queued, behind all that was to be sent.
    leaving: bool,
}

impl<'a> Conversation<'a> {
    fn new(shared: &'a Shared, ws: &'a mut Socket) -> Self {
        Self {
            shared,
            ws,
            closed: None,
            leaving: false,
        }
    }

    /// Sends what is queued and takes in what comes, until the connection ends or is to.
    async fn go_on(&mut self) -> Stop {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// The closing handshake when all has been sent, which has a deadline of its own. What comes is still taken in.
    async fn take_leave(mut self) -> Cause {
        if let Some((code, reason)) = self.shared.close_frame() {
            // Whether it could be sent is told by how reading ends.
            let _ = self.ws.driver.begin_close(code, &reason);
        }
        self.leaving = true;
        match self.go_on().await {
            Stop::Over(Cause::Closed(frame)) => {
                self.shared.close_was_answered(frame);
                Cause::Requested
            }
            Stop::Over(cause) => cause,
            Stop::Late => Cause::Expired,
            Stop::AtOnce | Stop::Sent => Cause::Requested,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        let manner = self.shared.manner();
        if matches!(manner, Some(Manner::AtOnce)) && !self.leaving {
            return Poll::Ready(Stop::AtOnce);
        }
        let written = match poll_hand_over(self.shared, self.ws, cx) {
            // The peer's Close has come, which is for reading to tell.
            Poll::Ready(Err(Error::Send(SendError::Closed))) => Poll::Pending,
            // A hook has left a message half sent.
            Poll::Ready(Err(error @ Error::Send(_))) => return Poll::Ready(Stop::Over(Cause::Lost(error))),
            written => written,
        };
        if !self.leaving && self.closed.is_none() {
            if matches!(written, Poll::Ready(Ok(()))) && self.shared.has_sent_all() {
                return Poll::Ready(Stop::Sent);
            }
            if matches!(manner, Some(Manner::Late)) {
                return Poll::Ready(Stop::Late);
            }
        }
        // Whoever closes at once does not receive any more.
        let discards = matches!(manner, Some(Manner::AtOnce));
        // After the peer's Close only the end of the transport is waited for.
        while discards || self.closed.is_some() || self.shared.has_room_in_inbox() {
            let event = pin!(self.ws.next_event()).poll(cx);
            match event {
                Poll::Ready(Ok(Some(Event::Close(frame)))) => self.closed = Some(frame),
                Poll::Ready(Ok(Some(event))) => {
                    if let Some(message) = event.into_message()
                        && !discards
                    {
                        self.shared.deliver(message);
                    }
                }
                Poll::Ready(Ok(None)) => return Poll::Ready(Stop::Over(self.end())),
                Poll::Ready(Err(error)) => return Poll::Ready(Stop::Over(Cause::Lost(error))),
                Poll::Pending => return Poll::Pending,
            }
        }
        // The closing handshake may take longer than what it follows, but not be held up.
        if matches!(manner, Some(Manner::Late)) {
            return Poll::Ready(Stop::Late);
        }
        // While the peer is read it is for that to tell of a broken transport, behind what the peer sent before.
        match written {
            Poll::Ready(Err(error)) => Poll::Ready(Stop::Over(Cause::Lost(error))),
            _ => Poll::Pending,
        }
    }

    /// The connection has been closed, perhaps while a hook had it.
    fn end(&mut self) -> Cause {
        let unseen = || match self.ws.close_received() {
            Some(code) if code == CloseCode::NO_STATUS => Cause::Closed(None),
            Some(code) => Cause::Closed(Some(CloseFrame {
                code,
                reason: Utf8Bytes::default(),
            })),
            None => Cause::Lost(Error::ConnectionLost),
        };
        self.closed.take().map_or_else(unseen, Cause::Closed)
    }
}

/// Gives the connection as much of the queue as it has room for. Ready when all of it has left.
fn poll_hand_over(shared: &Shared, ws: &mut Socket, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
    let mut ws = Pin::new(ws);
    while shared.has_queued() {
        match ws.as_mut().poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            other => return other,
        }
        let mut refused = None;
        if !shared.hand_over(|message| {
            refused = ws.as_mut().start_send(message).err();
            refused.is_none()
        }) {
            // What it refuses stays for the next connection.
            return refused.map_or(Poll::Pending, |error| Poll::Ready(Err(error)));
        }
    }
    ws.poll_flush(cx)
}

/// Ready when all that was queued has left, or can no more. What arrives meanwhile is discarded.
fn poll_drain(shared: &Shared, ws: &mut Socket, cx: &mut Context<'_>) -> Poll<()> {
    let written = poll_hand_over(shared, ws, cx);
    if written.is_ready() {
        return Poll::Ready(());
    }
    loop {
        match pin!(ws.next_event()).poll(cx) {
            Poll::Ready(Ok(Some(_))) => {}
            Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(()),
            Poll::Pending => return Poll::Pending,
        }
    }
}

struct EndOnDrop(Arc<Shared>);

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.0.end(Arc::new(Cause::Abandoned));
    }
}
