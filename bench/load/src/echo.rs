//! The closed loop over all connections: each sends a batch, waits for all of its answer, and sends again.

use std::os::fd::AsRawFd as _;
use std::time::Instant;

use anyhow::{Context as _, Result};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::Args;
use crate::connection::{Buffers, Connection};
use crate::frames::Batch;
use crate::transport::Connector;
use crate::turns::Load;
use crate::window::Window;

/// The connections and what they send.
pub(crate) struct Echo {
    batch: Batch,
    depth: u64,
    poll: Poll,
    events: Events,
    connections: Vec<Connection>,
    buffers: Buffers,
}

impl Echo {
    pub(crate) fn connect(args: &Args) -> Result<Self> {
        let poll = Poll::new()?;
        Ok(Self {
            batch: Batch::new(args),
            depth: args.depth as u64,
            connections: connect(args, &poll, args.connections)?,
            events: Events::with_capacity(args.connections.max(16)),
            poll,
            buffers: Buffers::new(),
        })
    }
}

impl Load for Echo {
    fn turn(&mut self, window: &mut Window) -> Result<()> {
        for connection in &mut self.connections {
            connection.start(&self.batch, Instant::now())?;
        }
        let mut under_way = self.connections.len();
        while under_way > 0 {
            self.poll
                .poll(&mut self.events, Some(window.patience()))
                .context("cannot wait for events")?;
            for event in &self.events {
                let connection = &mut self.connections[event.token().0];
                if event.is_writable() {
                    connection.write(&self.batch)?;
                }
                if event.is_readable()
                    && let Some(since) = connection.read(&mut self.batch, &mut self.buffers)?
                {
                    let now = Instant::now();
                    match window.arrived(self.depth, since, now) {
                        true => connection.start(&self.batch, now)?,
                        false => under_way -= 1,
                    }
                }
            }
            window.look()?;
        }
        Ok(())
    }

    fn batch(&self) -> &Batch {
        &self.batch
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
