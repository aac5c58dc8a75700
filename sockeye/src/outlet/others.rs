//! Those who write in the owner's absence: the flusher that comes by, and the task that takes over where there is no room.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, Weak};
use std::task::{Context, Poll, Wake, Waker};

use tokio::io::AsyncWrite;

use super::{Shared, inner, lock};
use crate::flusher::{self, Flush};

impl<T: AsyncWrite + Unpin + Send + 'static> Flush for Shared<T> {
    fn give_up(&self) {
        self.registered.store(false, Ordering::Relaxed);
    }

    fn flush_soon(self: Arc<Self>) {
        let others = lock(&self.others);
        let Some(mut lent) = self.lent.try_lock() else {
            // The task has not yielded: it is on another thread, and sends. Once more, then.
            drop(others);
            if !flusher::register(self.clone()) {
                self.give_up();
            }
            return;
        };
        self.registered.store(false, Ordering::Relaxed);
        // If it is not there its owner uses it at this moment, and then sees that somebody came by.
        let Some(lot) = &mut *lent else { return };
        let inner = inner(lot);
        let relieved = self.relieved.load(Ordering::Relaxed);
        inner.wanted = relieved;
        if inner.has_left_all() || inner.broken.is_some() || (relieved && inner.blocked) {
            return;
        }
        let waker = match &inner.waiting {
            Some(waiting) if inner.blocked || relieved => Waker::from(waiting.clone()),
            _ => Waker::noop().clone(),
        };
        let flushed = inner.poll_write(&mut Context::from_waker(&waker));
        if inner.flushed(flushed).is_ready() {
            if let Some(waiting) = &inner.waiting {
                waiting.wake_by_ref();
            }
            return;
        }
        if relieved {
            return;
        }
        // The peer does not read. Whoever sends or receives next goes on with it, and if nobody does, this task.
        let waiting = inner.waiting.get_or_insert_default().clone();
        inner.wanted = true;
        self.relieved.store(true, Ordering::Relaxed);
        let mut relief = Relief {
            shared: Arc::downgrade(&self),
            done: false,
        };
        drop(lent);
        drop(others);
        tokio::spawn(std::future::poll_fn(move |cx| relief.poll(cx, &waiting)));
    }
}

/// What a task that writes in the sender's absence has of the connection.
struct Relief<T> {
    shared: Weak<Shared<T>>,
    done: bool,
}

impl<T: AsyncWrite + Unpin> Relief<T> {
    fn poll(&mut self, cx: &mut Context<'_>, waiting: &Arc<Waiting>) -> Poll<()> {
        waiting.set(Waiting::flusher, cx.waker());
        let Some(shared) = self.shared.upgrade() else {
            return Poll::Ready(());
        };
        let _others = lock(&shared.others);
        let Some(mut lent) = shared.lent.try_lock() else {
            // Something is being appended at this moment.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        };
        let Some(lot) = &mut *lent else {
            // Its owner uses it at this moment, and lends it again.
            shared.missed.store(true, Ordering::Relaxed);
            return Poll::Pending;
        };
        let inner = inner(lot);
        let flushed = inner.poll_write(&mut Context::from_waker(&Waker::from(waiting.clone())));
        let flushed = inner.flushed(flushed);
        if flushed.is_ready() {
            self.done = true;
            shared.relieved.store(false, Ordering::Relaxed);
            inner.wanted = shared.registered.load(Ordering::Relaxed);
            waiting.wake_by_ref();
        }
        flushed.map(|_| ())
    }
}

/// The task's runtime has ended before its work.
impl<T> Drop for Relief<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade()
            && !self.done
        {
            shared.relieved.store(false, Ordering::Relaxed);
        }
    }
}

/// The tasks that wait for room to write: the one that polled last, and the one that writes in its absence.
#[derive(Default)]
pub(super) struct Waiting {
    task: Mutex<Option<Waker>>,
    flusher: Mutex<Option<Waker>>,
}

impl Waiting {
    pub(super) fn task(&self) -> &Mutex<Option<Waker>> {
        &self.task
    }

    pub(super) fn flusher(&self) -> &Mutex<Option<Waker>> {
        &self.flusher
    }

    pub(super) fn wake_at(&self, place: fn(&Self) -> &Mutex<Option<Waker>>) {
        let waker = lock(place(self)).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(super) fn set(&self, place: fn(&Self) -> &Mutex<Option<Waker>>, waker: &Waker) {
        let mut place = lock(place(self));
        match &mut *place {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
    }
}

impl Wake for Waiting {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.wake_at(Self::task);
        self.wake_at(Self::flusher);
    }
}
