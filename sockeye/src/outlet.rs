//! A transport and the output on its way to it. They belong to the one who sends and receives, and are lent while output is
//! to leave in its absence: then whoever wants them takes a lock.

mod inner;
mod others;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::AsyncWrite;
use try_lock::{Locked, TryLock};

pub(crate) use self::inner::Inner;

use self::others::Waiting;
use crate::flusher::{self, Flush};

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

impl<T> Outlet<T> {
    pub(crate) fn new(io: T) -> Self {
        Self {
            own: Some(Box::new(Mutex::new(Inner::new(io)))),
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

/// How much output waits for the task to yield, in bytes; more is written at once.
const CORKED: usize = 64 * 1024;

/// No message that is appended to lent output is longer, in bytes, with its header.
const SMALL: usize = 9 * 1024;

/// What an outlet says that is asked after it was handed over.
const GONE: &str = "an outlet that has been handed over is only dropped";
