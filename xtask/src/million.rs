//! Very many connections: builds the program of `bench/million` and hands it the command line.

use anyhow::Result;
use clap::Args;

use crate::context::Context;
use crate::process;
use crate::tally::Tally;

/// The options of `cargo xtask million`, which the program reads.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// --connections N; --per-process N; --ping SECONDS; --size BYTES; --rounds N; --help
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENTS")]
    arguments: Vec<String>,
}

pub(crate) fn run(context: &Context, options: &Options) -> Result<Tally> {
    let bench = context.root.join("bench");
    let mut build = context.cargo();
    build.current_dir(&bench).args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "million",
        "--target-dir",
        "target",
    ]);
    if !process::run(build)? {
        println!("FAILED: the program does not build");
        return Ok(Tally::one(false));
    }
    let mut million = context.command(bench.join("target/release/million"));
    million.args(&options.arguments);
    Ok(Tally::one(process::run(million)?))
}
