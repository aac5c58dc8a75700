//! What can go wrong with a redirect.

use std::error::Error;
use std::fmt;

use sockeye_proto::uri::UriError;

/// Why a redirect was not followed, though the client follows redirects.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedirectError {
    /// There were more than [`follow_redirects`](crate::ClientBuilder::follow_redirects) allows.
    TooMany,
    /// It leads from `wss:` to `ws:`, or nowhere that is a WebSocket URI.
    Location(UriError),
}

impl fmt::Display for RedirectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany => f.write_str("too many redirects"),
            Self::Location(error) => write!(f, "the server redirects to where we cannot go: {error}"),
        }
    }
}

impl Error for RedirectError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::TooMany => None,
            Self::Location(error) => Some(error),
        }
    }
}
