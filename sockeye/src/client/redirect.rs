//! Following redirects, where the caller asked for it (RFC 6455 §4.1, RFC 9110 §15.4; THREATS H10).
//!
//! Another origin gets no credentials: neither those of the URL, nor Authorization and Cookie, nor the client's
//! certificate. `wss:` never leads to `ws:`.

use std::borrow::Cow;

use sockeye_proto::handshake::client::Response;
use sockeye_proto::uri::WebSocketUri;

use super::{Failure, Shared, Visited};
use crate::error::{ConnectError, RedirectError};
use crate::observe;
use crate::socket::WebSocket;
use crate::transport::Stream;

/// Connects to `uri`, or to where its server sends us.
pub(super) async fn follow(shared: &Shared, mut uri: WebSocketUri) -> Result<WebSocket<Stream>, ConnectError> {
    let opened = follow_from(shared, &mut uri).await;
    opened.inspect_err(|error| observe::connect_failed(&uri, error))
}

/// The same, which leaves in `uri` where it got to.
async fn follow_from(shared: &Shared, uri: &mut WebSocketUri) -> Result<WebSocket<Stream>, ConnectError> {
    let deadline = shared.deadline();
    let mut options = Cow::Borrowed(&shared.settings.handshake);
    let mut visited = Visited::Named;
    let mut left = shared.redirects;
    loop {
        let opening = async {
            let stream = shared.transport(uri, visited).await?;
            let peer = |stream: &Stream| stream.peer_addr().ok();
            shared.open(stream, uri, &options, peer).await
        };
        let location = match shared.by(deadline, opening).await {
            Err(Failure::Refused(refusing)) if shared.redirects > 0 => match location(&refusing.response) {
                Some(location) => location.to_owned(),
                None => return Err(Failure::Refused(refusing).into_error(deadline).await),
            },
            Err(failure) => return Err(failure.into_error(deadline).await),
            Ok(ws) => return Ok(ws),
        };
        if left == 0 {
            return Err(ConnectError::Redirect(RedirectError::TooMany));
        }
        left -= 1;
        let target = uri
            .redirect(&location)
            .map_err(|error| ConnectError::Redirect(RedirectError::Location(error)))?;
        // Once they are gone they stay away, also when another origin leads back to the first.
        if !uri.same_origin(&target) {
            options.to_mut().remove_credentials();
            visited = Visited::Redirected;
        }
        *uri = target;
    }
}

/// Where a response leads, if it is a redirect.
fn location(response: &Response) -> Option<&str> {
    // RFC 6455 §4.1: "the server might redirect the client using a 3xx status code (but clients are not required to follow
    // them)". Of those, 300 and 304 do not say where to.
    if !matches!(response.status(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let mut locations = response.headers().values("Location");
    let location = locations.next().and_then(|value| std::str::from_utf8(value).ok())?;
    // With two of them, whoever looked at the other would be fooled.
    locations.next().is_none().then_some(location)
}
