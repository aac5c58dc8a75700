//! `sockeye connect`: lines of stdin become messages, messages become lines of stdout, both at the same time.
//!
//! Here over one connection; [`reconnecting`] does it over one after the other. [`verdict`] says how it ended.

mod reconnecting;
mod stdio;
mod verdict;

use std::cell::Cell;
use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use sockeye::transport::Stream;
use sockeye::uri::WebSocketUri;
use sockeye::{Client, CloseCode, CloseFrame, Error, Event, Receiver, Sender, WebSocket};
use tokio::time::{MissedTickBehavior, interval, timeout};

use self::stdio::{Lines, Output};
pub(crate) use self::verdict::Given;
use crate::args::Secret;
use crate::listen::Signals;
use crate::report::{self, Failure};

/// Where to connect, and how.
#[derive(Debug)]
pub(crate) struct Connecting {
    pub(crate) uri: WebSocketUri,
    pub(crate) url: Secret,
    pub(crate) client: Client,
    pub(crate) given: Given,
    /// Whether lines are sent as binary messages.
    pub(crate) binary: bool,
    /// Whether to come back when the connection is lost.
    pub(crate) reconnect: bool,
    /// How often to tell how long the answer to a ping takes, if at all.
    pub(crate) latency: Option<Duration>,
}

pub(crate) async fn run(plan: Connecting) -> Result<(), Failure> {
    if plan.reconnect {
        return reconnecting::run(plan).await;
    }
    let mut signals = Signals::new()?;
    let connecting = plan.client.connect(plan.url.as_str());
    let ws = tokio::select! {
        connected = connecting => connected.map_err(|error| verdict::not_connected(&plan.uri, plan.given, &error))?,
        () = signals.next() => return Err(Failure::abnormal("interrupted before the connection was open")),
    };
    report::talk(connected(&plan.uri, &ws));
    let (sender, receiver) = ws.split();
    tokio::select! {
        ended = converse(&sender, receiver, plan.binary, signals) => ended,
        never = tell_latency(&sender, plan.latency) => match never {},
    }
}

/// Sends and receives until the connection has ended, and tells how it did.
async fn converse(
    sender: &Sender<Stream>,
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
            sent = send_lines(sender, &mut lines) => sent,
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
            let verdict = verdict::closed(frame.as_ref(), closing.get());
            written.and(sent).and(verdict)
        }
        Received::Failed(error) => written.and(Err(verdict::lost(&error))),
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

/// Pings at once and then every `period`, and tells how long the answers take. It never ends: what ends the connection is
/// told by whoever receives.
async fn tell_latency(sender: &Sender<Stream>, period: Option<Duration>) -> Infallible {
    let Some(period) = period else {
        return pending().await;
    };
    let mut clock = interval(period);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let Ok(round_trip) = sender.measure_latency().await else {
            return pending().await;
        };
        match round_trip.await {
            Ok(latency) => report::talk(format_args!("latency {:.3} ms", latency.as_secs_f64() * 1e3)),
            Err(_) => return pending().await,
        }
    }
}

/// The connection in one line; the URL without its password.
fn connected(uri: &WebSocketUri, ws: &WebSocket<Stream>) -> String {
    let mut line = format!("connected to {}", place(uri));
    if let Some(subprotocol) = ws.subprotocol() {
        line += &format!(", subprotocol {subprotocol}");
    }
    if ws.is_compressed() {
        line += ", compressed";
    }
    line
}

/// The URL without its user information.
fn place(uri: &WebSocketUri) -> String {
    format!("{}://{}{}", uri.scheme(), uri.host_header(), uri.resource())
}

/// How long the closing handshake may take when stdout has gone.
const LEAVE: Duration = Duration::from_secs(1);
