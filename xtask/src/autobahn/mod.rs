//! The Autobahn test suite against both roles, side by side.
//!
//! Its `fuzzingclient` opens connections to `sockeye echo`, by tasks, on the engine, and there under TLS; its `fuzzingserver` is visited by the `autobahn-client`
//! of the conformance crate, which echoes. The suite is a Python 2.7 program; `conformance/autobahn/install.sh`
//! puts it into an environment of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde_json::{Value, json};

use crate::context::Context;
use crate::process::{self, Background, NO_DEADLINE};
use crate::tally::Tally;
use crate::tools;

mod report;

/// How to get what `install.sh` needs.
pub(crate) const PYTHON_HINT: &str = "to get it: pyenv install 2.7.18, or set PY27 to a Python 2.7 that has pip";

/// Sections 1 to 10, then of compression what takes seconds: messages up to 16 KiB in one frame (ending in .1 to
/// .7) and one fragmented case (.11) of each group.
const CI_CASES: [&str; 12] = [
    "1.*",
    "2.*",
    "3.*",
    "4.*",
    "5.*",
    "6.*",
    "7.*",
    "9.*",
    "10.*",
    "1[23].*.[1-7]$",
    "12.*.11$",
    "13.*.11$",
];

/// The servers under test, and what `sockeye echo` is to be told for each.
const SERVERS: [(&str, &[&str]); 3] = [
    ("server", &[]),
    ("engine", &["--engine"]),
    ("engine-tls", &["--engine", "--tls-self-signed"]),
];

/// The name of the program under test in the suite's report.
const AGENT: &str = "sockeye";

/// What a server may take to print its first line or to accept a connection.
const START: Duration = Duration::from_secs(60);

/// `install.sh` ends with this status when there is no Python 2.7.
const NO_PYTHON: i32 = 3;

/// The options of `cargo xtask autobahn`.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct Options {
    /// All 517 cases; compression takes minutes
    #[arg(long, conflicts_with = "cases")]
    all: bool,
    /// The server's role alone: tasks, the engine, and the engine under TLS
    #[arg(long)]
    server: bool,
    /// The client's role alone
    #[arg(long)]
    client: bool,
    /// Case ids or patterns of the suite, such as '6.*' or '12.1.1'
    #[arg(long, num_args = 1.., value_name = "PATTERN")]
    cases: Vec<String>,
    /// Test the echo server at this URL instead of `sockeye echo`
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Test this client, started as `PROGRAM URL AGENT`, instead of `autobahn-client`
    #[arg(long, value_name = "PROGRAM")]
    testee: Option<PathBuf>,
}

impl Options {
    fn patterns(&self) -> Vec<String> {
        if self.all {
            vec!["*".to_owned()]
        } else if self.cases.is_empty() {
            CI_CASES.map(String::from).to_vec()
        } else {
            self.cases.clone()
        }
    }

    /// Which roles to test: neither flag means both.
    fn roles(&self) -> (bool, bool) {
        if self.server == self.client {
            (true, true)
        } else {
            (self.server, self.client)
        }
    }
}

