//! Many connections, and what it takes to load a server over them.

use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::Args;
use crate::connection::{Buffers, Connection};
use crate::frames::Batch;
use crate::transport::Connector;
use crate::window::Window;

pub(crate) struct Many {
    pub(crate) batch: Batch,
    /// Messages in a batch.
    pub(crate) depth: u64,
    /// Each registered under its index.
    pub(crate) connections: Vec<Connection>,
    pub(crate) buffers: Buffers,
    poll: Poll,
}

impl Many {
    /// `count` connections with their handshakes done.
    pub(crate) fn connect(args: &Args, count: usize) -> Result<Self> {
        let poll = Poll::new()?;
        let connector = Connector::new(args)?;
        let connect = |index| {
            let transport = connector.connect()?;
            transport.tcp().set_nonblocking(true)?;
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry()
                .register(&mut SourceFd(&transport.tcp().as_raw_fd()), Token(index), interest)?;
            Ok(Connection::new(transport))
        };
        Ok(Self {
            connections: (0..count).map(connect).collect::<Result<_>>()?,
            batch: Batch::new(args),
            depth: args.depth as u64,
            buffers: Buffers::new(),
            poll,
        })
    }

    /// Room for what all of them may have to tell at once.
    pub(crate) fn events(&self) -> Events {
        Events::with_capacity(self.connections.len().max(16))
    }

    /// Looks for events, and fails if there have not been any for too long.
    pub(crate) fn poll(&mut self, events: &mut Events, window: &Window) -> Result<()> {
        window.look()?;
        self.poll
            .poll(events, Some(window.patience()))
            .context("cannot wait for events")
    }
}
