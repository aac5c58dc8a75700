//! What was typed: the commands, their flags, and the values that are wrong whatever they are for.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::Styles;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};

use crate::report::{self, Failure};

/// WebSocket from the command line: RFC 6455 and permessage-deflate.
#[derive(Debug, Parser)]
#[command(
    name = "sockeye",
    version,
    max_term_width = 100,
    styles = Styles::plain(),
    subcommand_required = true,
    arg_required_else_help = true,
    after_help = "Exit codes: 0 success, 1 an abnormal close or a refusal, 2 wrong usage or I/O."
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Echo(EchoArguments),
}

/// Run a server that sends back what it gets.
///
/// It takes connections on any path and, since it is a tool for tests, from pages of any origin. The first lines of
/// stdout are `listening on ws://ADDR/` (`wss://` with TLS), one a listener. SIGINT and SIGTERM close every connection
/// with code 1001, wait 5 s at most, and end the program with exit code 0.
#[derive(Debug, Args)]
pub(crate) struct EchoArguments {
    /// Where to listen, such as 127.0.0.1:9001, [::1]:9001 or localhost:9001; port 0 takes a free one; may be repeated
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001")]
    pub(crate) listen: Vec<Address>,

    #[command(flatten)]
    pub(crate) server: ServerArguments,

    /// Serve wss:// with this certificate chain and its private key, two PEM files
    #[arg(long, num_args = 2, value_names = ["CERT", "KEY"], conflicts_with = "tls_self_signed")]
    pub(crate) tls: Option<Vec<PathBuf>>,

    /// Serve wss:// with a new certificate for localhost, 127.0.0.1 and ::1, which nobody trusts until told to
    #[arg(long)]
    pub(crate) tls_self_signed: bool,

    /// A subprotocol that the server speaks; the first in the client's list that it speaks is chosen; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,
}

/// What all servers have.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Agree to permessage-deflate with clients that offer it
    #[arg(long)]
    pub(crate) compress: bool,

    /// The longest message that is received, in bytes or as 64KiB, 16MiB, 1GiB; longer ones close the connection with
    /// code 1009
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    pub(crate) max_message: Size,

    /// Threads that serve connections; with 1, everything runs on the main thread [default: one a CPU]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<Threads>,
}

/// Reads the command line. Asked for help or the version, prints that and ends the program.
pub(crate) fn parse() -> Result<Arguments, Failure> {
    Arguments::try_parse().or_else(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            report::output(error.to_string().as_bytes())?;
            Err(Failure::OutputClosed)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(Failure::usage(format!(
            "what should be done? Name a command.\n\n{error}"
        ))),
        _ => Err(Failure::usage(sentence(&error.to_string()))),
    })
}

/// clap's message on one line, without the usage that `--help` tells better.
fn sentence(message: &str) -> String {
    let mut parts = Vec::new();
    for paragraph in message.split("\n\n") {
        let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more information") && !paragraph.is_empty() {
            let paragraph = paragraph.trim_start_matches("error: ").trim_start_matches("tip: ");
            parts.push(paragraph.to_owned());
        }
    }
    parts.push("see --help".into());
    parts.join("; ")
}

/// A host and a port to listen on.
#[derive(Debug, Clone)]
pub(crate) struct Address(String);

impl Address {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(Self(text.into())),
            _ => Err("an address is a host and a port, such as 127.0.0.1:9001"),
        }
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size(u64);

impl Size {
    pub(crate) fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const HELP: &str =
            "a size is a number of bytes, or a whole number with KiB, MiB or GiB behind it, such as 16MiB";
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().map_err(|_| HELP)?;
        let unit = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" => 1 << 10,
            "mib" => 1 << 20,
            "gib" => 1 << 30,
            _ => return Err(HELP),
        };
        match number.checked_mul(unit) {
            Some(0) => Err("no message fits into 0 bytes; give at least 1"),
            Some(bytes) => Ok(Self(bytes)),
            None => Err("that is more than can be counted; give less than 16 EiB"),
        }
    }
}

/// A number of threads, at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Threads(NonZeroUsize);

impl Threads {
    pub(crate) const ONE: Self = Self(NonZeroUsize::MIN);

    pub(crate) fn get(self) -> usize {
        self.0.get()
    }
}

impl FromStr for Threads {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .ok()
            .filter(|threads: &NonZeroUsize| threads.get() <= MAX_THREADS)
            .map(Self)
            .ok_or_else(|| format!("give a number of threads from 1 to {MAX_THREADS}"))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// More threads than any machine has use for.
const MAX_THREADS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn sizes_are_bytes_or_have_a_binary_unit_in_any_case() {
        let bytes = |text: &str| text.parse::<Size>().map(Size::bytes).ok();
        assert_eq!(bytes("1"), Some(1));
        assert_eq!(bytes("64KiB"), Some(64 << 10));
        assert_eq!(bytes("16mib"), Some(16 << 20));
        assert_eq!(bytes("1GIB"), Some(1 << 30));
        assert_eq!(bytes("2 MiB"), Some(2 << 20));
        for wrong in [
            "",
            "0",
            "KiB",
            "-1",
            "1.5MiB",
            "1MB",
            "1 TiB",
            "99999999999999GiB",
            "18446744073709551616",
        ] {
            assert_eq!(bytes(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        for address in ["127.0.0.1:0", "[::1]:9001", "localhost:80"] {
            assert!(address.parse::<Address>().is_ok(), "{address}");
        }
        for address in ["9001", ":9001", "localhost", "127.0.0.1:70000", "127.0.0.1:"] {
            assert!(address.parse::<Address>().is_err(), "{address}");
        }
    }
}
