//! `sockeye`: WebSocket from the command line.
//!
//! [`args`] is what was typed, [`plan`] what will happen, and a module a command does it. Exit codes: 0 success, 1 an
//! abnormal close or a refusal, 2 wrong usage or I/O. Data goes to stdout and talk to stderr, both through [`report`].
#![forbid(unsafe_code)]

mod addresses;
mod args;
mod connect;
mod echo;
mod listen;
mod plan;
mod report;
mod serve;

use std::io;
use std::process::ExitCode;

use tokio::runtime::{Builder, Runtime};

use self::args::Threads;
use self::plan::Plan;
use self::report::Failure;

fn main() -> ExitCode {
    let ended = args::parse().and_then(Plan::new).and_then(run);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

fn run(plan: Plan) -> Result<(), Failure> {
    let runtime = runtime(plan.threads()).map_err(|error| Failure::usage(format!("no threads to run on: {error}")))?;
    let ended = runtime.block_on(async {
        match plan {
            Plan::Echo(plan) => echo::run(plan).await,
            Plan::Connect(plan) => connect::run(plan).await,
            Plan::Serve(plan) => serve::run(plan).await,
        }
    });
    // Not waiting for a name that is still being resolved.
    runtime.shutdown_background();
    ended
}

fn runtime(threads: Option<Threads>) -> io::Result<Runtime> {
    let mut builder = match threads {
        Some(Threads::ONE) => Builder::new_current_thread(),
        Some(threads) => {
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads.get());
            builder
        }
        None => Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}
