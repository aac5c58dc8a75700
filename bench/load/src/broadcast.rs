//! One publisher and many subscribers: the publisher sends a batch, and again when the last subscriber has all of it.
//!
//! Each subscriber's bytes are compared with what they have to be, so a message that is missing, changed, doubled or out of
//! order is an error.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use mio::{Events, Poll};

use crate::Args;
use crate::connection::{Buffers, Connection};
use crate::echo::connect;
use crate::frames::Batch;
use crate::turns::Load;
use crate::window::Window;

/// The subscribers and, as the last connection, the publisher. A message counts once for each subscriber.
pub(crate) struct Broadcast {
    batch: Batch,
    depth: u64,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    buffers: Buffers,
}

impl Broadcast {
    pub(crate) fn connect(args: &Args) -> Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            batch: Batch::new(args),
            depth: args.depth as u64,
            connections: connect(args, &poll, args.connections + 1)?,
            events: Events::with_capacity(args.connections.max(16)),
            poll,
            buffers: Buffers::new(),
        })
    }

    /// Sends one batch, and returns when all have all of it; whether more is to be sent.
    fn publish(&mut self, window: &mut Window) -> Result<bool> {
        let publisher = self.connections.len() - 1;
        let since = Instant::now();
        self.connections[publisher].start(&self.batch, since)?;
        let (mut waiting, mut more) = (publisher, true);
        while waiting > 0 {
            self.poll
                .poll(&mut self.events, Some(window.patience()))
                .context("cannot wait for events")?;
            for event in &self.events {
                let index = event.token().0;
                let connection = &mut self.connections[index];
                if index == publisher {
                    connection.write(&self.batch)?;
                }
                if event.is_readable() && connection.read(&mut self.batch, &mut self.buffers)?.is_some() {
                    ensure!(index != publisher, "the publisher got its own messages");
                    more = window.arrived(self.depth, since, Instant::now());
                    waiting -= 1;
                }
            }
            window.look()?;
        }
        Ok(more)
    }
}

impl Load for Broadcast {
    fn turn(&mut self, window: &mut Window) -> Result<()> {
        while self.publish(window)? {}
        Ok(())
    }

    fn batch(&self) -> &Batch {
        &self.batch
    }
}
