//! `echo --engine --processes N`: this program several times, at the same ports.
//!
//! The first process takes the ports and says which; the others join it there, and the system spreads connections over all
//! (`SO_REUSEPORT`). Each ends when its stdin does, and so none outlasts the one that has started them. They are a process
//! group each, so that Ctrl-C in a terminal reaches them by that way alone.

use std::env;
use std::ffi::OsString;
use std::process::{ExitStatus, Stdio};

use sockeye_engine::Engine;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::listen::{self, Signals};
use crate::plan::Listening;
use crate::report::{self, Failure};

/// Starts the processes, and waits until all have ended: on SIGINT or SIGTERM they take leave of their clients, on a second
/// one they end at once.
pub(super) async fn run(count: u16, listeners: usize) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut first = Process::start(&[])?;
    let lines = first.lines(listeners).await?;
    let join: Vec<&str> = lines.lines().filter_map(address).collect();
    let mut processes = vec![first];
    for _ in 1..count {
        processes.push(Process::start(&join)?);
    }
    for process in &mut processes[1..] {
        process.lines(listeners).await?;
    }
    report::output(lines.as_bytes())?;

    let (mut stdins, mut running) = (Vec::new(), JoinSet::new());
    for process in processes {
        stdins.push(process.stdin);
        running.spawn(ended(process.child, process.stdout));
    }
    let (mut closed, mut dropped, mut failed) = (0, 0, false);
    loop {
        tokio::select! {
            () = signals.next() => match stdins.is_empty() {
                false => stdins.clear(),
                // Dropped, they are killed.
                true => return Ok(()),
            },
            process = running.join_next() => match process {
                None => break,
                Some(Ok(Ok(report))) => {
                    closed += report.0;
                    dropped += report.1;
                }
                Some(Ok(Err(why))) => {
                    report::talk(format_args!("a process has ended too early: {why}"));
                    failed = true;
                }
                Some(Err(_)) => failed = true,
            },
        }
    }
    listen::tell_of_end(closed, dropped);
    if failed { Err(Failure::Told) } else { Ok(()) }
}

/// Serves as one of the processes, until a signal comes or stdin ends.
pub(super) async fn serve(engine: Engine, plan: &Listening) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    listen::announce(engine.local_addrs(), "ws", plan.is_secure())?;
    let (tell, told) = oneshot::channel::<()>();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        drop(tell);
    });
    tokio::select! {
        () = signals.next() => {}
        _ = told => {}
    }
    let grace = plan.grace;
    let left = tokio::task::spawn_blocking(move || engine.shutdown(grace)).await;
    let report = left.map_err(|error| Failure::usage(format!("the engine does not end: {error}")))?;
    report::output(format!("{ENDED}{} {}\n", report.closed, report.dropped).as_bytes())
}

struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    /// Starts one with our own command line, to join others at these addresses.
    fn start(join: &[&str]) -> Result<Self, Failure> {
        let failed = |why| Failure::usage(format!("cannot start a process: {why}"));
        let own = env::args_os().skip(1);
        let join = join.iter().flat_map(|address| ["--join", address]);
        let added = ["--member"].into_iter().chain(join).map(OsString::from);
        let mut command = Command::new(env::current_exe().map_err(|error| failed(error.to_string()))?);
        command
            .args(own.chain(added))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        #[cfg(unix)]
        command.process_group(0);
        let mut child = command.spawn().map_err(|error| failed(error.to_string()))?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(stdin), Some(stdout)) => Ok(Self {
                child,
                stdin,
                stdout: BufReader::new(stdout),
            }),
            _ => Err(failed("it has no pipes".into())),
        }
    }

    /// Where it listens, once it does, in so many lines. If it does not it has said why.
    async fn lines(&mut self, count: usize) -> Result<String, Failure> {
        let mut lines = String::new();
        for _ in 0..count {
            match self.stdout.read_line(&mut lines).await {
                Ok(1..) => {}
                _ => {
                    return Err(match self.child.wait().await {
                        Ok(status) if status.code().is_some() => Failure::Told,
                        status => Failure::usage(format!("a process has not started: {}", ending(status))),
                    });
                }
            }
        }
        Ok(lines)
    }
}

/// Waits for a process's end: how many connections it has closed, and how many dropped.
async fn ended(mut child: Child, mut stdout: BufReader<ChildStdout>) -> Result<(usize, usize), String> {
    let mut said = String::new();
    let _ = stdout.read_to_string(&mut said).await;
    let counts = said.strip_prefix(ENDED).and_then(|rest| {
        let (closed, dropped) = rest.trim_end().split_once(' ')?;
        Some((closed.parse().ok()?, dropped.parse().ok()?))
    });
    let status = child.wait().await;
    counts.ok_or_else(|| ending(status))
}

fn ending(status: std::io::Result<ExitStatus>) -> String {
    status.map_or_else(|error| error.to_string(), |status| status.to_string())
}

/// The host and the port of the line that tells of a listener.
fn address(line: &str) -> Option<&str> {
    line.split_once("://")?.1.strip_suffix('/')
}

/// What a process says at its end, before two numbers.
const ENDED: &str = "ended ";
