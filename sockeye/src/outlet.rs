//! A transport and the output on its way to it. They belong to the one who sends and receives, and are lent while output is
//! to leave in its absence: then whoever wants them takes a lock.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker, ready};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use try_lock::{Locked, TryLock};

use crate::flusher::{self, Flush};
use crate::output::Output;
use crate::pool;

/// A transport and its output, as their owner has them.
pub(crate) struct Outlet<T> {
    /// While they are not lent.
    own: Option<Lot<T>>,
    /// Made when they are first lent.
    lender: Option<Box<Lender<T>>>,
}

/// One pointer, which is lent as such. The owner takes no lock; those who look at what it has at the same time do.
type Lot<T> = Box<Mutex<Inner<T>>>;

/// What it takes to lend them.
struct Lender<T> {
    shared: Arc<Shared<T>>,
    /// The same, for the flusher.
    flush: Arc<dyn Flush>,
    /// One more, which the flusher's queue has given back, so that nothing is counted for each burst.
    spare: Option<Arc<dyn Flush>>,
    /// Whether the flusher that was told to come by is another thread's, and perhaps of a runtime that nobody drives.
    elsewhere: bool,
}

/// The place where they are found while they are lent.
///
/// The owner takes them out for as long as it uses them. Between the messages of a burst it leaves them there and appends to
/// the output: one atomic instruction for each message, and nobody waits. Others use them where they are.
struct Shared<T> {
    lent: TryLock<Option<Lot<T>>>,
    /// Is held with the other lock by those who do not own them, for as long as they do: the owner waits for this one.
    others: Mutex<()>,
    /// Whether a flusher has been told to come by. The owner sets it before it lends; who comes by unsets it with `lent`
    /// locked, where the owner asks for it before it relies on it. Where a runtime ends it is unset too, without a lock.
    registered: AtomicBool,
    /// Whether a task waits for room to write, in the sender's absence; likewise.
    relieved: AtomicBool,
    /// Whether that task came by and found nothing. It is woken when there is something again.
    missed: AtomicBool,
}

/// Output that is lent, to append to.
pub(crate) struct Corked<'a, T>(Locked<'a, Option<Lot<T>>>);

impl<T> Corked<'_, T> {
    /// The frames; `None` where there are so many that they may have to be written.
    #[inline]
    pub(crate) fn bytes(&mut self) -> Option<&mut Vec<u8>> {
        let output = inner(self.0.as_mut()?).output.as_mut()?;
        (output.unwritten() <= CORKED - SMALL).then(|| output.bytes())
    }
}

/// A transport and its output.
pub(crate) struct Inner<T> {
    pub(crate) io: T,
    /// While there is any.
    output: Option<Box<Output>>,
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
    /// Whether others may want it, who have been told to come by.
    wanted: bool,
    /// Whether the transport had no room when it was last asked. It has a waker of `waiting` then, in whose place no other
    /// may come: its wake-up is for all who wait.
    blocked: bool,
    /// Who waits for room to write; made when somebody first has to.
    waiting: Option<Arc<Waiting>>,
}

impl<T> Outlet<T> {
    pub(crate) fn new(io: T) -> Self {
        Self {
            own: Some(Box::new(Mutex::new(Inner {
                io,
                output: None,
                taken: 0,
                flushed: 0,
                progress: false,
                unflushed: false,
                broken: None,
                wanted: false,
                blocked: false,
                waiting: None,
            }))),
            lender: None,
        }
    }

    /// Takes all out of an outlet that is only dropped then.
    pub(crate) fn hand_over(&mut self) -> Self {
        Self {
            own: self.own.take(),
            lender: self.lender.take(),
        }
    }

    /// What there is, for its owner, who calls [`settle`](Self::settle) when it is done.
    #[inline]
    pub(crate) fn get(&mut self) -> &mut Inner<T> {
        inner(self.own.get_or_insert_with(|| take_back(self.lender.as_deref())))
    }

