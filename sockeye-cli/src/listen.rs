//! What every server command does: announce its listeners, serve until a signal comes, and take leave of its clients.

use std::fmt::Display;
use std::future::Future;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sockeye::Server;
use sockeye_engine::Engine;
use tokio::time::Instant;

use crate::plan::Listening;
use crate::report::{self, Failure};

/// Prints where the server listens, and has it serve until SIGINT or SIGTERM. Clients then have `grace` to close; a
/// second signal cuts that short.
pub(crate) async fn run<F>(
    server: Server,
    scheme: &str,
    grace: Duration,
    serve: impl FnOnce(Server) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = ()> + Send + 'static,
{
    // Before the lines, since whoever reads them may send the signal at once.
    let mut signals = Signals::new()?;
    announce(server.addresses(), scheme, server.is_secure())?;
    let serving = tokio::spawn(serve(server.clone()));
    signals.next().await;
    let leave = async {
        let report = server.shutdown(grace).await;
        tell_of_end(report.closed, report.dropped);
        // Its tasks have ended, or are cancelled now.
        let _ = serving.await;
    };
    tokio::select! {
        () = leave => {}
        () = signals.next() => {}
    }
    Ok(())
}

/// The same for an engine, whose shards serve already.
pub(crate) async fn run_engine(engine: Engine, scheme: &str, plan: &Listening) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    announce(engine.local_addrs(), scheme, plan.is_secure())?;
    let grace = plan.grace;
    signals.next().await;
    // It blocks, while there may be a second signal.
    let leave = tokio::task::spawn_blocking(move || engine.shutdown(grace));
    tokio::select! {
        report = leave => if let Ok(report) = report {
            tell_of_end(report.closed, report.dropped);
        },
        () = signals.next() => {}
    }
    Ok(())
}

pub(crate) fn tell_of_end(closed: usize, dropped: usize) {
    report::talk(format_args!("ended; connections: {closed} closed, {dropped} dropped"));
}

/// One write for all lines: `sockeye echo … | head -1` has its line, and the server goes on.
pub(crate) fn announce(addresses: &[impl Display], scheme: &str, secure: bool) -> Result<(), Failure> {
    let secure = if secure { "s" } else { "" };
    let line = |address| format!("listening on {scheme}{secure}://{address}/\n");
    let lines: String = addresses.iter().map(line).collect();
    report::output(lines.as_bytes())
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

/// How often it is said that connections have to wait.
const TELL_AGAIN: Duration = Duration::from_secs(10);
