//! Writing what a task has sent and not flushed, as soon as it yields.
//!
//! `send` leaves a message in the output while input is left to be parsed, so that the answers to all that arrived together
//! leave in one write. Usually `recv` writes them, when it has found the last message. But the task may never call it
//! again: it may sleep, wait for something else, or be dropped. So the first message that is left also wakes a task of the
//! runtime, which runs when the sender yields, and writes what is still there by then. There is one such task for each
//! thread and runtime, woken once for all that the thread does before it gets to it, and no timer. Where `recv` has written
//! the messages first, as is usual, it takes its output out of the task's queue again: the task would find it cold.

use std::cell::RefCell;
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use tokio::runtime::{Handle, Id};

/// Something with output that may have to be written.
pub(crate) trait Flush: Send + Sync {
    /// Writes what is there, or sees to it that it is written when the transport has room.
    fn flush_soon(self: Arc<Self>);
}

/// Has `output` flushed when the running task yields. Whether there is a runtime to do it.
pub(crate) fn register(output: Arc<dyn Flush>) -> bool {
    let Ok(runtime) = Handle::try_current() else {
        return false;
    };
    let registered = FLUSHERS.try_with(|flushers| queue_of(&mut flushers.borrow_mut(), &runtime).push(output));
    registered.is_ok()
}

/// Takes `output` out of the queue again, if this thread has registered nothing since. Whether it did.
pub(crate) fn unregister<F>(output: &Arc<F>) -> bool {
    let last = FLUSHERS.try_with(|flushers| {
        let flushers = flushers.borrow();
        flushers.iter().find_map(|flusher| flusher.queue.pop(output))
    });
    matches!(last, Ok(Some(_)))
}

/// The queue of this thread's flusher in `runtime`, which is started if need be.
fn queue_of<'a>(flushers: &'a mut Vec<Flusher>, runtime: &Handle) -> &'a Queue {
    let id = runtime.id();
    let known = flushers
        .iter()
        .position(|flusher| flusher.runtime == id && flusher.is_alive());
    let at = known.unwrap_or_else(|| {
        flushers.retain(Flusher::is_alive);
        let queue = Arc::new(Queue::default());
        runtime.spawn(work_through(queue.clone()));
        flushers.push(Flusher { runtime: id, queue });
        flushers.len() - 1
    });
    &flushers[at].queue
}

async fn work_through(queue: Arc<Queue>) {
    std::future::poll_fn(|cx| {
        for output in queue.take(cx.waker()) {
            output.flush_soon();
        }
        Poll::<()>::Pending
    })
    .await;
}

struct Flusher {
    runtime: Id,
    queue: Arc<Queue>,
}

impl Flusher {
    /// Whether the task that works through the queue is there: it has the queue's other owner, and ends with its runtime.
    fn is_alive(&self) -> bool {
        Arc::strong_count(&self.queue) > 1
    }
}

#[derive(Default)]
struct Queue(Mutex<Waiting>);

/// What is to be flushed, and the task that does it.
#[derive(Default)]
struct Waiting {
    outputs: Vec<Arc<dyn Flush>>,
    /// The task, until it is woken.
    flusher: Option<Waker>,
}

impl Queue {
    fn push(&self, output: Arc<dyn Flush>) {
        let mut queue = self.lock();
        queue.outputs.push(output);
        if let Some(flusher) = queue.flusher.take() {
            drop(queue);
            flusher.wake();
        }
    }

    /// Takes out `output` if it is the last.
    fn pop<F>(&self, output: &Arc<F>) -> Option<Arc<dyn Flush>> {
        let mut queue = self.lock();
        let last = queue.outputs.last()?;
        if ptr::addr_eq(Arc::as_ptr(last), Arc::as_ptr(output)) {
            queue.outputs.pop()
        } else {
            None
        }
    }

    fn take(&self, flusher: &Waker) -> Vec<Arc<dyn Flush>> {
        let mut queue = self.lock();
        queue.flusher = Some(flusher.clone());
        std::mem::take(&mut queue.outputs)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    /// The flushers that this thread has started, one a runtime that it has worked for.
    static FLUSHERS: RefCell<Vec<Flusher>> = const { RefCell::new(Vec::new()) };
}
