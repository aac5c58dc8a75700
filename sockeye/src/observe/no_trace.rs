//! Nothing is told: the crate was built without the feature `tracing`.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;

use sockeye_proto::close::CloseFrame;
use sockeye_proto::uri::WebSocketUri;

use crate::error::Error;
use crate::server::Address;

#[derive(Debug, Clone, Default)]
pub(super) struct Trace;

impl Trace {
    pub(super) fn server(_peer: Option<&Address>) -> Self {
        Self
    }

    pub(super) fn client(_uri: &WebSocketUri, _peer: impl FnOnce() -> Option<SocketAddr>) -> Self {
        Self
    }

    pub(super) fn opened(&self) {}

    pub(super) fn close_received(&self, _frame: Option<&CloseFrame>) {}

    pub(super) fn ends_by(&mut self, _error: &Error) {}

    pub(super) fn ends_by_transport(&mut self, _broken: impl FnOnce() -> Option<io::Error>) {}

    pub(super) fn closed(&self, _code: u16, _sent: Option<u16>, _clean: bool) {}

    pub(super) fn failed(&self, _error: &(dyn StdError + 'static)) {}

    pub(super) fn handler_failed(&self, _error: &(dyn StdError + 'static)) {}

    pub(super) fn around<F: Future>(&self, work: F) -> F {
        work
    }
}

pub(super) fn accept_failed(_error: &io::Error) {}

pub(super) fn handler_panicked() {}
