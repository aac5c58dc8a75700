//! Nothing is counted: the crate was built without the feature `metrics`.

use sockeye_proto::connection::Role;

#[derive(Debug, Clone, Default)]
pub(super) struct Count;

impl Count {
    pub(super) fn new(_role: Role) -> Self {
        Self
    }

    pub(super) fn opened(&self) {}

    pub(super) fn closed(&self, _code: u16, _clean: bool) {}

    pub(super) fn failed(&self, _reason: &'static str) {}
}

pub(super) fn accept_failed() {}

pub(super) fn handler_failed(_how: &'static str) {}
