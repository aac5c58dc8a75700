//! Where the shards' time comes from: the system, or for tests a [`ManualClock`].

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use crate::shared::Shared;

/// A clock that stands still but for [`advance`](Self::advance): tests of deadlines, pings and shutdowns need not wait for
/// them. Clones are the same clock, and it may be that of several engines.
///
/// What an engine has done before the clock is advanced is done at the time before: let something tell that it has got so
/// far, an answer or its [metrics](crate::Engine::metrics).
///
/// # Examples
///
/// ```
/// use std::io::Read;
/// use std::net::TcpStream;
/// use std::time::Duration;
///
/// use sockeye_engine::{Decision, Engine, Handler, ManualClock, Payload, ServerOptions, Socket, Upgrade};
/// # struct Echo;
/// # impl Handler for Echo {
/// #     type Data = ();
/// #     fn upgrade(&mut self, _: &mut Upgrade<'_, ()>) -> Decision<()> { Decision::Accept(()) }
/// #     fn message(&mut self, socket: &mut Socket<'_, ()>, message: Payload<'_>) { let _ = socket.send(message); }
/// # }
///
/// let clock = ManualClock::new();
/// let engine = Engine::builder(ServerOptions::default())
///     .listen("127.0.0.1:0")?
///     .threads(1)
///     .clock(&clock)
///     .start(|_shard| Echo)?;
///
/// // It says nothing, and is given up after 10 s, which nobody waits for.
/// let mut silent = TcpStream::connect(engine.local_addrs()[0])?;
/// silent.set_nonblocking(true)?;
/// while silent.read(&mut [0]).is_err() {
///     clock.advance(Duration::from_secs(1));
/// }
/// assert!(clock.now() >= Duration::from_secs(10));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct ManualClock(Arc<Hand>);

#[derive(Default)]
struct Hand {
    /// In nanoseconds: 584 years of them.
    now: AtomicU64,
    /// Whom to wake.
    engines: Mutex<Vec<Weak<Shared>>>,
}

impl ManualClock {
    /// A clock at 0.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets so much time pass at once, and has all shards look at the clock. It does not wait until they have.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        // Always set, since the function always has a value.
        let _ = self
            .0
            .now
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| Some(now.saturating_add(by)));
        for engine in self.engines().iter().filter_map(Weak::upgrade) {
            engine.shards.iter().for_each(|shard| shard.mailbox.wake());
        }
    }

    /// How much time has passed on it.
    #[must_use]
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.0.now.load(Ordering::Acquire))
    }

    pub(crate) fn attach(&self, engine: &Arc<Shared>) {
        let mut engines = self.engines();
        engines.retain(|engine| engine.strong_count() > 0);
        engines.push(Arc::downgrade(engine));
    }

    fn engines(&self) -> std::sync::MutexGuard<'_, Vec<Weak<Shared>>> {
        self.0.engines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ManualClock").field(&self.now()).finish()
    }
}

/// What a shard's thread reads the time from.
pub(crate) enum Clock {
    /// Since then.
    System(Instant),
    Manual(ManualClock),
}

impl Clock {
    pub(crate) fn new(manual: Option<ManualClock>) -> Self {
        manual.map_or_else(|| Self::System(Instant::now()), Self::Manual)
    }

    pub(crate) fn now(&self) -> Duration {
        match self {
            Self::System(began) => began.elapsed(),
            Self::Manual(clock) => clock.now(),
        }
    }

    /// How long to sleep for so much time to pass. Time that somebody has to advance is not slept for: whoever does wakes.
    pub(crate) fn sleep(&self, time: Option<Duration>) -> Option<Duration> {
        match self {
            Self::System(_) => time,
            Self::Manual(_) => time.filter(Duration::is_zero),
        }
    }
}