    /// Lends it again to those who have been told to come by, if they still have to.
    #[inline]
    pub(crate) fn settle(&mut self) {
        if self.own.as_mut().is_some_and(|lot| inner(lot).wanted) {
            self.settle_wanted();
        }
    }

    /// Does something with it, and settles.
    #[inline]
    pub(crate) fn with<R>(&mut self, work: impl FnOnce(&mut Inner<T>) -> R) -> R {
        let settling = Settling(self);
        work(settling.0.get())
    }

    /// Looks at it. Nothing is written meanwhile.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&Inner<T>) -> R) -> R {
        self.look_if_there(look).unwrap_or_else(|| unreachable!("{GONE}"))
    }

    /// The same for an outlet that may have been handed over.
    pub(crate) fn look_if_there<R>(&self, look: impl FnOnce(&Inner<T>) -> R) -> Option<R> {
        if let Some(lot) = &self.own {
            return Some(look(&lock(lot)));
        }
        let shared = &self.lender.as_ref()?.shared;
        let _others = lock(&shared.others);
        shared.wait().as_mut().map(|lot| look(inner(lot)))
    }

    #[inline(never)]
    fn settle_wanted(&mut self) {
        let (Some(lender), Some(lot)) = (&mut self.lender, &mut self.own) else {
            return;
        };
        let inner = inner(lot);
        let shared = &*lender.shared;
        if inner.has_left_all() && shared.registered.load(Ordering::Relaxed) {
            // It would find the output cold, and nothing in it.
            if let Some(back) = flusher::unregister(&lender.shared) {
                lender.spare = Some(back);
                shared.registered.store(false, Ordering::Relaxed);
            } else {
                lender.elsewhere = true;
            }
        }
        inner.wanted = shared.is_wanted();
        // Whoever has come by meanwhile did not find it.
        let missed = !inner.has_left_all() && inner.broken.is_none();
        if !(inner.wanted && lend(shared, &mut self.own)) && missed {
            self.register();
        }
    }

    /// Lends it, and has a flusher come by. `false` if there is no runtime to do so.
    #[inline(never)]
    fn register(&mut self) -> bool {
        let (Some(lender), Some(lot)) = (&mut self.lender, &mut self.own) else {
            return false;
        };
        let shared = &*lender.shared;
        shared.registered.store(true, Ordering::Relaxed);
        inner(lot).wanted = true;
        lend(shared, &mut self.own);
        lender.elsewhere = false;
        let output = lender.spare.take().unwrap_or_else(|| lender.flush.clone());
        let registered = flusher::register(output);
        if !registered {
            // What nobody comes by for is not to stay lent.
            shared.registered.store(false, Ordering::Relaxed);
        }
        registered
    }

    /// The output, if it is lent to a flusher, for the one who sends.
    #[inline]
    pub(crate) fn corked(&self) -> Option<Corked<'_, T>> {
        let shared = &self.lender.as_ref()?.shared;
        let lent = shared.lent.try_lock()?;
        shared.registered.load(Ordering::Relaxed).then_some(Corked(lent))
    }
}

impl<T: AsyncWrite + Unpin + Send + 'static> Outlet<T> {
    /// Lets the output be until the running task yields, at the latest. `false` where there is no runtime to see to it, or
    /// there is much output: it is to be written now.
    #[inline]
    pub(crate) fn cork(&mut self) -> bool {
        let inner = self.get();
        if inner.unwritten() > CORKED || inner.broken.is_some() {
            return false;
        }
        let lender = self.lender.get_or_insert_with(Lender::new);
        let shared = &*lender.shared;
        let registered = shared.registered.load(Ordering::Relaxed) && !lender.elsewhere;
        (registered && lend(shared, &mut self.own)) || self.register()
    }

    /// Nobody waits any more for the output to leave: sees to it that it does.
    #[cold]
    pub(crate) fn leave(&mut self) {
        let inner = self.get();
        if inner.has_left_all() || inner.broken.is_some() {
            return self.settle();
        }
        let lender = self.lender.get_or_insert_with(Lender::new);
        if lender.shared.is_wanted() {
            self.settle();
        } else {
            self.register();
        }
    }
}

