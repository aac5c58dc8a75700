//! Writing what a task has sent and not flushed, as soon as it yields.
//!
//! `send` leaves a message in the output while input is left to be parsed, so that the answers to all that arrived together
//! leave in one write. Usually `recv` writes them, when it has found the last message. But the task may never call it
//! again: it may sleep, wait for something else, or be dropped. So the first message that is left also wakes a task of the
//! runtime, which runs when the sender yields, and writes what is still there by then. There is one such task for each
//! thread and runtime, woken once a batch, and no timer.

use std::cell::RefCell;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Poll, Waker};

use tokio::runtime::{Handle, Id};

/// Something with output that may have to be written.
pub(crate) trait Flush: Send + Sync {
    /// Writes what is there, or sees to it that it is written when the transport has room.
    fn flush_soon(self: Arc<Self>);
}

/// Has `output` flushed when the running task yields. Gives it back where there is no runtime to do it.
pub(crate) fn register(output: Arc<dyn Flush>) -> Result<(), Arc<dyn Flush>> {
    let Ok(runtime) = Handle::try_current() else {
        return Err(output);
    };
    let queue = FLUSHERS.try_with(|flushers| queue_of(&mut flushers.borrow_mut(), &runtime));
    match queue {
        Ok(queue) => {
            queue.push(output);
            Ok(())
        }
        Err(_) => Err(output),
    }
}

/// The queue of this thread's flusher in `runtime`, which is started if need be.
fn queue_of(flushers: &mut Vec<Flusher>, runtime: &Handle) -> Arc<Queue> {
    let id = runtime.id();
    if let Some(queue) = flushers
        .iter()
        .find(|flusher| flusher.runtime == id)
        .and_then(|flusher| flusher.queue.upgrade())
    {
        return queue;
    }
    // A queue dies with the task that works through it, and so with its runtime.
    flushers.retain(|flusher| flusher.queue.strong_count() > 0);
    let queue = Arc::new(Queue::default());
    flushers.push(Flusher {
        runtime: id,
        queue: Arc::downgrade(&queue),
    });
    runtime.spawn(work_through(queue.clone()));
    queue
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
    queue: Weak<Queue>,
}

#[derive(Default)]
struct Queue(Mutex<Waiting>);

/// What is to be flushed, and the task that does it.
#[derive(Default)]
struct Waiting {
    outputs: Vec<Arc<dyn Flush>>,
    flusher: Option<Waker>,
}

impl Queue {
    fn push(&self, output: Arc<dyn Flush>) {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        queue.outputs.push(output);
        if queue.outputs.len() == 1
            && let Some(flusher) = &queue.flusher
        {
            flusher.wake_by_ref();
        }
    }

    fn take(&self, flusher: &Waker) -> Vec<Arc<dyn Flush>> {
        let mut queue = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut queue.flusher {
            Some(known) => known.clone_from(flusher),
            none => *none = Some(flusher.clone()),
        }
        std::mem::take(&mut queue.outputs)
    }
}

thread_local! {
    /// The flushers that this thread has started, one a runtime that it has worked for.
    static FLUSHERS: RefCell<Vec<Flusher>> = const { RefCell::new(Vec::new()) };
}
