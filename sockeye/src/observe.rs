//! What a program tells about its connections: spans and events through `tracing`, counters through `metrics`, each with
//! the feature of that name, and nothing without. `docs/observability.md` has all names: it is what programs rely on.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;

use sockeye_proto::close::{CloseCode, CloseFrame};
use sockeye_proto::connection::{Connection, Role};
use sockeye_proto::handshake::Rejection;
use sockeye_proto::uri::WebSocketUri;

use crate::error::{AcceptError, ConnectError, Error};
use crate::server::Address;

#[cfg(feature = "metrics")]
mod count;
#[cfg(not(feature = "metrics"))]
#[path = "observe/no_count.rs"]
mod count;
#[cfg(not(feature = "tracing"))]
#[path = "observe/no_trace.rs"]
mod trace;
#[cfg(feature = "tracing")]
mod trace;

/// Watches one connection. The default watches none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Watch {
    trace: trace::Trace,
    count: count::Count,
    opened: bool,
}

impl Watch {
    /// A server's connection; `peer` is where it was accepted from, if that is known.
    pub(crate) fn server(peer: Option<&Address>) -> Self {
        Self {
            trace: trace::Trace::server(peer),
            count: count::Count::new(Role::Server),
            opened: false,
        }
    }

    /// A client's connection. Nobody asks for its peer where nobody is told.
    pub(crate) fn client(uri: &WebSocketUri, peer: impl FnOnce() -> Option<SocketAddr>) -> Self {
        Self {
            trace: trace::Trace::client(uri, peer),
            count: count::Count::new(Role::Client),
            opened: false,
        }
    }

    pub(crate) fn opened(&mut self) {
        self.opened = true;
        self.trace.opened();
        self.count.opened();
    }

    pub(crate) fn close_received(&self, frame: Option<&CloseFrame>) {
        self.trace.close_received(frame);
    }

    /// This is why the connection ends, unless it was something else before.
    pub(crate) fn ends_by(&mut self, error: &Error) {
        self.trace.ends_by(error);
    }

    /// The same for an error of the transport, if it had one. Nobody looks where nobody is told.
    pub(crate) fn ends_by_transport(&mut self, broken: impl FnOnce() -> Option<io::Error>) {
        self.trace.ends_by_transport(broken);
    }

    /// The connection is over, if it was ever open.
    pub(crate) fn closed(&self, connection: &Connection, clean: bool) {
        if self.opened {
            let code = connection.close_received().map_or(1006, CloseCode::as_u16);
            let sent = connection.close_sent().map(CloseCode::as_u16);
            self.trace.closed(code, sent, clean);
            self.count.closed(code, clean);
        }
    }

    /// A server's opening handshake has failed.
    pub(crate) fn failed(&self, error: &AcceptError) {
        self.trace.failed(error);
        self.count.failed(match error {
            AcceptError::Rejected(_) => "rejected",
            #[cfg(feature = "tls")]
            AcceptError::Tls(_) => "tls",
            AcceptError::Timeout => "timeout",
            AcceptError::Full(_) => "full",
            AcceptError::ShuttingDown => "shutdown",
            _ => "io",
        });
    }

    /// A server refuses a request.
    pub(crate) fn rejected(&self, rejection: &Rejection) {
        self.trace.failed(rejection);
        self.count.failed("rejected");
    }

    /// A handler has ended with an error.
    pub(crate) fn handler_failed(&self, error: &(dyn StdError + 'static)) {
        self.trace.handler_failed(error);
        count::handler_failed("error");
    }

    /// Has the work done within the span of the connection.
    pub(crate) fn around<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        self.trace.around(work)
    }

    #[cfg(feature = "tracing")]
    pub(crate) fn span(&self) -> &tracing::Span {
        self.trace.span()
    }
}

/// A client has tried and got no connection to the server of `uri`, the last one where it was redirected.
pub(crate) fn connect_failed(uri: &WebSocketUri, error: &ConnectError) {
    let watch = Watch::client(uri, || None);
    watch.trace.failed(error);
    watch.count.failed(match error {
        ConnectError::Resolve(_) => "resolve",
        ConnectError::Connect(_) => "connect",
        ConnectError::Proxy(_) => "proxy",
        ConnectError::Tls(_) | ConnectError::TlsUnavailable(_) => "tls",
        ConnectError::Refused(_) => "rejected",
        ConnectError::Redirect(_) => "redirect",
        ConnectError::Handshake(_) => "handshake",
        ConnectError::Timeout => "timeout",
        _ => "io",
    });
}

/// The system gave no connection.
pub(crate) fn accept_failed(error: &io::Error) {
    trace::accept_failed(error);
    count::accept_failed();
}

pub(crate) fn handler_panicked() {
    trace::handler_panicked();
    count::handler_failed("panic");
}
