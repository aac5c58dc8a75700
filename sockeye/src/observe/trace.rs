//! Spans and events by `tracing`.

use std::error::Error as StdError;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use sockeye_proto::close::CloseFrame;
use sockeye_proto::connection::Role;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug, info, info_span, warn};

use crate::server::Address;

/// The span of a connection.
#[derive(Debug, Clone)]
pub(super) struct Trace(Span);

impl Default for Trace {
    fn default() -> Self {
        Self(Span::none())
    }
}

impl Trace {
    pub(super) fn new(role: Role, peer: Option<&Address>) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let span = info_span!("connection", id, role = role_name(role), peer = Empty);
        if let Some(peer) = peer {
            span.record("peer", display(peer));
        }
        Self(span)
    }

    pub(super) fn span(&self) -> &Span {
        &self.0
    }

    pub(super) fn opened(&self) {
        debug!(parent: &self.0, "open");
    }

    pub(super) fn close_received(&self, frame: Option<&CloseFrame>) {
        match frame {
            Some(frame) => debug!(
                parent: &self.0,
                code = frame.code.as_u16(),
                reason = %frame.reason,
                "Close received"
            ),
            None => debug!(parent: &self.0, code = 1005, "Close received"),
        }
    }

    pub(super) fn closed(&self, code: u16, clean: bool) {
        info!(parent: &self.0, code, clean, "ended");
    }

    pub(super) fn failed(&self, error: &(dyn StdError + 'static)) {
        debug!(parent: &self.0, %error, "handshake failed");
    }

    pub(super) fn handler_failed(&self, error: &(dyn StdError + 'static)) {
        warn!(parent: &self.0, %error, "handler failed");
    }

    pub(super) fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.instrument(self.0.clone())
    }
}

pub(super) fn accept_failed(error: &io::Error) {
    warn!(%error, "the system gave no connection");
}

pub(super) fn handler_panicked() {
    warn!("a handler panicked");
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Client => "client",
        Role::Server => "server",
    }
}

/// The number of the next connection.
static NEXT: AtomicU64 = AtomicU64::new(1);
