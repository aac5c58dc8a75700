//! `sockeye connect`: lines of stdin become messages, messages become lines of stdout, both at the same time.

mod stdio;

use std::cell::Cell;
use std::io;
use std::time::Duration;

use sockeye::transport::Stream;
use sockeye::transport::tls::rustls;
use sockeye::uri::WebSocketUri;
use sockeye::{Client, CloseCode, CloseFrame, ConnectError, Error, Event, Receiver, Sender, WebSocket};
use tokio::time::timeout;

use self::stdio::{Lines, Output};
use crate::listen::Signals;
use crate::report::{self, Failure};

/// Where to connect, and how.
#[derive(Debug)]
pub(crate) struct Connecting {
    pub(crate) uri: WebSocketUri,
    pub(crate) url: String,
    pub(crate) client: Client,
    /// Whether lines are sent as binary messages.
    pub(crate) binary: bool,
}

pub(crate) async fn run(plan: Connecting) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let ws = tokio::select! {
        connected = plan.client.connect(&plan.url) => connected.map_err(|error| not_connected(&plan.uri, &error))?,
        () = signals.next() => return Err(Failure::abnormal("interrupted before the connection was open")),
    };
    report::talk(connected(&plan.uri, &ws));
    let (sender, receiver) = ws.split();
    converse(sender, receiver, plan.binary, signals).await
}

/// Sends and receives until the connection has ended, and tells how it did.
async fn converse(
    sender: Sender<Stream>,
    mut receiver: Receiver<Stream>,
    binary: bool,
    mut signals: Signals,
) -> Result<(), Failure> {
    let mut lines = Lines::read(binary);
    let (output, written) = Output::new();
    let closing = Cell::new(false);
    let mut sent = Ok(());
    let sending = async {
        sent = tokio::select! {
            sent = send_lines(&sender, &mut lines) => sent,
            () = signals.next() => Ok(()),
        };
        closing.set(true);
        // Whether it could be sent is told by how receiving ends.
        let _ = sender.close(CloseCode::NORMAL, "").await;
        // Whoever interrupts again does not want to wait for the peer.
        signals.next().await;
    };
    let received = tokio::select! {
        received = receive(&mut receiver, &output) => received,
        () = sending => return Err(Failure::abnormal("interrupted before the peer had closed its side")),
    };
    drop(output);
    let written = tokio::select! {
        written = written.ended() => written,
        () = signals.next() => return Err(Failure::abnormal("interrupted before all messages were written")),
    };
    match received {
        // The writer knows why it stopped. The peer is told, and given little time: nobody is there to read.
        Received::OutputEnded => {
            let leave = async {
                let _ = sender.close(CloseCode::NORMAL, "").await;
                while let Ok(Some(_)) = receiver.next_event().await {}
            };
            let _ = timeout(LEAVE, leave).await;
            written.and(sent)
        }
        Received::Closed(frame) => {
            let verdict = judge(frame, closing.get());
            written.and(sent).and(verdict)
        }
        Received::Failed(error) => {
            let sentence = match error.close_code() {
                Some(code) => format!("{error}; close code {code}"),
                None => error.to_string(),
            };
            written.and(Err(Failure::abnormal(sentence)))
        }
    }
}

/// Each line a message; done at the end of stdin, or when nothing more can be sent.
async fn send_lines(sender: &Sender<Stream>, lines: &mut Lines) -> Result<(), Failure> {
    while let Some(line) = lines.next().await {
        // While the peer is slow this waits, then the channel of lines is full, then stdin is not read.
        if sender.send(line?).await.is_err() {
            // Receiving finds the same end, and the cause with it.
            break;
        }
    }
    Ok(())
}

/// How receiving ended.
enum Received {
    /// A Close came, and the closing handshake is complete.
    Closed(Option<CloseFrame>),
    Failed(Error),
    /// Nobody reads stdout any more, or it failed.
    OutputEnded,
}

async fn receive(receiver: &mut Receiver<Stream>, output: &Output) -> Received {
    let mut close = None;
    loop {
        let event = tokio::select! {
            event = receiver.next_event() => event,
            // Also while no message comes, or the end would have to wait for the next one.
            () = output.closed() => return Received::OutputEnded,
        };
        match event {
            Ok(Some(Event::Close(frame))) => close = frame,
            Ok(Some(event)) => {
                if let Some(message) = event.into_message()
                    && !output.write(message).await
                {
                    return Received::OutputEnded;
                }
            }
            Ok(None) => return Received::Closed(close),
            Err(error) => return Received::Failed(error),
        }
    }
}

/// Tells the close code, and whether it is a good end.
fn judge(frame: Option<CloseFrame>, ours: bool) -> Result<(), Failure> {
    let code = frame.as_ref().map_or(CloseCode::NO_STATUS, |frame| frame.code);
    let shown = frame.map_or_else(|| code.to_string(), |frame| frame.to_string());
    let sentence = if ours {
        format!("closed: {shown}")
    } else {
        format!("the peer closed: {shown}")
    };
    match code {
        CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS => {
            report::talk(sentence);
            Ok(())
        }
        _ => Err(Failure::abnormal(sentence)),
    }
}

/// The connection in one line; the URL without its password.
fn connected(uri: &WebSocketUri, ws: &WebSocket<Stream>) -> String {
    let mut line = format!(
        "connected to {}://{}{}",
        uri.scheme(),
        uri.host_header(),
        uri.resource()
    );
    if let Some(subprotocol) = ws.subprotocol() {
        line += &format!(", subprotocol {subprotocol}");
    }
    if ws.is_compressed() {
        line += ", compressed";
    }
    line
}

/// Why there is no connection: exit code 1 when a server answered and it was no good, 2 when none was reached.
fn not_connected(uri: &WebSocketUri, error: &ConnectError) -> Failure {
    match error {
        ConnectError::Refused(refusal) => {
            let location = refusal.headers().text("Location").map(str::escape_debug);
            Failure::abnormal(match location {
                Some(location) => format!("refused: {error} and names {location} instead"),
                None => format!("refused: {error}"),
            })
        }
        ConnectError::Handshake(_) => Failure::abnormal(format!("this is no WebSocket handshake: {error}")),
        ConnectError::Connect(cause) | ConnectError::Resolve(cause) => {
            Failure::usage(format!("could not connect to {}: {cause}", uri.host_header()))
        }
        ConnectError::Tls(cause) if is_certificate(cause) => Failure::usage(format!(
            "{error}; trust a certificate by --ca FILE, or take any by --insecure"
        )),
        _ => Failure::usage(error),
    }
}

/// Whether TLS failed because of whom the server says to be.
fn is_certificate(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(rustls::Error::InvalidCertificate(_)))
}

/// How long the closing handshake may take when stdout has gone.
const LEAVE: Duration = Duration::from_secs(1);
