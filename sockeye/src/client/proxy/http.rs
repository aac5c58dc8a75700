//! HTTP CONNECT (RFC 9110 §9.3.6), with Basic authentication (RFC 7617).

use bytes::BytesMut;
use sockeye_proto::handshake::HandshakeLimits;
use sockeye_proto::handshake::http1::{Parsed, ResponseReader};
use sockeye_proto::uri::WebSocketUri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Proxy;
use crate::client::Failure;
use crate::client::refusal::Refusing;
use crate::error::ProxyError;
use crate::transport::Stream;

/// Asks the proxy at the other end of `stream` for a tunnel to the server of `uri`.
pub(super) async fn connect(
    mut stream: Stream,
    proxy: &Proxy,
    uri: &WebSocketUri,
    limits: HandshakeLimits,
) -> Result<Stream, Failure<Stream>> {
    let request = request(proxy, uri);
    let sending = async {
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await
    };
    sending.await.map_err(ProxyError::from)?;
    let mut reader = ResponseReader::new(limits);
    let mut input = BytesMut::new();
    loop {
        if stream.read_buf(&mut input).await.map_err(ProxyError::from)? == 0 {
            return Err(ProxyError::Closed.into());
        }
        let Parsed::Complete { head, consumed } = reader.read(&input).map_err(ProxyError::Head)? else {
            continue;
        };
        let rest = input.split_off(consumed);
        // RFC 9110 §9.3.6: "Any 2xx (Successful) response indicates that the sender (and all inbound proxies) will switch to
        // tunnel mode immediately after the response header section". "A client MUST ignore any Content-Length or
        // Transfer-Encoding header fields received in a successful response to CONNECT."
        return if !(200..300).contains(&head.status()) {
            Err(Failure::ProxyRefused(Refusing {
                io: stream,
                response: head,
                input: rest,
            }))
        } else if rest.is_empty() {
            Ok(stream)
        } else {
            // We speak first, with TLS as without. Whatever this is, it is not from the server.
            Err(ProxyError::EarlyData.into())
        };
    }
}

fn request(proxy: &Proxy, uri: &WebSocketUri) -> String {
    // RFC 9112 §3.2.3: the target of CONNECT is the authority, and its port is never left out.
    let host = uri.host();
    let port = uri.port();
    let authority = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let mut request = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(authorization) = proxy.uri.authorization() {
        request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    request.push_str("\r\n");
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc9112_3_2_3_the_target_is_the_authority() {
        let request =
            |proxy: &str, uri: &str| request(&Proxy::parse(proxy).unwrap(), &WebSocketUri::parse(uri).unwrap());
        assert_eq!(
            request("http://proxy", "ws://user:secret@example.com/path?query"),
            "CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n"
        );
        assert_eq!(
            request("http://Aladdin:open%20sesame@proxy", "wss://[2001:db8::1]/"),
            "CONNECT [2001:db8::1]:443 HTTP/1.1\r\nHost: [2001:db8::1]:443\r\n\
             Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"
        );
    }
}
