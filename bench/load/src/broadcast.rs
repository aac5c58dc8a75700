//! One publisher and many subscribers: the publisher sends a batch, and again when the last subscriber has all of it.
//!
//! Each subscriber's bytes are compared with what they have to be, so a message that is missing, changed, doubled or out of
//! order is an error.

use std::time::Instant;

use anyhow::{Result, ensure};
use mio::Events;

use crate::Args;
use crate::frames::Batch;
use crate::many::Many;
use crate::turns::Load;
use crate::window::Window;

/// The subscribers and, as the last connection, the publisher. A message counts once for each subscriber.
pub(crate) struct Broadcast {
    many: Many,
    events: Events,
}

impl Broadcast {
    pub(crate) fn connect(args: &Args) -> Result<Self> {
        let many = Many::connect(args, args.connections + 1)?;
        Ok(Self {
            events: many.events(),
            many,
        })
    }

    /// Sends one batch, and returns when all have all of it; whether more is to be sent.
    fn publish(&mut self, window: &mut Window) -> Result<bool> {
        let Self { many, events } = self;
        let publisher = many.connections.len() - 1;
        let since = Instant::now();
        many.connections[publisher].start(&many.batch, since)?;
        let (mut waiting, mut more) = (publisher, true);
        while waiting > 0 {
            many.poll(events, window)?;
            for event in &*events {
                let index = event.token().0;
                let connection = &mut many.connections[index];
                if index == publisher {
                    connection.write(&many.batch)?;
                }
                if event.is_readable() && connection.read(&mut many.batch, &mut many.buffers)?.is_some() {
                    ensure!(index != publisher, "the publisher got its own messages");
                    more = window.arrived(many.depth, since, Instant::now());
                    waiting -= 1;
                }
            }
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
        &self.many.batch
    }
}
