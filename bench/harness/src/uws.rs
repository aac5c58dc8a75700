//! uWebSockets: our echo server, compiled against the sources that a crate ships.
//!
//! The crate's own build wants libuv, OpenSSL and bindgen; nothing of that is needed for epoll without TLS, so cargo only
//! fetches the sources and checks them against a lock file.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::servers::locked;

/// The crate that ships the sources.
const CRATE: &str = "libuwebsockets-sys";

/// The C part; the C++ part is headers alone.
const C_FILES: [&str; 6] = [
    "bsd.c",
    "context.c",
    "loop.c",
    "socket.c",
    "udp.c",
    "eventing/epoll_kqueue.c",
];

/// As optimised as the Rust servers: whole program, baseline instructions.
const FLAGS: [&str; 6] = [
    "-O3",
    "-flto=auto",
    "-DNDEBUG",
    "-DLIBUS_NO_SSL",
    "-DLIBUS_USE_EPOLL",
    "-w",
];

/// Compiles the server unless it is newer than what it is made of; false, with a reason, when it cannot be.
pub(crate) fn build(bench: &Path, program: &Path) -> Result<bool> {
    let directory = bench.join("servers/uws");
    let source = directory.join("echo.cpp");
    let lock = directory.join("sources/Cargo.lock");
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    if let Ok(built) = modified(program)
        && [&source, &lock]
            .iter()
            .all(|path| modified(path).is_ok_and(|changed| changed < built))
    {
        return Ok(true);
    }
    println!("building uWebSockets");
    let Some(sources) = fetch(&directory.join("sources/Cargo.toml"))? else {
        println!("the sources of uWebSockets cannot be fetched");
        return Ok(false);
    };
    let objects = program.parent().context("a program without a directory")?;
    std::fs::create_dir_all(objects)?;
    let (web, sockets) = (
        sources.join("uWebSockets/src"),
        sources.join("uWebSockets/uSockets/src"),
    );
    let mut link = Command::new("g++");
    link.arg("-std=c++20")
        .args(FLAGS)
        .arg("-I")
        .arg(&web)
        .arg("-I")
        .arg(&sockets);
    link.arg(&source);
    for file in C_FILES {
        let object = objects.join(file.replace('/', "-")).with_extension("o");
        let mut compile = Command::new("gcc");
        compile
            .args(FLAGS)
            .arg("-I")
            .arg(&sockets)
            .arg("-c")
            .arg(sockets.join(file))
            .arg("-o")
            .arg(&object);
        if !succeeds(compile) {
            return Ok(false);
        }
        link.arg(object);
    }
    link.arg("-o").arg(program).arg("-lz");
    let linked = succeeds(link);
    if !linked {
        println!("uWebSockets needs g++ and zlib's headers (Debian: apt-get install g++ zlib1g-dev)");
    }
    Ok(linked)
}

/// Has cargo fetch the crate, and asks it where.
fn fetch(manifest: &Path) -> Result<Option<PathBuf>> {
    let mut fetch = Command::new("cargo");
    fetch
        .args(["fetch", "--quiet", "--locked", "--manifest-path"])
        .arg(manifest);
    if !succeeds(fetch) {
        return Ok(None);
    }
    let mut metadata = Command::new("cargo");
    metadata
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--offline",
            "--manifest-path",
        ])
        .arg(manifest);
    let output = metadata.stdin(Stdio::null()).output().context("cannot run cargo")?;
    if !output.status.success() {
        bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    }
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"]
        .as_array()
        .context("cargo metadata lists no packages")?;
    let package = packages.iter().find(|package| package["name"] == CRATE);
    let path = package
        .and_then(|package| package["manifest_path"].as_str())
        .map(Path::new);
    Ok(path.and_then(Path::parent).map(Path::to_path_buf))
}

/// The version of the crate that the sources come from.
pub(crate) fn version(bench: &Path) -> String {
    let lock = bench.join("servers/uws/sources/Cargo.lock");
    format!("as in {CRATE} {}", locked(&lock, CRATE).unwrap_or_default())
}

fn succeeds(mut command: Command) -> bool {
    command
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
