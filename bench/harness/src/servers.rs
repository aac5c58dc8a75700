//! The servers of `servers.toml`: which of them are there, how they are built, how they are started.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::{Args, Task, uws};

/// A server, as `servers.toml` describes it; that file explains the fields.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) label: String,
    #[serde(default)]
    pub(crate) raw: bool,
    #[serde(default)]
    pub(crate) deflate: bool,
    #[serde(default)]
    pub(crate) tls: bool,
    pub(crate) warm_up: Option<f64>,
    build: Option<String>,
    manifest: Option<String>,
    package: Option<String>,
    #[serde(rename = "crate")]
    source: Option<String>,
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    needs: Vec<String>,
    #[serde(default)]
    version: Vec<String>,
    #[serde(default)]
    args: Vec<String>,
    /// The directory of `servers.toml`.
    #[serde(skip)]
    bench: PathBuf,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Servers {
    #[serde(rename = "server")]
    pub(crate) all: Vec<Server>,
}

/// How many servers at the start of the list are references.
const REFERENCES: usize = 2;

impl Servers {
    pub(crate) fn load(bench: &Path) -> Result<Self> {
        let path = bench.join("servers.toml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut servers: Self = toml::from_str(&text).with_context(|| format!("in {}", path.display()))?;
        for server in &mut servers.all {
            server.bench = bench.to_path_buf();
        }
        Ok(servers)
    }

    /// A misspelt name would silently measure nothing.
    pub(crate) fn check_names(&self, only: &[String]) -> Result<()> {
        if let Some(unknown) = only.iter().find(|name| self.all.iter().all(|server| server.name != **name)) {
            let names: Vec<&str> = self.all.iter().map(|server| server.name.as_str()).collect();
            bail!("there is no server {unknown}; there are {}", names.join(", "));
        }
        Ok(())
    }

    fn wanted<'a>(&'a self, only: &'a [String]) -> impl Iterator<Item = &'a Server> {
        let wanted = |index, server: &Server| index < REFERENCES || only.is_empty() || only.contains(&server.name);
        let all = self.all.iter().enumerate();
        all.filter(move |(index, server)| wanted(*index, server))
            .map(|(_, server)| server)
    }

    /// Builds the wanted servers and the load generator. A server that does not build is skipped, loudly, and so is
    /// missing from the tables; without the load generator there is nothing to measure with.
    pub(crate) fn build(&self, args: &Args) -> Result<()> {
        let bench = &self.all.first().context("servers.toml lists no servers")?.bench;
        if !cargo_build(bench, "Cargo.toml", "load")? {
            bail!("the load generator does not build");
        }
        let mut built: Vec<(&str, bool)> = Vec::new();
        for server in self.wanted(&args.only) {
            if let Some(what) = server.absent() {
                println!("SKIPPED: {}: {what}", server.name);
                continue;
            }
            let known = server.package.as_deref().unwrap_or(&server.name);
            let ok = match built.iter().find(|(package, _)| *package == known) {
                Some((_, ok)) => *ok,
                None => server.build()?,
            };
            built.push((known, ok));
            if !ok {
                println!("SKIPPED: {} does not build", server.name);
                // What an earlier version left must not pass for this one.
                let _ = std::fs::remove_file(server.program());
            }
        }
        Ok(())
    }

    /// The wanted servers that are there.
    pub(crate) fn chosen<'a>(&'a self, only: &'a [String]) -> Vec<&'a Server> {
        self.wanted(only).filter(|server| server.program().exists() || server.is_on_path()).collect()
    }

    /// Whether `server` is one of those that the others are compared with.
    pub(crate) fn is_reference(server: &Server) -> bool {
        matches!(server.name.as_str(), UWS | RAW)
    }
}

/// The reference among WebSocket servers.
pub(crate) const UWS: &str = "uws";

/// The reference below all protocols.
pub(crate) const RAW: &str = "raw-tokio";

impl Server {
    /// What is missing before this server can be built.
    fn absent(&self) -> Option<String> {
        let manifest = self.manifest.iter();
        let mut needed = manifest.chain(&self.needs).map(|path| self.bench.join(path));
        let missing = needed.find(|path| !path.exists());
        missing.map(|path| format!("{} is not there", path.strip_prefix(&self.bench).unwrap_or(&path).display()))
    }

    fn build(&self) -> Result<bool> {
        match (&self.build, &self.manifest, &self.package) {
            (Some(how), ..) if how == "uws" => uws::build(&self.bench, &self.program()),
            (None, Some(manifest), Some(package)) => cargo_build(&self.bench, manifest, package),
            (None, None, None) if !self.command.is_empty() => Ok(true),
            _ => bail!("servers.toml does not say how to build {}", self.name),
        }
    }

    /// What is started.
    fn program(&self) -> PathBuf {
        match (&self.package, self.command.first()) {
            (Some(package), _) => release(&self.bench, package),
            (None, Some(command)) if command.contains('/') => self.bench.join(command),
            (None, Some(command)) => command.into(),
            (None, None) => self.bench.join("target/uws").join(&self.name),
        }
    }

    fn is_on_path(&self) -> bool {
        let bare = self.command.first().is_some_and(|command| !command.contains('/'));
        bare && self.absent().is_none()
    }

    /// Whether the server can do what the task asks.
    pub(crate) fn serves(&self, task: Task) -> bool {
        match task {
            Task::Echo => true,
            Task::Deflate => self.deflate || self.raw,
            Task::Tls => self.tls,
            Task::Memory => !self.raw,
            Task::Parse => false,
        }
    }

    /// The command that starts the server on a free port.
    pub(crate) fn start(&self) -> Command {
        let mut command = Command::new(self.program());
        command.current_dir(&self.bench).args(self.command.iter().skip(1)).args(&self.args);
        command.args(["--port", "0"]);
        command
    }

    /// The version that was measured, as far as it is known.
    pub(crate) fn version(&self) -> String {
        if self.build.is_some() {
            return uws::version(&self.bench);
        }
        if let Some((program, args)) = self.version.split_first() {
            let program = if program.contains('/') { self.bench.join(program) } else { program.into() };
            let output = Command::new(program).args(args).stdin(Stdio::null()).output();
            return output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).trim().into());
        }
        let (Some(manifest), Some(source)) = (&self.manifest, &self.source) else {
            return String::new();
        };
        let lock = self.bench.join(manifest).with_file_name("Cargo.lock");
        locked(&lock, source).map_or_else(String::new, |version| format!("{source} {version}"))
    }
}

/// The version of a crate in a lock file.
pub(crate) fn locked(lock: &Path, name: &str) -> Option<String> {
    let table: toml::Table = std::fs::read_to_string(lock).ok()?.parse().ok()?;
    let packages = table.get("package")?.as_array()?;
    let package = packages.iter().find(|package| package.get("name").and_then(toml::Value::as_str) == Some(name))?;
    Some(package.get("version")?.as_str()?.to_owned())
}

/// Where cargo puts the program of a package, whichever workspace it is in.
pub(crate) fn release(bench: &Path, package: &str) -> PathBuf {
    bench.join("target/release").join(package)
}

fn cargo_build(bench: &Path, manifest: &str, package: &str) -> Result<bool> {
    println!("building {package}");
    let mut command = Command::new("cargo");
    command.current_dir(bench).args(["build", "--quiet", "--release", "--package", package]);
    // One at a time and in a directory of ours: features are not mixed, and every program is found in one place.
    command.args(["--manifest-path", manifest, "--target-dir", "target"]);
    Ok(command.stdin(Stdio::null()).status().context("cannot run cargo")?.success())
}
