//! `cargo xtask bench`: builds the servers, runs the load against them in turn, and writes what came out.
//!
//! What makes the figures comparable is done here and asked of nobody: a network namespace with a congestion control
//! that suits loopback, cores of their own for server and load, the references measured again every few runs, and
//! ratios to the runs that lie next to each other in time. `bench/README.md` says why.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, ValueEnum};

mod cells;
mod echo;
mod environment;
mod memory;
mod plot;
mod process;
mod report;
mod servers;
mod stats;
mod uws;

use environment::{Environment, Namespace};
use servers::{Server, Servers};

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
enum Task {
    /// Messages there and back: server CPU per message, rates, latencies
    Echo,
    /// From one to many: server CPU per delivery, rates, latencies
    Broadcast,
    /// One shard of the engine, and two
    Shards,
    /// The same under permessage-deflate without context takeover
    Deflate,
    /// The same over TLS
    Tls,
    /// What an idle connection takes of the server's memory
    Memory,
    /// Masking, UTF-8 and headers alone, by the micro-benchmarks of `sockeye-proto`
    Parse,
}

/// Measure Sockeye against other implementations, and both against the kernel
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", max_term_width = 100)]
struct Args {
    /// What to measure; everything when nothing is given
    #[arg(value_enum)]
    tasks: Vec<Task>,
    /// Few and short runs: shows that everything works, proves nothing
    #[arg(long)]
    quick: bool,
    /// These servers alone, beside the references
    #[arg(long, value_name = "SERVER", value_delimiter = ',')]
    only: Vec<String>,
    /// These cells alone: whole names, or parts of names
    #[arg(long, value_name = "CELL", value_delimiter = ',')]
    cells: Vec<String>,
    /// Rounds, each with new processes of every server [default: 5, quick: 1]
    #[arg(long)]
    repeats: Option<usize>,
    /// Turns of each process: every server has one before any has the next [default: 20, quick: 5]
    #[arg(long)]
    turns: Option<usize>,
    /// Seconds measured in each turn [default: 0.05]
    #[arg(long)]
    seconds: Option<f64>,
    /// Idle connections [default: 2000, quick: 500]
    #[arg(long)]
    connections: Option<usize>,
    /// Where tables, JSON and plots go, from the project's root [default: docs/benchmarks; bench/target/results for a part or
    /// with --quick]
    #[arg(long, value_name = "DIRECTORY")]
    output: Option<PathBuf>,
    /// List servers and cells, and do nothing
    #[arg(long)]
    list: bool,
    /// The servers are built, and the network namespace is our own or the machine's; not for people
    #[arg(long, hide = true, value_enum)]
    inside: Option<Namespace>,
    /// Servers that did not build; not for people
    #[arg(long, hide = true, value_delimiter = ',')]
    without: Vec<String>,
}

impl Args {
    fn repeats(&self) -> usize {
        self.repeats.unwrap_or(if self.quick { 1 } else { 5 }).max(1)
    }

    fn turns(&self) -> usize {
        self.turns.unwrap_or(if self.quick { 5 } else { 20 }).max(1)
    }

    fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(0.05)
    }

    fn warm_up(&self, server: &Server) -> f64 {
        server.warm_up().unwrap_or(if self.quick { 0.15 } else { 0.3 })
    }

    fn connections(&self) -> usize {
        self.connections.unwrap_or(if self.quick { 500 } else { 2000 })
    }

    /// The tasks in their order, each once.
    fn tasks(&self) -> BTreeSet<Task> {
        let all = Task::value_variants().iter();
        all.filter(|task| self.tasks.is_empty() || self.tasks.contains(task))
            .copied()
            .collect()
    }

    /// A part of the tables never replaces the whole.
    fn output(&self, bench: &Path) -> PathBuf {
        let partial = self.quick || !self.only.is_empty() || !self.cells.is_empty();
        match &self.output {
            Some(output) => bench.join("..").join(output),
            None if partial => bench.join("target/results"),
            None => bench.join("../docs/benchmarks"),
        }
    }
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether everything that was there to be measured was.
fn run(args: &Args) -> Result<bool> {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("the harness has no parent directory")?;
    let servers = Servers::load(bench)?;
    if args.list {
        list(&servers);
        return Ok(true);
    }
    servers.check_names(&args.only)?;
    if let Some(unknown) = args.cells.iter().find(|name| !cells::exists(name)) {
        bail!("there is no cell {unknown}; `--list` lists them");
    }
    let tasks = args.tasks();
    if let Some(namespace) = args.inside {
        return measure(args, &Environment::prepare(bench, namespace)?, &servers);
    }
    let mut ok = true;
    if tasks.iter().any(|task| *task != Task::Parse) {
        let without = servers.build(args)?;
        ok = environment::isolated(bench, &without)?;
    }
    if tasks.contains(&Task::Parse) {
        ok &= process::parse(bench, args.quick)?;
    }
    Ok(ok)
}

fn list(servers: &Servers) {
    println!("servers:");
    for server in &servers.all {
        println!("  {:<26} {}", server.name, server.label);
    }
    println!("cells:");
    for cell in cells::ALL {
        println!("  {:<26} {}", cell.name, cell.label);
    }
}

/// Everything but `parse`, in the namespace where it is to be measured.
fn measure(args: &Args, environment: &Environment, servers: &Servers) -> Result<bool> {
    let output = args.output(&environment.bench);
    std::fs::create_dir_all(&output).with_context(|| format!("cannot create {}", output.display()))?;
    let chosen: Vec<&Server> = servers.wanted(args).collect();
    if chosen.is_empty() {
        bail!("no server is there to be measured");
    }
    let mut ok = true;
    for task in args.tasks() {
        ok &= match task {
            Task::Parse => true,
            Task::Memory => memory::run(args, environment, &chosen, &output)?,
            Task::Echo | Task::Broadcast | Task::Shards | Task::Deflate | Task::Tls => {
                echo::run(args, environment, task, &chosen, &output)?
            }
        };
    }
    println!("written to {}", output.display());
    Ok(ok)
}
