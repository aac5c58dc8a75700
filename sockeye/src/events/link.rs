//! What the task of a connection and the objects of its user share: events on their way up, and the count of what is on
//! its way down.
//!
//! The task never waits for anything here but for room, and user code is never called under a lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use super::event::{CloseEvent, Data, Failure};
use crate::split::Sender;
use crate::transport::Stream;

/// What the handshake agreed on.
#[derive(Debug, Default)]
pub(super) struct Opened {
    pub(super) protocol: String,
    pub(super) extensions: String,
}

/// How a connection ended.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) close: CloseEvent,
    pub(super) failure: Option<Arc<Failure>>,
}

impl Ended {
    pub(super) fn failed(failure: Failure) -> Self {
        Self {
            close: CloseEvent::failed(),
            failure: Some(Arc::new(failure)),
        }
    }
}

/// A task of the standard's event loop.
#[derive(Debug)]
pub(super) enum Step {
    Open(Arc<Opened>),
    Message(Data),
    /// The peer's Close has come.
    PeerCloses,
    Failed(Arc<Failure>),
    Closed(CloseEvent),
}

#[derive(Default)]
pub(super) struct Link {
    arrivals: Mutex<Arrivals>,
    departures: Mutex<Departures>,
}

/// What has happened and was not dispatched.
#[derive(Default)]
struct Arrivals {
    steps: VecDeque<Step>,
    /// Messages among them, and their bytes.
    held: usize,
    held_bytes: usize,
    opened: Option<Arc<Opened>>,
    ended: Option<Ended>,
    /// The connection is to be closed, as soon as what was sent has left.
    closing: bool,
    /// The peer's Close has come.
    peer_closed: bool,
    /// Nobody wants messages any more.
    stopped: bool,
    /// Who waits for any of this, or for room to write.
    waiting: Vec<Waker>,
    /// The task, if it waits for room.
    task: Option<Waker>,
}

/// What was sent and has not been handed to the transport.
#[derive(Default)]
struct Departures {
    /// Payload bytes of messages that are not in the output.
    unsent: u64,
    /// Messages in the output.
    leaving: VecDeque<Leaving>,
    sender: Option<Arc<Sender<Stream>>>,
    compressed: bool,
}

struct Leaving {
    payload: u64,
    /// Where its frame ends in the output.
    end: u64,
}

/// Events.
impl Link {
    pub(super) fn open(&self, opened: Opened, sender: Arc<Sender<Stream>>, compressed: bool) {
        let mut departures = lock(&self.departures);
        departures.sender = Some(sender);
        departures.compressed = compressed;
        drop(departures);
        let opened = Arc::new(opened);
        self.push(|arrivals| {
            arrivals.opened = Some(opened.clone());
            arrivals.steps.push_back(Step::Open(opened));
        });
    }

    pub(super) fn message(&self, data: Data) {
        self.push(|arrivals| {
            if !arrivals.stopped {
                arrivals.held += 1;
                arrivals.held_bytes += data.len();
                arrivals.steps.push_back(Step::Message(data));
            }
        });
    }

    pub(super) fn peer_closes(&self) {
        self.push(|arrivals| {
            arrivals.peer_closed = true;
            arrivals.steps.push_back(Step::PeerCloses);
        });
    }

    /// The end; only the first counts.
    pub(super) fn end(&self, ended: impl FnOnce() -> Ended) {
        lock(&self.departures).freeze();
        self.push(|arrivals| {
            if arrivals.ended.is_some() {
                return;
            }
            let ended = ended();
            if let Some(failure) = &ended.failure {
                arrivals.steps.push_back(Step::Failed(failure.clone()));
            }
            arrivals.steps.push_back(Step::Closed(ended.close.clone()));
            arrivals.ended = Some(ended);
        });
    }

    /// The user wants the connection to be closed.
    pub(super) fn close(&self) {
        self.push(|arrivals| arrivals.closing = true);
    }

    /// From here on messages are neither kept nor taken.
    pub(super) fn stop(&self) {
        let mut arrivals = lock(&self.arrivals);
        arrivals.stopped = true;
        arrivals.steps.retain(|step| !matches!(step, Step::Message(_)));
        (arrivals.held, arrivals.held_bytes) = (0, 0);
        let task = arrivals.task.take();
        drop(arrivals);
        task.into_iter().for_each(Waker::wake);
        self.wake();
    }

