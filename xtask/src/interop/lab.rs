//! What the run needs: peers installed by version, certificates, and servers that run.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::context::Context;
use crate::process::{self, Background, NO_DEADLINE};
use crate::{page, tools};

/// What a server may take to print its first line or to accept a connection.
const START: Duration = Duration::from_secs(60);

/// `install.sh` ends with this status when what it needs is not there.
const MISSING: i32 = 3;

/// Peers that are whole programs, and what they may be called.
const FIREFOX: &[&str] = &["firefox-esr", "firefox"];
const NGINX: &[&str] = &["nginx"];
const HAPROXY: &[&str] = &["haproxy"];
const WEBSOCKETD: &[&str] = &["websocketd"];

/// The directories and programs of a run. What is `None` is not installed.
#[derive(Debug)]
pub(super) struct Lab {
    /// `conformance/interop` of the tree.
    pub(super) source: PathBuf,
    /// Where certificates, configurations and logs of this run go.
    pub(super) run: PathBuf,
    /// Whose `node_modules` has ws and undici.
    pub(super) node: Option<PathBuf>,
    /// Whose `node_modules` has playwright.
    playwright: Option<PathBuf>,
    /// A Python that has websockets and aiohttp.
    pub(super) python: Option<PathBuf>,
    pub(super) chromium: Option<PathBuf>,
    pub(super) firefox: Option<PathBuf>,
    pub(super) nginx: Option<PathBuf>,
    pub(super) haproxy: Option<PathBuf>,
    pub(super) websocketd: Option<PathBuf>,
}

impl Lab {
    /// Installs what can be installed without a say of the machine's owner, in CI also the system's packages.
    pub(super) fn new(context: &Context) -> Result<Self> {
        let run = context.lab.join("interop/run");
        if run.exists() {
            fs::remove_dir_all(&run)?;
        }
        fs::create_dir_all(&run)?;
        let firefox = || {
            std::env::var_os("FIREFOX")
                .map(PathBuf::from)
                .or_else(|| program(FIREFOX))
        };
        let programs = [firefox(), program(NGINX), program(HAPROXY), program(WEBSOCKETD)];
        if context.ci && programs.contains(&None) {
            install(context, "system")?;
        }
        let lab = Self {
            source: context.root.join("conformance/interop"),
            node: install(context, "node")?,
            playwright: page::install(context)?,
            python: install(context, "python")?.map(|environment| environment.join("bin/python")),
            chromium: tools::chromium(context)?,
            firefox: firefox(),
            nginx: program(NGINX),
            haproxy: program(HAPROXY),
            websocketd: program(WEBSOCKETD),
            run,
        };
        lab.certificates()?;
        Ok(lab)
    }

    fn certificates(&self) -> Result<()> {
        let mut command = Command::new("sh");
        command.arg(self.source.join("certificates.sh")).arg(&self.run);
        process::stdout_of(command)?;
        Ok(())
    }

    /// The authority that all of the test's certificates are from.
    pub(super) fn authority(&self) -> PathBuf {
        self.run.join("authority.pem")
    }

    /// A script of `conformance/interop`, with what it needs to know in its environment.
    pub(super) fn script(&self, interpreter: &Path, script: &str) -> Command {
        let mut command = Command::new(interpreter);
        command.arg(self.source.join(script));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("NODE_EXTRA_CA_CERTS", self.authority());
        if let Some(directory) = &self.node {
            command.env("INTEROP_DIR", directory);
        }
        if let Some(directory) = &self.playwright {
            command.env("PLAYWRIGHT_DIR", directory);
        }
        command
    }

    /// A server that says where it listens.
    pub(super) fn serve(&self, name: &str, command: Command) -> Result<(Background, String)> {
        Background::serve(command, &self.log(name), START)
    }

    /// `sockeye echo`, which speaks the subprotocol `chat`.
    pub(super) fn echo(&self, program: &Path, name: &str, options: &[&str]) -> Result<(Background, String)> {
        let mut command = Command::new(program);
        command.args(["echo", "--listen", "127.0.0.1:0", "--subprotocol", "chat"]);
        command.args(options).current_dir(&self.run);
        self.serve(name, command)
    }

    /// nginx in front of the server at `url`, on two ports.
    pub(super) fn nginx(&self, program: &Path, url: &str) -> Result<Proxy> {
        let mut command = Command::new(program);
        command.args(["-e", "stderr", "-c", "nginx.conf", "-p"]).arg(&self.run);
        // Which it says when it listens.
        self.proxy("nginx.conf", command, "event method", url)
    }

