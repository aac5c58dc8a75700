//! What an idle connection takes of the server's memory.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::environment::Environment;
use crate::process::{Asked, Running, load};
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
    /// The same over TLS, without deflate.
    pub(crate) tls: Option<f64>,
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
            tls: None,
            failure: None,
        };
        let plain = Asked::default();
        let (deflate, tls) = (Asked { deflate: true, ..plain }, Asked { tls: true, ..plain });
        let ways = [
            (true, plain, "plain", &mut row.plain),
            (server.has_deflate(), deflate, "with deflate", &mut row.deflate),
            (server.has_tls(), tls, "over TLS", &mut row.tls),
        ];
        for (_, asked, what, place) in ways.into_iter().filter(|way| way.0) {
            match once(args, environment, server, asked) {
                Ok(bytes) => *place = Some(bytes),
                Err(error) => row.failure = Some(format!("{what}: {error:#}")),
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

fn once(args: &Args, environment: &Environment, server: &Server, asked: Asked) -> Result<f64> {
    let running = Running::start(environment, server, asked)?;
    let connections = format!("--connections={}", args.connections());
    let mut arguments: Vec<String> = vec!["--memory".into(), connections];
    if asked.deflate {
        // Long enough that no server finds it too short to compress.
        arguments.extend(["--payload=json".into(), "--size=1024".into()]);
    }
    let measured: Measured = load(environment, &running, asked, &arguments)?;
    Ok(measured.bytes_per_connection)
}
