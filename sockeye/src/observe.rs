//! What a program tells about its connections: spans and events through `tracing`, counters through `metrics`, each with
//! the feature of that name, and nothing without.
//!
//! Spans are called `connection`, of level INFO, with the fields `id` (a number, unique in the process), `role` and, on a
//! server, `peer`. Events in them: the connection has opened (DEBUG), the peer's Close has come (DEBUG, with `code` and
//! `reason`), the connection has ended (INFO, with `code` and `clean`), a handshake failed (DEBUG, with `error`), a handler
//! failed (WARN, with `error`). Outside of them: the system gave no connection, a handler panicked.
//!
//! | counter | labels |
//! |---|---|
//! | `sockeye_connections_opened_total` | `role` |
//! | `sockeye_connections_closed_total` | `role`, `code` (of the peer's Close; 1006 without one), `clean` |
//! | `sockeye_handshakes_failed_total` | `reason`: `rejected`, `tls`, `io`, `timeout`, `full`, `shutdown` |
//! | `sockeye_accept_errors_total` | |
//! | `sockeye_handlers_failed_total` | `how`: `error`, `panic` |
//!
//! The gauge `sockeye_connections` has the label `role`: how many are open.

use std::error::Error as StdError;
use std::io;

use sockeye_proto::close::{CloseCode, CloseFrame};
use sockeye_proto::connection::{Connection, Role};

use crate::error::AcceptError;
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
    pub(crate) fn new(role: Role) -> Self {
        Self {
            trace: trace::Trace::new(role, None),
            count: count::Count::new(role),
            opened: false,
        }
    }

    /// A connection that a server has accepted from there.
    pub(crate) fn server(peer: &Address) -> Self {
        Self {
            trace: trace::Trace::new(Role::Server, Some(peer)),
            count: count::Count::new(Role::Server),
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

    /// The connection is over, if it was ever open.
    pub(crate) fn closed(&self, connection: &Connection, clean: bool) {
        if self.opened {
            let code = connection.close_received().map_or(1006, CloseCode::as_u16);
            self.trace.closed(code, clean);
            self.count.closed(code, clean);
        }
    }

    /// The opening handshake has failed.
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

/// The system gave no connection.
pub(crate) fn accept_failed(error: &io::Error) {
    trace::accept_failed(error);
    count::accept_failed();
}

pub(crate) fn handler_panicked() {
    trace::handler_panicked();
    count::handler_failed("panic");
}
