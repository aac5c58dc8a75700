//! What will happen: arguments become options of the library, files are read, and what cannot work is told before
//! anything is done.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use sockeye::handshake::{OptionsError, OriginPolicy};
use sockeye::transport::tls;
use sockeye::uri::WebSocketUri;
use sockeye::{Client, ConnectError, DeflateOptions, Listener, Server, ServerOptions, ServerOptionsBuilder};

use crate::args::{
    Address, Arguments, Command, ConnectArguments, EchoArguments, ServeArguments, ServerArguments, Threads,
};
use crate::connect::Connecting;
use crate::listen;
use crate::report::{self, Failure};

#[derive(Debug)]
pub(crate) enum Plan {
    Connect(Connecting),
    Echo(Listening),
    Serve(Serving),
}

/// Where to listen, and how.
#[derive(Debug)]
pub(crate) struct Listening {
    pub(crate) addresses: Vec<Address>,
    pub(crate) options: ServerOptions,
    tls: Option<TlsConfig>,
    threads: Option<Threads>,
}

/// What `serve` needs beyond listeners.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) listening: Listening,
    /// Whether messages for many are compressed.
    pub(crate) compress: bool,
}

/// A certificate chain and its key, checked, ready for each listener.
type TlsConfig = Arc<tls::rustls::ServerConfig>;

impl Plan {
    pub(crate) fn new(arguments: Arguments) -> Result<Self, Failure> {
        match arguments.command {
            Command::Connect(arguments) => Ok(Self::Connect(connect(arguments)?)),
            Command::Echo(arguments) => Ok(Self::Echo(echo(arguments)?)),
            Command::Serve(arguments) => Ok(Self::Serve(serve(arguments)?)),
        }
    }

    pub(crate) fn threads(&self) -> Option<Threads> {
        match self {
            // One connection; stdin and stdout have their own threads.
            Self::Connect(_) => Some(Threads::ONE),
            Self::Echo(listening) | Self::Serve(Serving { listening, .. }) => listening.threads,
        }
    }
}

impl Listening {
    /// Opens every listener, so that all ports are known, and taken, before the first line is printed.
    pub(crate) async fn bind(&self) -> Result<Vec<Server>, Failure> {
        let mut servers = Vec::new();
        for address in &self.addresses {
            let address = address.as_str();
            let listener = Listener::bind(address)
                .await
                .map_err(|error| Failure::usage(format!("cannot listen on {address}: {error}")))?;
            let server = Server::builder()
                .listener(listener)
                .options(self.options.clone())
                .on_accept_error(listen::tell_of_errors())
                .build();
            servers.push(match &self.tls {
                Some(config) => server.with_tls(config.clone()),
                None => server,
            });
        }
        Ok(servers)
    }
}

fn connect(arguments: ConnectArguments) -> Result<Connecting, Failure> {
    let uri =
        WebSocketUri::parse(&arguments.url).map_err(|error| Failure::usage(format!("{}: {error}", arguments.url)))?;
    let mut client = Client::builder()
        .max_message_size(arguments.limits.max_message.bytes())
        .danger_accept_any_certificate(arguments.insecure);
    for name in &arguments.subprotocol {
        client = client.subprotocol(name);
    }
    for header in &arguments.header {
        client = client.header(&header.name, &header.value);
    }
    if arguments.compress {
        client = client.deflate(DeflateOptions::client());
    }
    if let Some(path) = &arguments.ca {
        client = client.trust_pem(&read("--ca", path)?);
    }
    let client = client.build().map_err(|error| match (&error, &arguments.ca) {
        (ConnectError::TlsUnavailable(why), Some(path)) => Failure::usage(format!("--ca {}: {why}", path.display())),
        (ConnectError::Options(OptionsError::Header(_)), _) => Failure::usage(format!("--header: {error}")),
        (ConnectError::Options(_), _) => Failure::usage(format!("--subprotocol: {error}")),
        _ => Failure::usage(error),
    })?;
    Ok(Connecting {
        uri,
        url: arguments.url,
        client,
        binary: arguments.binary,
    })
}

fn echo(arguments: EchoArguments) -> Result<Listening, Failure> {
    let mut options = server_options(&arguments.server).origin(OriginPolicy::Any);
    for name in &arguments.subprotocol {
        options = options.subprotocol(name);
    }
    let tls = match arguments.tls.as_deref() {
        Some([chain, key]) => Some(tls_from_files(chain, key)?),
        _ if arguments.tls_self_signed => Some(tls_self_signed()?),
        _ => None,
    };
    Ok(Listening {
        addresses: arguments.listen,
        options: options
            .build()
            .map_err(|error| Failure::usage(format!("--subprotocol: {error}")))?,
        tls,
        threads: arguments.server.threads,
    })
}

fn serve(arguments: ServeArguments) -> Result<Serving, Failure> {
    let options = server_options(&arguments.server).origin(OriginPolicy::SameHostOrList(arguments.origin));
    Ok(Serving {
        listening: Listening {
            addresses: arguments.listen,
            options: options.build().map_err(Failure::usage)?,
            tls: None,
            threads: arguments.server.threads,
        },
        compress: arguments.server.compress,
    })
}

fn server_options(arguments: &ServerArguments) -> ServerOptionsBuilder {
    let options = ServerOptions::builder().max_message_size(arguments.limits.max_message.bytes());
    if arguments.compress {
        options.deflate(DeflateOptions::server())
    } else {
        options
    }
}

fn read(flag: &str, path: &Path) -> Result<Vec<u8>, Failure> {
    fs::read(path).map_err(|error| Failure::usage(format!("{flag}: cannot read {}: {error}", path.display())))
}

fn tls_from_files(chain: &Path, key: &Path) -> Result<TlsConfig, Failure> {
    tls::server_config(&read("--tls", chain)?, &read("--tls", key)?)
        .map_err(|error| Failure::usage(format!("--tls: {error}")))
}

/// A certificate of this run. It is told on stderr, since to trust it is to have it.
fn tls_self_signed() -> Result<TlsConfig, Failure> {
    let failure = |error: &dyn std::fmt::Display| Failure::usage(format!("no self-signed certificate: {error}"));
    let names = ["localhost", "127.0.0.1", "::1"].map(String::from);
    let certified = rcgen::generate_simple_self_signed(names).map_err(|error| failure(&error))?;
    let (certificate, key) = (certified.cert.pem(), certified.signing_key.serialize_pem());
    report::talk(format_args!(
        "this certificate is for localhost, 127.0.0.1 and ::1, and is gone with this program. Clients trust it when \
         told to: save it to a file and run `sockeye connect --ca FILE`, or take any certificate by `sockeye connect \
         --insecure`.\n{}",
        certificate.trim_end()
    ));
    tls::server_config(certificate.as_bytes(), key.as_bytes()).map_err(|error| failure(&error))
}
