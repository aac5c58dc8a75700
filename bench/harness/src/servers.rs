//! The servers of `servers.toml` and `peers/peers.toml`: how they are built, what they can do, how they are started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{Args, Task, uws};

/// A server as its file describes it; `servers.toml` explains the fields.
#[derive(Debug, Clone, Deserialize)]
struct Entry {
    name: String,
    label: Option<String>,
    #[serde(rename = "crate")]
    source: Option<String>,
    version: Option<String>,
    build: Vec<String>,
    start: Vec<String>,
    modes: Vec<String>,
    warm_up: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct File {
    #[serde(alias = "peer", rename = "server")]
    entries: Vec<Entry>,
}

/// A server in its plain mode, or in its batched one.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) label: String,
    /// Answers to messages that arrived together are gathered by hand.
    batched: bool,
    /// Threads, of a server that may have several.
    threads: usize,
    entry: Entry,
    /// Where its commands run.
    directory: PathBuf,
}

/// All servers, whether or not they are there.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) all: Vec<Server>,
    /// Files that are not there.
    absent: Vec<&'static str>,
    bench: PathBuf,
}

/// The reference among WebSocket servers.
pub(crate) const UWS: &str = "uws";

/// The reference below all protocols.
pub(crate) const RAW: &str = "raw-tokio";

/// The lowest floor, of servers that do not run on tokio.
pub(crate) const RAW_EPOLL: &str = "raw-epoll";

/// The references of a task: the first for WebSockets, the second for the bytes alone.
pub(crate) fn references(task: Task) -> [&'static str; 2] {
    match task {
        Task::Shards => [ONE_SHARD, RAW],
        _ => [UWS, RAW],
    }
}

/// What several shards are compared with.
const ONE_SHARD: &str = "engine";

/// The files that list servers; the first lists ours.
const FILES: [&str; 2] = ["servers.toml", "peers/peers.toml"];

impl Servers {
    pub(crate) fn load(bench: &Path) -> Result<Self> {
        let (mut all, mut absent) = (Vec::new(), Vec::new());
        for file in FILES {
            let path = bench.join(file);
            if !path.exists() {
                absent.push(file);
                continue;
            }
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let file: File = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
            let directory = path.parent().unwrap_or(bench);
            all.extend(file.entries.into_iter().flat_map(|entry| modes(entry, directory)));
        }
        Ok(Self {
            all,
            absent,
            bench: bench.to_path_buf(),
        })
    }

    /// A misspelt name would silently measure nothing.
    pub(crate) fn check_names(&self, only: &[String]) -> Result<()> {
        if let Some(unknown) = only
            .iter()
            .find(|name| self.all.iter().all(|server| server.name != **name))
        {
            let names: Vec<&str> = self.all.iter().map(|server| server.name.as_str()).collect();
            bail!("there is no server {unknown}; there are {}", names.join(", "));
        }
        Ok(())
    }

    /// The references, and those that were asked for.
    pub(crate) fn wanted<'a>(&'a self, args: &'a Args) -> impl Iterator<Item = &'a Server> {
        self.all.iter().filter(|server| {
            let chosen = args.only.is_empty() || args.only.contains(&server.name);
            (chosen || server.is_reference()) && !args.without.contains(&server.name)
        })
    }

    /// Builds the wanted servers and the load generator, without which there is nothing to measure with. Answers with
    /// the servers that do not build; they are missing from the tables.
    pub(crate) fn build(&self, args: &Args) -> Result<Vec<String>> {
        for file in &self.absent {
            println!("SKIPPED: all servers of {file}, which is not there");
        }
        let load = ["cargo", "build", "--release", "--package", "load"].map(String::from);
        if !execute(&load, &self.bench)? {
            bail!("the load generator does not build");
        }
        let mut done: Vec<(&[String], bool)> = Vec::new();
        let mut failed = Vec::new();
        for server in self.wanted(args) {
            let build = &server.entry.build[..];
            // The modes of a server are one program.
            let ok = match done.iter().find(|(other, _)| *other == build) {
                Some((_, ok)) => *ok,
                None if *build == ["uws"] => uws::build(&self.bench, &server.program())?,
                None => execute(build, &server.directory)?,
            };
            done.push((build, ok));
            if !ok {
                println!("SKIPPED: {} does not build", server.name);
                failed.push(server.name.clone());
            }
        }
        Ok(failed)
    }
}

