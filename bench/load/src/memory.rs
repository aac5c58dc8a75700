//! What an idle connection costs the server's process.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::Args;
use crate::deflate;
use crate::frames::Batch;
use crate::proc;
use crate::transport::{Connector, Transport};

/// Connections before the first look: what a server makes once, for the first of them, belongs to none.
const FIRST: usize = 16;

/// Connects, lets each connection echo one batch, and compares the server's memory before and after.
///
/// What is counted is the growth of Private_Dirty: the server's heap and stacks. The kernel's memory for a socket
/// (about 3.8 KB an end) is the same whatever the server does, and is not in it.
pub(crate) fn run(args: &Args, pid: u32) -> Result<Value> {
    let batch = Batch::new(args);
    let connector = Connector::new(args)?;
    let mut connections = Vec::with_capacity(FIRST + args.connections);
    let mut open = |count| -> Result<u64> {
        for _ in 0..count {
            let mut connection = connector.connect()?;
            exchange(&mut connection, &batch)?;
            connections.push(connection);
        }
        // Whatever the server still did for the others is done when it has answered the first again.
        let first = connections.first_mut().context("there is no connection")?;
        exchange(first, &batch)?;
        proc::private_dirty(pid)
    };
    let before = open(FIRST)?;
    let after = open(args.connections)?;
    Ok(json!({
        "connections": args.connections,
        "before_bytes": before,
        "after_bytes": after,
        "bytes_per_connection": after.saturating_sub(before) as f64 / args.connections as f64,
    }))
}

/// One batch there and back, on a socket that blocks.
fn exchange(connection: &mut Transport, batch: &Batch) -> Result<()> {
    connection.write_all(&batch.sent)?;
    connection.flush()?;
    let mut answer = vec![0; batch.expected.len()];
    if !answer.is_empty() {
        connection.read_exact(&mut answer)?;
        ensure!(answer == batch.expected, "a message came back changed");
        return Ok(());
    }
    // Compressed: only the server knows how long it is.
    while !deflate::check(batch, &answer)? {
        let mut buffer = [0; 4096];
        let length = connection.read(&mut buffer)?;
        ensure!(length > 0, "the server closed the connection");
        answer.extend_from_slice(&buffer[..length]);
    }
    Ok(())
}
