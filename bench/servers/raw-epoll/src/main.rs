//! The floor under the kernel's own interface: one epoll loop, one buffer for all, bytes go back as they come.

use std::error::Error;
use std::io::{self, Read as _, Write as _};

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use server_args::{ServerArgs, announce};

/// What one read may bring, in bytes.
const BUFFER: usize = 512 * 1024;

const LISTENER: Token = Token(usize::MAX);

struct Connection {
    stream: TcpStream,
    /// What the kernel did not take yet; nothing is read while there is some.
    pending: Vec<u8>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = ServerArgs::parse()?;
    ServerArgs::refuse(args.deflate, "compression")?;
    ServerArgs::refuse(args.tls.is_some(), "TLS")?;
    ServerArgs::refuse(args.batched, "loop that is batched by hand")?;
    ServerArgs::refuse(args.broadcast || args.threads > 1, "broadcast and no threads")?;
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(args.address())?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    announce(listener.local_addr()?)?;
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; BUFFER];
    loop {
        poll.poll(&mut events, None)?;
        for event in &events {
            if event.token() == LISTENER {
                accept(&listener, &poll, &mut connections)?;
                continue;
            }
            let Token(index) = event.token();
            if let Some(connection) = &mut connections[index]
                && !matches!(echo(connection, &mut buffer), Ok(true))
            {
                connections[index] = None;
            }
        }
    }
}

fn accept(listener: &TcpListener, poll: &Poll, connections: &mut Vec<Option<Connection>>) -> io::Result<()> {
    loop {
        let mut stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        };
        stream.set_nodelay(true)?;
        let index = connections
            .iter()
            .position(Option::is_none)
            .unwrap_or(connections.len());
        if index == connections.len() {
            connections.push(None);
        }
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(index), interest)?;
        connections[index] = Some(Connection {
            stream,
            pending: Vec::new(),
        });
    }
}

/// Sends what waits and what has come; false at the end of the connection.
fn echo(connection: &mut Connection, buffer: &mut [u8]) -> io::Result<bool> {
    if !connection.pending.is_empty() {
        let sent = write(&mut connection.stream, &connection.pending)?;
        connection.pending.drain(..sent);
    }
    while connection.pending.is_empty() {
        let length = match connection.stream.read(buffer) {
            Ok(0) => return Ok(false),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error),
        };
        let sent = write(&mut connection.stream, &buffer[..length])?;
        connection.pending.extend_from_slice(&buffer[sent..length]);
        // A read that does not fill the buffer took all there was; the next arrival is a new event.
        if length < buffer.len() && connection.pending.is_empty() {
            return Ok(true);
        }
    }
    Ok(true)
}

/// Writes until the kernel takes no more; how much it took.
fn write(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(length) => sent += length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
