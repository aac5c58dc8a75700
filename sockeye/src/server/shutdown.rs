//! Taking leave: no new connections, 1001 to those that there are, and an end for those that do not answer.
//!
//! Each connection learns of it in whatever it waits for, by its [`Place`](super::place::Place); what it does then is in
//! `driver/served.rs`.

use std::pin::pin;
use std::time::Duration;

use tokio::time::timeout_at;

use super::Server;
use super::deadline::far_from_now;
use super::limits::Registry;

/// What became of the connections of a server that was shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Connections that were closed with a complete closing handshake.
    pub closed: usize,
    /// Connections that were not: the peer did not answer in time, or the connection broke, or the task that had it ended
    /// first or was busy with something else.
    pub dropped: usize,
    /// Connections that were in their opening handshake, or held a response that the client had not read; not counted
    /// among the others.
    pub handshakes: usize,
}

impl Server {
    /// Shuts the server down: closes the listeners, sends every connection a Close with code 1001, and waits until all are
    /// closed, at most for `within`. What is there then is dropped.
    ///
    /// Nothing needs to be done for that in the tasks that have the connections. `recv` delivers the messages that the
    /// connection has read already, sends the Close, discards what the peer still sends before it answers (it cannot be
    /// answered any more), and returns `None` when it has, or [`Error::Timeout`](crate::Error::Timeout) after the
    /// [close timeout](crate::ServerOptionsBuilder::close_timeout) or at the end of `within`, whichever is first. `send`
    /// goes on until then, for answers; when only the close timeout is left of `within`, or half of it, it takes leave as
    /// well and returns [`SendError::Closed`](crate::SendError::Closed). If the task then drops the connection, the closing
    /// handshake is finished for it. Tasks of [`serve`](Self::serve) that still run when `within` ends are cancelled; tasks
    /// of your own that wait for something else than their connection are left alone, and their connections are counted as
    /// dropped.
    ///
    /// Handshakes under way end with [`AcceptError::ShuttingDown`](crate::AcceptError::ShuttingDown),
    /// [`accept`](Self::accept) with an error, and [`serve`](Self::serve) when all its tasks have ended. A second call
    /// may set an earlier end; a later one has no effect.
    ///
    /// # Cancel safety
    ///
    /// The shutdown begins when the future is first polled, and cannot be called off; dropping the future gives up the
    /// report only.
    ///
    /// # Examples
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    /// use sockeye::{Error, Server, ServerOptions};
    ///
    /// let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await?;
    /// let serving = tokio::spawn({
    ///     let server = server.clone();
    ///     async move {
    ///         let echo = |mut ws: sockeye::WebSocket<_>| async move {
    ///             while let Some(message) = ws.recv().await? {
    ///                 ws.send(message).await?;
    ///             }
    ///             Ok::<_, Error>(())
    ///         };
    ///         server.serve(echo).await;
    ///     }
    /// });
    /// let mut client = sockeye::connect(&format!("ws://{}/", server.local_addr()?)).await?;
    /// let (report, received) = tokio::join!(server.shutdown(Duration::from_secs(10)), client.recv());
    /// assert_eq!(received?, None);
    /// assert_eq!(client.close_received(), Some(sockeye::CloseCode::GOING_AWAY));
    /// assert_eq!((report.closed, report.dropped), (1, 0));
    /// serving.await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn shutdown(&self, within: Duration) -> ShutdownReport {
        let registry = &self.shared.registry;
        let deadline = far_from_now(within);
        registry.begin_to_stop(deadline);
        let all_ended = async {
            // Whoever waits in `accept` has been told to let go.
            self.shared.acceptor.lock().await.close();
            nobody_left(registry).await;
        };
        // Either way the report says how it went.
        let _ = timeout_at(deadline, all_ended).await;
        let ended = registry.ended();
        ShutdownReport {
            closed: ended.closed,
            dropped: ended.dropped,
            handshakes: ended.handshakes,
        }
    }

    /// Waits until the server begins to [shut down](Self::shutdown), for tasks that have something to do then.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn shutting_down(&self) {
        // The sender is in the registry, which this holds.
        let _ = self
            .shared
            .registry
            .stopping
            .subscribe()
            .wait_for(Option::is_some)
            .await;
    }
}

async fn nobody_left(registry: &Registry) {
    loop {
        let mut freed = pin!(registry.freed.notified());
        freed.as_mut().enable();
        if registry.count() == 0 {
            return;
        }
        freed.await;
    }
}
