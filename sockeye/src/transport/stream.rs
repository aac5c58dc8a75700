//! [`Stream`]: TCP or, from a server's side on Unix, a Unix domain socket, and TLS on either; to the server, or to a proxy
//! and through it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;

#[cfg(feature = "tls")]
use super::tls::connect;

/// A TCP connection, or one over a Unix domain socket, in plain text or under TLS; where a client goes through a proxy, the connection to that.
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
    #[cfg(unix)]
    Unix(UnixStream),
    #[cfg(all(unix, feature = "tls"))]
    UnixTls(Box<tokio_rustls::TlsStream<UnixStream>>),
}

impl Stream {
    pub(crate) fn plain(tcp: TcpStream) -> Self {
        Self(Inner::Plain(tcp))
    }

    #[cfg(feature = "tls")]
    pub(crate) fn tls(stream: impl Into<tokio_rustls::TlsStream<TcpStream>>) -> Self {
        Self(Inner::Tls(Box::new(stream.into())))
    }

    #[cfg(unix)]
    pub(crate) fn unix(unix: UnixStream) -> Self {
        Self(Inner::Unix(unix))
    }

    #[cfg(all(unix, feature = "tls"))]
    pub(crate) fn unix_tls(stream: impl Into<tokio_rustls::TlsStream<UnixStream>>) -> Self {
        Self(Inner::UnixTls(Box::new(stream.into())))
    }

    /// TLS to the server over this, a connection to the server or a tunnel to it.
    ///
    /// # Errors
    ///
    /// What rustls says of the server, or the transport's.
    #[cfg(feature = "tls")]
    pub(crate) async fn under_tls(self, config: std::sync::Arc<rustls::ClientConfig>, host: &str) -> io::Result<Self> {
        Ok(Self(match self.0 {
            Inner::Plain(tcp) => Inner::Tls(Box::new(connect(config, host, tcp).await?)),
            Inner::Tls(proxy) | Inner::PlainInTls(proxy) => {
                Inner::TlsInTls(Box::new(connect(config, host, *proxy).await?))
            }
            Inner::TlsInTls(_) => return Err(io::Error::other("the connection is under TLS already")),
            #[cfg(unix)]
            Inner::Unix(_) | Inner::UnixTls(_) => return Err(io::ErrorKind::Unsupported.into()),
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
            #[cfg(unix)]
            Inner::Unix(_) => false,
            #[cfg(all(unix, feature = "tls"))]
            Inner::UnixTls(_) => true,
        }
    }

    /// The other end's address: the proxy's, if there is one.
    ///
    /// # Errors
    ///
    /// When the connection is gone; [`io::ErrorKind::Unsupported`] when it is none over TCP.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().ok_or(io::ErrorKind::Unsupported)?.peer_addr()
    }

    /// This end's address.
    ///
    /// # Errors
    ///
    /// As [`peer_addr`](Self::peer_addr).
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp().ok_or(io::ErrorKind::Unsupported)?.local_addr()
    }

    /// The TCP connection, if that is what carries the stream.
    #[must_use]
    pub fn tcp(&self) -> Option<&TcpStream> {
        match &self.0 {
            Inner::Plain(tcp) => Some(tcp),
            #[cfg(feature = "tls")]
            Inner::Tls(tls) | Inner::PlainInTls(tls) => Some(tls.get_ref().0),
            #[cfg(feature = "tls")]
            Inner::TlsInTls(tls) => Some(tls.get_ref().0.get_ref().0),
            #[cfg(unix)]
            Inner::Unix(_) => None,
            #[cfg(all(unix, feature = "tls"))]
            Inner::UnixTls(_) => None,
        }
    }

    /// The session of a server's stream under TLS.
    #[cfg(feature = "tls")]
    pub(crate) fn server_session(&self) -> Option<&rustls::ServerConnection> {
        match &self.0 {
            Inner::Tls(tls) => match &**tls {
                tokio_rustls::TlsStream::Server(tls) => Some(tls.get_ref().1),
                tokio_rustls::TlsStream::Client(_) => None,
            },
            #[cfg(unix)]
            Inner::UnixTls(tls) => match &**tls {
                tokio_rustls::TlsStream::Server(tls) => Some(tls.get_ref().1),
                tokio_rustls::TlsStream::Client(_) => None,
            },
            _ => None,
        }
    }

    fn io(self: Pin<&mut Self>) -> Pin<&mut dyn Io> {
        match &mut self.get_mut().0 {
            Inner::Plain(tcp) => Pin::<&mut dyn Io>::new(tcp),
            #[cfg(feature = "tls")]
            Inner::Tls(tls) | Inner::PlainInTls(tls) => Pin::<&mut dyn Io>::new(&mut **tls),
            #[cfg(feature = "tls")]
            Inner::TlsInTls(tls) => Pin::<&mut dyn Io>::new(&mut **tls),
            #[cfg(unix)]
            Inner::Unix(unix) => Pin::<&mut dyn Io>::new(unix),
            #[cfg(all(unix, feature = "tls"))]
            Inner::UnixTls(tls) => Pin::<&mut dyn Io>::new(&mut **tls),
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
            #[cfg(unix)]
            Inner::Unix(unix) => unix.is_write_vectored(),
            #[cfg(all(unix, feature = "tls"))]
            Inner::UnixTls(tls) => tls.is_write_vectored(),
        }
    }
}
