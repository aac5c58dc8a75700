//! What the handles and the task have in common: queue, inbox, states, and who waits for what.
//!
//! One lock, held for no longer than one look; nobody is woken and nothing of the caller's runs under it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use sockeye_proto::close::{CloseCode, CloseFrame};
use sockeye_proto::message::Message;

use super::cause::Cause;
use super::error::{GivenUp, QueueError};
use super::finish::{Ending, Finished, Manner};
use super::queue::{Limits, Overflow, Queue};
use super::states::{History, State};

pub(super) struct Shared {
    inner: Mutex<Inner>,
}

struct Inner {
    queue: Queue,
    inbox: VecDeque<Message>,
    /// By [`weight`].
    inbox_weight: usize,
    history: History,
    /// How it is to end, once somebody has asked for that.
    ending: Option<Ending>,
    /// The peer's Close, if one has answered ours.
    answer: Option<Option<CloseFrame>>,
    hurry: bool,
    ended: Option<Arc<Cause>>,
    /// How many attempts were made since the last stable connection.
    attempts: u32,
    /// Whether the end, if it was not clean, has been told to the receiver.
    told: bool,
    /// The task that has the connection.
    task: Option<Waker>,
    receiver: Option<Waker>,
    /// Those who wait for room in the queue, in the order in which they came.
    senders: VecDeque<(u64, Waker)>,
    next_ticket: u64,
    /// Those who wait for a state or the end.
    watchers: Vec<Waker>,
}

impl Shared {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            inner: Mutex::new(Inner {
                queue: Queue::new(limits),
                inbox: VecDeque::new(),
                inbox_weight: 0,
                history: History::new(State::Connecting { attempt: 1 }),
                ending: None,
                answer: None,
                hurry: false,
                ended: None,
                attempts: 1,
                told: false,
                task: None,
                receiver: None,
                senders: VecDeque::new(),
                next_ticket: 0,
                watchers: Vec::new(),
            }),
        }
    }

    /// Nothing panics under the lock.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn with_queue<R>(&self, look: impl FnOnce(&Queue) -> R) -> R {
        look(&self.lock().queue)
    }
}

/// For the handles.
impl Shared {
    /// Queues the message at once or not at all.
    pub(super) fn try_push(&self, message: Message) -> Result<(), QueueError> {
        let mut inner = self.lock();
        if inner.is_over() {
            return Err(QueueError::Closed(message));
        }
        // Whoever waits was here first.
        if !inner.senders.is_empty() {
            return Err(QueueError::Full(message));
        }
        inner.queue.push(message).map_err(QueueError::Full)?;
        let task = inner.task.take();
        drop(inner);
        wake(task);
        Ok(())
    }

    /// Queues the message in `waiting`, when there is room for it.
    pub(super) fn poll_push(&self, waiting: &mut Waiting, cx: &Context<'_>) -> Poll<Result<(), QueueError>> {
        let Some(message) = waiting.message.take() else {
            return Poll::Ready(Ok(()));
        };
        let mut inner = self.lock();
        if inner.is_over() {
            return Poll::Ready(Err(QueueError::Closed(message)));
        }
        let first = inner.senders.front().map(|(ticket, _)| *ticket);
        let refused = if first.is_none() || first == waiting.ticket {
            match inner.queue.push(message) {
                Ok(()) => {
                    let next = inner.leave(&mut waiting.ticket);
                    let task = inner.task.take();
                    drop(inner);
                    wake(next);
                    wake(task);
                    return Poll::Ready(Ok(()));
                }
                Err(message) => message,
            }
        } else {
            message
        };
        if inner.queue.overflow() != Overflow::Wait {
            return Poll::Ready(Err(QueueError::Full(refused)));
        }
        waiting.message = Some(refused);
        inner.wait(&mut waiting.ticket, cx);
        Poll::Pending
    }

    /// The sender does not wait any more.
    pub(super) fn stop_waiting(&self, waiting: &mut Waiting) {
        if waiting.ticket.is_some() {
            let next = self.lock().leave(&mut waiting.ticket);
            wake(next);
        }
    }

    pub(super) fn poll_recv(&self, cx: &Context<'_>) -> Poll<Result<Option<Message>, GivenUp>> {
        let mut inner = self.lock();
        if let Some(message) = inner.inbox.pop_front() {
            // Only if it has stopped to read does the task care for room.
            let task = if inner.inbox_weight >= INBOX {
                inner.task.take()
            } else {
                None
            };
            inner.inbox_weight -= weight(&message);
            drop(inner);
            wake(task);
            return Poll::Ready(Ok(Some(message)));
        }
        if let Some(cause) = inner.ended.clone() {
            let clean = cause.is_clean() || std::mem::replace(&mut inner.told, true);
            let attempts = inner.attempts;
            return Poll::Ready(if clean {
                Ok(None)
            } else {
                Err(GivenUp { cause, attempts })
            });
        }
        set(&mut inner.receiver, cx);
        Poll::Pending
    }

