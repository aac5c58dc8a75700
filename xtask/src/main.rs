//! The project's own commands: `cargo xtask test` is what a contributor runs and all that CI runs.
//!
//! Each step lives in a file of its own and answers with a [`tally::Tally`]; `steps.rs` lists them, times them and
//! prints the sum. Nothing here is published, and nothing here is needed to build the crates.
#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

mod autobahn;
mod bench;
mod checks;
mod context;
mod deny;
mod features;
mod fuzz;
mod interop;
mod million;
mod no_std;
mod page;
mod process;
mod steps;
mod tally;
#[cfg(test)]
mod threats;
mod tools;
mod unsafe_scan;

use context::Context;
use tally::Tally;

/// The project's own commands.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every check; the last line is `N passed, N failed`
    ///
    /// A step that fails does not stop the others. A step whose tool is not installed is skipped with a line that
    /// says how to get the tool; with CI=true in the environment it is installed where that is possible, and fails
    /// where it is not.
    Test(TestArgs),
    /// Hold the server and the client against the Autobahn test suite
    ///
    /// Without a pattern: sections 1 to 10 and the short half of 12 and 13 (compression). A case passes when its
    /// behaviour and its close are both OK or INFORMATIONAL. Needs Python 2.7.
    Autobahn(autobahn::Options),
    /// Run each fuzz target for a fixed number of inputs, from the seeds in fuzz/seeds
    Fuzz(fuzz::Options),
    /// Open the page of `sockeye serve` in headless Chromium: chat between two tabs, watch the ticker
    Page(page::Options),
    /// Hold both roles against browsers, Node.js, Python, websocketd and proxies, and write docs/interop.md
    ///
    /// A cell that fails is a failure, unless xtask/src/interop/peers.rs knows it for the peer's own.
    Interop(interop::Options),
    /// Measure Sockeye against other implementations and against the kernel; `bench --help` says what and how
    ///
    /// bench/README.md explains what is measured. The servers are in a workspace of their own, so nothing else pays
    /// for them.
    #[command(disable_help_flag = true)]
    Bench(bench::Options),
    /// Open very many connections to the engine, on this machine, by as many processes as that takes
    ///
    /// Reports the time to connect, the memory of a connection, and how long a message takes to reach all of them.
    /// `million --help` says how many and how; docs/engine.md has figures.
    #[command(disable_help_flag = true)]
    Million(million::Options),
    /// Check every crate with each of its features alone, all together, and none
    Features,
    /// Link (and run) a program without the standard library
    NoStd,
    /// Install what the steps need: cargo-fuzz and cargo-deny under target/, Autobahn, peers, programs by apt-get
    Setup,
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Only what takes seconds once built: formatting, lints, tests, doc tests, the scan for `unsafe`
    #[arg(long)]
    quick: bool,
    /// Run this step alone; may be given several times
    #[arg(long, value_name = "STEP", value_parser = clap::builder::PossibleValuesParser::new(steps::names()))]
    only: Vec<String>,
}

fn main() -> ExitCode {
    match run(Cli::parse().task) {
        Ok(tally) => {
            println!("{tally}");
            ExitCode::from(u8::from(!tally.is_clean()))
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            println!("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<Tally> {
    let context = Context::new()?;
    match task {
        Task::Test(args) => Ok(steps::run(&context, args.quick, &args.only)),
        Task::Autobahn(options) => autobahn::run(&context, &options),
        Task::Fuzz(options) => fuzz::run(&context, &options),
        Task::Page(options) => page::run(&context, &options),
        Task::Interop(options) => interop::run(&context, &options),
        Task::Bench(options) => bench::run(&context, &options),
        Task::Million(options) => million::run(&context, &options),
        Task::Features => features::run(&context),
        Task::NoStd => no_std::run(&context),
        Task::Setup => tools::setup(&context),
    }
}
