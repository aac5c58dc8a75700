//! The streams of the event loop: TCP, and TLS over it.

use std::io;
use std::net::SocketAddr;

use mio::Registry;
use mio::net::TcpStream;

use crate::stream::Stream;
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// A connection from a listener.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<Tls>),
}

/// What a listener makes of a TCP connection.
#[derive(Debug, Clone)]
pub(crate) enum Acceptor {
    Plain,
    #[cfg(feature = "tls")]
    Tls(sockeye::ServerTls),
}

impl Acceptor {
    pub(crate) fn wire(&self, tcp: TcpStream) -> io::Result<Wire> {
        match self {
            Self::Plain => Ok(Wire::Plain(tcp)),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => Ok(Wire::Tls(Box::new(Tls::new(tcp, tls)?))),
        }
    }
}

impl Wire {
    /// Takes it out of a poll.
    pub(crate) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(match self {
            Self::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.tcp_mut(),
        })
    }

    fn stream(&self) -> &dyn Stream {
        match self {
            Self::Plain(tcp) => tcp,
            #[cfg(feature = "tls")]
            Self::Tls(tls) => &**tls,
        }
    }
}

impl Stream for Wire {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => Stream::read(tcp, buffer),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    #[inline]
    fn write(&mut self, bytes: &[u8], then: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => Stream::write(tcp, bytes, then),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.write(bytes, then),
        }
    }

    fn flush(&mut self) -> io::Result<bool> {
        match self {
            Self::Plain(_) => Ok(true),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.flush(),
        }
    }

    fn is_drained_by_short_read(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(tcp) => Stream::shutdown(tcp),
            #[cfg(feature = "tls")]
            Self::Tls(tls) => tls.shutdown(),
        }
    }

    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream().peer_addr()
    }

    fn peer_certificates(&self) -> Option<Vec<Vec<u8>>> {
        self.stream().peer_certificates()
    }

    fn is_secure(&self) -> bool {
        self.stream().is_secure()
    }

    fn alpn(&self) -> Option<&[u8]> {
        self.stream().alpn()
    }
}
