//! `sockeye connect --reconnect`: the same over one connection after the other, by the library's
//! [`Reconnecting`](sockeye::reconnect::Reconnecting).

use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::{Arc, Mutex, PoisonError};

use sockeye::CloseCode;
use sockeye::reconnect::{Cause, GivenUp, Reconnecting, Sender, State, States};
use sockeye::uri::WebSocketUri;
use tokio::time::timeout;

use super::stdio::{Lines, Output};
use super::{Connecting, Given, LEAVE, connected, verdict};
use crate::listen::Signals;
use crate::report::{self, Failure};

pub(super) async fn run(plan: Connecting) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let uri = Arc::new(plan.uri);
    let opened = Opened::default();
    let hook = {
        let (uri, opened) = (uri.clone(), opened.clone());
        move |ws| {
            opened.set(connected(&uri, &ws));
            async { Ok(ws) }
        }
    };
    let mut connection = Reconnecting::builder(plan.client, plan.url.as_str())
        .on_open(hook)
        .start()
        .map_err(Failure::usage)?;
    let mut lines = Lines::read(plan.binary);
    let (output, written) = Output::new();
    let (sender, mut states) = (connection.sender(), connection.states());
    let talking = async {
        tell(&mut states, &opened).await;
        // What else there is to say is the verdict, which receiving finds.
        pending::<Infallible>().await
    };
    let ended = tokio::select! {
        ended = receive(&mut connection, &output) => ended,
        failure = send_lines(&sender, &mut lines) => Ended::Failed(failure),
        never = talking => match never {},
        () = signals.next() => Ended::Interrupted,
    };
    // A connection may have been opened and closed while others were asked.
    tokio::select! {
        biased;
        () = tell(&mut states, &opened) => {}
        () = ready(()) => {}
    }
    let state = connection.state();
    let ended = match ended {
        // There is nothing left to close.
        Ended::Closed => all_sent(close(&connection).await).and_then(|()| by_state(&state, &uri, plan.given)),
        Ended::GivenUp(given_up) => {
            if let Some(loss) = loss(close(&connection).await) {
                report::talk(loss);
            }
            by_cause(given_up.cause(), &uri, plan.given)
        }
        // The writer knows why.
        Ended::Unread => {
            let _ = timeout(LEAVE, close(&connection)).await;
            Ok(())
        }
        Ended::Failed(_) | Ended::Interrupted => {
            let leaving = async {
                let unsent = close(&connection).await;
                // What had come before.
                receive(&mut connection, &output).await;
                unsent
            };
            let unsent = tokio::select! {
                unsent = leaving => unsent,
                () = signals.next() => {
                    return Err(Failure::abnormal("interrupted before the peer had closed its side"));
                }
            };
            match ended {
                Ended::Failed(failure) => Err(failure),
                _ => all_sent(unsent).map(|()| report::talk("closed")),
            }
        }
    };
    drop(output);
    let written = tokio::select! {
        written = written.ended() => written,
        () = signals.next() => return Err(Failure::abnormal("interrupted before all messages were written")),
    };
    written.and(ended)
}

/// Ends it, and counts the messages that no connection has taken.
async fn close(connection: &Reconnecting) -> usize {
    let unsent = connection.close(CloseCode::NORMAL, "").await;
    // A code and a reason that can be sent are no error.
    unsent.map_or(0, |unsent| unsent.len())
}

/// Why the conversation ends.
enum Ended {
    /// The peer closed the connection, in good order.
    Closed,
    GivenUp(GivenUp),
    /// stdin failed.
    Failed(Failure),
    /// Nobody reads stdout any more, or it failed.
    Unread,
    Interrupted,
}

async fn receive(connection: &mut Reconnecting, output: &Output) -> Ended {
    loop {
        let message = tokio::select! {
            message = connection.recv() => message,
            () = output.closed() => return Ended::Unread,
        };
        match message {
            Ok(Some(message)) => {
                if !output.write(message).await {
                    return Ended::Unread;
                }
            }
            Ok(None) => return Ended::Closed,
            Err(given_up) => return Ended::GivenUp(given_up),
        }
    }
}

/// Each line a message. Ends by a failure of stdin alone: at its end there is nothing more to send, and much to receive.
async fn send_lines(sender: &Sender, lines: &mut Lines) -> Failure {
    while let Some(line) = lines.next().await {
        let line = match line {
            Ok(line) => line,
            Err(failure) => return failure,
        };
        // While there is no connection this waits once the queue is full, and then stdin is not read.
        if sender.send(line).await.is_err() {
            // Receiving finds the same end, and the cause with it.
            return pending().await;
        }
    }
    report::talk("stdin has ended; Ctrl-C ends the connection");
    pending().await
}

/// What there is to say of the last connection that was opened: the states do not show the connection, and the hook that
/// does is called before them.
#[derive(Debug, Clone, Default)]
struct Opened(Arc<Mutex<String>>);

impl Opened {
    fn set(&self, line: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }

    fn tell(&self) {
        report::talk(self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Tells every change of the state but the last, which is the verdict.
async fn tell(states: &mut States, opened: &Opened) {
    while let Some(state) = states.next().await {
        match state {
            State::Connecting { attempt } if attempt > 1 => report::talk(format_args!("connecting, attempt {attempt}")),
            State::Open => opened.tell(),
            State::Waiting { delay, cause } => {
                report::talk(format_args!("{cause}; trying again in {:.1} s", delay.as_secs_f64()));
            }
            _ => {}
        }
    }
}

/// The verdict on a connection that was closed in good order.
fn by_state(state: &State, uri: &WebSocketUri, given: Given) -> Result<(), Failure> {
    match state {
        State::Closed { cause } => by_cause(cause, uri, given),
        _ => Ok(()),
    }
}

fn by_cause(cause: &Cause, uri: &WebSocketUri, given: Given) -> Result<(), Failure> {
    match cause {
        Cause::Connect(error) => Err(verdict::not_connected(uri, given, error)),
        Cause::Lost(error) => Err(verdict::lost(error)),
        Cause::Closed(frame) => verdict::closed(frame.as_ref(), false),
        Cause::Requested => Ok(()),
        _ => Err(Failure::abnormal(cause)),
    }
}

/// Lines that no connection has taken are a failure, however good the end.
fn all_sent(unsent: usize) -> Result<(), Failure> {
    loss(unsent).map_or(Ok(()), |loss| Err(Failure::abnormal(loss)))
}

fn loss(unsent: usize) -> Option<String> {
    match unsent {
        0 => None,
        1 => Some("one message was never sent".into()),
        _ => Some(format!("{unsent} messages were never sent")),
    }
}
