//! A transport and the output on its way to it, behind one lock, so that not only the task that sends can write.

use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use try_lock::{Locked, TryLock};

use crate::flusher::{self, Flush};
use crate::output::Output;
use crate::pool;

/// A transport behind a lock that is held for the length of one poll.
pub(crate) struct Outlet<T> {
    inner: Mutex<Inner<T>>,
    /// The output while it is corked: the one who sends appends to it without the other lock, which would be taken and given
    /// back for each message of a burst. Nobody waits for this one. It is taken by the one who sends for as long as it takes
    /// to copy a small message, and by others for a move, with the other lock held.
    corked: TryLock<Option<Box<Output>>>,
}

/// Corked output, to append to.
pub(crate) struct Corked<'a>(Locked<'a, Option<Box<Output>>>);

impl Corked<'_> {
    /// The frames; `None` where there is so much that it is to be written.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Option<&mut Vec<u8>> {
        let output = self.0.as_mut().filter(|output| output.unwritten() <= CORKED)?;
        Some(output.bytes())
    }
}

/// What the lock guards.
pub(crate) struct Inner<T> {
    pub(crate) io: T,
    /// While there is any, and it is not corked.
    output: Option<Box<Output>>,
    /// Whether the output is in [`Outlet::corked`].
    corked: bool,
    /// Bytes that have gone out since the beginning.
    taken: u64,
    /// How many of these were also flushed: TLS holds back what the socket has no room for.
    flushed: u64,
    /// Whether the transport has taken anything since this was last asked.
    progress: bool,
    /// Whether the transport has taken anything since it was last flushed.
    unflushed: bool,
    /// Why the transport takes nothing any more.
    broken: Option<io::ErrorKind>,
    /// Whether a flusher has been told to come by.
    registered: bool,
    /// Whether a task waits for room to write, in the sender's absence.
    relieved: bool,
    /// Whether the transport had no room when it was last asked. It has a waker of `waiting` then, in whose place no other
    /// may come: its wake-up is for all who wait.
    blocked: bool,
    /// Who waits for room to write; made when somebody first has to.
    waiting: Option<Arc<Waiting>>,
}

impl<T> Outlet<T> {
    pub(crate) fn new(io: T) -> Arc<Self> {
        Arc::new(Self {
            inner: Mutex::new(Inner {
                io,
                output: None,
                corked: false,
                taken: 0,
                flushed: 0,
                progress: false,
                unflushed: false,
                broken: None,
                registered: false,
                relieved: false,
                blocked: false,
                waiting: None,
            }),
            corked: TryLock::new(None),
        })
    }

    /// Takes the lock, and the output that is corked out of its cork. For the one who sends and receives; another may have to
    /// try again while a message is being encoded.
    #[inline]
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        let mut inner = self.lock_inner();
        while inner.corked {
            self.uncork(&mut inner);
        }
        inner
    }

    /// The same for another, unless something is being sent at this moment.
    fn try_lock(&self) -> Option<MutexGuard<'_, Inner<T>>> {
        let mut inner = self.lock_inner();
        if inner.corked {
            self.uncork(&mut inner);
        }
        (!inner.corked).then_some(inner)
    }

    /// The lock is never held across anything that can panic and leave what it guards in between.
    fn lock_inner(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn uncork(&self, inner: &mut Inner<T>) {
        if let Some(mut corked) = self.corked.try_lock() {
            inner.output = corked.take();
            inner.corked = false;
        }
    }

    /// The output has left: the flusher need not come by.
    #[inline]
    pub(crate) fn unregister(self: &Arc<Self>, inner: &mut Inner<T>) {
        if inner.registered && flusher::unregister(self) {
            inner.registered = false;
        }
    }

    /// The output, if it is corked, for the one who sends.
    #[inline]
    pub(crate) fn corked(&self) -> Option<Corked<'_>> {
        self.corked.try_lock().map(Corked)
    }
}

