//! What an idle connection takes of the server's memory.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::environment::Environment;
use crate::process::{Running, load};
use crate::servers::Server;
use crate::{Args, Task, report};

/// What the load generator answers; it explains what is counted.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    bytes_per_connection: f64,
}

/// One server.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) server: String,
    pub(crate) label: String,
    pub(crate) version: String,
    /// Bytes for a connection.
    pub(crate) plain: Option<f64>,
    /// The same with permessage-deflate negotiated.
    pub(crate) deflate: Option<f64>,
    pub(crate) failure: Option<String>,
}

/// Measures every server once: memory does not drift as time does. False when one failed.
pub(crate) fn run(args: &Args, environment: &Environment, chosen: &[&Server], output: &Path) -> Result<bool> {
    println!("\n==== memory: {} idle connections ====", args.connections());
    let mut rows = Vec::new();
    for server in chosen.iter().filter(|server| server.serves(Task::Memory)) {
        let mut row = Row {
            server: server.name.clone(),
            label: server.label.clone(),
            version: server.version(),
            plain: None,
            deflate: None,
            failure: None,
        };
        match once(args, environment, server, false) {
            Ok(bytes) => row.plain = Some(bytes),
            Err(error) => row.failure = Some(format!("{error:#}")),
        }
        if server.has_deflate() {
            match once(args, environment, server, true) {
                Ok(bytes) => row.deflate = Some(bytes),
                Err(error) => row.failure = Some(format!("with deflate: {error:#}")),
            }
        }
        if let Some(failure) = &row.failure {
            println!("FAILED: {}: {failure}", server.name);
        }
        rows.push(row);
    }
    print!("{}", report::memory_table(&rows));
    let settings = json!({ "connections": args.connections(), "quick": args.quick });
    let record = json!({ "environment": environment.describe(), "settings": settings, "servers": &rows });
    report::write_json(&output.join("memory.json"), &record)?;
    std::fs::write(output.join("memory.md"), report::memory_page(&record, &rows))?;
    Ok(rows.iter().all(|row| row.failure.is_none()))
}

fn once(args: &Args, environment: &Environment, server: &Server, deflate: bool) -> Result<f64> {
    let running = Running::start(environment, server, Task::Memory, deflate)?;
    let connections = format!("--connections={}", args.connections());
    let mut arguments: Vec<String> = vec!["--memory".into(), connections];
    if deflate {
        // Long enough that no server finds it too short to compress.
        arguments.extend(["--deflate".into(), "--payload=json".into(), "--size=1024".into()]);
    }
    let measured: Measured = load(environment, &running, &arguments)?;
    Ok(measured.bytes_per_connection)
}
