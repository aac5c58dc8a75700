//! No extensions in the handshake, for a build without the feature `deflate`: none offered, none accepted.

use alloc::string::String;

use crate::extension::{Extension, NegotiationError};

/// An endpoint can ask for nothing.
pub(super) type Wanted = ();

/// Nothing can be agreed on.
pub(super) type Agreed = ();

pub(super) fn offers((): &Wanted) -> Option<String> {
    None
}

pub(super) fn accept_response((): &Wanted, response: &[Extension<'_>]) -> Result<Agreed, NegotiationError> {
    if response.is_empty() {
        Ok(())
    } else {
        Err(NegotiationError::NotOffered)
    }
}

pub(super) fn answer((): &Wanted, _: &[Extension<'_>]) -> (Agreed, Option<String>) {
    ((), None)
}
