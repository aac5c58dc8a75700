//! A connection to the server: TCP, or TLS over it; first blocking for the handshakes, then not.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use socket2::{Domain, Protocol, Socket, Type};

use crate::Args;

/// What the kernel may hold for us, in bytes, each way: small buffers here would cut everybody's batches.
const KERNEL_BUFFER: usize = 4 << 20;

/// Bytes on their way to and from the server.
pub(crate) struct Transport {
    tcp: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// What all connections share.
pub(crate) struct Connector<'a> {
    args: &'a Args,
    tls: Option<Arc<ClientConfig>>,
}

impl<'a> Connector<'a> {
    pub(crate) fn new(args: &'a Args) -> Result<Self> {
        let tls = args.tls.as_deref().map(tls_config).transpose()?;
        Ok(Self { args, tls })
    }

    /// Connects and does the handshakes.
    pub(crate) fn connect(&self) -> Result<Transport> {
        let socket = Socket::new(
            Domain::for_address(self.args.address),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        // Before connecting, since the window is negotiated then.
        socket.set_recv_buffer_size(KERNEL_BUFFER)?;
        socket.set_send_buffer_size(KERNEL_BUFFER)?;
        socket.set_tcp_nodelay(true)?;
        socket.connect(&self.args.address.into()).context("cannot connect")?;
        let mut transport = Transport {
            tcp: socket.into(),
            tls: None,
        };
        if let Some(config) = &self.tls {
            let name = ServerName::try_from("localhost")?;
            let mut tls = Box::new(ClientConnection::new(Arc::clone(config), name)?);
            tls.set_buffer_limit(None);
            while tls.is_handshaking() {
                tls.complete_io(&mut transport.tcp)
                    .context("the TLS handshake failed")?;
            }
            transport.tls = Some(tls);
        }
        if !self.args.raw {
            handshake(&mut transport, self.args).context("the opening handshake failed")?;
        }
        Ok(transport)
    }
}

impl Transport {
    /// The socket, for registering it.
    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Whether the session has bytes that the kernel did not take; it wants [`flush`](Write::flush) then.
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Reads what is there into `buffer` and gives plain bytes to `take`, until the socket has no more. `scratch`
    /// is for TLS records.
    pub(crate) fn read_all(
        &mut self,
        buffer: &mut [u8],
        scratch: &mut [u8],
        mut take: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        loop {
            let length = match self.tcp.read(buffer) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            match &mut self.tls {
                None => take(&buffer[..length])?,
                Some(tls) => decrypt(tls, &buffer[..length], scratch, &mut take)?,
            }
            // A read that does not fill the buffer took all there was; the next arrival is a new event.
            if length < buffer.len() {
                return Ok(());
            }
        }
    }
}

fn decrypt(
    tls: &mut ClientConnection,
    mut records: &[u8],
    scratch: &mut [u8],
    take: &mut impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    while !records.is_empty() {
        tls.read_tls(&mut records)?;
        tls.process_new_packets()?;
        loop {
            match tls.reader().read(scratch) {
                Ok(0) => bail!("the server closed the TLS session"),
                Ok(length) => take(&scratch[..length])?,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// For the handshake, and for messages one at a time while the socket blocks.
impl Read for Transport {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.tcp.read(buffer),
            Some(tls) => rustls::Stream::new(&mut **tls, &mut self.tcp).read(buffer),
        }
    }
}

impl Write for Transport {
    /// Over TLS all bytes are taken, and encrypted, whether or not the kernel takes them now.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.tcp.write(bytes),
            Some(tls) => {
                let length = tls.writer().write(bytes)?;
                self.flush()?;
                Ok(length)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            while tls.wants_write() {
                match tls.write_tls(&mut self.tcp) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}

fn tls_config(certificate: &Path) -> Result<Arc<ClientConfig>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certificate)? {
        roots.add(certificate?)?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// RFC 6455 §1.3 has this key and its answer as the example; nothing here needs another.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// RFC 7692 §7.1.1: both directions without context takeover.
const OFFER: &str = "permessage-deflate; client_no_context_takeover; server_no_context_takeover";

fn handshake(transport: &mut Transport, args: &Args) -> Result<()> {
    let mut request = format!(
        "GET / HTTP/1.1\r\nHost: {}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {KEY}\r\n\
         Sec-WebSocket-Version: 13\r\n",
        args.address
    );
    if args.deflate {
        request.push_str(&format!("Sec-WebSocket-Extensions: {OFFER}\r\n"));
    }
    request.push_str("\r\n");
    transport.write_all(request.as_bytes())?;
    let mut response = Vec::new();
    while !response.ends_with(b"\r\n\r\n") {
        ensure!(response.len() < 16 * 1024, "the response has no end");
        let mut byte = [0];
        transport.read_exact(&mut byte)?;
        response.push(byte[0]);
    }
    let response = String::from_utf8_lossy(&response);
    ensure!(
        response.starts_with("HTTP/1.1 101 "),
        "the server answered {response:?}"
    );
    ensure!(
        header(&response, "sec-websocket-accept") == Some(ACCEPT),
        "a wrong accept"
    );
    let extensions = header(&response, "sec-websocket-extensions").unwrap_or_default();
    if args.deflate {
        let agreed = extensions.contains("permessage-deflate") && extensions.contains("server_no_context_takeover");
        ensure!(
            agreed,
            "the server answered the offer of permessage-deflate with {extensions:?}"
        );
    } else {
        ensure!(
            extensions.is_empty(),
            "an extension that was not offered: {extensions:?}"
        );
    }
    Ok(())
}

fn header<'a>(response: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = response.lines().filter_map(|line| line.split_once(':'));
    lines.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then(|| value.trim()))
}
