//! What cargo itself checks: formatting, lints, tests, examples in the docs, the docs.

use std::io::IsTerminal;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::context::Context;
use crate::process::{self, NO_DEADLINE, plain};
use crate::tally::Tally;
use crate::tools;

/// Workspaces of their own, beside the main one.
const OTHER_MANIFESTS: [&str; 4] = [
    "fuzz/Cargo.toml",
    "conformance/no-std/Cargo.toml",
    "bench/Cargo.toml",
    "bench/peers/Cargo.toml",
];

/// `cargo fmt --check`, in every workspace of the tree.
pub(crate) fn format(context: &Context) -> Result<Tally> {
    let mut sum = Tally::default();
    let mut command = context.cargo();
    command.args(["fmt", "--all", "--check"]);
    sum += Tally::one(process::run(command)?);
    for manifest in OTHER_MANIFESTS {
        let mut command = context.cargo();
        command.args(["fmt", "--all", "--check", "--manifest-path", manifest]);
        sum += Tally::one(process::run(command)?);
    }
    Ok(sum)
}

/// Clippy over everything that the main workspace holds; a warning is an error.
pub(crate) fn clippy(context: &Context) -> Result<Tally> {
    let mut command = context.cargo();
    command.args([
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--",
        "-D",
        "warnings",
    ]);
    Ok(Tally::one(process::run(command)?))
}

/// Unit, integration and property tests, by cargo-nextest where it is installed.
pub(crate) fn tests(context: &Context) -> Result<Tally> {
    let mut sum = tools::proxies(context)?;
    let mut version = context.cargo();
    version.args(["nextest", "--version"]);
    let mut command = context.cargo();
    if process::read(version, false, NO_DEADLINE)?.success {
        let profile = if context.ci { "ci" } else { "default" };
        command.args(["nextest", "run", "--workspace", "--all-features", "--profile", profile]);
        sum += counted(command, nextest_summary)?;
        return Ok(sum);
    }
    println!("NOTE: cargo-nextest is not installed, so the tests run under `cargo test`;");
    println!("NOTE: to get it: cargo install cargo-nextest --locked");
    command.args([
        "test",
        "--workspace",
        "--all-features",
        "--all-targets",
        "--no-fail-fast",
    ]);
    sum += counted(command, libtest_summary)?;
    Ok(sum)
}

/// The examples in the docs.
pub(crate) fn doc_tests(context: &Context) -> Result<Tally> {
    let mut command = context.cargo();
    command.args(["test", "--doc", "--workspace", "--all-features", "--no-fail-fast"]);
    counted(command, libtest_summary)
}

/// The docs, without a warning.
pub(crate) fn docs(context: &Context) -> Result<Tally> {
    let mut command = context.cargo();
    command.args(["doc", "--workspace", "--all-features", "--no-deps"]);
    command.env("RUSTDOCFLAGS", "-D warnings");
    Ok(Tally::one(process::run(command)?))
}

/// The oldest compiler that the crates promise to build with: the one in use, or another that is installed.
pub(crate) fn msrv(context: &Context) -> Result<Tally> {
    let promised = context.metadata["packages"][0]["rust_version"].as_str();
    let promised = promised.context("the crates state no rust-version")?;
    let mut version = Command::new("rustc");
    version.arg("--version").current_dir(&context.root);
    if is_version(&process::stdout_of(version)?, promised) {
        println!("rustc is {promised}, which every step proves");
        return Ok(Tally::one(true));
    }
    let Some(toolchain) = tools::toolchain(promised)? else {
        let how = format!("to get it: rustup toolchain install {promised} --profile minimal");
        return Ok(context.missing(&format!("rustc {promised}"), &how));
    };
    let mut command = context.cargo();
    command.args([&format!("+{toolchain}"), "check", "--all-features"]);
    // Two compilers would take turns in rebuilding one directory.
    command.arg("--target-dir").arg(context.target.join("msrv"));
    Ok(Tally::one(process::run(command)?))
}

/// Whether `rustc 1.95.0 (59807616e 2026-04-14)` is 1.95.
fn is_version(printed: &str, wanted: &str) -> bool {
    let number = printed.split(' ').nth(1).unwrap_or_default();
    number == wanted || number.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('.'))
}

/// Runs a test runner and adds up the lines that `summary` understands.
fn counted(mut command: Command, summary: fn(&str) -> Option<(usize, usize)>) -> Result<Tally> {
    if std::io::stdout().is_terminal() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let finished = process::read(command, true, NO_DEADLINE)?;
    let counts = finished.lines.iter().filter_map(|line| summary(&plain(line)));
    let (passed, failed) = counts.fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
    Ok(Tally::counted(passed, failed, finished.success))
}

/// `Summary [ 1.234s] 7 tests run: 4 passed (1 slow), 2 failed, 1 timed out, 3 skipped`
fn nextest_summary(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.trim_start().strip_prefix("Summary [")?.split_once(" run: ")?;
    let (mut passed, mut failed) = (0, 0);
    for part in counts.split(", ") {
        let (number, what) = part.trim().split_once(' ')?;
        let number: usize = number.parse().ok()?;
        match what.split(' ').next()? {
            "passed" => passed += number,
            "skipped" => {}
            // failed, timed out, exec failed
            _ => failed += number,
        }
    }
    Some((passed, failed))
}

/// `test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s`
fn libtest_summary(line: &str) -> Option<(usize, usize)> {
    let (_, counts) = line.trim_start().strip_prefix("test result: ")?.split_once(". ")?;
    let mut numbers = counts.split("; ").map(|part| part.split(' ').next().unwrap_or(""));
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        assert!(is_version("rustc 1.95.0 (59807616e 2026-04-14)", "1.95"));
        assert!(is_version("rustc 1.95.0 (59807616e 2026-04-14)", "1.95.0"));
        assert!(!is_version("rustc 1.950.0 (59807616e 2026-04-14)", "1.95"));
        assert!(!is_version("rustc 1.97.0-nightly (e50aa6fba 2026-05-19)", "1.95"));
    }

    #[test]
    fn nextest_summaries_are_read() {
        let line = "     Summary [   0.012s] 7 tests run: 4 passed (1 slow), 2 failed, 1 timed out, 3 skipped";
        assert_eq!(nextest_summary(line), Some((4, 3)));
        assert_eq!(
            nextest_summary("Summary [ 1s] 1 test run: 1 passed, 0 skipped"),
            Some((1, 0))
        );
        assert_eq!(nextest_summary("        PASS [   0.012s] a::b"), None);
    }

    #[test]
    fn nextest_summaries_of_a_cancelled_run_are_read() {
        assert_eq!(
            nextest_summary("Summary [ 1s] 1/9 tests run: 0 passed, 1 failed, 0 skipped"),
            Some((0, 1))
        );
    }

    #[test]
    fn libtest_summaries_are_read() {
        let line = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.1s";
        assert_eq!(libtest_summary(line), Some((3, 1)));
        assert_eq!(libtest_summary("test a ... ok"), None);
    }
}
