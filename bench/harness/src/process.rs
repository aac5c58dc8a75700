//! The programs: a server in the background, the load in front of it, cargo's benchmarks.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::environment::Environment;
use crate::servers::Server;
use crate::stats::Summary;

/// A server that runs, killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    address: String,
    /// A server that wrote to a closed pipe would end.
    _stdout: BufReader<ChildStdout>,
}

/// What a run asks of the server and of the load.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Asked {
    pub(crate) deflate: bool,
    pub(crate) tls: bool,
    pub(crate) broadcast: bool,
    /// Server and load share all cores.
    pub(crate) shared: bool,
}

impl Running {
    /// Starts a server on its core; what it says on stderr goes to a log.
    pub(crate) fn start(environment: &Environment, server: &Server, asked: Asked) -> Result<Self> {
        let mut command = server.start();
        if asked.deflate && !server.is_raw() {
            command.arg("--deflate");
        }
        if asked.broadcast {
            command.arg("--broadcast");
        }
        if asked.tls {
            command.arg("--tls").arg(&environment.certificate).arg(&environment.key);
        }
        let logs = environment.bench.join("target/logs");
        std::fs::create_dir_all(&logs)?;
        let log = logs.join(&server.name).with_extension("log");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&log)?);
        let mut spawn = || Ok(command.spawn()?);
        let child = match asked.shared {
            true => spawn(),
            false => environment.on_server_core(spawn),
        };
        let mut child = child.context("it cannot be started")?;
        let stdout = child.stdout.take().context("it has no stdout")?;
        let mut running = Self {
            child,
            address: String::new(),
            _stdout: BufReader::new(stdout),
        };
        let mut line = String::new();
        // Ends with its first line, or with the server.
        running._stdout.read_line(&mut line)?;
        let Some(address) = line.trim_end().strip_prefix("listening ") else {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            bail!("it did not start: {line}{}", said.trim_end());
        };
        running.address = address.to_owned();
        Ok(running)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the server has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the load generator measured; it explains the fields.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Measured {
    pub(crate) rate: f64,
    pub(crate) server_ns_per_message: f64,
    pub(crate) server_busy: f64,
    pub(crate) client_ns_per_message: f64,
    pub(crate) client_busy: f64,
    pub(crate) latency_us: Latency,
    pub(crate) wire_bytes_sent: f64,
    pub(crate) wire_bytes_received: f64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
}

impl Measured {
    /// The median of each figure.
    pub(crate) fn middle(turns: &[&Self]) -> Option<Self> {
        let of = |figure: fn(&Self) -> f64| Summary::of(turns.iter().map(|turn| figure(turn))).map(|s| s.median);
        Some(Self {
            rate: of(|m| m.rate)?,
            server_ns_per_message: of(|m| m.server_ns_per_message)?,
            server_busy: of(|m| m.server_busy)?,
            client_ns_per_message: of(|m| m.client_ns_per_message)?,
            client_busy: of(|m| m.client_busy)?,
            latency_us: Latency {
                p50: of(|m| m.latency_us.p50)?,
                p99: of(|m| m.latency_us.p99)?,
                p999: of(|m| m.latency_us.p999)?,
            },
            wire_bytes_sent: of(|m| m.wire_bytes_sent)?,
            wire_bytes_received: of(|m| m.wire_bytes_received)?,
        })
    }
}

/// A load generator with its connections open, which loads the server when it is told to, and sleeps in between.
pub(crate) struct Loading {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Loading {
    /// Starts it, and returns when it has warmed the server up.
    pub(crate) fn start(
        environment: &Environment,
        running: &Running,
        asked: Asked,
        arguments: &[String],
    ) -> Result<Self> {
        let mut command = command(environment, running, asked, arguments);
        command.arg("--turns").stdin(Stdio::piped());
        let mut child = spawn(environment, asked, &mut command)?;
        let mut loading = Self {
            stdin: child.stdin.take().context("the load has no stdin")?,
            stdout: BufReader::new(child.stdout.take().context("the load has no stdout")?),
            child,
        };
        let ready: String = loading.answer()?;
        ensure!(ready == "ready", "the load says {ready:?}");
        Ok(loading)
    }

    /// One turn of so many seconds.
    pub(crate) fn turn(&mut self, seconds: f64) -> Result<Measured> {
        // Should it have ended, it has said why, and not answered.
        let _ = writeln!(self.stdin, "{seconds}");
        self.answer()
    }

    fn answer<T: for<'de> Deserialize<'de>>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        if line.is_empty() {
            let mut said = String::new();
            if let Some(stderr) = &mut self.child.stderr {
                stderr.read_to_string(&mut said)?;
            }
            bail!("{}", said.trim_end());
        }
        serde_json::from_str(&line).context("the load's answer is not understood")
    }
}

impl Drop for Loading {
    fn drop(&mut self) {
        // Both fail only when the load has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the load generator once, and reads its answer.
pub(crate) fn load<T: for<'de> Deserialize<'de>>(
    environment: &Environment,
    running: &Running,
    asked: Asked,
    arguments: &[String],
) -> Result<T> {
    let mut command = command(environment, running, asked, arguments);
    let child = spawn(environment, asked, command.stdin(Stdio::null()))?;
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim_end());
    }
    serde_json::from_slice(&output.stdout).context("the load's answer is not understood")
}

fn command(environment: &Environment, running: &Running, asked: Asked, arguments: &[String]) -> Command {
    let mut command = Command::new(environment.bench.join("target/release/load"));
    command.args(["--address", &running.address, "--pid", &running.child.id().to_string()]);
    let flags = [
        (asked.deflate, "--deflate"),
        (asked.broadcast, "--broadcast"),
        (asked.shared, "--wait"),
    ];
    command.args(flags.iter().filter(|(wanted, _)| *wanted).map(|(_, flag)| flag));
    if asked.tls {
        command.arg("--tls").arg(&environment.certificate);
    }
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// On the load's core, or on all of them.
fn spawn(environment: &Environment, asked: Asked, command: &mut Command) -> Result<Child> {
    let mut spawn = || Ok(command.spawn()?);
    let child = match asked.shared {
        true => spawn(),
        false => environment.on_load_core(spawn),
    };
    child.context("the load cannot be started")
}

/// The micro-benchmarks, by criterion, which compares them with its last run itself.
pub(crate) fn parse(bench: &Path, quick: bool) -> Result<bool> {
    let mut command = Command::new("cargo");
    command
        .current_dir(bench.join(".."))
        .args(["bench", "--package", "sockeye-proto", "--bench", "*"]);
    if quick {
        command.args(["--", "--quick"]);
    }
    Ok(command
        .stdin(Stdio::null())
        .status()
        .context("cannot run cargo")?
        .success())
}
