//! What was typed: the commands, their flags, and the values that are wrong whatever they are for.

mod values;

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::builder::{Styles, ValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Parser, Subcommand};
use sockeye::handshake::Origin;

pub(crate) use self::values::{Address, Period, Seconds, Secret, Size, Threads, without_credentials};
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
    // In a box, since it has three times the flags of the others.
    Connect(Box<ConnectArguments>),
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
    #[arg(value_parser = secret())]
    pub(crate) url: Secret,

    /// Send lines as binary messages, which need not be UTF-8
    #[arg(long)]
    pub(crate) binary: bool,

    /// Come back when the connection cannot be made, or is lost, and that may pass; tell so on stderr. Lines wait
    /// meanwhile. The end of stdin does not end this; Ctrl-C does, and what comes after it is not printed
    #[arg(long)]
    pub(crate) reconnect: bool,

    /// Tell on stderr how long the answer to a ping takes, at once and then with each period of --ping
    #[arg(long, conflicts_with = "reconnect")]
    pub(crate) latency: bool,

    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,

    #[command(flatten)]
    pub(crate) request: RequestArguments,

    #[command(flatten)]
    pub(crate) route: RouteArguments,

    #[command(flatten)]
    pub(crate) tls: ClientTlsArguments,
}

/// What a client says in its handshake.
#[derive(Debug, Args)]
#[command(next_help_heading = "Request")]
pub(crate) struct RequestArguments {
    /// Offer a subprotocol; may be repeated, the one preferred first
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,

    /// Offer permessage-deflate
    #[arg(long)]
    pub(crate) compress: bool,

    /// Send a header with the request; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = secret())]
    pub(crate) header: Vec<Secret>,

    /// Send this Origin, as a page of it would
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Option<String>,

    /// Authorize by user name and password (Basic), in place of those in the URL
    #[arg(long, value_name = "USER:PASSWORD", value_parser = secret(), conflicts_with = "bearer")]
    pub(crate) user: Option<Secret>,

    /// Authorize by a token (Bearer)
    #[arg(long, value_name = "TOKEN", value_parser = secret())]
    pub(crate) bearer: Option<Secret>,

    /// Follow redirects, at most N in a row, without a number 10; other origins get no credentials, and wss:// never
    /// leads to ws://
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "10",
          value_parser = clap::value_parser!(u8).range(0..=10))]
    pub(crate) follow: Option<u8>,
}

/// The way to a server.
#[derive(Debug, Args)]
#[command(next_help_heading = "Proxy")]
pub(crate) struct RouteArguments {
    /// Go through this proxy, such as socks5h://user:password@127.0.0.1:1080; http, https, socks5 (names are resolved
    /// here) or socks5h (by the proxy) [default: what HTTP_PROXY for ws, HTTPS_PROXY for wss, ALL_PROXY and NO_PROXY say]
    #[arg(long, value_name = "URL", value_parser = secret(), conflicts_with = "no_proxy")]
    pub(crate) proxy: Option<Secret>,

    /// Go through no proxy, whatever the environment says
    #[arg(long)]
    pub(crate) no_proxy: bool,
}

/// Whom a client trusts, and who it is.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct ClientTlsArguments {
    /// Trust the certificates in this PEM file beside those of the system, or of the file that SSL_CERT_FILE names in their
    /// place
    #[arg(long, value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// Take any certificate from anybody: the connection is encrypted, and whoever sits in between can read it all
    #[arg(long, conflicts_with = "ca")]
    pub(crate) insecure: bool,

    /// Show a server that asks for one this certificate, a PEM file with its chain
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of --cert, a PEM file
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,
}

/// Run a server that sends back what it gets.
///
/// It takes connections on any path and, since it is a tool for tests, from pages of any origin unless told otherwise. The
/// first lines of stdout are `listening on ws://ADDR/` (`wss://` with TLS), one a listener. SIGINT and SIGTERM close every connection
/// with code 1001, wait as long as --grace says, and end the program with exit code 0.
#[derive(Debug, Args)]
pub(crate) struct EchoArguments {
    /// Where to listen, such as 127.0.0.1:9001, [::1]:9001 or localhost:9001; port 0 takes a free one; may be repeated
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9001")]
    pub(crate) listen: Vec<Address>,

    /// A subprotocol that the server speaks; the first in the client's list that it speaks is chosen; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) subprotocol: Vec<String>,