/// Runs the suite against the chosen roles.
pub(crate) fn run(context: &Context, options: &Options) -> Result<Tally> {
    let Some(suite) = install(context)? else {
        return Ok(context.missing("the Autobahn test suite (it needs Python 2.7)", PYTHON_HINT));
    };
    let patterns = options.patterns();
    let cases = suite.cases(&patterns)?;
    println!("{} cases for each role: {}", cases.len(), patterns.join(" "));
    let (server, client) = options.roles();
    let echo = match (&options.url, server) {
        (None, true) => Some(tools::build(context, "sockeye-cli", "sockeye")?),
        _ => None,
    };
    let testee = match (&options.testee, client) {
        (None, true) => Some(tools::build(context, "conformance", "autobahn-client")?),
        (given, _) => given.clone(),
    };

    let run = Run {
        suite: &suite,
        patterns: &patterns,
        cases: &cases,
    };
    let mut results = thread::scope(|scope| {
        let mut threads = Vec::new();
        if let Some(url) = options.url.as_deref().filter(|_| server) {
            threads.push(("server", scope.spawn(|| run.server("server", Tested::Url(url)))));
        }
        if let Some(program) = &echo {
            for (role, flags) in SERVERS {
                threads.push((role, scope.spawn(|| run.server(role, Tested::Program(program, flags)))));
            }
        }
        if let Some(testee) = testee.as_deref().filter(|_| client) {
            threads.push(("client", scope.spawn(|| run.client(testee))));
        }
        let join = |(role, thread): (_, thread::ScopedJoinHandle<'_, _>)| (role, thread.join());
        threads.into_iter().map(join).collect::<Vec<_>>()
    });

    let mut sum = Tally::default();
    for (role, result) in results.drain(..) {
        match result {
            Ok(Ok(summary)) => {
                summary.print(role);
                sum += summary.tally();
            }
            Ok(Err(error)) => {
                println!("FAILED: {role}: {error:#}");
                sum += Tally {
                    failed: cases.len(),
                    ..Tally::default()
                };
            }
            Err(_) => bail!("the thread for the {role} panicked"),
        }
    }
    Ok(sum)
}

/// Installs the suite unless it is there; `None` without a Python 2.7.
pub(crate) fn install(context: &Context) -> Result<Option<Suite>> {
    let environment = context.lab.join("autobahn");
    let mut command = Command::new("bash");
    command
        .arg(context.root.join("conformance/autobahn/install.sh"))
        .arg(&environment);
    println!("$ {}", process::shown(&command));
    let status = command.status().context("cannot start bash")?;
    if status.code() == Some(NO_PYTHON) {
        return Ok(None);
    }
    if !status.success() {
        bail!("conformance/autobahn/install.sh failed");
    }
    let reports = context.lab.join("reports");
    let list_cases = context.root.join("conformance/autobahn/list_cases.py");
    Ok(Some(Suite {
        bin: environment.join("bin"),
        list_cases,
        reports,
    }))
}

/// The installed suite.
#[derive(Debug)]
pub(crate) struct Suite {
    bin: PathBuf,
    list_cases: PathBuf,
    reports: PathBuf,
}

impl Suite {
    /// The ids of the cases that `patterns` name. The suite's own report cannot be asked: it is short, without an
    /// error, when a peer dies half-way.
    fn cases(&self, patterns: &[String]) -> Result<Vec<String>> {
        let mut command = Command::new(self.bin.join("python"));
        command.arg(&self.list_cases).args(patterns);
        let cases: Vec<String> = process::stdout_of(command)?.lines().map(str::to_owned).collect();
        if cases.is_empty() {
            bail!("no case matches {patterns:?}");
        }
        Ok(cases)
    }

    fn wstest(&self, mode: &str, spec: &Path) -> Command {
        let mut command = Command::new(self.bin.join("wstest"));
        command.args(["-m", mode, "-s"]).arg(spec);
        // Whatever else it writes lands beside the reports.
        command.current_dir(&self.reports);
        command
    }

    /// An empty directory for a role's report.
    fn directory(&self, role: &str) -> Result<PathBuf> {
        let directory = self.reports.join(role);
        if directory.exists() {
            fs::remove_dir_all(&directory)?;
        }
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }
}

/// A server under test.
#[derive(Debug, Clone, Copy)]
enum Tested<'a> {
    /// This program, told this.
    Program(&'a Path, &'a [&'a str]),
    /// One that runs already.
    Url(&'a str),
}

/// One run, of one role or both.
struct Run<'a> {
    suite: &'a Suite,
    patterns: &'a [String],
    cases: &'a [String],
}

impl Run<'_> {
    /// The suite's client against an echo server.
    fn server(&self, role: &str, tested: Tested<'_>) -> Result<report::Summary> {
        let started = Instant::now();
        let directory = self.suite.directory(role)?;
        let (_server, url) = match tested {
            Tested::Program(program, flags) => {
                let mut command = Command::new(program);
                command.args(["echo", "--listen", "127.0.0.1:0", "--compress"]);
                // Section 9 sends messages of 16 MiB, and one in 65,536 fragments; the default limits refuse both.
                command.args(["--max-message", "64MiB"]).args(flags);
                let (server, url) = Background::serve(command, &directory.join("server.log"), START)?;
                (Some(server), url)
            }
            Tested::Url(url) => (None, url.to_owned()),
        };
        let mut spec = self.spec(&directory);
        spec["servers"] = json!([{ "agent": AGENT, "url": url }]);
        let file = directory.join("spec.json");
        fs::write(&file, spec.to_string())?;
        let finished = process::read(self.suite.wstest("fuzzingclient", &file), false, self.deadline())?;
        fs::write(directory.join("wstest.log"), finished.lines.join("\n"))?;
        report::Summary::read(&directory, AGENT, self.cases, started.elapsed())
    }

    /// A client against the suite's server.
    fn client(&self, testee: &Path) -> Result<report::Summary> {
        let started = Instant::now();
        let directory = self.suite.directory("client")?;
        let address = process::free_address()?;
        let url = format!("ws://{address}");
        let mut spec = self.spec(&directory);
        spec["url"] = json!(url);
        spec["webport"] = json!(0);
        let file = directory.join("spec.json");
        fs::write(&file, spec.to_string())?;
        let mut server = Background::start(self.suite.wstest("fuzzingserver", &file), &directory.join("wstest.log"))?;
        server.wait_for_port(address, START)?;
        let mut command = Command::new(testee);
        command.args([&url, AGENT]);
        let finished = process::read(command, false, self.deadline())?;
        fs::write(directory.join("client.log"), finished.lines.join("\n"))?;
        let mut summary = report::Summary::read(&directory, AGENT, self.cases, started.elapsed())?;
        if !finished.success {
            summary.add_failure(
                "the client itself",
                "it did not exit with 0; see client.log beside the report",
            );
        }
        Ok(summary)
    }

    /// What both of the suite's modes are told.
    fn spec(&self, directory: &Path) -> Value {
        json!({
            "outdir": directory,
            "options": { "failByDrop": false },
            "cases": self.patterns,
            "exclude-cases": [],
            "exclude-agent-cases": {},
        })
    }

    /// The suite has deadlines for each case; this one ends a run that hangs outside of them.
    fn deadline(&self) -> Duration {
        let cases = u32::try_from(self.cases.len()).unwrap_or(u32::MAX);
        (Duration::from_secs(300) + cases.saturating_mul(5) * Duration::from_secs(1)).min(NO_DEADLINE)
    }
}
