//! What a WebSocket runs over: TCP, or TLS on it; to the server, or to a proxy and through it.

#[cfg(feature = "tls")]
pub mod tls;

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection, in plain text or under TLS; where a client goes through a proxy, the connection to that.
#[derive(Debug)]
pub struct Stream(Inner);

#[derive(Debug)]
enum Inner {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
    /// TLS to a proxy, and in it plain text to the server.
    #[cfg(feature = "tls")]
    PlainInTls(Box<tokio_rustls::TlsStream<TcpStream>>),
    /// TLS to a proxy, and in it TLS to the server.
    #[cfg(feature = "tls")]
    TlsInTls(Box<tokio_rustls::TlsStream<tokio_rustls::TlsStream<TcpStream>>>),
}

impl Stream {
    pub(crate) fn plain(tcp: TcpStream) -> Self {
        Self(Inner::Plain(tcp))
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(stream: impl Into<tokio_rustls::TlsStream<TcpStream>>) -> Self {
        Self(Inner::Tls(Box::new(stream.into())))
    }

    /// TLS to the server over this, a connection to the server or a tunnel to it.
    ///
    /// # Errors
    ///
    /// What rustls says of the server, or the transport's.
    #[cfg(feature = "tls")]
    pub(crate) async fn under_tls(self, config: std::sync::Arc<rustls::ClientConfig>, host: &str) -> io::Result<Self> {
        Ok(Self(match self.0 {
            Inner::Plain(tcp) => Inner::Tls(Box::new(tls::connect(config, host, tcp).await?)),
            Inner::Tls(proxy) | Inner::PlainInTls(proxy) => {
                Inner::TlsInTls(Box::new(tls::connect(config, host, *proxy).await?))
            }
            Inner::TlsInTls(_) => return Err(io::Error::other("the connection is under TLS already")),
        }))
    }

    /// This, a connection to a proxy, as a tunnel to a server.
    pub(crate) fn into_tunnel(self) -> Self {
        match self.0 {
            #[cfg(feature = "tls")]
            Inner::Tls(proxy) => Self(Inner::PlainInTls(proxy)),
            inner => Self(inner),
        }
    }

    /// Whether the connection is under TLS, from one end to the other: TLS to a proxy alone does not count.
    #[must_use]
    pub fn is_secure(&self) -> bool {
        match &self.0 {
            Inner::Plain(_) => false,
            #[cfg(feature = "tls")]
            Inner::PlainInTls(_) => false,
            #[cfg(feature = "tls")]
            Inner::Tls(_) | Inner::TlsInTls(_) => true,
        }
    }

    /// The other end's address: the proxy's, if there is one.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().peer_addr()
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().local_addr()
    }

    /// The TCP connection.
    #[must_use]
    pub fn tcp(&self) -> &TcpStream {
        match &self.0 {
            Inner::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            Inner::Tls(tls) | Inner::PlainInTls(tls) => tls.get_ref().0,
            #[cfg(feature = "tls")]
            Inner::TlsInTls(tls) => tls.get_ref().0.get_ref().0,
        }
    }

    fn io(self: Pin<&mut Self>) -> Pin<&mut dyn Io> {
        match &mut self.get_mut().0 {
            Inner::Plain(tcp) => Pin::<&mut dyn Io>::new(tcp),
            #[cfg(feature = "tls")]
            Inner::Tls(tls) | Inner::PlainInTls(tls) => Pin::<&mut dyn Io>::new(&mut **tls),
            #[cfg(feature = "tls")]
            Inner::TlsInTls(tls) => Pin::<&mut dyn Io>::new(&mut **tls),
        }
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.io().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.io().poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.io().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Inner::Plain(tcp) => tcp.is_write_vectored(),
            #[cfg(feature = "tls")]
            Inner::Tls(tls) | Inner::PlainInTls(tls) => tls.is_write_vectored(),
            #[cfg(feature = "tls")]
            Inner::TlsInTls(tls) => tls.is_write_vectored(),
        }
    }
}
