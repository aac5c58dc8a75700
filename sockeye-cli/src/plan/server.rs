//! What `echo` and `serve` will do.

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use sockeye::handshake::OriginPolicy;
use sockeye::{DeflateOptions, Limits, Listener, Server, ServerOptions, ServerOptionsBuilder, ServerTls, TlsError};
use sockeye_engine::{Engine, EngineBuilder};

use super::{header, read};
use crate::addresses::Addresses;
use crate::args::{Address, EchoArguments, ServeArguments, ServerArguments, ServerTlsArguments, Threads};
use crate::listen;
use crate::report::{self, Failure};

/// Where to listen, and how.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) addresses: Vec<Address>,
    /// Whether other processes of this command listen there already.
    shared: bool,
    pub(crate) options: ServerOptions,
    /// How long clients have to finish the closing handshake when the server goes away.
    pub(crate) grace: Duration,
    pub(super) threads: Option<Threads>,
    max_connections: Option<usize>,
    max_per_address: Option<usize>,
    tls: Option<ServerTls>,
    /// A certificate of this run, which nobody knows yet.
    certificate: Option<String>,
}

/// What `echo` needs beyond listeners.
#[derive(Debug)]
pub(crate) struct Echoing {
    pub(crate) listening: Listening,
    pub(crate) by: By,
}

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    Tasks,
    Engine,
    /// The engine, in so many processes that this one starts.
    Processes(u16),
    /// The engine, as one of them.
    Member,
}

impl Listening {
    fn new(addresses: Vec<Address>, options: ServerOptions, arguments: &ServerArguments) -> Result<Self, Failure> {
        let (tls, certificate) = tls(&arguments.tls)?;
        let count = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        Ok(Self {
            addresses,
            shared: false,
            options,
            grace: arguments.grace.duration(),
            threads: arguments.threads,
            max_connections: arguments.max_connections.map(count),
            max_per_address: arguments.max_per_address.map(count),
            tls,
            certificate,
        })
    }

    /// Opens every listener, so that all ports are known, and taken, before the first line is printed. Tells a certificate of
    /// this run, since to trust it is to have it.
    pub(crate) async fn bind(&self) -> Result<Server, Failure> {
        let mut server = Server::builder()
            .options(self.options.clone())
            .limits(self.limits())
            .on_accept_error(listen::tell_of_errors());
        for address in &self.addresses {
            let address = address.as_str();
            let listener = Listener::bind(address)
                .await
                .map_err(|error| Failure::usage(format!("cannot listen on {address}: {error}")))?;
            server = server.listener(listener);
        }
        self.tell_certificate();
        let server = server.build();
        Ok(match &self.tls {
            Some(tls) => server.with_tls(tls.clone()),
            None => server,
        })
    }

    /// The same on the engine, whose listeners open when it starts.
    pub(crate) fn engine(&self) -> Result<EngineBuilder, Failure> {
        let mut engine = Engine::builder(self.options.clone()).on_accept_error(listen::tell_of_errors());
        for address in &self.addresses {
            let address = address.as_str();
            let failed = |error| Failure::usage(format!("cannot listen on {address}: {error}"));
            // Sockets of the engine share a port, also with those of another program of the same user, who would wonder.
            if !self.shared {
                drop(TcpListener::bind(address).map_err(failed)?);
            }
            let listening = match &self.tls {
                Some(tls) => engine.listen_tls(address, tls),
                None => engine.listen(address),
            };
            engine = listening.map_err(failed)?;
        }
        if let Some(threads) = self.threads {
            engine = engine.threads(threads.get());
        }
        if let Some(most) = self.max_connections {
            engine = engine.max_connections(most);
        }
        self.tell_certificate();
        Ok(engine)
    }

    /// How many connections each address may have on the engine.
    pub(crate) fn addresses(&self) -> Addresses {
        Addresses::new(self.max_per_address)
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.tls.is_some()
    }

    fn tell_certificate(&self) {
        if let Some(certificate) = &self.certificate {
            report::talk(format_args!(
                "this certificate is for localhost, 127.0.0.1 and ::1, and is gone with this program. Clients trust it \
                 when told to: save it to a file and run `sockeye connect --ca FILE`, or take any certificate by \
                 `sockeye connect --insecure`.\n{}",
                certificate.trim_end()
            ));
        }
    }

    /// The limits of the server of tasks.
    fn limits(&self) -> Limits {
        let mut limits = Limits::new();
        if let Some(most) = self.max_connections {
            limits = limits.connections(most).refuse_when_full(true);
        }
        if let Some(most) = self.max_per_address {
            limits = limits.connections_per_address(most);
        }
        limits
    }
}

