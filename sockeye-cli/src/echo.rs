//! `sockeye echo`: sends back what it gets.

use sockeye::{CloseCode, Error, Incoming, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::listen::{self, Shutdown};
use crate::plan::Listening;
use crate::report::Failure;

pub(crate) async fn run(plan: Listening) -> Result<(), Failure> {
    let servers = plan.bind().await?;
    listen::run(servers, "ws", connection).await
}

async fn connection(incoming: Incoming, mut shutdown: Shutdown) {
    let accepted = tokio::select! {
        accepted = incoming.accept() => accepted,
        () = shutdown.requested() => return,
    };
    // What a client did wrong it has been told; a server of many has nothing to add.
    if let Ok(ws) = accepted {
        converse(ws, shutdown).await;
    }
}

/// Echoes until the client closes or the program is to end.
pub(crate) async fn converse<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    mut ws: WebSocket<T>,
    mut shutdown: Shutdown,
) {
    // Neither `recv` nor `send` loses anything by being dropped, so the Close goes out between messages.
    let _ended = tokio::select! {
        ended = echo(&mut ws) => ended,
        () = shutdown.requested() => ws.close(CloseCode::GOING_AWAY, "the server shuts down").await,
    };
}

async fn echo<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(ws: &mut WebSocket<T>) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
