//! Where it is measured: a network namespace of its own, cores of their own, and what machine that is.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use rustix::net::sockopt;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::{Value, json};

/// What the measurements need to know about where they run.
pub(crate) struct Environment {
    pub(crate) bench: PathBuf,
    /// Certificate and key for TLS, made for this run.
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    cores: Option<Cores>,
    all: CpuSet,
    pub(crate) congestion: String,
}

/// The core that the server runs on, and the one that the load spins on.
#[derive(Debug, Clone, Copy)]
struct Cores {
    server: usize,
    load: usize,
}

/// Whose network namespace this process is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Namespace {
    /// One of its own, where everything may be changed and nothing but loopback is seen.
    Own,
    /// The machine's, where nothing is changed.
    Machine,
}

/// The kernel's default on many machines, BBR, paces what loopback need not have paced.
const CONGESTION: &str = "cubic";

/// Runs this program again in a network namespace of its own, or without one where that is not allowed; `without` the
/// servers that did not build.
pub(crate) fn isolated(bench: &Path, without: &[String]) -> Result<bool> {
    let program = std::env::current_exe()?;
    let allowed = Command::new("unshare")
        .args(["--net", "ip", "link", "set", "lo", "up"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let (mut command, namespace) = if allowed {
        let mut command = Command::new("unshare");
        command.arg("--net").arg(program);
        (command, "--inside=own")
    } else {
        println!("WARNING: no network namespace of our own, which takes root, unshare and ip");
        (Command::new(program), "--inside=machine")
    };
    command
        .args(std::env::args_os().skip(1))
        .arg(namespace)
        .current_dir(bench);
    if !without.is_empty() {
        command.arg(format!("--without={}", without.join(",")));
    }
    Ok(command.status().context("cannot run the measurement")?.success())
}

impl Environment {
    pub(crate) fn prepare(bench: &Path, namespace: Namespace) -> Result<Self> {
        // Elsewhere this would change the whole machine.
        if namespace == Namespace::Own {
            prepare_loopback()?;
        }
        let congestion = loopback_congestion()?;
        if congestion != CONGESTION {
            println!("WARNING: congestion control is {congestion}, not {CONGESTION}; expect other figures");
        }
        raise_file_limit()?;
        let all = sched_getaffinity(None)?;
        let cores = cores(&all);
        if cores.is_none() {
            println!("WARNING: there is one core only; server and load disturb each other");
        }
        let directory = bench.join("target/tls");
        let (certificate, key) = make_certificate(&directory)?;
        Ok(Self {
            bench: bench.to_path_buf(),
            certificate,
            key,
            cores,
            all,
            congestion,
        })
    }

    /// Starts a server on its core.
    pub(crate) fn on_server_core<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        self.pinned(self.cores.map(|cores| cores.server), start)
    }

    /// Starts the load on its core.
    pub(crate) fn on_load_core<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        self.pinned(self.cores.map(|cores| cores.load), start)
    }

    /// A child has the cores of the thread that starts it, so that thread moves there for as long as that takes.
    fn pinned<T>(&self, core: Option<usize>, start: impl FnOnce() -> Result<T>) -> Result<T> {
        let Some(core) = core else { return start() };
        let mut set = CpuSet::new();
        set.set(core);
        sched_setaffinity(None, &set)?;
        let started = start();
        sched_setaffinity(None, &self.all)?;
        started
    }

    /// The machine and the tools, for the record.
    pub(crate) fn describe(&self) -> Value {
        let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpu
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        json!({
            "cpu": model.trim_start_matches([' ', '\t', ':']),
            "cores": std::thread::available_parallelism().map_or(1, usize::from),
            "virtual": cpu.contains("hypervisor"),
            "kernel": kernel.trim(),
            "congestion_control": self.congestion,
            "pinned": self.cores.map(|cores| json!({ "server": cores.server, "load": cores.load })),
            "rustc": said("rustc", &["--version"], &self.bench),
            "gcc": said("g++", &["--version"], &self.bench),
            "revision": revision(&self.bench),
        })
    }
}

/// What is measured. The reports that are written meanwhile do not count as a change.
fn revision(bench: &Path) -> String {
    let clean = Command::new("git")
        .args(["diff", "--quiet", "HEAD", "--", ":/", ":(top,exclude)docs"])
        .current_dir(bench)
        .status()
        .is_ok_and(|status| status.success());
    let revision = said("git", &["describe", "--always"], bench);
    if clean { revision } else { format!("{revision}-dirty") }
}

/// Sets the congestion control of everything that goes over loopback: by its routes, since a namespace may choose
/// another default only among what the machine allows to everybody.
fn prepare_loopback() -> Result<()> {
    let ip = |arguments: &str| {
        let status = Command::new("ip")
            .args(arguments.split(' '))
            .stdin(Stdio::null())
            .status();
        ensure!(status.is_ok_and(|status| status.success()), "`ip {arguments}` failed");
        Ok(())
    };
    ip("link set lo up")?;
    for destination in ["127.0.0.0/8", "127.0.0.1"] {
        ip(&format!(
            "route replace table local local {destination} dev lo proto kernel scope host src 127.0.0.1 congctl {CONGESTION}"
        ))?;
    }
    Ok(())
}

/// What a connection over loopback has, at the server's end.
fn loopback_congestion() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let _client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    Ok(sockopt::tcp_congestion(server)?)
}

/// The first line that a program prints.
fn said(program: &str, args: &[&str], directory: &Path) -> String {
    let output = Command::new(program)
        .args(args)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().lines().next().unwrap_or_default().to_owned()
}

/// The first two cores that this process may use.
fn cores(all: &CpuSet) -> Option<Cores> {
    let mut usable = (0..CpuSet::MAX_CPU).filter(|core| all.is_set(*core));
    Some(Cores {
        server: usable.next()?,
        load: usable.next()?,
    })
}

/// Thousands of connections take as many descriptors, on either side; children inherit the limit.
fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    setrlimit(Resource::Nofile, raised).context("cannot raise the limit of open files")
}

/// A certificate that signs itself, and its key; the load generator trusts the certificate.
fn make_certificate(directory: &Path) -> Result<(PathBuf, PathBuf)> {
    fs::create_dir_all(directory)?;
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
    fs::write(&certificate, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    Ok((certificate, key))
}
