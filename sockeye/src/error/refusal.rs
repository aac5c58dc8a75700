//! [`Refusal`]: what a server, or a proxy, says in place of what was asked of it.

use std::fmt;
use std::time::{Duration, SystemTime};

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

    /// How long the server asks to wait before the next attempt (RFC 9110 §10.2.3), in seconds or to a date. A date that
    /// is over is [`Duration::ZERO`]. `None` if it does not ask, or not intelligibly.
    ///
    /// A date is measured from the response's `Date`, since the clock here may be another; without one, from now.
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
        retry_after(self.headers(), SystemTime::now())
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

/// How long a response asks to wait, where it is `now`. Nothing if it does not ask, or not intelligibly.
pub(crate) fn retry_after(headers: &Headers, now: SystemTime) -> Option<Duration> {
    // RFC 9110 §10.2.3: "The Retry-After field value can be either an HTTP-date or a number of seconds to delay after
    // receiving the response."
    let value = headers.text("Retry-After")?;
    // `delay-seconds = 1*DIGIT`, and so no sign.
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let then = httpdate::parse_http_date(value).ok()?;
    // The server's own clock, if it shows it: ours may be wrong.
    let date = headers
        .text("Date")
        .and_then(|date| httpdate::parse_http_date(date).ok());
    Some(then.duration_since(date.unwrap_or(now)).unwrap_or(Duration::ZERO))
}

/// Bytes of a body that are kept.
pub(crate) const BODY_MAX: usize = 64 * 1024;
