//! `sockeye echo`: sends back what it gets, by tasks or by the engine.

mod engine;

use sockeye::{Error, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::listen;
use crate::plan::Echoing;
use crate::report::Failure;

pub(crate) use self::engine::{Held, send_back, send_on};

pub(crate) async fn run(plan: Echoing) -> Result<(), Failure> {
    if plan.engine {
        return engine::run(&plan.listening).await;
    }
    let server = plan.listening.bind().await?;
    let grace = plan.listening.grace;
    listen::run(
        server,
        "ws",
        grace,
        |server| async move { server.serve(converse).await },
    )
    .await
}

/// Echoes until the client closes or the server shuts down.
async fn converse<T>(mut ws: WebSocket<T>) -> Result<(), Error>
where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
