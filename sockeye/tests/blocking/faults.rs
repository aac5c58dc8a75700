//! Transports that move a byte at a time, or fail at their first, second, third … operation.

use std::cell::Cell;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::rc::Rc;

use sockeye::blocking::{self, Untimed};
use sockeye::{CloseCode, Error, ServerOptions};

use crate::common::{CLOSE, PING, REQUEST, TEXT, masked};

/// What a client sent, and room for what it is answered. Both go in small pieces, and one operation fails.
struct Scripted {
    input: VecDeque<u8>,
    output: Vec<u8>,
    step: usize,
    /// The operations left before the one that fails, and how.
    until_fault: Rc<Cell<usize>>,
    fault: io::ErrorKind,
}

impl Scripted {
    fn new(input: &[u8], step: usize, until_fault: usize, fault: io::ErrorKind) -> Self {
        Self {
            input: input.iter().copied().collect(),
            output: Vec::new(),
            step,
            until_fault: Rc::new(Cell::new(until_fault)),
            fault,
        }
    }

    fn operation(&self) -> io::Result<()> {
        let left = self.until_fault.get();
        self.until_fault.set(left.wrapping_sub(1));
        match left {
            0 => Err(self.fault.into()),
            _ => Ok(()),
        }
    }
}

impl Read for Scripted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.operation()?;
        let step = self.step.min(buffer.len());
        self.input.read(&mut buffer[..step])
    }
}

impl Write for Scripted {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.operation()?;
        let step = self.step.min(bytes.len());
        self.output.write(&bytes[..step])
    }

    fn flush(&mut self) -> io::Result<()> {
        self.operation()
    }
}

/// L3: a byte that arrives costs at most one operation more than reading it does, and so does each that leaves.
#[test]
fn l3_bounded_operations_for_each_byte() {
    let input = script();
    let io = Scripted::new(&input, 1, usize::MAX, io::ErrorKind::Other);
    let left = io.until_fault.clone();
    let mut ws = blocking::accept(Untimed(io), &ServerOptions::default()).unwrap();
    while let Some(message) = ws.recv().unwrap() {
        ws.send(message).unwrap();
    }
    let made = usize::MAX - left.get();
    let bytes = input.len() + ws.transport().0.output.len();
    assert!(made <= 2 * bytes, "{made} operations for {bytes} bytes");
}

/// A session of a server that echoes; the peer closes.
fn script() -> Vec<u8> {
    [
        REQUEST,
        &masked(TEXT, b"first"),
        &masked(PING, b"ping"),
        &masked(0x01, b"sec"),
        &masked(0x80, b"ond"),
        &masked(CLOSE, &4321_u16.to_be_bytes()),
    ]
    .concat()
}

const ANSWER: &[u8] = b"\x81\x05first\x8a\x04ping\x81\x06second\x88\x02\x10\xe1";

/// Echoes to the end, and goes on after errors that are not the end.
fn session(io: Scripted, retry: bool) -> (Result<Option<CloseCode>, Error>, Vec<u8>) {
    let Ok(mut ws) = blocking::accept(Untimed(io), &ServerOptions::default()) else {
        return (Err(Error::ConnectionLost), Vec::new());
    };
    let waits = |error: &io::Error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
    let is_over = |error: &Error| !retry || !matches!(error, Error::Io(error) if waits(error));
    let result = loop {
        let message = match ws.recv() {
            Ok(Some(message)) => message,
            Ok(None) => break Ok(ws.close_received()),
            Err(error) if is_over(&error) => break Err(error),
            Err(_) => continue,
        };
        // A message that was accepted is written later. If the transport is gone, what it brought before is still to be had.
        let _ = ws.send(message);
    };
    let output = ws.transport().0.output.clone();
    let head = output
        .windows(4)
        .position(|end| end == b"\r\n\r\n")
        .map_or(0, |end| end + 4);
    (result, output[head..].to_vec())
}

#[test]
fn f9_a_byte_at_a_time() {
    for step in 1..100 {
        let (result, answer) = session(Scripted::new(&script(), step, usize::MAX, io::ErrorKind::Other), false);
        assert_eq!(result.unwrap(), Some(CloseCode::new(4321)));
        assert_eq!(answer, ANSWER);
    }
}

/// Interrupted calls are repeated; nobody is told.
#[test]
fn an_interruption_at_any_operation() {
    for fault in 0..100 {
        let io = Scripted::new(&script(), 7, fault, io::ErrorKind::Interrupted);
        let (result, answer) = session(io, false);
        assert_eq!(result.unwrap(), Some(CloseCode::new(4321)), "operation {fault}");
        assert_eq!(answer, ANSWER, "operation {fault}");
    }
}

/// A transport that has had enough for now loses nothing and sends nothing twice.
#[test]
fn a_timeout_at_any_operation() {
    let operations = operations();
    let handshake = handshake_operations();
    for fault in handshake..operations {
        let io = Scripted::new(&script(), 7, fault, io::ErrorKind::WouldBlock);
        let (result, answer) = session(io, true);
        assert_eq!(result.unwrap(), Some(CloseCode::new(4321)), "operation {fault}");
        assert_eq!(answer, ANSWER, "operation {fault}");
    }
}

/// A transport that fails is an error, or the end had come already; what was sent is a beginning of what should have been.
#[test]
fn a_failure_at_any_operation() {
    for fault in 0..operations() {
        let io = Scripted::new(&script(), 7, fault, io::ErrorKind::BrokenPipe);
        let (result, answer) = session(io, false);
        assert!(ANSWER.starts_with(&answer), "operation {fault}");
        assert!(
            result.is_err() || result.unwrap() == Some(CloseCode::new(4321)),
            "operation {fault}"
        );
    }
}

/// How many operations a session without faults takes.
fn operations() -> usize {
    let io = Scripted::new(&script(), 7, usize::MAX, io::ErrorKind::Other);
    let left = io.until_fault.clone();
    session(io, false).0.unwrap();
    usize::MAX - left.get()
}

/// How many of them belong to the handshake, which a timeout ends.
fn handshake_operations() -> usize {
    let io = Scripted::new(REQUEST, 7, usize::MAX, io::ErrorKind::Other);
    let left = io.until_fault.clone();
    blocking::accept(Untimed(io), &ServerOptions::default()).unwrap();
    usize::MAX - left.get()
}