impl<T: AsyncWrite + Unpin + Send + 'static> Outlet<T> {
    /// Lets the output be until the running task yields, at the latest. Where there is no runtime to see to it, or there is
    /// much output, it is to be written now.
    #[allow(
        clippy::inline_always,
        reason = "a few instructions for each message, and callers that are seldom"
    )]
    #[inline(always)]
    pub(crate) fn cork<'a>(
        self: &'a Arc<Self>,
        mut inner: MutexGuard<'a, Inner<T>>,
    ) -> Result<(), MutexGuard<'a, Inner<T>>> {
        if inner.unwritten() > CORKED || inner.broken.is_some() {
            return Err(inner);
        }
        // Where a task waits for room to write, it is to find what there is.
        if !inner.relieved
            && !inner.blocked
            && let Some(mut corked) = self.corked.try_lock()
        {
            *corked = inner.output.take();
            inner.corked = true;
        }
        if inner.registered {
            return Ok(());
        }
        inner.registered = true;
        drop(inner);
        if self.register() { Ok(()) } else { Err(self.lock()) }
    }

    /// Nobody waits any more for the output to leave: sees to it that it does.
    #[cold]
    pub(crate) fn leave(self: &Arc<Self>) {
        let mut inner = self.lock();
        if (inner.unwritten() > 0 || inner.unflushed) && inner.broken.is_none() && !inner.registered && !inner.relieved
        {
            inner.registered = true;
            drop(inner);
            self.register();
        }
    }

    #[cold]
    fn register(self: &Arc<Self>) -> bool {
        let registered = flusher::register(self.clone());
        if !registered {
            // What nobody comes by for is not to stay corked.
            self.lock().registered = false;
        }
        registered
    }
}

impl<T> Inner<T> {
    /// Bytes of output that have not been written to the transport.
    pub(crate) fn unwritten(&self) -> usize {
        self.output.as_ref().map_or(0, |output| output.unwritten())
    }

    /// Where the output ends now, in bytes since the beginning: whoever has appended to it waits for this.
    pub(crate) fn end(&self) -> u64 {
        self.taken + self.unwritten() as u64
    }

    /// Bytes of output that the transport has taken since the beginning.
    pub(crate) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether the output has left up to there.
    pub(crate) fn has_left(&self, end: u64) -> bool {
        self.flushed >= end
    }

    /// Whether the transport had no room when it was last asked.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// An error that the transport had; it is final.
    pub(crate) fn broken(&self) -> Option<io::Error> {
        self.broken.map(io::Error::from)
    }

    /// Whether the transport has taken anything since the last call.
    pub(crate) fn take_progress(&mut self) -> bool {
        std::mem::take(&mut self.progress)
    }

    /// The output, to append to.
    #[inline]
    pub(crate) fn output(&mut self) -> &mut Output {
        self.output.get_or_insert_with(pool::take_output)
    }

    fn clear(&mut self) {
        if let Some(output) = self.output.take() {
            pool::put_output(output);
        }
    }
}

impl<T: AsyncRead + Unpin> Inner<T> {
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        pin!(self.io.read_buf(input)).poll(cx)
    }
}

impl<T: AsyncWrite + Unpin> Inner<T> {
    /// Writes all output if there is room, and answers where it ends if there is not. An error is final.
    pub(crate) fn write(&mut self) -> io::Result<Option<u64>> {
        if let Some(error) = self.broken() {
            return Err(error);
        }
        if self.blocked {
            return Ok(Some(self.end()));
        }
        let flushed = self.poll_write(&mut Context::from_waker(Waker::noop()));
        match self.flushed(flushed) {
            Poll::Ready(flushed) => flushed.map(|()| None),
            Poll::Pending => {
                // Without a waker nobody would learn of room.
                self.blocked = false;
                Ok(Some(self.end()))
            }
        }
    }

