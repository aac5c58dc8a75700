//! `sockeye echo`: sends back what it gets, by tasks or by the engine, of which there may be several processes.

mod engine;
mod processes;

use sockeye::{Error, Server, WebSocket};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::listen;
use crate::plan::{By, Echoing};
use crate::report::Failure;

pub(crate) use self::engine::{Held, send_back, send_on};

pub(crate) async fn run(plan: Echoing) -> Result<(), Failure> {
    let listening = &plan.listening;
    match plan.by {
        By::Tasks => {
            let server = listening.bind().await?;
            let serve = |server: Server| async move { server.serve(converse).await };
            listen::run(server, "ws", listening.grace, serve).await
        }
        By::Engine => listen::run_engine(engine::start(listening)?, "ws", listening).await,
        By::Processes(count) => processes::run(count, listening.addresses.len()).await,
        By::Member => processes::serve(engine::start(listening)?, listening).await,
    }
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
