//! `sockeye-proto` without the standard library: a program that has none is linked, looked into, and run.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::context::Context;
use crate::process;
use crate::tally::Tally;
use crate::tools;

/// The program takes milliseconds.
const RUN_DEADLINE: Duration = Duration::from_secs(30);

const MANIFEST: &str = "conformance/no-std/Cargo.toml";

/// Links the program with each set of features that does without `std`.
pub(crate) fn run(context: &Context) -> Result<Tally> {
    if !cfg!(target_os = "linux") {
        let how = "its linker script is for ELF; on Linux: cargo xtask no-std";
        return Ok(context.missing("the no_std link", how));
    }
    if tools::find(&["nm"]).is_none() {
        return Ok(context.missing("nm", "to get it: install binutils"));
    }
    let mut sum = Tally::default();
    for features in ["", "deflate"] {
        let name = if features.is_empty() { "no features" } else { features };
        let result = link(context, features);
        match &result {
            Ok(found) => println!("no_std with {name}: linked, run, {found}"),
            Err(error) => println!("FAILED: no_std with {name}: {error:#}"),
        }
        sum += Tally::one(result.is_ok());
    }
    Ok(sum)
}

/// Links the program, looks for what must and must not be in it, and runs it.
fn link(context: &Context, features: &str) -> Result<String> {
    let target = context.target.join("no-std");
    let mut command = context.cargo();
    command.args(["build", "--release", "--locked", "--manifest-path", MANIFEST]);
    command.args(["--features", features, "--target-dir"]).arg(&target);
    // Flags meant for the main workspace (a sanitizer, coverage) would bring their own runtime.
    command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    anyhow::ensure!(process::run(command)?, "it does not link");

    let program = target.join("release").join("sockeye-no-std");
    let symbols = symbols(&program)?;
    let ours = symbols
        .iter()
        .filter(|symbol| symbol.contains("sockeye_proto::"))
        .count();
    anyhow::ensure!(ours > 0, "no symbol of sockeye_proto is in it");
    if let Some(symbol) = symbols.iter().find(|symbol| is_std(symbol)) {
        anyhow::bail!("it holds a part of std: {symbol}");
    }
    // It cannot say that it panicked: it spins.
    let finished = process::read(Command::new(&program), false, RUN_DEADLINE)?;
    anyhow::ensure!(
        finished.success,
        "it ran and did not exit with 0: an answer was wrong, or it panicked"
    );
    Ok(format!("{ours} symbols of sockeye_proto, none of std"))
}

/// The demangled names of all symbols.
fn symbols(program: &Path) -> Result<Vec<String>> {
    let mut command = Command::new("nm");
    command.arg("--demangle=rust").arg(program).env("LC_ALL", "C");
    let output = process::stdout_of(command)?;
    // `0000000000001149 t sockeye_proto::frame::decode`; undefined symbols have no address.
    let name = |line: &str| {
        line.trim_start_matches(|c: char| c.is_ascii_hexdigit() || c == ' ')
            .get(2..)
            .map(str::to_owned)
    };
    Ok(output.lines().filter_map(name).collect())
}

/// `std::…`, `<std::… as …>` and `__rust_start_panic`, which only std's panic runtime defines.
fn is_std(symbol: &str) -> bool {
    symbol.starts_with("std::")
        || symbol.contains("<std::")
        || symbol.contains(" std::")
        || symbol == "__rust_start_panic"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn std_is_told_from_what_mentions_it() {
        assert!(is_std("std::rt::lang_start"));
        assert!(is_std("<std::io::Error as core::fmt::Debug>::fmt"));
        assert!(is_std("<u8 as std::io::Read>::read"));
        assert!(!is_std("sockeye_proto::close::CloseCode::new"));
        assert!(!is_std("core::fmt::Formatter::pad"));
    }
}
