//! [`Refusal`]: what a server, or a proxy, says in place of what was asked of it.

use std::fmt;
use std::time::Duration;

use sockeye_proto::handshake::Headers;
use sockeye_proto::handshake::client::Response;

/// An HTTP response that is no upgrade: a demand for credentials, a redirect, an error page.
///
/// Its `Debug` shows neither the body nor the values of headers that hold credentials.
#[derive(Clone)]
pub struct Refusal {
    response: Response,
    body: Vec<u8>,
    complete: bool,
}

impl Refusal {
    pub(crate) fn new(response: Response, body: Vec<u8>, complete: bool) -> Self {
        Self {
            response,
            body,
            complete,
        }
    }

    /// The status, for example 403.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.response.status()
    }

    /// The headers, for example `WWW-Authenticate` or `Location`.
    #[must_use]
    pub const fn headers(&self) -> &Headers {
        self.response.headers()
    }

    /// The body, at most its first 64 KiB, and what came of it before the deadline.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Whether [`body`](Self::body) is all of it.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.complete
    }

    /// How long the server asks to wait before the next attempt, if it says so in seconds (RFC 9110 §10.2.3). A date is
    /// in the headers.
    ///
    /// # Examples
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), sockeye::ConnectError> {
    /// match sockeye::connect("wss://example.com/").await {
    ///     Err(sockeye::ConnectError::Refused(refusal)) if refusal.status() == 503 => {
    ///         println!("come back in {:?}", refusal.retry_after());
    ///     }
    ///     other => drop(other?),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        let seconds = self.headers().text("Retry-After")?;
        // RFC 9110 §10.2.3: `delay-seconds = 1*DIGIT`, and so no sign.
        if !seconds.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        seconds.parse().ok().map(Duration::from_secs)
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refusal")
            .field("status", &self.status())
            .field("headers", self.headers())
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("complete", &self.complete)
            .finish()
    }
}

/// Bytes of a body that are kept.
pub(crate) const BODY_MAX: usize = 64 * 1024;