    pub(super) fn state(&self) -> State {
        self.lock().history.present().clone()
    }

    pub(super) fn add_reader(&self) -> u64 {
        self.lock().history.add_reader()
    }

    pub(super) fn remove_reader(&self, reader: u64) {
        self.lock().history.remove_reader(reader);
    }

    pub(super) fn poll_state(&self, reader: u64, cx: &Context<'_>) -> Poll<Option<State>> {
        let mut inner = self.lock();
        if let Some(state) = inner.history.read(reader) {
            return Poll::Ready(Some(state));
        }
        if inner.ended.is_some() {
            return Poll::Ready(None);
        }
        inner.watch(cx);
        Poll::Pending
    }

    /// Asks for the end, unless somebody has, and is no less patient.
    pub(super) fn ask_to_end(&self, ending: Ending) {
        let mut inner = self.lock();
        let asked = inner.ending.as_ref().map(|asked| asked.manner);
        let sooner = matches!((asked, ending.manner), (Some(Manner::WhenSent { .. }), Manner::AtOnce));
        if inner.is_over() && !sooner {
            return;
        }
        inner.ending = Some(ending);
        let task = inner.task.take();
        // They learn that nothing is taken any more.
        let senders = std::mem::take(&mut inner.senders);
        drop(inner);
        wake(task);
        wake(senders.into_iter().map(|(_, waker)| waker));
    }

    /// What was left in the queue at the end.
    pub(super) fn poll_unsent(&self, cx: &Context<'_>) -> Poll<Vec<Message>> {
        let mut inner = self.lock();
        if inner.ended.is_some() {
            return Poll::Ready(inner.queue.take());
        }
        inner.watch(cx);
        Poll::Pending
    }

    pub(super) fn poll_finished(&self, cx: &Context<'_>) -> Poll<Finished> {
        let mut inner = self.lock();
        let Some(cause) = inner.ended.clone() else {
            inner.watch(cx);
            return Poll::Pending;
        };
        let messages = inner.queue.take();
        Poll::Ready(match inner.answer.clone() {
            _ if !messages.is_empty() => Finished::Unsent { messages, cause },
            Some(frame) => Finished::Closed(frame),
            None => Finished::Unconfirmed(cause),
        })
    }

    /// Cuts the wait for the next attempt short.
    pub(super) fn hurry(&self) {
        let mut inner = self.lock();
        if matches!(inner.history.present(), State::Waiting { .. }) {
            inner.hurry = true;
            let task = inner.task.take();
            drop(inner);
            wake(task);
        }
    }
}

/// For the task.
impl Shared {
    /// Has the task woken by whatever the handles do next: called first whenever it runs, and so before it looks at what they
    /// have done.
    pub(super) fn register(&self, cx: &Context<'_>) {
        set(&mut self.lock().task, cx);
    }

    /// How it is to end, if it is.
    pub(super) fn manner(&self) -> Option<Manner> {
        self.lock().ending.as_ref().map(|ending| ending.manner)
    }

    /// What the Close is to say.
    pub(super) fn close_frame(&self) -> Option<(CloseCode, Box<str>)> {
        let inner = self.lock();
        inner.ending.as_ref().map(|ending| (ending.code, ending.reason.clone()))
    }

    /// The time for what is queued is over.
    pub(super) fn expire(&self) {
        if let Some(ending) = &mut self.lock().ending {
            ending.manner = Manner::Late;
        }
    }

    /// Why no connection is needed any more, if none is.
    pub(super) fn needs_none(&self) -> Option<Cause> {
        let inner = self.lock();
        let queued = inner.queue.front().is_some();
        match inner.ending.as_ref()?.manner {
            Manner::WhenSent { .. } if queued => None,
            Manner::Late if queued => Some(Cause::Expired),
            _ => Some(Cause::Requested),
        }
    }

    /// Whether it is to end when all is sent, and nothing is queued any more.
    pub(super) fn has_sent_all(&self) -> bool {
        let inner = self.lock();
        let manner = inner.ending.as_ref().map(|ending| ending.manner);
        matches!(manner, Some(Manner::WhenSent { .. } | Manner::Late)) && inner.queue.front().is_none()
    }

    /// The peer's answer to our Close.
    pub(super) fn close_was_answered(&self, frame: Option<CloseFrame>) {
        self.lock().answer = Some(frame);
    }

    /// Whether the wait is to be cut short.
    pub(super) fn take_hurry(&self) -> bool {
        std::mem::take(&mut self.lock().hurry)
    }

