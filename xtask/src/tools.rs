//! Tools that a new machine may lack: how they are found, installed and asked for.
//!
//! At home nothing is installed unasked: a step says what is missing. In CI, and by `cargo xtask setup`, cargo's
//! tools are built under the build directory, and Chromium and the proxies come from the system's packages.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::context::Context;
use crate::process::{self, NO_DEADLINE};
use crate::tally::Tally;
use crate::{autobahn, interop, page};

/// A cargo subcommand and the version that is known to do.
#[derive(Debug)]
pub(crate) struct CargoTool {
    subcommand: &'static str,
    package: &'static str,
    version: &'static str,
}

/// Licences, duplicates, sources and advisories of dependencies.
pub(crate) const CARGO_DENY: CargoTool = CargoTool {
    subcommand: "deny",
    package: "cargo-deny",
    version: "0.20.2",
};

/// libFuzzer for crates.
pub(crate) const CARGO_FUZZ: CargoTool = CargoTool {
    subcommand: "fuzz",
    package: "cargo-fuzz",
    version: "0.13.2",
};

impl CargoTool {
    /// How to get it.
    pub(crate) fn hint(&self) -> String {
        format!(
            "to get it: cargo xtask setup, or cargo install {} --version {} --locked",
            self.package, self.version
        )
    }

    fn is_there(&self, context: &Context) -> Result<bool> {
        let mut command = context.cargo();
        command.args([self.subcommand, "--version"]);
        Ok(process::read(command, false, NO_DEADLINE)?.success)
    }

    /// Installs it under the build directory, without optimisation: it is built more often than it is run.
    fn install(&self, context: &Context) -> Result<bool> {
        let mut command = context.cargo();
        command.args([
            "install",
            self.package,
            "--version",
            self.version,
            "--locked",
            "--debug",
            "--root",
        ]);
        command.arg(context.tools());
        process::run(command)
    }
}

/// Whether a cargo subcommand is there, after an attempt to install it in CI.
pub(crate) fn cargo_tool(context: &Context, tool: &CargoTool) -> Result<bool> {
    Ok(tool.is_there(context)? || (context.ci && tool.install(context)? && tool.is_there(context)?))
}

/// The first of `names` that is a program on the `PATH`.
pub(crate) fn find(names: &[&str]) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let directories: Vec<PathBuf> = env::split_paths(&path).collect();
    names
        .iter()
        .flat_map(|name| directories.iter().map(move |directory| directory.join(name)))
        .find(|path| path.is_file())
}

/// What Chromium is called by those who package it.
const CHROMIUM_NAMES: [&str; 5] = [
    "chromium",
    "chromium-browser",
    "google-chrome",
    "google-chrome-stable",
    "chrome",
];

/// How to get Chromium.
pub(crate) const CHROMIUM_HINT: &str =
    "to get it: install your system's package (Debian: apt-get install chromium), or set CHROMIUM to its path";

/// Chromium: `$CHROMIUM`, or a program on the `PATH`, after an attempt to install Debian's package in CI.
pub(crate) fn chromium(context: &Context) -> Result<Option<PathBuf>> {
    if let Some(path) = env::var_os("CHROMIUM") {
        return Ok(Some(PathBuf::from(path)));
    }
    if let Some(path) = find(&CHROMIUM_NAMES) {
        return Ok(Some(path));
    }
    if context.ci {
        install_chromium()?;
    }
    Ok(find(&CHROMIUM_NAMES))
}

/// Debian's Chromium, and letters for it to draw.
fn install_chromium() -> Result<bool> {
    install_packages(&["chromium", "fonts-liberation"])
}

/// The proxies through which tests of the client go, after an attempt to install Debian's packages in CI. The tests say
/// that they skip too, where nobody sees it.
pub(crate) fn proxies(context: &Context) -> Result<Tally> {
    let mut sum = Tally::default();
    for name in PROXIES {
        if find(&[name]).is_none() && context.ci {
            install_packages(&[name])?;
        }
        if find(&[name]).is_none() {
            sum += context.missing(name, &format!("to get it: apt-get install {name}"));
        }
    }
    Ok(sum)
}

/// An HTTP proxy and a SOCKS5 proxy, each by the name of its program and of its package.
const PROXIES: [&str; 2] = ["tinyproxy", "microsocks"];

fn install_packages(packages: &[&str]) -> Result<bool> {
    if find(&["apt-get"]).is_none() {
        return Ok(false);
    }
    let mut update = Command::new("apt-get");
    update.args(["update", "-q"]);
    let mut install = Command::new("apt-get");
    install.env("DEBIAN_FRONTEND", "noninteractive");
    install.args(["install", "-qy", "--no-install-recommends"]);
    install.args(packages);
    Ok(process::run(update)? && process::run(install)?)
}

/// The full name of an installed toolchain, such as `nightly-x86_64-unknown-linux-gnu` for `nightly`.
pub(crate) fn toolchain(channel: &str) -> Result<Option<String>> {
    if find(&["rustup"]).is_none() {
        return Ok(None);
    }
    let mut command = Command::new("rustup");
    command.args(["toolchain", "list"]);
    let list = process::stdout_of(command)?;
    let mut names = list.lines().filter_map(|line| line.split_whitespace().next());
    let is_it = |name: &str| {
        name.strip_prefix(channel)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
    };
    Ok(names.find(|name| is_it(name)).map(str::to_owned))
}

/// Installs what can be installed, whether or not this is CI.
pub(crate) fn setup(context: &Context) -> Result<Tally> {
    let mut sum = Tally::default();
    for tool in [&CARGO_DENY, &CARGO_FUZZ] {
        sum += Tally::one(tool.is_there(context)? || tool.install(context)?);
    }
    let chromium = find(&CHROMIUM_NAMES).is_some() || install_chromium()?;
    if !chromium {
        println!("FAILED: no Chromium; {CHROMIUM_HINT}");
    }
    sum += Tally::one(chromium);
    sum += Tally::one(PROXIES.iter().all(|name| find(&[name]).is_some()) || install_packages(&PROXIES)?);
    sum += match page::install(context)? {
        Some(_) => Tally::one(true),
        None => context.missing("npm", page::NODE_HINT),
    };
    for (part, hint) in interop::PARTS {
        sum += match interop::lab::install(context, part)? {
            Some(_) => Tally::one(true),
            None => context.missing(&format!("what the {part} peers need"), hint),
        };
    }
    sum += match autobahn::install(context)? {
        Some(_) => Tally::one(true),
        None => context.missing("Python 2.7", autobahn::PYTHON_HINT),
    };
    Ok(sum)
}

/// The program `name` of this workspace, built as tests want it: optimised, and linked in seconds.
pub(crate) fn build(context: &Context, package: &str, name: &str) -> Result<PathBuf> {
    let mut command = context.cargo();
    command.args(["build", "--profile", "ci", "--package", package, "--bin", name]);
    if !process::run(command)? {
        bail!("{name} does not build");
    }
    Ok(context.target.join("ci").join(executable(name)))
}

fn executable(name: &str) -> PathBuf {
    Path::new(name).with_extension(env::consts::EXE_EXTENSION)
}
