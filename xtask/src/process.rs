//! Running programs: with their output passed through, with their output read, or as a server in the background.
//!
//! The end of a program is the end of its output, and a server is ready when it says so, or else when it accepts a
//! connection.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

/// Longer than anything that is started here may take.
pub(crate) const NO_DEADLINE: Duration = Duration::from_secs(2 * 60 * 60);

/// What a program printed (both streams, in order), and whether it exited with 0.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) success: bool,
    pub(crate) lines: Vec<String>,
}

/// Runs a program with its output passed through; `true` when it exits with 0.
pub(crate) fn run(mut command: Command) -> Result<bool> {
    println!("$ {}", shown(&command));
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| failed_to_start(&command))?;
    Ok(status.success())
}

/// Runs a program, reads what it prints, and prints that too when `echo` is set. A program that takes longer than
/// `deadline` is killed, which counts as a failure.
pub(crate) fn read(mut command: Command, echo: bool, deadline: Duration) -> Result<Finished> {
    if echo {
        println!("$ {}", shown(&command));
    }
    let (reader, writer) = io::pipe()?;
    command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
    let mut child = command.spawn().with_context(|| failed_to_start(&command))?;
    let name = shown(&command);
    // The command holds the writing ends, and the end of the output is only seen when all of them are closed.
    drop(command);
    let output = lines_of(reader);
    let end = Instant::now() + deadline;
    let mut lines = Vec::new();
    loop {
        match output.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                if echo {
                    println!("{line}");
                }
                lines.push(line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill()?;
                child.wait()?;
                let line = format!("killed after {} s: {name}", deadline.as_secs());
                if echo {
                    println!("{line}");
                }
                lines.push(line);
                return Ok(Finished { success: false, lines });
            }
        }
    }
    Ok(Finished {
        success: child.wait()?.success(),
        lines,
    })
}

/// Runs a program for what it prints on stdout; an error when it fails.
pub(crate) fn stdout_of(mut command: Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| failed_to_start(&command))?;
    if !output.status.success() {
        bail!(
            "{} failed: {}",
            shown(&command),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program in the background, killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Background(Child);

impl Background {
    /// Starts a program with its output in `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Self> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        Ok(Self(command.spawn().with_context(|| failed_to_start(&command))?))
    }

    /// The same, when it has printed a line with `ready` in it.
    pub(crate) fn start_until(mut command: Command, log: &Path, ready: &str, deadline: Duration) -> Result<Self> {
        let mut file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let (output, writer) = io::pipe()?;
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let program = Self(command.spawn().with_context(|| failed_to_start(&command))?);
        let started = shown(&command);
        // Its ends of the pipe: the output would not end otherwise.
        drop(command);
        let lines = lines_of(output);
        let end = Instant::now() + deadline;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let Ok(line) = lines.recv_timeout(left) else {
                bail!("{started} did not say {ready:?}; its log is {}", log.display());
            };
            writeln!(file, "{line}")?;
            if line.contains(ready) {
                break;
            }
        }
        // A log that cannot be written is no reason to end.
        thread::spawn(move || lines.iter().try_for_each(|line| writeln!(file, "{line}")));
        Ok(program)
    }

    /// Starts a server that prints `listening on URL` as its first line on stdout, and answers with that URL.
    pub(crate) fn serve(mut command: Command, log: &Path, deadline: Duration) -> Result<(Self, String)> {
        let file = File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(file);
        let mut server = Self(command.spawn().with_context(|| failed_to_start(&command))?);
        let stdout = server.0.stdout.take().context("the server's stdout is not a pipe")?;
        let Ok(first) = lines_of(stdout).recv_timeout(deadline) else {
            bail!("{} printed no line; its log is {}", shown(&command), log.display());
        };
        match first.strip_prefix("listening on ") {
            Some(url) => Ok((server, url.trim().to_owned())),
            None => bail!("{} printed {first:?} instead of `listening on URL`", shown(&command)),
        }
    }

    /// Waits until the program accepts connections at `address`, for one that does not say so.
    pub(crate) fn wait_for_port(&mut self, address: SocketAddr, deadline: Duration) -> Result<()> {
        let end = Instant::now() + deadline;
        loop {
            if TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
                return Ok(());
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("the server for {address} ended with {status}");
            }
            if Instant::now() > end {
                bail!("nothing accepts connections at {address}");
            }
            // A refused connection answers at once, and nobody tells when the next would not be refused.
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Both fail only when the program has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A loopback address whose port is free now, for a program that cannot choose one itself.
pub(crate) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// A command as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut text = String::new();
    for (name, value) in command.get_envs() {
        if let (Some(name), Some(value)) = (name.to_str(), value.and_then(|value| value.to_str()))
            && name != "PATH"
        {
            text.push_str(&format!("{name}={value:?} "));
        }
    }
    text.push_str(&command.get_program().to_string_lossy());
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        if argument.is_empty() || argument.contains([' ', '*', '$']) {
            text.push_str(&format!(" '{argument}'"));
        } else {
            text.push_str(&format!(" {argument}"));
        }
    }
    text
}

/// A line without colour codes.
pub(crate) fn plain(line: &str) -> String {
    let mut text = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            // ESC [ parameters, then one letter.
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            text.push(c);
        }
    }
    text
}

/// Reads lines in a thread of its own; the channel closes when the output ends.
fn lines_of(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut output = BufReader::new(output);
        let mut line = Vec::new();
        while matches!(output.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line);
            // Read on after the receiver is gone: a program that writes into a closed pipe dies of it.
            let _ = sender.send(text.trim_end_matches(['\n', '\r']).to_owned());
            line.clear();
        }
    });
    receiver
}

fn failed_to_start(command: &Command) -> String {
    format!("cannot start {}", command.get_program().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_ready_when_it_says_so() {
        let log = std::env::temp_dir().join(format!("sockeye-xtask-{}.log", std::process::id()));
        let program = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Background::start_until(command, &log, "ready", NO_DEADLINE)
        };
        drop(program("echo soon; echo I am ready >&2; exec sleep 60").expect("it says so"));
        let written = std::fs::read_to_string(&log).expect("there is a log");
        assert_eq!(written, "soon\nI am ready\n");
        assert!(program("echo never").is_err());
        std::fs::remove_file(&log).expect("there is a log");
    }

    #[test]
    fn colours_are_removed() {
        assert_eq!(
            plain("\u{1b}[32;1m 12 passed\u{1b}[0m, 0 skipped"),
            " 12 passed, 0 skipped"
        );
    }

    #[cfg(unix)]
    #[test]
    fn both_streams_are_read_and_a_deadline_kills() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let finished = read(command, false, NO_DEADLINE).expect("sh runs");
        assert!(!finished.success);
        assert_eq!(finished.lines, ["out", "err"]);

        // Longer than any test runs: that this one ends is the deadline's doing.
        let mut command = Command::new("sleep");
        command.arg("86400");
        let finished = read(command, false, Duration::from_millis(20)).expect("sleep runs");
        assert!(!finished.success);
    }
}
