//! A client's TLS handshake by tokio-rustls.

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::{TlsConnector, TlsStream};

use super::ALPN_HTTP1;

/// Does the handshake of a client with `host` over `io`, which is TCP or a tunnel.
pub(crate) async fn connect<T>(config: Arc<ClientConfig>, host: &str, io: T) -> io::Result<TlsStream<T>>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TlsConnector::from(config).connect(name, io).await?;
    // A configuration of the caller's may offer other protocols, and the server may have taken one.
    match stream.get_ref().1.alpn_protocol() {
        Some(ALPN_HTTP1) | None => Ok(stream.into()),
        Some(_) => Err(io::Error::other(
            "the server chose another protocol than http/1.1 (ALPN)",
        )),
    }
}
