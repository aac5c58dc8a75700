//! Where the tree, the build directory and the installed tools are, and whether this is CI.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::tally::Tally;

/// What every step needs to know about where it runs.
#[derive(Debug)]
pub(crate) struct Context {
    /// The root of the workspace.
    pub(crate) root: PathBuf,
    /// Cargo's build directory.
    pub(crate) target: PathBuf,
    /// Where the Autobahn environment, node modules and reports go.
    pub(crate) lab: PathBuf,
    /// `CI` is set: missing tools are installed, and those that cannot be are failures.
    pub(crate) ci: bool,
    /// `cargo metadata` of the workspace, without dependencies.
    pub(crate) metadata: Value,
}

impl Context {
    pub(crate) fn new() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask has no parent directory")?;
        let output = Command::new("cargo")
            .args(["metadata", "--format-version", "1", "--no-deps"])
            .current_dir(root)
            .output()
            .context("cannot run cargo")?;
        if !output.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout).context("cargo metadata is not JSON")?;
        let target = metadata["target_directory"]
            .as_str()
            .context("cargo metadata names no target directory")?;
        let target = PathBuf::from(target);
        let lab = env::var_os("SOCKEYE_CONFORMANCE_DIR").map_or_else(|| target.join("conformance"), PathBuf::from);
        Ok(Self {
            root: root.to_path_buf(),
            lab: root.join(lab),
            target,
            ci: env::var("CI").is_ok_and(|value| matches!(value.as_str(), "true" | "1")),
            metadata,
        })
    }

    /// Where `cargo install` puts the tools that [`crate::tools`] installs.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// `cargo`, in the root of the workspace, able to see the installed tools.
    ///
    /// `cargo run` tells the program it starts about the package it built. A nested cargo must not hear that:
    /// some build scripts ask to be run again when such a variable changes.
    pub(crate) fn cargo(&self) -> Command {
        self.command("cargo")
    }

    /// A program that will run cargo itself, as [`cargo`](Self::cargo) would.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root);
        for (name, _) in env::vars_os() {
            let text = name.to_string_lossy();
            let told_by_cargo = text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_");
            if told_by_cargo || matches!(&*text, "CARGO_BIN_NAME" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE") {
                command.env_remove(&name);
            }
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let directories = env::split_paths(&path).chain([self.tools().join("bin")]);
        if let Ok(joined) = env::join_paths(directories) {
            command.env("PATH", joined);
        }
        command
    }

    /// A check that cannot be made because something is not installed: skipped at home, failed in CI.
    pub(crate) fn missing(&self, what: &str, how: &str) -> Tally {
        if self.ci {
            println!("FAILED: {what} is not available; {how}");
            Tally::one(false)
        } else {
            println!("SKIPPED: {what} is not available; {how}");
            Tally {
                skipped: vec![format!("{what} is not available; {how}")],
                ..Tally::default()
            }
        }
    }
}