    pub(super) fn is_closing(&self) -> bool {
        lock(&self.arrivals).closing
    }

    /// Whether nothing can be sent any more.
    pub(super) fn is_over(&self) -> bool {
        let arrivals = lock(&self.arrivals);
        arrivals.closing || arrivals.peer_closed || arrivals.ended.is_some()
    }

    pub(super) fn opened(&self) -> Option<Arc<Opened>> {
        lock(&self.arrivals).opened.clone()
    }

    pub(super) fn ended(&self) -> Option<Ended> {
        lock(&self.arrivals).ended.clone()
    }

    /// Whether there is room for another message.
    pub(super) fn has_room(&self) -> bool {
        lock(&self.arrivals).has_room()
    }

    /// Ready for the task when there is.
    pub(super) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let mut arrivals = lock(&self.arrivals);
        if arrivals.has_room() {
            return Poll::Ready(());
        }
        arrivals.task = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The next step that `take` wants; others are dropped. Without one, whoever asks is woken when there is news.
    pub(super) fn poll_step<R>(&self, cx: &Context<'_>, mut take: impl FnMut(Step) -> Option<R>) -> Poll<R> {
        let mut arrivals = lock(&self.arrivals);
        while let Some(step) = arrivals.steps.pop_front() {
            if let Step::Message(data) = &step {
                arrivals.held -= 1;
                arrivals.held_bytes -= data.len();
            }
            if let Some(taken) = take(step) {
                let task = if arrivals.has_room() {
                    arrivals.task.take()
                } else {
                    None
                };
                drop(arrivals);
                task.into_iter().for_each(Waker::wake);
                return Poll::Ready(taken);
            }
        }
        arrivals.wait(cx);
        Poll::Pending
    }

    /// To be woken when there is news.
    pub(super) fn wait(&self, cx: &Context<'_>) {
        lock(&self.arrivals).wait(cx);
    }

    /// Wakes whoever waits for news.
    pub(super) fn wake(&self) {
        self.push(|_| ());
    }

    fn push(&self, change: impl FnOnce(&mut Arrivals)) {
        let mut arrivals = lock(&self.arrivals);
        change(&mut arrivals);
        let waiting = std::mem::take(&mut arrivals.waiting);
        drop(arrivals);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl Arrivals {
    fn has_room(&self) -> bool {
        self.stopped || (self.held < HELD_MESSAGES && self.held_bytes < HELD_BYTES)
    }

    fn wait(&mut self, cx: &Context<'_>) {
        if !self.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.waiting.push(cx.waker().clone());
        }
    }
}

/// Sending.
impl Link {
    /// `bufferedAmount`.
    pub(super) fn buffered_amount(&self) -> u64 {
        let departures = lock(&self.departures);
        departures.unsent + departures.leaving()
    }

    /// So many bytes were sent, and nothing has become of them yet.
    pub(super) fn sent(&self, payload: usize) {
        lock(&self.departures).unsent += payload as u64;
    }

    /// They are in the output, which ends there.
    pub(super) fn leaves(&self, payload: usize, end: u64) {
        let mut departures = lock(&self.departures);
        let payload = payload as u64;
        departures.unsent -= payload;
        departures.leaving.push_back(Leaving { payload, end });
    }

    /// The transport has taken all output.
    pub(super) fn left(&self) {
        lock(&self.departures).leaving.clear();
        self.wake();
    }
}

impl Departures {
    /// Payload bytes in the output.
    fn leaving(&self) -> u64 {
        let Some(sender) = &self.sender else { return 0 };
        if self.leaving.is_empty() {
            return 0;
        }
        let taken = sender.taken();
        let remaining = |message: &Leaving| match message.end.saturating_sub(taken) {
            0 => 0,
            // The payload is the end of its frame. What is compressed cannot be counted by its bytes, and counts until the
            // last of them has left.
            _ if self.compressed => message.payload,
            bytes => bytes.min(message.payload),
        };
        self.leaving.iter().map(remaining).sum()
    }

    /// The connection is over: what is left will stay.
    fn freeze(&mut self) {
        self.unsent += self.leaving();
        self.leaving.clear();
        self.sender = None;
    }
}

/// A lock is never held across anything that can panic and leave what it guards in between.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Messages that wait to be dispatched, and their bytes: from there on no more is received, and TCP makes the peer wait.
const HELD_MESSAGES: usize = 256;
const HELD_BYTES: usize = 64 * 1024;