    /// Let only pages of this origin connect, such as https://example.com; programs, which send none, always; may be
    /// repeated [default: any]
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Vec<Origin>,

    /// Serve by the engine, for very many connections: each thread has its own, and no connection has a task
    #[arg(long)]
    pub(crate) engine: bool,

    /// Serve by the engine in N processes at the same ports, each with one thread unless --threads says more, for machines
    /// that let a process have few file descriptors; Linux only. --max-connections is for each of them
    #[arg(long, value_name = "N", requires = "engine", conflicts_with_all = ["tls_self_signed", "max_per_address"],
          value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) processes: Option<u16>,

    /// Be one of these processes, which the end of stdin ends.
    #[arg(long, hide = true, requires = "processes")]
    pub(crate) member: bool,

    /// Be one that listens where the first of them does.
    #[arg(long, hide = true, requires = "member")]
    pub(crate) join: Vec<Address>,

    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// Serve a page with a chat and a live ticker, and the WebSocket endpoints behind it.
///
/// On one port: the page at `/`, `/healthz` and `/metrics` for monitors, and by WebSocket `/echo`, `/chat`, `/ticker` and
/// `/topic/NAME`, where everyone gets what others send: `sockeye connect ws://127.0.0.1:8080/topic/news`. The first
/// lines of stdout are `listening on http://ADDR/` (`https://` with TLS), one a listener. Pages may connect from the
/// host that they were served by, and from the origins that are named; programs, which send no Origin, always. SIGINT
/// and SIGTERM close every connection with code 1001, wait as long as --grace says, and end the program with exit code 0.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Where to listen, such as 127.0.0.1:8080, [::1]:8080 or 0.0.0.0:80; port 0 takes a free one; may be repeated
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: Vec<Address>,

    /// Let pages of this origin connect too, such as https://example.com; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) origin: Vec<Origin>,

    #[command(flatten)]
    pub(crate) server: ServerArguments,
}

/// What all servers have.
#[derive(Debug, Args)]
pub(crate) struct ServerArguments {
    /// Agree to permessage-deflate with clients that offer it
    #[arg(long)]
    pub(crate) compress: bool,

    /// Send a header with each response that accepts a WebSocket; may be repeated
    #[arg(short = 'H', long, value_name = "NAME: VALUE", value_parser = secret())]
    pub(crate) header: Vec<Secret>,

    /// The most connections at one time; others get status 503 and Retry-After [default: 100000, and others wait; of the engine 1000000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_connections: Option<u32>,

    /// The most connections of one address, or of one IPv6 network of 64 bits; others get 503 [default: no limit]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) max_per_address: Option<u32>,

    /// How long a client may take to answer a Close, at the end of the server too
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    pub(crate) grace: Seconds,

    /// Threads that serve connections [default: one a CPU]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<Threads>,

    #[command(flatten)]
    pub(crate) connection: ConnectionArguments,

    #[command(flatten)]
    pub(crate) tls: ServerTlsArguments,
}

/// Who a server is, and whom it trusts.
#[derive(Debug, Args)]
#[command(next_help_heading = "TLS")]
pub(crate) struct ServerTlsArguments {
    /// Serve under TLS with this certificate, a PEM file with its chain
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// The private key of --cert, a PEM file
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// Both at once, as it was said before there was --cert.
    #[arg(long, num_args = 2, value_names = ["CERT", "KEY"], hide = true, conflicts_with_all = ["cert", "tls_self_signed"])]
    pub(crate) tls: Option<Vec<PathBuf>>,

    /// Serve under TLS with a new certificate for localhost, 127.0.0.1 and ::1, which nobody trusts until told to
    #[arg(long, conflicts_with = "cert")]
    pub(crate) tls_self_signed: bool,

    /// Refuse clients without a certificate that was issued by one of those in this PEM file
    #[arg(long, value_name = "FILE")]
    pub(crate) client_ca: Option<PathBuf>,
}

/// What all connections have.
#[derive(Debug, Args)]
pub(crate) struct ConnectionArguments {
    /// The longest message that is received, in bytes or as 64K, 16M, 1G (units of 1024); longer ones close the
    /// connection with code 1009
    #[arg(long, value_name = "SIZE", default_value = "1M")]
    pub(crate) max_message: Size,

