//! What a blocking WebSocket runs over.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// A transport that blocks, and no longer than it is told.
pub trait Transport: Read + Write {
    /// Bounds the next read, which then fails with [`io::ErrorKind::WouldBlock`] or [`io::ErrorKind::TimedOut`]; `None`: it
    /// waits for as long as it takes. Called before each read.
    ///
    /// # Errors
    ///
    /// When the transport cannot be used any more.
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Bounds the next write, in the same way. Called before each write.
    ///
    /// # Errors
    ///
    /// As [`set_read_timeout`](Self::set_read_timeout).
    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Ends our direction: the peer reads to the end, and can still be read from.
    ///
    /// # Errors
    ///
    /// When the transport is broken.
    fn shutdown(&mut self) -> io::Result<()>;

    /// Whether the peer is known to have come by TLS. It decides whether an `http:` page may count as the same host.
    fn is_secure(&self) -> bool {
        false
    }
}

/// A transport that two threads can use at the same time, one to read and one to write.
pub trait TryClone: Transport + Sized {
    /// Another handle of the same transport.
    ///
    /// # Errors
    ///
    /// When there can be none; [`io::ErrorKind::Unsupported`] under TLS, where reading and writing share their state.
    fn try_clone(&self) -> io::Result<Self>;

    /// Ends both directions, so that a thread that reads or writes by another handle returns at once.
    ///
    /// # Errors
    ///
    /// When the transport is broken.
    fn abort(&self) -> io::Result<()>;
}

impl Transport for TcpStream {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_read_timeout(self, timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_write_timeout(self, timeout)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        Self::shutdown(self, Shutdown::Write)
    }
}

impl TryClone for TcpStream {
    fn try_clone(&self) -> io::Result<Self> {
        Self::try_clone(self)
    }

    fn abort(&self) -> io::Result<()> {
        Self::shutdown(self, Shutdown::Both)
    }
}

#[cfg(unix)]
impl Transport for std::os::unix::net::UnixStream {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_read_timeout(self, timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        Self::set_write_timeout(self, timeout)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        Self::shutdown(self, Shutdown::Write)
    }
}

#[cfg(unix)]
impl TryClone for std::os::unix::net::UnixStream {
    fn try_clone(&self) -> io::Result<Self> {
        Self::try_clone(self)
    }

    fn abort(&self) -> io::Result<()> {
        Self::shutdown(self, Shutdown::Both)
    }
}

impl<T: Transport + ?Sized> Transport for Box<T> {
    fn set_read_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        (**self).set_read_timeout(timeout)
    }

    fn set_write_timeout(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        (**self).set_write_timeout(timeout)
    }

    fn shutdown(&mut self) -> io::Result<()> {
        (**self).shutdown()
    }

    fn is_secure(&self) -> bool {
        (**self).is_secure()
    }
}

/// Anything that reads and writes, as a transport. Deadlines are looked at between its reads and writes only, so a peer that
/// does nothing at all is waited for, unless the transport has timeouts of its own.
///
/// It should block. If it answers [`io::ErrorKind::WouldBlock`], so do the methods of the WebSocket, which lose nothing by
/// that and can be called again; a handshake ends then.
#[derive(Debug, Clone)]
pub struct Untimed<T>(pub T);

impl<T: Read> Read for Untimed<T> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<T: Write> Write for Untimed<T> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<T: Read + Write> Transport for Untimed<T> {
    fn set_read_timeout(&mut self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn set_write_timeout(&mut self, _timeout: Option<Duration>) -> io::Result<()> {
        Ok(())
    }

    fn shutdown(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
