//! Each fuzz target for a fixed number of inputs, with a fixed seed of the random source.
//!
//! That is a regression test, not a search: it proves that the targets build, that the committed seeds pass, and
//! that nothing shallow has broken. To search, run `cargo +nightly fuzz run TARGET` for hours.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;

use crate::context::Context;
use crate::process;
use crate::tally::Tally;
use crate::tools;

/// The options of `cargo xtask fuzz`.
#[derive(Debug, Clone, Args)]
pub(crate) struct Options {
    /// Inputs for each target
    #[arg(long, default_value_t = Self::default().runs)]
    runs: u32,
    /// Targets; all of them when none is given
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            runs: 20_000,
            targets: Vec::new(),
        }
    }
}

/// The longest input in bytes: past the second boundary of the frame header's length forms (65,535), as seldom as
/// libFuzzer makes long inputs.
const MAX_LENGTH: u32 = 70_000;

/// Seconds that one target may take for its inputs; 20,000 take a few.
const MAX_SECONDS: u32 = 15 * 60;

/// Builds all targets, then runs the chosen ones.
pub(crate) fn run(context: &Context, options: &Options) -> Result<Tally> {
    let Some(nightly) = tools::toolchain("nightly")? else {
        return Ok(context.missing("a nightly compiler", "to get it: rustup toolchain install nightly"));
    };
    if !tools::cargo_tool(context, &tools::CARGO_FUZZ)? {
        return Ok(context.missing("cargo-fuzz", &tools::CARGO_FUZZ.hint()));
    }
    let fuzz = Fuzz {
        context,
        toolchain: format!("+{nightly}"),
        directory: context.root.join("fuzz"),
    };
    let targets = fuzz.chosen(&options.targets)?;
    let mut build = fuzz.command(&["build"]);
    if let [target] = &options.targets[..] {
        build.arg(target);
    }
    if !process::run(build)? {
        println!("FAILED: the fuzz targets do not build");
        return Ok(Tally {
            failed: targets.len(),
            ..Tally::default()
        });
    }
    let mut sum = Tally::default();
    for target in &targets {
        sum += fuzz.run(target, options.runs)?;
    }
    Ok(sum)
}

struct Fuzz<'a> {
    context: &'a Context,
    /// Such as `+nightly-x86_64-unknown-linux-gnu`.
    toolchain: String,
    directory: PathBuf,
}

impl Fuzz<'_> {
    /// `cargo +nightly fuzz …`
    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = self.context.cargo();
        command.args([&self.toolchain, "fuzz"]).args(arguments);
        // The debug assertions stay on, so an overflow in arithmetic is found as well.
        command.env_remove("RUSTFLAGS");
        command
    }

    /// The targets that exist, or those of them that were asked for.
    fn chosen(&self, wanted: &[String]) -> Result<Vec<String>> {
        let list = process::stdout_of(self.command(&["list"]))?;
        let all: Vec<String> = list
            .lines()
            .map(|line| line.trim().to_owned())
            .filter(|line| !line.is_empty())
            .collect();
        if let Some(unknown) = wanted.iter().find(|target| !all.contains(target)) {
            bail!("no fuzz target {unknown}; there are {}", all.join(", "));
        }
        if all.is_empty() {
            bail!("there is no fuzz target");
        }
        Ok(if wanted.is_empty() { all } else { wanted.to_vec() })
    }

    /// Runs one target from its seeds; what libFuzzer finds on the way goes to `fuzz/corpus`, which is not committed.
    fn run(&self, target: &str, runs: u32) -> Result<Tally> {
        let seeds = self.directory.join("seeds").join(target);
        if !seeds.is_dir() {
            println!("FAILED: fuzz {target}: no seeds in {}", seeds.display());
            return Ok(Tally::one(false));
        }
        // An empty corpus, so that the same tree gives the same run.
        let corpus = self.context.target.join("fuzz-corpus").join(target);
        if corpus.exists() {
            fs::remove_dir_all(&corpus)?;
        }
        fs::create_dir_all(&corpus)?;
        let mut command = self.command(&["run", target]);
        command.arg(&corpus).arg(&seeds).arg("--");
        command.args([format!("-runs={runs}"), format!("-max_len={MAX_LENGTH}")]);
        command.arg(format!("-max_total_time={MAX_SECONDS}"));
        command.args(["-seed=1", "-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1"]);
        // libFuzzer keeps to its own limit of time; the deadline is for a build that hangs.
        let finished = process::read(command, false, Duration::from_secs(2 * u64::from(MAX_SECONDS)))?;
        let executed = executed(&finished.lines);
        let passed = finished.success && executed >= u64::from(runs);
        if passed {
            println!("fuzz {target}: {executed} inputs");
        } else {
            println!("{}", tail(&finished.lines, 60));
            println!("FAILED: fuzz {target} after {executed} inputs; if there is one in fuzz/artifacts/{target},");
            println!("FAILED: make it a regression test");
        }
        Ok(Tally::one(passed))
    }
}

/// How many inputs were run: `stat::number_of_executed_units: 20000`.
fn executed(lines: &[String]) -> u64 {
    let count = lines
        .iter()
        .rev()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    count.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn tail(lines: &[String], count: usize) -> String {
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_final_statistics_are_read() {
        let lines = [
            "#2 INITED",
            "stat::number_of_executed_units: 20000",
            "stat::average_exec_per_sec:     4000",
        ];
        assert_eq!(executed(&lines.map(String::from)), 20_000);
        assert_eq!(executed(&[]), 0);
    }

    #[test]
    fn the_tail_of_a_short_log_is_the_log() {
        let lines = ["a", "b", "c"].map(String::from);
        assert_eq!(tail(&lines, 2), "b\nc");
        assert_eq!(tail(&lines, 9), "a\nb\nc");
    }
}
