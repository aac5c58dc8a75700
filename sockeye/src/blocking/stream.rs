//! [`Stream`]: TCP, or TLS on it by rustls' `StreamOwned`.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[cfg(feature = "_rustls")]
use rustls::pki_types::ServerName;
#[cfg(feature = "_rustls")]
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};

use super::deadline::Deadline;
use super::transport::{Transport, TryClone};

/// A TCP connection, in plain text or under TLS.
///
/// A `TcpStream` is a transport too. This one remembers which timeouts it has set, which saves a system call a read.
#[derive(Debug)]
pub struct Stream(Inner);

#[derive(Debug)]
enum Inner {
    Plain(Timed),
    #[cfg(feature = "_rustls")]
    Client(Box<StreamOwned<ClientConnection, Timed>>),
    #[cfg(feature = "_rustls")]
    Server(Box<StreamOwned<ServerConnection, Timed>>),
}

impl Stream {
    /// Does a client's TLS handshake for a server of this name, before `deadline`.
    #[cfg(feature = "_rustls")]
    pub(super) fn client(
        tcp: TcpStream,
        config: Arc<ClientConfig>,
        host: &str,
        deadline: Deadline,
    ) -> io::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut tls = ClientConnection::new(config, name).map_err(io::Error::other)?;
        let mut tcp = Timed::new(tcp).until(deadline);
        // Until the handshake is done, by rustls' promise.
        tls.complete_io(&mut tcp)?;
        // A configuration of the caller's may offer other protocols, and the server may have taken one.
        if tls.alpn_protocol().is_some_and(|protocol| protocol != b"http/1.1") {
            return Err(io::Error::other(
                "the server chose another protocol than http/1.1 (ALPN)",
            ));
        }
        Ok(Self(Inner::Client(Box::new(StreamOwned::new(tls, tcp)))))
    }

    /// Does a server's TLS handshake, before `deadline`.
    #[cfg(feature = "_rustls")]
    pub(super) fn server(tcp: TcpStream, config: Arc<ServerConfig>, deadline: Deadline) -> io::Result<Self> {
        let mut tls = ServerConnection::new(config).map_err(io::Error::other)?;
        let mut tcp = Timed::new(tcp).until(deadline);
        tls.complete_io(&mut tcp)?;
        Ok(Self(Inner::Server(Box::new(StreamOwned::new(tls, tcp)))))
    }

    /// The other end's address.
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
        &self.timed().tcp
    }

    fn timed(&self) -> &Timed {
        match &self.0 {
            Inner::Plain(tcp) => tcp,
            #[cfg(feature = "_rustls")]
            Inner::Client(tls) => &tls.sock,
            #[cfg(feature = "_rustls")]
            Inner::Server(tls) => &tls.sock,
        }
    }

    fn timed_mut(&mut self) -> &mut Timed {
        match &mut self.0 {
            Inner::Plain(tcp) => tcp,
            #[cfg(feature = "_rustls")]
            Inner::Client(tls) => &mut tls.sock,
            #[cfg(feature = "_rustls")]
            Inner::Server(tls) => &mut tls.sock,
        }
    }

    fn limit(&self, timeout: Option<Duration>) -> Limit {
        match &self.0 {
            Inner::Plain(_) => Limit::Each(timeout),
            #[cfg(feature = "_rustls")]
            _ => Limit::All(timeout.map_or(Deadline::NEVER, Deadline::within)),
        }
    }

    fn io(&mut self) -> &mut dyn Io {
        match &mut self.0 {
            Inner::Plain(tcp) => tcp,
            #[cfg(feature = "_rustls")]
            Inner::Client(tls) => &mut **tls,
            #[cfg(feature = "_rustls")]
            Inner::Server(tls) => &mut **tls,
        }
    }
}

trait Io: Read + Write {}
impl<T: Read + Write> Io for T {}

