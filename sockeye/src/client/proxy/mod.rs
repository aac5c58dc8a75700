//! Going through a proxy: HTTP CONNECT and SOCKS5, in plain text or under TLS to the proxy itself.
//!
//! A proxy makes a tunnel, over which everything else goes as it would without; TLS to the server is done within it. Not
//! here: automatic configuration (PAC), Digest and NTLM authentication, SOCKS4.

mod environment;
mod http;
mod socks5;

use std::fmt;

use sockeye_proto::uri::WebSocketUri;

pub(super) use self::environment::Environment;
use self::socks5::Target;
use super::{Failure, Shared};
use crate::error::{ProxyError, ProxyUrlError};
use crate::transport::Stream;

/// Which proxy serves which URL.
#[derive(Clone, Debug, Default)]
pub(super) enum Proxies {
    #[default]
    None,
    All(Proxy),
    Environment(Environment),
}

impl Proxies {
    /// The proxy for `uri`, if it is to be reached through one.
    pub(super) fn serving(&self, uri: &WebSocketUri) -> Option<&Proxy> {
        match self {
            Self::None => None,
            Self::All(proxy) => Some(proxy),
            Self::Environment(environment) => environment.serving(uri),
        }
    }
}

/// A proxy, by its URL.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    kind: Kind,
    /// Host and credentials; its scheme and its port mean nothing.
    uri: WebSocketUri,
    port: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Http,
    Https,
    /// The name is resolved here.
    Socks5,
    /// The name is resolved by the proxy, and nobody else hears of it.
    Socks5h,
}

impl Proxy {
    /// Reads `scheme://[user[:password]@]host[:port]`; without a scheme, `http`.
    pub(super) fn parse(url: &str) -> Result<Self, ProxyUrlError> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let (kind, default_port) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Kind::Http, 80),
            "https" if cfg!(feature = "tls") => (Kind::Https, 443),
            // RFC 1928 §3: "The SOCKS service is conventionally located on TCP port 1080."
            "socks5" => (Kind::Socks5, 1080),
            "socks5h" => (Kind::Socks5h, 1080),
            _ => return Err(ProxyUrlError::Scheme),
        };
        // An authority is an authority, whatever the scheme; and one that is read so strictly holds no CR or LF.
        let uri = WebSocketUri::parse(&format!("ws://{rest}")).map_err(ProxyUrlError::Uri)?;
        if uri.resource() != "/" {
            return Err(ProxyUrlError::Path);
        }
        // Where no port is given, two schemes differ about it.
        let other = WebSocketUri::parse(&format!("wss://{rest}")).map_err(ProxyUrlError::Uri)?;
        let port = if uri.port() == other.port() {
            uri.port()
        } else {
            default_port
        };
        // RFC 1929 §2: lengths are one octet each.
        let too_long = |part: Option<&str>| part.is_some_and(|part| part.len() > u8::MAX.into());
        if kind.is_socks() && (too_long(uri.username()) || too_long(uri.password())) {
            return Err(ProxyUrlError::CredentialsTooLong);
        }
        Ok(Self { kind, uri, port })
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let credentials = self.uri.username().map_or("", |_| " with credentials");
        write!(
            f,
            "Proxy({:?} {}:{}{credentials})",
            self.kind,
            self.uri.host(),
            self.port
        )
    }
}

impl Kind {
    const fn is_socks(self) -> bool {
        matches!(self, Self::Socks5 | Self::Socks5h)
    }
}

