//! Dependencies: licences, duplicates, sources, and known vulnerabilities where their list can be had.

use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::process;
use crate::tally::Tally;
use crate::tools;

/// How long the list of advisories may take to come.
const FETCH_DEADLINE: Duration = Duration::from_secs(120);

/// `cargo deny check`, by the rules of `deny.toml`.
pub(crate) fn run(context: &Context) -> Result<Tally> {
    if !tools::cargo_tool(context, &tools::CARGO_DENY)? {
        return Ok(context.missing("cargo-deny", &tools::CARGO_DENY.hint()));
    }
    let mut sum = Tally::default();
    for check in ["bans", "licenses", "sources"] {
        let mut command = context.cargo();
        command.args(["deny", "--all-features", "check", "--hide-inclusion-graph", check]);
        sum += Tally::one(process::run(command)?);
    }
    // The list of advisories is a git repository of its own: a machine that builds from a mirror of the registry
    // may not reach it, and that says nothing about this tree. So it is skipped there, in CI too, but never silently.
    let mut fetch = context.cargo();
    fetch.args(["deny", "fetch", "db"]);
    if process::read(fetch, false, FETCH_DEADLINE)?.success {
        let mut command = context.cargo();
        command.args(["deny", "--all-features", "check", "--disable-fetch", "advisories"]);
        sum += Tally::one(process::run(command)?);
    } else {
        let what = "the list of advisories cannot be fetched; with a connection to it: cargo deny check advisories";
        println!("SKIPPED: {what}");
        sum.skipped.push(what.to_owned());
    }
    Ok(sum)
}
