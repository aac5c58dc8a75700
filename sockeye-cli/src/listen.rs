//! What every server command does: announce its listeners, accept until a signal comes, and take leave of its clients.

use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sockeye::{Incoming, Server};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::report::{self, Failure};

/// Prints where the servers listen, and gives each connection to `handler` in a task of its own until SIGINT or SIGTERM.
/// Handlers then have [`GRACE`] to close theirs; a second signal cuts that short.
pub(crate) async fn run<H, F>(servers: Vec<Server>, scheme: &str, handler: H) -> Result<(), Failure>
where
    H: Fn(Incoming, Shutdown) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    // Before the lines, since whoever reads them may send the signal at once.
    let mut signals = Signals::new()?;
    announce(&servers, scheme)?;
    let (stop, stopping) = watch::channel(false);
    let mut loops = JoinSet::new();
    for server in servers {
        loops.spawn(accept(server, Shutdown(stopping.clone()), handler.clone()));
    }
    signals.next().await;
    stop.send_replace(true);
    tokio::select! {
        _ = timeout(GRACE, async { while loops.join_next().await.is_some() {} }) => {}
        () = signals.next() => {}
    }
    Ok(())
}

/// One write for all lines: `sockeye echo … | head -1` has its line, and the server goes on.
fn announce(servers: &[Server], scheme: &str) -> Result<(), Failure> {
    let mut lines = String::new();
    for server in servers {
        let address = server
            .local_addr()
            .map_err(|error| Failure::usage(format!("the listener's address is unknown: {error}")))?;
        let secure = if server.is_secure() { "s" } else { "" };
        lines += &format!("listening on {scheme}{secure}://{address}/\n");
    }
    report::output(lines.as_bytes())
}

async fn accept<H, F>(server: Server, mut shutdown: Shutdown, handler: H)
where
    H: Fn(Incoming, Shutdown) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.requested() => break,
            Some(_) = connections.join_next() => {}
            accepted = server.accept() => match accepted {
                Ok(incoming) => {
                    connections.spawn(handler(incoming, shutdown.clone()));
                }
                // The server has been shut down.
                Err(_) => break,
            }
        }
    }
    drop(server);
    while connections.join_next().await.is_some() {}
}

/// Tells why connections have to wait, most often because there are no file descriptors left, and not again too soon.
pub(crate) fn tell_of_errors() -> impl Fn(&io::Error) + Send + Sync {
    let told: Mutex<Option<Instant>> = Mutex::new(None);
    move |error| {
        let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL_AGAIN) {
            report::talk(format_args!("cannot take more connections until some end: {error}"));
            *told = Some(Instant::now());
        }
    }
}

/// Tells a task when to take leave.
#[derive(Debug, Clone)]
pub(crate) struct Shutdown(watch::Receiver<bool>);

impl Shutdown {
    /// Ready once the program is to end.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub(crate) async fn requested(&mut self) {
        // An error means that the other end is gone, and the program with it.
        let _ = self.0.wait_for(|&stop| stop).await;
    }
}

/// SIGINT and SIGTERM, or Ctrl-C where there are no signals.
#[derive(Debug)]
pub(crate) struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Failure> {
        Self::register().map_err(|error| Failure::usage(format!("signals cannot be caught: {error}")))
    }

    #[cfg(unix)]
    fn register() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    #[cfg(not(unix))]
    fn register() -> io::Result<Self> {
        Ok(Self {})
    }

    /// The next signal.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    #[cfg(unix)]
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }

    /// The next Ctrl-C.
    #[cfg(not(unix))]
    pub(crate) async fn next(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}

/// How long clients have to finish the closing handshake when the server goes away.
const GRACE: Duration = Duration::from_secs(5);

/// How often it is said that connections have to wait.
const TELL_AGAIN: Duration = Duration::from_secs(10);