/// A tunnel through `proxy` to the server of `uri`.
pub(super) async fn tunnel(shared: &Shared, proxy: &Proxy, uri: &WebSocketUri) -> Result<Stream, Failure<Stream>> {
    // RFC 6455 §4.1: "If the client is configured to use a proxy when using the WebSocket Protocol to connect to host
    // /host/ and port /port/, then the client SHOULD connect to that proxy and ask it to open a TCP connection to the
    // host given by /host/ and the port given by /port/."
    let stream = match proxy.kind {
        Kind::Http | Kind::Https => {
            http::connect(reach(shared, proxy).await?, proxy, uri, shared.settings.limits).await?
        }
        Kind::Socks5h => socks5(shared, proxy, Target::named(uri.host(), uri.port())).await?,
        Kind::Socks5 => {
            // The proxy is told one address, so the choice is ours: one that it cannot reach may have a sibling that it can.
            let mut addresses = shared
                .dialing
                .resolve(uri.host(), uri.port())
                .await?
                .into_iter()
                .peekable();
            loop {
                let Some(address) = addresses.next() else {
                    return Err(ProxyError::Closed.into());
                };
                match socks5(shared, proxy, Target::Address(address)).await {
                    Ok(stream) => break stream,
                    Err(ProxyError::Socks(_)) if addresses.peek().is_some() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    };
    Ok(stream.into_tunnel())
}

async fn socks5(shared: &Shared, proxy: &Proxy, target: Target<'_>) -> Result<Stream, ProxyError> {
    let mut stream = reach(shared, proxy).await?;
    socks5::connect(&mut stream, proxy, target).await?;
    Ok(stream)
}

/// A connection to the proxy itself, under TLS if it is an `https:` one.
async fn reach(shared: &Shared, proxy: &Proxy) -> Result<Stream, ProxyError> {
    let host = proxy.uri.host();
    let tcp = shared.dialing.connect(host, proxy.port).await?;
    let stream = Stream::plain(tcp);
    #[cfg(feature = "tls")]
    if proxy.kind == Kind::Https {
        use crate::transport::tls::Peer;
        let config = shared
            .tls_config(Peer::Proxy)
            .await
            .map_err(ProxyError::TlsUnavailable)?;
        return stream.under_tls(config, host).await.map_err(ProxyError::Tls);
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_proxies() {
        for (url, kind, host, port) in [
            ("http://proxy.example", Kind::Http, "proxy.example", 80),
            ("http://proxy.example/", Kind::Http, "proxy.example", 80),
            ("HTTP://proxy.example:80", Kind::Http, "proxy.example", 80),
            ("proxy.example:3128", Kind::Http, "proxy.example", 3128),
            ("https://proxy.example", Kind::Https, "proxy.example", 443),
            ("https://proxy.example:80", Kind::Https, "proxy.example", 80),
            ("socks5://u:p@[::1]", Kind::Socks5, "::1", 1080),
            ("socks5h://u@127.0.0.1:443", Kind::Socks5h, "127.0.0.1", 443),
        ] {
            if kind == Kind::Https && cfg!(not(feature = "tls")) {
                assert_eq!(Proxy::parse(url), Err(ProxyUrlError::Scheme));
                continue;
            }
            let proxy = Proxy::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
            assert_eq!((proxy.kind, proxy.uri.host(), proxy.port), (kind, host, port), "{url}");
        }
        let proxy = Proxy::parse("http://alice:s3cret%40@proxy.example").unwrap();
        assert_eq!(proxy.uri.password(), Some("s3cret@"));
        let shown = format!("{proxy:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("alice"), "{shown}");
    }

    #[test]
    fn h6_urls_that_are_none() {
        for url in [
            "",
            "http://",
            "ftp://proxy",
            "socks4://proxy",
            "http://proxy/path",
            "http://proxy?query",
            "http://proxy:0",
            "http://proxy:65536",
            "http://proxy\r\nEvil: 1",
            "http://a%0d%0ab:c@proxy",
            "http://a:b%0ac@proxy",
            "http://pro xy",
            "http://proxy#",
        ] {
            assert!(Proxy::parse(url).is_err(), "{url}");
        }
        let long = "x".repeat(256);
        assert_eq!(
            Proxy::parse(&format!("socks5://{long}@proxy")),
            Err(ProxyUrlError::CredentialsTooLong)
        );
        assert!(Proxy::parse(&format!("http://{long}@proxy")).is_ok());
    }
}