    /// Writes all output to the transport and flushes that. An error is final.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.broken() {
            return Poll::Ready(Err(error));
        }
        // Nearly always there is room. Only if not does anybody wait, and then both who may.
        if !self.blocked {
            let flushed = self.poll_write(&mut Context::from_waker(Waker::noop()));
            if flushed.is_ready() {
                return self.flushed(flushed);
            }
        }
        let waiting = self.waiting.get_or_insert_default().clone();
        waiting.set(Waiting::task, cx.waker());
        let flushed = self.poll_write(&mut Context::from_waker(&Waker::from(waiting)));
        self.flushed(flushed)
    }

    fn flushed(&mut self, flushed: Poll<io::Result<()>>) -> Poll<io::Result<()>> {
        self.blocked = flushed.is_pending();
        if flushed.is_pending()
            && let Some(output) = &mut self.output
        {
            output.trim();
        }
        let flushed = ready!(flushed);
        if let Err(error) = &flushed {
            // A frame may have left in part, so nothing can follow; what was received can still be read.
            self.broken = Some(error.kind());
            self.clear();
        }
        Poll::Ready(flushed)
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(output) = &mut self.output
            && output.unwritten() > 0
        {
            let written = output.poll_write(&mut self.io, cx);
            if written.is_pending() {
                // What the transport has taken may leave without what it has not.
                let _ = self.poll_flush_taken(cx)?;
            }
            self.taken += ready!(written)? as u64;
            self.progress = true;
            self.unflushed = true;
        }
        self.clear();
        self.poll_flush_taken(cx)
    }

    fn poll_flush_taken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.unflushed {
            ready!(Pin::new(&mut self.io).poll_flush(cx))?;
            self.unflushed = false;
            self.flushed = self.taken;
        }
        Poll::Ready(Ok(()))
    }

    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<T: AsyncWrite + Unpin + Send + 'static> Flush for Outlet<T> {
    fn give_up(&self) {
        // Corked output is always registered, so it is not corked any more.
        self.lock().registered = false;
    }

    fn flush_soon(self: Arc<Self>) {
        let Some(mut inner) = self.try_lock() else {
            // The task has not yielded: it is on another thread, and sends. Once more, then.
            self.register();
            return;
        };
        inner.registered = false;
        if (inner.unwritten() == 0 && !inner.unflushed) || inner.broken.is_some() || inner.relieved {
            return;
        }
        let waker = match &inner.waiting {
            Some(waiting) if inner.blocked => Waker::from(waiting.clone()),
            _ => Waker::noop().clone(),
        };
        let flushed = inner.poll_write(&mut Context::from_waker(&waker));
        if inner.flushed(flushed).is_ready() {
            if let Some(waiting) = &inner.waiting {
                waiting.wake_by_ref();
            }
            return;
        }
        // The peer does not read. Whoever sends or receives next goes on with it, and if nobody does, this task.
        let waiting = inner.waiting.get_or_insert_default().clone();
        inner.relieved = true;
        let relief = Relief(Arc::downgrade(&self));
        drop(inner);
        tokio::spawn(std::future::poll_fn(move |cx| {
            waiting.set(Waiting::flusher, cx.waker());
            let Some(outlet) = relief.0.upgrade() else {
                return Poll::Ready(());
            };
            let mut inner = outlet.lock();
            let flushed = inner.poll_write(&mut Context::from_waker(&Waker::from(waiting.clone())));
            let flushed = inner.flushed(flushed);
            if flushed.is_ready() {
                inner.relieved = false;
                waiting.wake_by_ref();
            }
            flushed.map(|_| ())
        }));
    }
}

/// What a task that writes in the sender's absence has of the connection.
struct Relief<T>(Weak<Outlet<T>>);

/// The task has done its work, or its runtime has ended.
impl<T> Drop for Relief<T> {
    fn drop(&mut self) {
        if let Some(outlet) = self.0.upgrade() {
            outlet.lock().relieved = false;
        }
    }
}

/// The connection is gone: so that the task that writes for it, if there is one, ends too.
impl<T> Drop for Inner<T> {
    fn drop(&mut self) {
        if let Some(waiting) = &self.waiting {
            waiting.wake_by_ref();
        }
    }
}

/// The tasks that wait for room to write: the one that polled last, and the one that writes in its absence.
#[derive(Default)]
struct Waiting {
    task: Mutex<Option<Waker>>,
    flusher: Mutex<Option<Waker>>,
}

impl Waiting {
    fn task(&self) -> &Mutex<Option<Waker>> {
        &self.task
    }

    fn flusher(&self) -> &Mutex<Option<Waker>> {
        &self.flusher
    }

    fn set(&self, place: fn(&Self) -> &Mutex<Option<Waker>>, waker: &Waker) {
        let mut place = place(self).lock().unwrap_or_else(PoisonError::into_inner);
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
        for place in [&self.task, &self.flusher] {
            let waker = place.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

/// How much output waits for the task to yield, in bytes; more is written at once.
const CORKED: usize = 64 * 1024;
