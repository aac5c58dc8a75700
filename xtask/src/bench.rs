//! Measurements: builds the harness of `bench/`, a workspace of its own, and hands it the command line.

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::process;
use crate::tally::Tally;

/// The options of `cargo xtask bench`, which the harness reads.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// echo, broadcast, shards, deflate, tls, memory, parse; --quick; --only SERVER,…; --cells CELL,…; --list; --help
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

pub(crate) fn run(context: &Context, options: &Options) -> Result<Tally> {
    let bench = context.root.join("bench");
    let mut build = context.cargo();
    // It starts programs and adds up figures: nothing in it has to be fast.
    build
        .current_dir(&bench)
        .args(["build", "--quiet", "--package", "harness", "--target-dir", "target"]);
    if !process::run(build)? {
        println!("FAILED: the harness does not build");
        return Ok(Tally::one(false));
    }
    // Started directly: under `cargo run` the variables that are removed here would come back.
    let mut harness = context.command(bench.join("target/debug/harness"));
    harness.args(&options.arguments);
    Ok(Tally::one(process::run(harness)?))
}