    /// Send a ping when nothing has come for so long, without a number 5, 0 for never; a connection that does not answer
    /// within 20 s is given up [default: 20]
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "5")]
    pub(crate) ping: Option<Period>,

    /// How long it may take to open a connection: for a client from the name to the end of the handshake, with proxy, TLS
    /// and redirects; for a server TLS and handshake
    #[arg(long, value_name = "SECONDS", default_value = "10")]
    pub(crate) timeout: Seconds,
}

/// Any text, which clap will not show.
fn secret() -> ValueParser {
    use clap::builder::TypedValueParser;
    ValueParser::new(clap::builder::StringValueParser::new().map(Secret::from))
}

/// Reads the command line. Asked for help or the version, prints that and ends the program.
pub(crate) fn parse() -> Result<Arguments, Failure> {
    Arguments::try_parse_from(joined(env::args_os())).or_else(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            report::output(error.to_string().as_bytes())?;
            Err(Failure::OutputClosed)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(Failure::usage(format!(
            "what should be done? Name a command.\n\n{error}"
        ))),
        _ => Err(Failure::usage(sentence(&error))),
    })
}

/// Joins flags whose value may be left out with the word behind them, unless that is another flag or may be a URL:
/// `--ping 5` is `--ping=5`, while in `--ping ws://host/` the URL is not the flag's.
fn joined(arguments: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let is_value = |word: &OsStr| {
        let word = word.as_encoded_bytes();
        !word.starts_with(b"-") && !word.iter().any(|byte| b":/@".contains(byte))
    };
    let mut joined: Vec<OsString> = Vec::new();
    for argument in arguments {
        match joined.last_mut() {
            Some(flag) if (flag == "--ping" || flag == "--follow") && is_value(&argument) => {
                flag.push("=");
                flag.push(argument);
            }
            _ => joined.push(argument),
        }
    }
    joined
}

/// clap's message on one line, without the usage that `--help` tells better.
fn sentence(error: &clap::Error) -> String {
    if let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg) {
        match error.kind() {
            // A word that belongs nowhere may be the end of a password with a space in it.
            ErrorKind::UnknownArgument if !argument.starts_with('-') => {
                return "there is a word too many; put quotes around what has spaces in it; see --help".into();
            }
            ErrorKind::TooManyValues => return format!("{argument} takes no such value; see --help"),
            _ => {}
        }
    }
    let mut parts = Vec::new();
    for paragraph in error.to_string().split("\n\n") {
        let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
        if !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more information") && !paragraph.is_empty() {
            let paragraph = paragraph.trim_start_matches("error: ").trim_start_matches("tip: ");
            parts.push(paragraph.to_owned());
        }
    }
    parts.push("see --help".into());
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_flag_takes_the_value_behind_it_and_no_url() {
        for (typed, expected) in [
            ("connect --ping 5 ws://host/", "connect --ping=5 ws://host/"),
            ("connect --ping ws://host/", "connect --ping ws://host/"),
            ("connect --ping often ws://host/", "connect --ping=often ws://host/"),
            ("connect --ping alice:s3cret@host", "connect --ping alice:s3cret@host"),
            ("connect --follow --ping 0.5", "connect --follow --ping=0.5"),
            ("connect --follow=3 7", "connect --follow=3 7"),
            ("echo --listen 127.0.0.1:0", "echo --listen 127.0.0.1:0"),
        ] {
            let arguments = joined(typed.split(' ').map(OsString::from));
            assert_eq!(arguments.join(OsStr::new(" ")), expected);
        }
    }

    #[test]
    fn secrets_are_in_no_sentence() {
        for typed in [
            &["connect", "s3cret", "ws://host/"][..],
            &["connect", "ws://host/", "--user", "alice", "s3cret"],
            &["connect", "ws://host/", "ws://alice:s3cret@host/"],
            &["connect", "ws://host/", "--usr=alice:s3cret"],
            &["connect", "ws://host/", "--bearer", "s3cret", "--bearer", "s3cret"],
            &["connect", "ws://host/", "--insecure=s3cret"],
            &["echo", "-H", "Token: s3cret", "s3cret"],
        ] {
            let typed = [&["sockeye"], typed].concat();
            let error = Arguments::try_parse_from(&typed).unwrap_err();
            let sentence = sentence(&error);
            assert!(!sentence.contains("s3cret"), "{typed:?}: {sentence}");
        }
        let typed = [
            "sockeye",
            "connect",
            "ws://a:s3cret@h/",
            "-H",
            "T: s3cret",
            "--user",
            "s3cret",
        ];
        let shown = format!("{:?}", Arguments::try_parse_from(typed).unwrap());
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
