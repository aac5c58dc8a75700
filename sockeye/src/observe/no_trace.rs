//! Nothing is told: the crate was built without the feature `tracing`.

use std::error::Error as StdError;
use std::io;

use sockeye_proto::close::CloseFrame;
use sockeye_proto::connection::Role;

use crate::server::Address;

#[derive(Debug, Clone, Default)]
pub(super) struct Trace;

impl Trace {
    pub(super) fn new(_role: Role, _peer: Option<&Address>) -> Self {
        Self
    }

    pub(super) fn opened(&self) {}

    pub(super) fn close_received(&self, _frame: Option<&CloseFrame>) {}

    pub(super) fn closed(&self, _code: u16, _clean: bool) {}

    pub(super) fn failed(&self, _error: &(dyn StdError + 'static)) {}

    pub(super) fn handler_failed(&self, _error: &(dyn StdError + 'static)) {}

    pub(super) fn around<F: Future>(&self, work: F) -> F {
        work
    }
}

pub(super) fn accept_failed(_error: &io::Error) {}

pub(super) fn handler_panicked() {}
