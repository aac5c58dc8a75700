//! The closed loop over all connections: each sends a batch, waits for all of its answer, and sends again.

use std::os::fd::AsRawFd as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use serde_json::Value;

use crate::Args;
use crate::connection::{Buffers, Connection};
use crate::frames::Batch;
use crate::transport::Connector;
use crate::window::Window;

/// Connects, warms up, measures.
pub(crate) fn run(args: &Args) -> Result<Value> {
    let mut batch = Batch::new(args);
    let mut poll = Poll::new()?;
    let mut connections = connect(args, &poll, args.connections)?;
    let mut window = Window::new(args)?;
    let mut buffers = Buffers::new();
    let mut events = Events::with_capacity(connections.len().max(16));
    let depth = args.depth as u64;
    for connection in &mut connections {
        connection.start(&batch, Instant::now())?;
    }
    loop {
        poll.poll(&mut events, Some(window.patience()))
            .context("cannot wait for events")?;
        for event in &events {
            let connection = &mut connections[event.token().0];
            if event.is_writable() {
                connection.write(&batch)?;
            }
            if event.is_readable()
                && let Some(since) = connection.read(&mut batch, &mut buffers)?
            {
                let now = Instant::now();
                window.arrived(depth, since, now);
                connection.start(&batch, now)?;
            }
        }
        if let Some(result) = window.look(&batch)? {
            return Ok(result);
        }
    }
}

/// Connections with their handshakes done, each registered under its index.
pub(crate) fn connect(args: &Args, poll: &Poll, count: usize) -> Result<Vec<Connection>> {
    let connector = Connector::new(args)?;
    let connect = |index| {
        let transport = connector.connect()?;
        transport.tcp().set_nonblocking(true)?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry()
            .register(&mut SourceFd(&transport.tcp().as_raw_fd()), Token(index), interest)?;
        Ok(Connection::new(transport))
    };
    (0..count).map(connect).collect()
}
