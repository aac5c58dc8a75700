//! One publisher and many subscribers: the publisher sends a batch, and again when the last subscriber has all of it.
//!
//! Each subscriber's bytes are compared with what they have to be, so a message that is missing, changed, doubled or out of
//! order is an error.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use mio::{Events, Poll};
use serde_json::Value;

use crate::Args;
use crate::connection::Buffers;
use crate::echo::connect;
use crate::frames::Batch;
use crate::window::Window;

/// Connects, warms up, measures. A message counts once for each subscriber.
pub(crate) fn run(args: &Args) -> Result<Value> {
    let mut batch = Batch::new(args);
    let mut poll = Poll::new()?;
    let mut connections = connect(args, &poll, args.connections + 1)?;
    let publisher = args.connections;
    let mut window = Window::new(args)?;
    let mut buffers = Buffers::new();
    let mut events = Events::with_capacity(connections.len().max(16));
    let depth = args.depth as u64;
    // How many subscribers have not got all of the batch, and when it was sent.
    let mut waiting = args.connections;
    let mut since = Instant::now();
    connections[publisher].start(&batch, since)?;
    loop {
        poll.poll(&mut events, Some(window.patience()))
            .context("cannot wait for events")?;
        for event in &events {
            let index = event.token().0;
            let connection = &mut connections[index];
            if index == publisher {
                connection.write(&batch)?;
            }
            if event.is_readable() && connection.read(&mut batch, &mut buffers)?.is_some() {
                ensure!(index != publisher, "the publisher got its own messages");
                window.arrived(depth, since, Instant::now());
                waiting -= 1;
            }
        }
        if waiting == 0 {
            waiting = args.connections;
            since = Instant::now();
            connections[publisher].start(&batch, since)?;
        }
        if let Some(result) = window.look(&batch)? {
            return Ok(result);
        }
    }
}