impl From<TcpStream> for Stream {
    fn from(tcp: TcpStream) -> Self {
        Self(Inner::Plain(Timed::new(tcp)))
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.io().read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.io().write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        self.io().write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.io().flush()
    }
}

impl Transport for Stream {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let limit = self.limit(timeout);
        self.timed_mut().read.limit = limit;
        Ok(())
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let limit = self.limit(timeout);
        self.timed_mut().write.limit = limit;
        Ok(())
    }

    fn shutdown(&mut self) -> io::Result<()> {
        #[cfg(feature = "_rustls")]
        match &mut self.0 {
            Inner::Plain(_) => {}
            Inner::Client(tls) => {
                tls.conn.send_close_notify();
                tls.flush()?;
            }
            Inner::Server(tls) => {
                tls.conn.send_close_notify();
                tls.flush()?;
            }
        }
        self.tcp().shutdown(Shutdown::Write)
    }

    fn is_secure(&self) -> bool {
        !matches!(self.0, Inner::Plain(_))
    }
}

/// Of a connection in plain text; TLS answers [`io::ErrorKind::Unsupported`].
impl TryClone for Stream {
    fn try_clone(&self) -> io::Result<Self> {
        match &self.0 {
            Inner::Plain(Timed { tcp, read, write }) => Ok(Self(Inner::Plain(Timed {
                tcp: tcp.try_clone()?,
                read: read.share(),
                write: write.share(),
            }))),
            #[cfg(feature = "_rustls")]
            _ => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "a TLS connection cannot be shared by two threads",
            )),
        }
    }

    fn abort(&self) -> io::Result<()> {
        self.tcp().shutdown(Shutdown::Both)
    }
}

/// A TCP connection whose reads and writes are bounded.
#[derive(Debug)]
struct Timed {
    tcp: TcpStream,
    read: Bound,
    write: Bound,
}

impl Timed {
    fn new(tcp: TcpStream) -> Self {
        Self {
            tcp,
            read: Bound::default(),
            write: Bound::default(),
        }
    }

    /// Bounds all reads and writes together, for a handshake.
    #[cfg(feature = "_rustls")]
    fn until(mut self, deadline: Deadline) -> Self {
        self.read.limit = Limit::All(deadline);
        self.write.limit = Limit::All(deadline);
        self
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let tcp = &self.tcp;
        self.read.apply(|timeout| tcp.set_read_timeout(timeout))?;
        self.tcp.read(buffer)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let tcp = &self.tcp;
        self.write.apply(|timeout| tcp.set_write_timeout(timeout))?;
        self.tcp.write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let tcp = &self.tcp;
        self.write.apply(|timeout| tcp.set_write_timeout(timeout))?;
        self.tcp.write_vectored(slices)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tcp.flush()
    }
}

/// How long the operations of one direction may take, and what the system was told about it last, by whatever handle of
/// the connection.
#[derive(Debug, Default)]
struct Bound {
    limit: Limit,
    told: Arc<Mutex<Option<Option<Duration>>>>,
}

#[derive(Debug)]
enum Limit {
    /// Each so long.
    Each(Option<Duration>),
    /// All until then: one read from TLS is many from TCP, if each of them brings a byte.
    #[cfg_attr(not(feature = "_rustls"), expect(dead_code, reason = "one read from TCP is one"))]
    All(Deadline),
}

impl Default for Limit {
    fn default() -> Self {
        Self::Each(None)
    }
}

impl Bound {
    fn apply(&mut self, tell: impl FnOnce(Option<Duration>) -> io::Result<()>) -> io::Result<()> {
        let timeout = match self.limit {
            Limit::Each(timeout) => timeout,
            Limit::All(deadline) => deadline.remaining()?,
        };
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != Some(timeout) {
            tell(timeout)?;
            *told = Some(timeout);
        }
        Ok(())
    }

    fn share(&self) -> Self {
        Self {
            limit: Limit::default(),
            told: self.told.clone(),
        }
    }
}
