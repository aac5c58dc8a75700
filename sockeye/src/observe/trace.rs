//! Spans and events by `tracing`.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};

use sockeye_proto::close::CloseFrame;
use sockeye_proto::uri::WebSocketUri;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span, debug, info, info_span, warn};

use crate::error::Error;
use crate::server::Address;

/// The span of a connection, and why it ends, as soon as that is known and if it is not clean.
#[derive(Debug, Clone)]
pub(super) struct Trace {
    span: Span,
    cause: Option<Box<str>>,
}

impl Default for Trace {
    fn default() -> Self {
        Self {
            span: Span::none(),
            cause: None,
        }
    }
}

impl Trace {
    pub(super) fn server(peer: Option<&Address>) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let span = info_span!("connection", id, role = "server", peer = Empty);
        if let Some(peer) = peer {
            span.record("peer", display(peer));
        }
        Self { span, cause: None }
    }

    pub(super) fn client(uri: &WebSocketUri, peer: impl FnOnce() -> Option<SocketAddr>) -> Self {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let span = info_span!("connection", id, role = "client", url = Empty, peer = Empty);
        if !span.is_disabled() {
            // No more of the URL: passwords stand before the host, and many a service wants its tokens in the query.
            span.record("url", display(format_args!("{}://{}", uri.scheme(), uri.host_header())));
            if let Some(peer) = peer() {
                span.record("peer", display(peer));
            }
        }
        Self { span, cause: None }
    }

    pub(super) fn span(&self) -> &Span {
        &self.span
    }

    pub(super) fn opened(&self) {
        debug!(parent: &self.span, "open");
    }

    pub(super) fn close_received(&self, frame: Option<&CloseFrame>) {
        match frame {
            Some(frame) => debug!(
                parent: &self.span,
                code = frame.code.as_u16(),
                reason = %frame.reason,
                "Close received"
            ),
            None => debug!(parent: &self.span, code = 1005, "Close received"),
        }
    }

    pub(super) fn ends_by(&mut self, error: &Error) {
        if self.cause.is_none() && !self.span.is_disabled() {
            self.cause = Some(error.to_string().into());
        }
    }

    pub(super) fn ends_by_transport(&mut self, broken: impl FnOnce() -> Option<io::Error>) {
        if let Some(error) = broken() {
            self.ends_by(&error.into());
        }
    }

    pub(super) fn closed(&self, code: u16, sent: Option<u16>, clean: bool) {
        info!(parent: &self.span, code, sent, clean, error = self.cause.as_deref(), "ended");
    }

    pub(super) fn failed(&self, error: &(dyn StdError + 'static)) {
        debug!(parent: &self.span, %error, "handshake failed");
    }

    pub(super) fn handler_failed(&self, error: &(dyn StdError + 'static)) {
        warn!(parent: &self.span, %error, "handler failed");
    }

    pub(super) fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        work.instrument(self.span.clone())
    }
}

pub(super) fn accept_failed(error: &io::Error) {
    warn!(%error, "the system gave no connection");
}

pub(super) fn handler_panicked() {
    warn!("a handler panicked");
}

/// The number of the next connection.
static NEXT: AtomicU64 = AtomicU64::new(1);
