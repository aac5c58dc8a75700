//! No extensions in the handshake, for a build without the feature `deflate`: none offered, none accepted.

use alloc::string::String;

use crate::extension::{Extension, NegotiationError};

/// What an endpoint asks for or allows: nothing.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted;

/// What both endpoints agreed on: nothing.
#[derive(Clone, Debug)]
pub(super) struct Agreed;

pub(super) fn offers(_: &Wanted) -> Option<String> {
    None
}

pub(super) fn accept_response(_: &Wanted, response: &[Extension<'_>]) -> Result<Agreed, NegotiationError> {
    if response.is_empty() {
        Ok(Agreed)
    } else {
        Err(NegotiationError::NotOffered)
    }
}

pub(super) fn answer(_: &Wanted, _: &[Extension<'_>]) -> (Agreed, Option<String>) {
    (Agreed, None)
}
