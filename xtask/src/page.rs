//! The page of `sockeye serve` in headless Chromium, driven by `conformance/page/check.mjs`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::context::Context;
use crate::process::{self, Background, NO_DEADLINE};
use crate::tally::Tally;
use crate::tools;

/// How to get what drives the browser.
pub(crate) const NODE_HINT: &str =
    "to get it: install Node.js 20 or newer with npm (Debian: apt-get install nodejs npm)";

/// What the server may take to print its first line.
const START: Duration = Duration::from_secs(60);

/// What the whole check may take; it takes seconds.
const DEADLINE: Duration = Duration::from_secs(5 * 60);

/// The options of `cargo xtask page`.
#[derive(Debug, Default, Clone, Args)]
pub(crate) struct Options {
    /// Write PNG files of the page here: light, dark, and at the width of a phone
    #[arg(long, value_name = "DIR")]
    screenshots: Option<PathBuf>,
    /// Check the page at this URL instead of starting `sockeye serve`
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

/// Starts the server and the browser, and counts the checks.
pub(crate) fn run(context: &Context, options: &Options) -> Result<Tally> {
    let Some(chromium) = tools::chromium(context)? else {
        return Ok(context.missing("Chromium", tools::CHROMIUM_HINT));
    };
    let Some(modules) = install(context)? else {
        return Ok(context.missing("Node.js with npm", NODE_HINT));
    };
    let (_server, url) = match &options.url {
        Some(url) => (None, url.clone()),
        None => {
            let mut command = Command::new(tools::build(context, "sockeye-cli", "sockeye")?);
            command.args(["serve", "--listen", "127.0.0.1:0"]);
            let (server, url) = Background::serve(command, &modules.join("server.log"), START)?;
            (Some(server), url)
        }
    };
    let mut command = Command::new("node");
    command.arg(context.root.join("conformance/page/check.mjs"));
    command
        .args(["--url", &url, "--chromium"])
        .arg(&chromium)
        .arg("--modules")
        .arg(&modules);
    if let Some(directory) = &options.screenshots {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        command.arg("--screenshots").arg(directory);
    }
    let finished = process::read(command, true, DEADLINE)?;
    let count = |prefix: &str| finished.lines.iter().filter(|line| line.starts_with(prefix)).count();
    let (passed, failed) = (count("PASS "), count("FAIL "));
    // A check that dies by an exception prints no FAIL line, and one that checks nothing none at all.
    Ok(Tally::counted(passed, failed, finished.success && passed > 0))
}

/// Installs what drives the browser unless it is there; `None` without Node.js.
pub(crate) fn install(context: &Context) -> Result<Option<PathBuf>> {
    if tools::find(&["node"]).is_none() || tools::find(&["npm"]).is_none() {
        return Ok(None);
    }
    let source = context.root.join("conformance/page");
    let directory = context.lab.join("page");
    let lock = fs::read(source.join("package-lock.json")).context("cannot read conformance/page/package-lock.json")?;
    let stamp = directory.join("installed-package-lock.json");
    if fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(Some(directory));
    }
    fs::create_dir_all(&directory)?;
    for name in ["package.json", "package-lock.json"] {
        fs::copy(source.join(name), directory.join(name))?;
    }
    let mut command = Command::new("npm");
    command
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(&directory);
    println!("$ {}", process::shown(&command));
    let finished = process::read(command, false, NO_DEADLINE)?;
    if !finished.success {
        bail!("npm ci failed: {}", finished.lines.join("\n"));
    }
    fs::write(&stamp, lock)?;
    Ok(Some(directory))
}
