//! A server that does as the test says, and what is read of the states.

use std::sync::Arc;
use std::time::Duration;

use sockeye::reconnect::{Backoff, Cause, Reconnecting, ReconnectingBuilder, State, States};
use sockeye::{Client, CloseCode, ServerOptions, WebSocket, accept};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) use crate::support::{StillClock, at_most, read_head, settle};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Server {
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://127.0.0.1:{}/", self.port())
    }

    pub(crate) async fn tcp(&self) -> TcpStream {
        self.listener.accept().await.unwrap().0
    }

    /// The next client, welcomed.
    pub(crate) async fn accept(&self) -> WebSocket<TcpStream> {
        accept(self.tcp().await, &ServerOptions::default()).await.unwrap()
    }

    /// The next client's request, answered by this. Hands back the request's head.
    pub(crate) async fn answer(&self, response: &str) -> String {
        let mut tcp = self.tcp().await;
        let head = read_head(&mut tcp).await;
        tcp.write_all(response.as_bytes()).await.unwrap();
        tcp.shutdown().await.unwrap();
        // Read to the end, since a socket closed with something unread in it is reset.
        while tcp.read(&mut [0; 512]).await.is_ok_and(|count| count > 0) {}
        head
    }

    /// Refuses the next client with this status and these header lines.
    pub(crate) async fn refuse(&self, status: u16, headers: &str) -> String {
        let response = format!("HTTP/1.1 {status} No\r\nContent-Length: 0\r\nConnection: close\r\n{headers}\r\n");
        self.answer(&response).await
    }
}

/// A port on which nobody listens.
pub(crate) async fn deserted_url() -> String {
    Server::bind().await.url()
}

/// The longest waits there are: 1 s, 2 s, 4 s, and so on up to 60 s.
pub(crate) fn builder(url: impl Into<String>) -> ReconnectingBuilder {
    let client = Client::builder().build().unwrap();
    Reconnecting::builder(client, url).random(|| u64::MAX)
}

pub(crate) fn at_most_attempts(attempts: u32) -> Backoff {
    Backoff::new().max_attempts(Some(attempts))
}

/// Waits for a connection.
pub(crate) async fn until_open(states: &mut States) {
    while !matches!(states.next().await.unwrap(), State::Open) {}
}

/// Waits for a wait.
pub(crate) async fn until_waiting(states: &mut States) -> (Duration, Arc<Cause>) {
    loop {
        match states.next().await.unwrap() {
            State::Waiting { delay, cause } => return (delay, cause),
            State::Closed { cause } => panic!("closed: {cause}"),
            _ => {}
        }
    }
}

/// Waits for the end.
pub(crate) async fn until_closed(states: &mut States) -> Arc<Cause> {
    loop {
        if let State::Closed { cause } = states.next().await.unwrap() {
            assert!(states.next().await.is_none());
            return cause;
        }
    }
}

/// A state in a few words.
pub(crate) fn name(state: &State) -> String {
    match state {
        State::Connecting { attempt } => format!("connecting {attempt}"),
        State::Open => "open".into(),
        State::Waiting { delay, .. } => format!("waiting {delay:?}"),
        State::Closed { .. } => "closed".into(),
        _ => unreachable!("a new state"),
    }
}

pub(crate) fn code(cause: &Cause) -> Option<u16> {
    cause.close_code().map(CloseCode::as_u16)
}