pub(super) fn echo(arguments: EchoArguments) -> Result<Echoing, Failure> {
    let policy = if arguments.origin.is_empty() {
        OriginPolicy::Any
    } else {
        OriginPolicy::List(arguments.origin)
    };
    let mut options = options(&arguments.server)?.origin(policy);
    for name in &arguments.subprotocol {
        options = options.subprotocol(name);
    }
    let options = options
        .build()
        .map_err(|error| Failure::usage(format!("--subprotocol: {error}")))?;
    let by = match arguments.processes {
        Some(_) if !cfg!(target_os = "linux") => {
            return Err(Failure::usage(
                "--processes: only Linux spreads connections over the processes at a port",
            ));
        }
        Some(_) if arguments.member => By::Member,
        Some(processes) => By::Processes(processes),
        None if arguments.engine => By::Engine,
        None => By::Tasks,
    };
    let shared = !arguments.join.is_empty();
    let addresses = if shared { arguments.join } else { arguments.listen };
    let mut listening = Listening::new(addresses, options, &arguments.server)?;
    listening.shared = shared;
    if by == By::Member {
        listening.threads = listening.threads.or(Some(Threads::ONE));
    }
    Ok(Echoing { listening, by })
}

pub(super) fn serve(arguments: ServeArguments) -> Result<Listening, Failure> {
    let options = options(&arguments.server)?.origin(OriginPolicy::SameHostOrList(arguments.origin));
    let options = options.build().map_err(Failure::usage)?;
    Listening::new(arguments.listen, options, &arguments.server)
}

/// The options of both commands, all of which are known to be possible.
fn options(arguments: &ServerArguments) -> Result<ServerOptionsBuilder, Failure> {
    let connection = &arguments.connection;
    let mut options = ServerOptions::builder()
        .max_message_size(connection.max_message.bytes())
        .handshake_timeout(connection.timeout.duration())
        .close_timeout(arguments.grace.duration());
    if let Some(period) = connection.ping {
        options = options.ping_interval(period.duration());
    }
    if arguments.compress {
        options = options.deflate(DeflateOptions::server());
    }
    for given in &arguments.header {
        let (name, value) = header(given)?;
        ServerOptions::builder()
            .header(name, value)
            .build()
            .map_err(|error| Failure::usage(format!("--header: {error}")))?;
        options = options.header(name, value);
    }
    Ok(options)
}

/// The TLS, if there is to be one, and the certificate if it is new.
fn tls(arguments: &ServerTlsArguments) -> Result<(Option<ServerTls>, Option<String>), Failure> {
    let mut certificate = None;
    let from_files = |flags: [&str; 2], chain: &Path, key: &Path| {
        Ok(ServerTls::builder().certificate(&read(flags[0], chain)?, &read(flags[1], key)?))
    };
    let (flag, mut tls) = match (&arguments.cert, &arguments.key, arguments.tls.as_deref()) {
        (Some(chain), Some(key), _) => ("--cert and --key", from_files(["--cert", "--key"], chain, key)?),
        (_, _, Some([chain, key])) => ("--tls", from_files(["--tls", "--tls"], chain, key)?),
        _ if arguments.tls_self_signed => {
            let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
            let certified = rcgen::generate_simple_self_signed(names)
                .map_err(|error| Failure::usage(format!("no self-signed certificate: {error}")))?;
            let (chain, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
            let tls = ServerTls::builder().certificate(chain.as_bytes(), key.as_bytes());
            certificate = Some(chain);
            ("--tls-self-signed", tls)
        }
        _ if arguments.client_ca.is_some() => {
            return Err(Failure::usage(
                "--client-ca: clients have certificates under TLS alone; give --cert and --key, or --tls-self-signed",
            ));
        }
        _ => return Ok((None, None)),
    };
    if let Some(path) = &arguments.client_ca {
        tls = tls.require_client_certificate(&read("--client-ca", path)?);
    }
    match tls.build() {
        Ok(tls) => Ok((Some(tls), certificate)),
        Err(error @ TlsError::ClientRoots(_)) => Err(Failure::usage(format!("--client-ca: {error}"))),
        Err(error) => Err(Failure::usage(format!("{flag}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Arguments;
    use crate::plan::Plan;

    fn plan(arguments: &[&str]) -> Result<Listening, Failure> {
        let arguments = Arguments::try_parse_from([&["sockeye"], arguments].concat()).unwrap();
        match Plan::new(arguments)? {
            Plan::Echo(Echoing { listening, .. }) | Plan::Serve(listening) => Ok(listening),
            other => panic!("{other:?}"),
        }
    }

    fn refused(arguments: &[&str]) -> String {
        match plan(arguments) {
            Err(Failure::Usage(sentence)) => sentence,
            other => panic!("{arguments:?}: {other:?}"),
        }
    }

    #[test]
    fn tls_is_off_until_there_is_a_certificate() {
        for command in ["echo", "serve"] {
            assert!(plan(&[command]).unwrap().tls.is_none());
            assert!(plan(&[command, "--tls-self-signed"]).unwrap().tls.is_some());
            assert!(refused(&[command, "--client-ca", "no/such/file"]).contains("--tls-self-signed"));
            assert!(refused(&[command, "--tls-self-signed", "--client-ca", "no/such/file"]).contains("no/such/file"));
        }
    }

    #[test]
    fn headers_that_cannot_be_sent_are_told_and_not_shown() {
        for header in ["s3cret", "Token: s3cret\nX: y", "Connection: s3cret", "a b: s3cret"] {
            let sentence = refused(&["echo", "-H", header]);
            assert!(
                sentence.starts_with("--header: ") && !sentence.contains("s3cret"),
                "{sentence}"
            );
        }
        assert!(plan(&["serve", "-H", "Token: s3cret", "-H", "X-Empty:"]).is_ok());
    }
}
