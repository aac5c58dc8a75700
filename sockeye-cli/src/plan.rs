//! What will happen: arguments become options of the library, files are read, and what cannot work is told before
//! anything is done.
//!
//! No sentence has a value in it that may hold a password.

mod client;
mod server;

use std::fs;
use std::path::Path;

use crate::args::{Arguments, Command, Secret, Threads};
use crate::connect::Connecting;
use crate::report::Failure;

pub(crate) use self::server::{By, Echoing, Listening};

#[derive(Debug)]
pub(crate) enum Plan {
    Connect(Connecting),
    Echo(Echoing),
    Serve(Listening),
}

impl Plan {
    pub(crate) fn new(arguments: Arguments) -> Result<Self, Failure> {
        match arguments.command {
            Command::Connect(arguments) => Ok(Self::Connect(client::connect(*arguments)?)),
            Command::Echo(arguments) => Ok(Self::Echo(server::echo(arguments)?)),
            Command::Serve(arguments) => Ok(Self::Serve(server::serve(arguments)?)),
        }
    }

    pub(crate) fn threads(&self) -> Option<Threads> {
        match self {
            // One connection; stdin and stdout have their own threads.
            Self::Connect(_) => Some(Threads::ONE),
            Self::Echo(Echoing {
                listening,
                by: By::Tasks,
            }) => listening.threads,
            // The shards have theirs.
            Self::Serve(_) | Self::Echo(_) => Some(Threads::ONE),
        }
    }
}

/// The name and the value of a header.
fn header(header: &Secret) -> Result<(&str, &str), Failure> {
    let (name, value) = header.as_str().split_once(':').ok_or_else(|| {
        Failure::usage("--header: a header is a name, a colon and a value, such as 'Accept-Language: en'")
    })?;
    Ok((name, value.trim()))
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::usage(format!("{flag}: cannot read {}: {error}", path.display())))
}