/// A server for each way in which it may answer.
fn modes(entry: Entry, directory: &Path) -> Vec<Server> {
    let has = |name| entry.modes.iter().any(|mode| mode == name);
    let (has_batched, has_shards) = (has("batched"), has("shards"));
    let label = entry.label.clone().unwrap_or_else(|| entry.name.clone());
    let plain = Server {
        name: entry.name.clone(),
        label,
        batched: false,
        threads: 1,
        entry,
        directory: directory.to_path_buf(),
    };
    let batched = has_batched.then(|| Server {
        name: format!("{}-batched", plain.name),
        label: format!("{}, batched by hand", plain.label),
        batched: true,
        ..plain.clone()
    });
    let sharded = has_shards.then(|| Server {
        name: format!("{}-2-shards", plain.name),
        label: format!("{}, two shards", plain.label),
        threads: 2,
        ..plain.clone()
    });
    [plain].into_iter().chain(batched).chain(sharded).collect()
}

impl Server {
    /// Whether the others are compared with this one.
    pub(crate) fn is_reference(&self) -> bool {
        matches!(self.name.as_str(), UWS | RAW)
    }

    fn has(&self, mode: &str) -> bool {
        self.entry.modes.iter().any(|known| known == mode)
    }

    /// Whether bytes are echoed, not messages.
    pub(crate) fn is_raw(&self) -> bool {
        self.has("raw")
    }

    /// Whether permessage-deflate can be negotiated.
    pub(crate) fn has_deflate(&self) -> bool {
        self.has("deflate")
    }

    /// Whether it speaks TLS.
    pub(crate) fn has_tls(&self) -> bool {
        self.has("tls")
    }

    /// Seconds that this server wants to be warmed up for.
    pub(crate) fn warm_up(&self) -> Option<f64> {
        self.entry.warm_up
    }

    /// Whether the server can do what the task asks.
    pub(crate) fn serves(&self, task: Task) -> bool {
        if self.threads > 1 && task != Task::Shards {
            return false;
        }
        match task {
            Task::Echo => self.has("plain") || self.is_raw(),
            Task::Broadcast => self.has("broadcast"),
            Task::Shards => self.has("shards"),
            Task::Deflate => self.has_deflate() || self.is_raw(),
            Task::Tls => self.has("tls"),
            Task::Memory => self.has("plain"),
            Task::Parse => false,
        }
    }

    /// The command that starts the server on a free port.
    pub(crate) fn start(&self) -> Command {
        let mut command = Command::new(self.program());
        command
            .current_dir(&self.directory)
            .args(self.entry.start.iter().skip(1))
            .args(["--port", "0"]);
        if self.batched {
            command.arg("--batched");
        }
        if self.threads > 1 {
            command.args(["--threads", &self.threads.to_string()]);
        }
        command
    }

    /// What is started: a path from the directory, or a name that the system finds.
    fn program(&self) -> PathBuf {
        let program = self.entry.start.first().map_or("", String::as_str);
        if program.contains('/') {
            self.directory.join(program)
        } else {
            program.into()
        }
    }

    /// The version that is measured, as far as it is known.
    pub(crate) fn version(&self) -> String {
        if self.name == UWS {
            return uws::version(&self.directory);
        }
        let lock = self.directory.join("Cargo.lock");
        match (&self.entry.version, &self.entry.source) {
            (Some(version), _) => version.clone(),
            (None, Some(name)) => locked(&lock, name).map_or_else(String::new, |version| format!("{name} {version}")),
            (None, None) => String::new(),
        }
    }
}

/// The version of a crate in a lock file.
pub(crate) fn locked(lock: &Path, name: &str) -> Option<String> {
    let table: toml::Table = std::fs::read_to_string(lock).ok()?.parse().ok()?;
    let packages = table.get("package")?.as_array()?;
    let is_it = |package: &&toml::Value| package.get("name").and_then(toml::Value::as_str) == Some(name);
    Some(packages.iter().find(is_it)?.get("version")?.as_str()?.to_owned())
}

/// Runs a command of a build; what it prints is of interest when it fails.
fn execute(command: &[String], directory: &Path) -> Result<bool> {
    let (program, arguments) = command.split_first().context("a build without a command")?;
    println!("$ {}", command.join(" "));
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            println!("cannot run {program}: {error}");
            return Ok(false);
        }
    };
    if !output.status.success() {
        print!("{}", String::from_utf8_lossy(&output.stdout));
        print!("{}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(output.status.success())
}