impl<T: AsyncWrite + Unpin + Send + 'static> Lender<T> {
    #[cold]
    fn new() -> Box<Self> {
        let shared = Arc::new(Shared {
            lent: TryLock::new(None),
            others: Mutex::new(()),
            registered: AtomicBool::new(false),
            relieved: AtomicBool::new(false),
            missed: AtomicBool::new(false),
        });
        Box::new(Self {
            flush: shared.clone(),
            shared,
            spare: None,
            elsewhere: false,
        })
    }
}

impl<T> Shared<T> {
    /// Whether somebody is to come by.
    fn is_wanted(&self) -> bool {
        self.registered.load(Ordering::Relaxed) || self.relieved.load(Ordering::Relaxed)
    }

    /// Takes the lock while nobody else can have it for longer than a moment.
    fn wait(&self) -> Locked<'_, Option<Lot<T>>> {
        loop {
            if let Some(lent) = self.lent.try_lock() {
                return lent;
            }
            std::hint::spin_loop();
        }
    }

    /// Takes the lock, for the owner.
    #[inline]
    fn lock(&self) -> Locked<'_, Option<Lot<T>>> {
        self.lent.try_lock().unwrap_or_else(|| self.lock_after_others())
    }

    #[cold]
    fn lock_after_others(&self) -> Locked<'_, Option<Lot<T>>> {
        let _others = lock(&self.others);
        self.wait()
    }
}

/// Settles when it is dropped, also where a transport panics.
struct Settling<'a, T>(&'a mut Outlet<T>);

impl<T> Drop for Settling<'_, T> {
    #[inline]
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// For the owner, again.
#[inline(never)]
fn take_back<T>(lender: Option<&Lender<T>>) -> Lot<T> {
    let back = lender.and_then(|lender| lender.shared.lock().take());
    back.unwrap_or_else(|| unreachable!("{GONE}"))
}

/// Lends what its owner has to those who want it. `false` if nobody does any more.
fn lend<T>(shared: &Shared<T>, own: &mut Option<Lot<T>>) -> bool {
    let mut lent = shared.lock();
    if !shared.is_wanted() {
        return false;
    }
    *lent = own.take();
    if shared.missed.load(Ordering::Relaxed) {
        shared.missed.store(false, Ordering::Relaxed);
        let waiting = lent.as_mut().and_then(|lot| inner(lot).waiting.clone());
        drop(lent);
        if let Some(waiting) = waiting {
            waiting.wake_at(Waiting::flusher);
        }
    }
    true
}

/// What whoever has all of it need not lock.
#[inline]
fn inner<T>(lot: &mut Lot<T>) -> &mut Inner<T> {
    lot.get_mut().unwrap_or_else(PoisonError::into_inner)
}

/// A lock is never held across anything that can panic and leave what it guards in between.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Inner<T> {
    /// Bytes of output that have not been written to the transport.
    pub(crate) fn unwritten(&self) -> usize {
        self.output.as_ref().map_or(0, |output| output.unwritten())
    }

    /// Whether the transport has taken all output, and was flushed.
    fn has_left_all(&self) -> bool {
        self.unwritten() == 0 && !self.unflushed
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
        if self.wanted
            && let Some(waiting) = &self.waiting
        {
            // Its waker may be the transport's no more. It ends, or waits anew.
            waiting.wake_at(Waiting::flusher);
        }
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

    fn wake_at(&self, place: fn(&Self) -> &Mutex<Option<Waker>>) {
        let waker = lock(place(self)).take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn set(&self, place: fn(&Self) -> &Mutex<Option<Waker>>, waker: &Waker) {
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

/// How much output waits for the task to yield, in bytes; more is written at once.
const CORKED: usize = 64 * 1024;

/// No message that is appended to lent output is longer, in bytes, with its header.
const SMALL: usize = 9 * 1024;

/// What an outlet says that is asked after it was handed over.
const GONE: &str = "an outlet that has been handed over is only dropped";