    /// HAProxy in front of the server at `url`, on two ports.
    pub(super) fn haproxy(&self, program: &Path, url: &str) -> Result<Proxy> {
        let mut command = Command::new(program);
        // In the foreground, as a worker under a master, which says when the worker listens; the worker ends with it.
        command.args(["-W", "-db", "-f", "haproxy.cfg"]);
        self.proxy("haproxy.cfg", command, "Loading success", url)
    }

    fn proxy(&self, configuration: &str, mut command: Command, ready: &str, url: &str) -> Result<Proxy> {
        let server = url.trim_start_matches("ws://").trim_end_matches('/');
        // Neither can be told to choose a port itself and say which.
        let (plain, secure) = (process::free_address()?, process::free_address()?);
        let text = fs::read_to_string(self.source.join(configuration))?
            .replace("@PLAIN@", &plain.to_string())
            .replace("@SECURE@", &secure.to_string())
            .replace("@SERVER@", server);
        fs::write(self.run.join(configuration), text)?;
        command.current_dir(&self.run);
        let process = Background::start_until(command, &self.log(configuration), ready, START)?;
        Ok(Proxy { process, plain, secure })
    }

    /// websocketd with a `cat` for each connection, of lines or, with `--binary`, of bytes.
    pub(super) fn websocketd(&self, program: &Path, options: &[&str]) -> Result<(Background, String)> {
        let address = process::free_address()?;
        let mut command = Command::new(program);
        command.arg(format!("--address={}", address.ip()));
        command.arg(format!("--port={}", address.port()));
        command.args(options).arg("cat");
        let name = format!("websocketd{}", options.concat());
        // The last that it says before it listens.
        let mut server = Background::start_until(command, &self.log(&name), "Starting WebSocket server", START)?;
        server.wait_for_port(address, START)?;
        Ok((server, format!("ws://{address}/")))
    }

    /// Where the output of the program of this name goes.
    pub(super) fn log(&self, name: &str) -> PathBuf {
        self.run.join(format!("{name}.log"))
    }
}

/// A proxy that runs.
#[derive(Debug)]
pub(super) struct Proxy {
    /// Ended when this is dropped.
    #[expect(dead_code, reason = "held for its end")]
    process: Background,
    plain: SocketAddr,
    secure: SocketAddr,
}

impl Proxy {
    pub(super) fn plain(&self) -> String {
        format!("ws://{}/", self.plain)
    }

    pub(super) fn secure(&self) -> String {
        format!("wss://{}/", self.secure)
    }
}

/// The first of `names` that is installed; daemons may be where only the administrator looks.
fn program(names: &[&str]) -> Option<PathBuf> {
    let elsewhere = || names.iter().map(|name| Path::new("/usr/sbin").join(name));
    tools::find(names).or_else(|| elsewhere().find(|path| path.is_file()))
}

/// Runs a part of `install.sh`, and answers with the directory that it filled; `None` when what the part needs is not there.
pub(crate) fn install(context: &Context, part: &str) -> Result<Option<PathBuf>> {
    let directory = context.lab.join("interop").join(part);
    let mut command = Command::new("bash");
    command.arg(context.root.join("conformance/interop/install.sh"));
    command.arg(part).arg(&directory);
    println!("$ {}", process::shown(&command));
    let status = command.status().context("cannot start bash")?;
    if status.code() == Some(MISSING) {
        return Ok(None);
    }
    if !status.success() {
        bail!("conformance/interop/install.sh {part} failed");
    }
    Ok(Some(directory))
}

/// The version that a program tells, or that Debian's package has.
pub(super) fn version(program: &Path, flag: &str) -> Result<String> {
    let mut command = Command::new(program);
    command.arg(flag);
    let told = process::read(command, false, NO_DEADLINE)?.lines.join(" ");
    let words = told.split([' ', '/']);
    let number = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    if let Some(version) = words.clone().find(number) {
        return Ok(version.to_owned());
    }
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat=${Version}"]);
    command.arg(program.file_name().unwrap_or_default());
    let package = process::read(command, false, NO_DEADLINE);
    Ok(match package {
        Ok(finished) if finished.success => finished.lines.concat(),
        _ => "unknown".into(),
    })
}
