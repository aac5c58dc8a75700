//! `sockeye connect --reconnect`: the same over one connection after the other, by the library's
//! [`Reconnecting`](sockeye::reconnect::Reconnecting).

use std::convert::Infallible;
use std::future::{pending, ready};
use std::sync::Arc;
use std::time::Duration;

use sockeye::CloseCode;
use sockeye::reconnect::{Cause, Finished, Reconnecting, Sender, State, States};
use sockeye::uri::WebSocketUri;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};

use super::stdio::{Lines, Output};
use super::{Connecting, Given, LEAVE, connected, verdict};
use crate::listen::Signals;
use crate::report::{self, Failure};

pub(super) async fn run(plan: Connecting) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let uri = Arc::new(plan.uri);
    let opened = Opened::new();
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
        failure = send_lines(&sender, &mut lines, &opened) => Ended::Failed(failure),
        never = talking => match never {},
        () = signals.next() => Ended::Interrupted,
    };
    // A connection may have been opened and closed while others were asked.
    tokio::select! {
        biased;
        () = tell(&mut states, &opened) => {}
        () = ready(()) => {}
    }
    let ended = match ended {
        Ended::Over(finished) => verdict_on(finished, opened.is_set(), &uri, plan.given),
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
                _ if unsent > 0 => Err(Failure::abnormal(loss(unsent))),
                _ => {
                    report::talk("closed");
                    Ok(())
                }
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
    /// There will be no other connection.
    Over(Finished),
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
            // How it went, also if the end was not asked for.
            Ok(None) | Err(_) => match connection.finish(CloseCode::NORMAL, "", Duration::ZERO) {
                Ok(finishing) => return Ended::Over(finishing.await),
                Err(error) => return Ended::Failed(Failure::usage(error)),
            },
        }
    }
}

/// Each line a message, and at the end of stdin the end of it all, which receiving finds. Ends by a failure of stdin alone.
async fn send_lines(sender: &Sender, lines: &mut Lines, opened: &Opened) -> Failure {
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
    let by = Instant::now() + DELIVER;
    if !opened.is_set() {
        report::talk("stdin has ended; waiting for a connection");
        // For its own sake, since without the flag there would be one too.
        let _ = timeout_at(by, opened.first()).await;
    }
    match sender.finish(CloseCode::NORMAL, "", by.duration_since(Instant::now())) {
        Ok(_finishing) => pending().await,
        Err(error) => Failure::usage(error),
    }
}

/// What there is to say of the last connection that was opened: the states do not show the connection, and the hook that
/// does is called before them.
#[derive(Debug, Clone)]
struct Opened(watch::Sender<String>);

impl Opened {
    fn new() -> Self {
        Self(watch::Sender::new(String::new()))
    }

    fn set(&self, line: String) {
        self.0.send_replace(line);
    }

    /// Whether there ever was a connection.
    fn is_set(&self) -> bool {
        !self.0.borrow().is_empty()
    }

    /// Waits for the first connection.
    async fn first(&self) {
        // The channel is not closed while this is here.
        let _ = self.0.subscribe().wait_for(|line| !line.is_empty()).await;
    }

    fn tell(&self) {
        report::talk(&*self.0.borrow());
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

/// How it ended; `opened` is whether there ever was a connection.
fn verdict_on(finished: Finished, opened: bool, uri: &WebSocketUri, given: Given) -> Result<(), Failure> {
    match finished {
        Finished::Closed(frame) => verdict::closed(frame.as_ref(), true),
        Finished::Unconfirmed(cause) => match &*cause {
            Cause::Requested if !opened => Err(Failure::usage(format!(
                "no connection to {} within {} s of the end of stdin",
                uri.host_header(),
                DELIVER.as_secs()
            ))),
            cause => by_cause(cause, uri, given),
        },
        Finished::Unsent { messages, cause } => {
            let loss = loss(messages.len());
            match by_cause(&cause, uri, given) {
                Err(failure) if !matches!(*cause, Cause::Expired) => {
                    report::talk(loss);
                    Err(failure)
                }
                // However good the end. And what kept it from connections has been told when it did.
                _ => Err(Failure::abnormal(loss)),
            }
        }
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

/// Lines that no connection has taken.
fn loss(unsent: usize) -> String {
    match unsent {
        1 => "one message was never sent".into(),
        _ => format!("{unsent} messages were never sent"),
    }
}

/// How long after the end of stdin there is for what has not been sent, and for a first connection.
const DELIVER: Duration = Duration::from_secs(60);
