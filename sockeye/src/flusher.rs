//! Writing what a task has sent and not flushed, as soon as it yields.
//!
//! `send` leaves a message in the output while input is left to be parsed, so that the answers to all that arrived together
//! leave in one write. Usually `recv` writes them, when it has found the last message. But the task may never call it
//! again: it may sleep, wait for something else, or be dropped. So the first message that is left also wakes a task of the
//! runtime, which runs when the sender yields, and writes what is still there by then. There is one such task for each
//! thread and runtime, woken once for all that the thread does before it gets to it, and no timer. Where `recv` has written
//! the messages first, as is usual, it takes its output out of the task's queue again: the task would find it cold.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::{ptr, thread};

use tokio::runtime::{Handle, Id};
use try_lock::{Locked, TryLock};

/// Something with output that may have to be written.
pub(crate) trait Flush: Send + Sync {
    /// Writes what is there, or sees to it that it is written when the transport has room.
    fn flush_soon(self: Arc<Self>);

    /// Nobody comes by any more: the runtime has ended.
    fn give_up(&self);
}

/// Has `output` flushed when the running task yields. Whether there is a runtime to do it.
pub(crate) fn register(output: Arc<dyn Flush>) -> bool {
    let Ok(runtime) = Handle::try_current() else {
        return false;
    };
    // What foreign code may run in is not done while the thread's list is borrowed.
    let pushed = FLUSHERS.try_with(|flushers| push(&mut flushers.borrow_mut(), &runtime, output));
    match pushed {
        Ok(Ok(flusher)) => {
            if let Some(flusher) = flusher {
                flusher.wake();
            }
            true
        }
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Takes `output` out of the queue again, if it is this thread's.
pub(crate) fn unregister<F>(output: &Arc<F>) -> Option<Arc<dyn Flush>> {
    let last = FLUSHERS.try_with(|flushers| {
        let flushers = flushers.borrow();
        flushers.iter().find_map(|flusher| flusher.queue.pop(output))
    });
    last.ok().flatten()
}

/// Puts `output` into the queue of this thread's flusher in `runtime`, which is started if need be; answers whom to wake.
fn push(
    flushers: &mut Vec<Flusher>,
    runtime: &Handle,
    mut output: Arc<dyn Flush>,
) -> Result<Option<Waker>, Arc<dyn Flush>> {
    let id = runtime.id();
    if let Some(at) = flushers.iter().position(|flusher| flusher.runtime == id) {
        match flushers[at].queue.push(output) {
            Ok(waker) => return Ok(waker),
            Err(back) => output = back,
        }
    }
    // The queues of runtimes that have ended are empty.
    flushers.retain(|flusher| !flusher.queue.lock().over);
    let queue = Arc::new(Queue::default());
    runtime.spawn(work_through(Work(queue.clone())));
    // A runtime that is about to end has dropped the task already.
    let pushed = queue.push(output)?;
    flushers.push(Flusher { runtime: id, queue });
    Ok(pushed)
}

async fn work_through(work: Work) {
    std::future::poll_fn(|cx| {
        let (outputs, last) = work.0.take(cx.waker());
        for output in outputs {
            // A transport that panics does so for its own connection; the others are not to wait for ever.
            let _ = catch_unwind(AssertUnwindSafe(|| output.flush_soon()));
        }
        match last {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// What the task has of its queue. It is dropped with the task, also if that never ran: then nothing is to stay behind in the
/// list of a thread that lives on, least of all a transport.
struct Work(Arc<Queue>);

impl Drop for Work {
    fn drop(&mut self) {
        let mut waiting = self.0.lock();
        waiting.over = true;
        let outputs = std::mem::take(&mut waiting.outputs);
        let flusher = waiting.flusher.take();
        drop(waiting);
        drop(flusher);
        for output in outputs {
            output.give_up();
        }
    }
}

/// A flusher that a thread has started.
struct Flusher {
    runtime: Id,
    queue: Arc<Queue>,
}

/// The thread ends: so does the task, when it has done its work.
impl Drop for Flusher {
    fn drop(&mut self) {
        let mut waiting = self.queue.lock();
        waiting.last = true;
        let flusher = waiting.flusher.take();
        drop(waiting);
        if let Some(flusher) = flusher {
            flusher.wake();
        }
    }
}

/// What its thread adds to, and the task takes out. Whoever has the lock has it for an instant.
#[derive(Default)]
struct Queue(TryLock<Waiting>);

/// What is to be flushed, and the task that does it.
#[derive(Default)]
struct Waiting {
    outputs: Vec<Arc<dyn Flush>>,
    /// The task, until it is woken.
    flusher: Option<Waker>,
    /// Whether the task is gone.
    over: bool,
    /// Whether the thread is, and nothing is added any more.
    last: bool,
}

impl Queue {
    /// Answers whom to wake, or gives it back.
    fn push(&self, output: Arc<dyn Flush>) -> Result<Option<Waker>, Arc<dyn Flush>> {
        let mut waiting = self.lock();
        if waiting.over {
            return Err(output);
        }
        waiting.outputs.push(output);
        Ok(waiting.flusher.take())
    }

    /// Takes out `output`, which is the last unless one task has several connections.
    fn pop<F>(&self, output: &Arc<F>) -> Option<Arc<dyn Flush>> {
        let mut waiting = self.lock();
        let same = |other: &Arc<dyn Flush>| ptr::addr_eq(Arc::as_ptr(other), Arc::as_ptr(output));
        let at = waiting.outputs.iter().rposition(same)?;
        Some(waiting.outputs.swap_remove(at))
    }

    /// What is to be flushed, and whether that is the last of it; if not, `flusher` is woken when there is more.
    fn take(&self, flusher: &Waker) -> (Vec<Arc<dyn Flush>>, bool) {
        let mut waiting = self.lock();
        waiting.flusher = Some(flusher.clone());
        (std::mem::take(&mut waiting.outputs), waiting.last)
    }

    /// One atomic instruction and, to give it back, a plain store, where a `Mutex` takes two that the processor waits for.
    #[inline]
    fn lock(&self) -> Locked<'_, Waiting> {
        loop {
            if let Some(waiting) = self.0.try_lock() {
                return waiting;
            }
            thread::yield_now();
        }
    }
}

thread_local! {
    /// The flushers that this thread has started, one a runtime that it has worked for.
    static FLUSHERS: RefCell<Vec<Flusher>> = const { RefCell::new(Vec::new()) };
}