    pub(super) fn has_queued(&self) -> bool {
        self.lock().queue.front().is_some()
    }

    /// Gives the oldest message away, which leaves the queue if it is taken.
    pub(super) fn hand_over(&self, take: impl FnOnce(Message) -> bool) -> bool {
        let mut inner = self.lock();
        let Some(message) = inner.queue.front().cloned() else {
            return false;
        };
        // Under the lock, so that nobody drops the message for a newer one in between.
        if !take(message) {
            return false;
        }
        inner.queue.pop();
        let sender = inner.senders.front().map(|(_, waker)| waker.clone());
        drop(inner);
        wake(sender);
        true
    }

    pub(super) fn has_room_in_inbox(&self) -> bool {
        self.lock().inbox_weight < INBOX
    }

    pub(super) fn deliver(&self, message: Message) {
        let mut inner = self.lock();
        inner.inbox_weight += weight(&message);
        inner.inbox.push_back(message);
        let receiver = inner.receiver.take();
        drop(inner);
        wake(receiver);
    }

    pub(super) fn set_state(&self, state: State) {
        let mut inner = self.lock();
        match state {
            State::Connecting { attempt } => inner.attempts = attempt,
            State::Waiting { .. } => inner.hurry = false,
            _ => {}
        }
        inner.history.push(state);
        let watchers = std::mem::take(&mut inner.watchers);
        drop(inner);
        wake(watchers);
    }

    /// The end, unless there has been one.
    pub(super) fn end(&self, cause: Arc<Cause>) {
        let mut inner = self.lock();
        if inner.ended.is_some() {
            return;
        }
        inner.ended = Some(cause.clone());
        inner.history.push(State::Closed { cause });
        let woken = (
            inner.receiver.take(),
            std::mem::take(&mut inner.watchers),
            std::mem::take(&mut inner.senders),
        );
        drop(inner);
        wake(woken.0);
        wake(woken.1);
        wake(woken.2.into_iter().map(|(_, waker)| waker));
    }
}

impl Inner {
    /// Whether nothing is taken for sending any more.
    fn is_over(&self) -> bool {
        self.ending.is_some() || self.ended.is_some()
    }

    /// Puts a sender into the line, or keeps its place there.
    fn wait(&mut self, ticket: &mut Option<u64>, cx: &Context<'_>) {
        let place = self.senders.iter_mut().find(|(other, _)| Some(*other) == *ticket);
        if let Some((_, waker)) = place {
            waker.clone_from(cx.waker());
            return;
        }
        *ticket = Some(self.next_ticket);
        self.senders.push_back((self.next_ticket, cx.waker().clone()));
        self.next_ticket += 1;
    }

    /// Takes a sender out of the line, and answers whom to wake for that: the first, who may find room now.
    fn leave(&mut self, ticket: &mut Option<u64>) -> Option<Waker> {
        let ticket = ticket.take()?;
        self.senders.retain(|(other, _)| *other != ticket);
        self.senders.front().map(|(_, waker)| waker.clone())
    }

    fn watch(&mut self, cx: &Context<'_>) {
        if !self.watchers.iter().any(|waker| waker.will_wake(cx.waker())) {
            self.watchers.push(cx.waker().clone());
        }
    }
}

/// A message that waits for its place in the queue, and its place in the line for that.
#[derive(Debug)]
pub(super) struct Waiting {
    message: Option<Message>,
    ticket: Option<u64>,
}

impl Waiting {
    pub(super) fn new(message: Message) -> Self {
        Self {
            message: Some(message),
            ticket: None,
        }
    }
}

fn set(place: &mut Option<Waker>, cx: &Context<'_>) {
    match place {
        Some(waker) => waker.clone_from(cx.waker()),
        none => *none = Some(cx.waker().clone()),
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

/// What a received message counts for: an empty one takes memory too.
fn weight(message: &Message) -> usize {
    message.len() + size_of::<Message>()
}

/// How much may have been received that nobody has taken, by [`weight`], before no more is read from the peer; the last
/// message may pass it.
const INBOX: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn room_for(message: &Message) -> usize {
        let shared = Shared::new(Limits::default());
        let mut count = 0;
        while shared.has_room_in_inbox() {
            shared.deliver(message.clone());
            count += 1;
        }
        count
    }

    #[test]
    fn the_inbox_is_bounded_for_empty_messages_too() {
        assert_eq!(room_for(&"".into()), INBOX.div_ceil(size_of::<Message>()));
        assert_eq!(room_for(&vec![0; INBOX / 2].into()), 2);
        assert_eq!(room_for(&vec![0; 10 * INBOX].into()), 1);
    }
}
