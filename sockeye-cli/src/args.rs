//! What was typed: the commands, their flags, and the values that are wrong whatever they are for.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::str::FromStr;

use clap::builder::Styles;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand};
use sockeye::handshake::Origin;

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
    Connect(ConnectArguments),
    Echo(EchoArguments),
    Serve(ServeArguments),
}

/// Connect to a server: lines of stdin go out as messages, messages come in as lines of stdout.
///
/// What else there is to say (the subprotocol, the close code) goes to stderr. At the end of stdin the connection is
/// closed with code 1000, and messages are printed until the server has closed its side; Ctrl-C does the same, and a
/// second one does not wait.
///
/// Messages are written as they came, text and binary alike, each with a line end behind it. On a terminal their
/// control characters are shown as \u{1b}, and bytes that are no UTF-8 as \xff.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 closed with code 1000 or 1001 or without one; 1 refused by the server, closed with \
                        another code, or ended without a closing handshake; 2 wrong usage, no connection, or stdin or \
                        stdout failed."
)]
pub(crate) struct ConnectArguments {
    /// The server, such as ws://127.0.0.1:9001/ or wss://user:password@example.com/chat
    pub(crate) url: String,

    /// Offer a subprotocol; may be repeated, the one preferred first
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,

    /// Send a header with the request; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE")]
    pub(crate) header: Vec<Header>,

    /// Offer permessage-deflate
    #[arg(long)]
    pub(crate) compress: bool,

    /// Take any certificate from anybody: the connection is encrypted, and whoever sits in between can read it all
    #[arg(long, conflicts_with = "ca")]
    pub(crate) insecure: bool,

    /// Trust the certificates in this PEM file beside those of the system
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Send lines as binary messages, which need not be UTF-8
    #[arg(long)]
    pub(crate) binary: bool,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,
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

/// Serve a page with a chat and a live ticker, and the WebSocket endpoints behind it.
///
/// On one port: the page at `/`, `/healthz` for monitors, and by WebSocket `/echo`, `/chat` and `/ticker`. The first
/// lines of stdout are `listening on http://ADDR/`, one a listener. Pages may connect from the host that they were
/// served by, and from the origins that are named; programs, which send no Origin, always. SIGINT and SIGTERM close
/// every connection with code 1001, wait 5 s at most, and end the program with exit code 0.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Where to listen, such as 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:80; port 0 takes a free one; may be repeated
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: Vec<Address>,

    #[command(flatten)]
    pub(crate) server: ServerArguments,

    /// Let pages of this origin connect too, such as https://example.com; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Vec<Origin>,
}

/// What all servers have.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Agree to permessage-deflate with clients that offer it
    #[arg(long)]
    pub(crate) compress: bool,

    #[command(flatten)]
    pub(crate) limits: LimitArguments,

    /// Threads that serve connections; with 1, everything runs on the main thread [default: one a CPU]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<Threads>,
}

/// What all connections have.
#[derive(Debug, Args)]
pub(crate) struct LimitArguments {
    /// The longest message that is received, in bytes or as 64KiB, 16MiB, 1GiB; longer ones close the connection with
    /// code 1009
    #[arg(long, value_name = "SIZE", default_value = "1MiB")]
    pub(crate) max_message: Size,
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

/// A header of a request, as yet in the form it was typed in.
#[derive(Debug, Clone)]
pub(crate) struct Header {
    pub(crate) name: String,
    pub(crate) value: String,
}

impl FromStr for Header {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text
            .split_once(':')
            .ok_or("a header is a name, a colon and a value, such as 'Origin: https://example.com'")?;
        Ok(Self {
            name: name.into(),
            value: value.trim().into(),
        })
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
