//! permessage-deflate in the handshake: the only extension there is. Its twin `no_deflate` knows none.

use alloc::string::String;

use super::{
    client::{ClientOptions, Established},
    server::{Accepted, ServerOptions},
};
use crate::{
    deflate::{
        DeflateOptions,
        negotiation::{self, DeflateParams},
    },
    extension::{Extension, NegotiationError},
};

/// What an endpoint asks for or allows.
pub(super) type Wanted = Option<DeflateOptions>;

/// What both endpoints agreed on.
pub(super) type Agreed = Option<DeflateParams>;

pub(super) fn offers(wanted: &Wanted) -> Option<String> {
    wanted.as_ref().map(negotiation::offers)
}

pub(super) fn accept_response(wanted: &Wanted, response: &[Extension<'_>]) -> Result<Agreed, NegotiationError> {
    match wanted {
        Some(options) => negotiation::accept_response(options, response),
        None if response.is_empty() => Ok(None),
        None => Err(NegotiationError::NotOffered),
    }
}

pub(super) fn answer(wanted: &Wanted, offers: &[Extension<'_>]) -> (Agreed, Option<String>) {
    wanted
        .as_ref()
        .and_then(|options| negotiation::answer(options, offers))
        .unzip()
}

impl ServerOptions {
    /// Sets whether and how messages are compressed with clients that offer it. Default: `None`, not at all.
    pub fn set_deflate(&mut self, options: Option<DeflateOptions>) {
        self.extensions = options;
    }

    /// Whether and how messages are compressed.
    #[must_use]
    pub fn deflate(&self) -> Option<&DeflateOptions> {
        self.extensions.as_ref()
    }
}

impl ClientOptions {
    /// Sets whether and how compression is offered. Default: `None`, not at all.
    pub fn set_deflate(&mut self, options: Option<DeflateOptions>) {
        self.extensions = options;
    }

    /// Whether and how compression is offered.
    #[must_use]
    pub fn deflate(&self) -> Option<&DeflateOptions> {
        self.extensions.as_ref()
    }
}

impl Accepted {
    /// The parameters of compression, if it is used.
    #[must_use]
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.agreed
    }

    /// Goes without compression on this connection.
    pub fn decline_deflate(&mut self) {
        self.agreed = None;
        self.extensions_value = None;
    }
}

impl Established {
    /// The parameters of compression, if it is used.
    #[must_use]
    pub fn deflate(&self) -> Option<DeflateParams> {
        self.agreed
    }
}
