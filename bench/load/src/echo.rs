//! The closed loop over all connections: each sends a batch, waits for all of its answer, and sends again.

use std::time::Instant;

use anyhow::Result;
use mio::Events;

use crate::Args;
use crate::frames::Batch;
use crate::many::Many;
use crate::turns::Load;
use crate::window::Window;

pub(crate) struct Echo {
    many: Many,
    events: Events,
}

impl Echo {
    pub(crate) fn connect(args: &Args) -> Result<Self> {
        let many = Many::connect(args, args.connections)?;
        Ok(Self {
            events: many.events(),
            many,
        })
    }
}

impl Load for Echo {
    fn turn(&mut self, window: &mut Window) -> Result<()> {
        let Self { many, events } = self;
        for connection in &mut many.connections {
            connection.start(&many.batch, Instant::now())?;
        }
        let mut under_way = many.connections.len();
        while under_way > 0 {
            many.poll(events, window)?;
            for event in &*events {
                let connection = &mut many.connections[event.token().0];
                if event.is_writable() {
                    connection.write(&many.batch)?;
                }
                if event.is_readable()
                    && let Some(since) = connection.read(&mut many.batch, &mut many.buffers)?
                {
                    let now = Instant::now();
                    match window.arrived(many.depth, since, now) {
                        true => connection.start(&many.batch, now)?,
                        false => under_way -= 1,
                    }
                }
            }
        }
        Ok(())
    }

    fn batch(&self) -> &Batch {
        &self.many.batch
    }
}
