//! What `connect` will do.

use std::env;
use std::time::Duration;

use sockeye::uri::WebSocketUri;
use sockeye::{Client, ClientBuilder, ConnectError, DeflateOptions, ProxyError};

use super::{header, read};
use crate::args::{
    ClientTlsArguments, ConnectArguments, Period, RequestArguments, RouteArguments, Secret, without_credentials,
};
use crate::connect::{Connecting, Given};
use crate::report::Failure;

pub(super) fn connect(arguments: ConnectArguments) -> Result<Connecting, Failure> {
    let uri = WebSocketUri::parse(arguments.url.as_str())
        .map_err(|error| Failure::usage(format!("{}: {error}", without_credentials(arguments.url.as_str()))))?;
    let connection = &arguments.connection;
    let mut client = Client::builder()
        .max_message_size(connection.max_message.bytes())
        .handshake_timeout(connection.timeout.duration());
    if let Some(period) = connection.ping {
        client = client.ping_interval(period.duration());
    }
    client = request(client, &arguments.request)?;
    client = route(client, &arguments.route)?;
    client = tls(client, &arguments.tls)?;
    // What is wrong about one flag alone has been told; subprotocols can be wrong together.
    let client = client
        .build()
        .map_err(|error| Failure::usage(format!("--subprotocol: {error}")))?;
    let given = given(&uri, &arguments);
    let period = connection.ping.map_or(Some(PING_EVERY), Period::duration);
    let latency = match (arguments.latency, period) {
        (true, None) => {
            return Err(Failure::usage(
                "--latency needs pings, and --ping 0 means none; give a period, such as --ping 5",
            ));
        }
        (true, period) => period,
        (false, _) => None,
    };
    Ok(Connecting {
        uri,
        url: arguments.url,
        client,
        given,
        binary: arguments.binary,
        reconnect: arguments.reconnect,
        latency,
    })
}

/// Which credentials there are, for the server and for a proxy, right or wrong.
fn given(uri: &WebSocketUri, arguments: &ConnectArguments) -> Given {
    let request = &arguments.request;
    let in_header = |given: &Secret| header(given).is_ok_and(|(name, _)| name.eq_ignore_ascii_case("Authorization"));
    // The URL of a proxy has no path, in which there might be others.
    let has_user = |proxy: &str| proxy.contains('@');
    Given {
        credentials: request.user.is_some()
            || request.bearer.is_some()
            || uri.username().is_some()
            || request.header.iter().any(in_header),
        proxy_credentials: match &arguments.route.proxy {
            Some(proxy) => has_user(proxy.as_str()),
            None => PROXY_VARIABLES.iter().any(|name| {
                let either = [name.to_string(), name.to_ascii_lowercase()];
                let mut values = either.iter().filter_map(|name| env::var(name).ok());
                values.any(|proxy| has_user(&proxy))
            }),
        },
    }
}

/// Adds what a flag asks for, once it is known that it can be done; if not, the flag is told.
fn with(
    client: ClientBuilder,
    flag: &str,
    set: impl Fn(ClientBuilder) -> ClientBuilder,
) -> Result<ClientBuilder, Failure> {
    match set(Client::builder()).build() {
        Ok(_) => Ok(set(client)),
        // The reason alone: the rest of it is what the flag says.
        Err(ConnectError::TlsUnavailable(why)) => Err(Failure::usage(format!("{flag}: {why}"))),
        Err(ConnectError::Proxy(ProxyError::Url(error))) => Err(Failure::usage(format!("{flag}: {error}"))),
        Err(error) => Err(Failure::usage(format!("{flag}: {error}"))),
    }
}

fn request(mut client: ClientBuilder, arguments: &RequestArguments) -> Result<ClientBuilder, Failure> {
    for name in &arguments.subprotocol {
        client = with(client, "--subprotocol", |client| client.subprotocol(name))?;
    }
    if arguments.compress {
        client = client.deflate(DeflateOptions::client());
    }
    for given in &arguments.header {
        let (name, value) = header(given)?;
        // The one would be sent in place of the other, or beside it.
        for (header, flag, set) in [
            ("Origin", "--origin", arguments.origin.is_some()),
            ("Authorization", "--user", arguments.user.is_some()),
            ("Authorization", "--bearer", arguments.bearer.is_some()),
        ] {
            if set && name.eq_ignore_ascii_case(header) {
                return Err(Failure::usage(format!(
                    "{flag} and --header say two things about {header}; give one of them"
                )));
            }
        }
        client = with(client, "--header", |client| client.header(name, value))?;
    }
    if let Some(origin) = &arguments.origin {
        client = with(client, "--origin", |client| client.origin(origin))?;
    }
    if let Some(user) = &arguments.user {
        let (user, password) = user.as_str().split_once(':').ok_or_else(|| {
            Failure::usage("--user: give a user name, a colon and a password, such as alice:password")
        })?;
        client = with(client, "--user", |client| client.basic_auth(user, password))?;
    }
    if let Some(token) = &arguments.bearer {
        client = with(client, "--bearer", |client| client.bearer_auth(token.as_str()))?;
    }
    Ok(client.follow_redirects(arguments.follow.unwrap_or(0)))
}

fn route(client: ClientBuilder, arguments: &RouteArguments) -> Result<ClientBuilder, Failure> {
    if let Some(url) = &arguments.proxy {
        return with(client, "--proxy", |client| client.proxy(url.as_str()));
    }
    if arguments.no_proxy {
        return Ok(client.no_proxy());
    }
    match Client::builder().proxy_from_env().build() {
        Ok(_) => Ok(client.proxy_from_env()),
        Err(error) => Err(Failure::usage(format!("{error}; --no-proxy goes without it"))),
    }
}

fn tls(mut client: ClientBuilder, arguments: &ClientTlsArguments) -> Result<ClientBuilder, Failure> {
    if let Some(path) = &arguments.ca {
        let pem = read("--ca", path)?;
        client = with(client, &format!("--ca {}", path.display()), |client| {
            client.trust_pem(&pem)
        })?;
    }
    // clap has seen to it that there are both.
    if let (Some(chain), Some(key)) = (&arguments.cert, &arguments.key) {
        let (chain, key) = (read("--cert", chain)?, read("--key", key)?);
        client = with(client, "--cert and --key", |client| {
            client.client_certificate(&chain, &key)
        })?;
    }
    Ok(client.danger_accept_any_certificate(arguments.insecure))
}

/// Where the environment names proxies.
const PROXY_VARIABLES: [&str; 3] = ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"];

/// How often the library pings unless it is told otherwise.
const PING_EVERY: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::Arguments;
    use crate::plan::Plan;

    fn plan(flags: &[&str]) -> Result<Connecting, Failure> {
        // The environment of the test is not the test's.
        let command = ["sockeye", "connect", "ws://alice:s3cret@host/", "--no-proxy"];
        let arguments = Arguments::try_parse_from([&command[..], flags].concat()).unwrap();
        match Plan::new(arguments)? {
            Plan::Connect(connecting) => Ok(connecting),
            other => panic!("{other:?}"),
        }
    }

    fn refused(flags: &[&str]) -> String {
        match plan(flags) {
            Err(Failure::Usage(sentence)) => sentence,
            other => panic!("{flags:?}: {other:?}"),
        }
    }

    #[test]
    fn latency_is_told_with_each_ping() {
        let latency = |flags: &[&str]| plan(flags).unwrap().latency;
        assert_eq!(latency(&[]), None);
        assert_eq!(latency(&["--ping=3"]), None);
        assert_eq!(latency(&["--latency"]), Some(PING_EVERY));
        assert_eq!(latency(&["--latency", "--ping"]), Some(Duration::from_secs(5)));
        assert_eq!(latency(&["--latency", "--ping=0.25"]), Some(Duration::from_millis(250)));
        assert!(refused(&["--latency", "--ping=0"]).contains("--ping 5"));
    }

    #[test]
    fn a_header_that_has_a_flag_of_its_own_is_said_once() {
        for flags in [
            ["-H", "origin: https://a.example", "--origin", "https://b.example"],
            ["-H", "Authorization: Basic abc", "--user", "alice:s3cret"],
            ["-H", "AUTHORIZATION:x", "--bearer", "s3cret"],
        ] {
            let sentence = refused(&flags);
            assert!(
                sentence.starts_with(flags[2]) && sentence.contains("--header"),
                "{sentence}"
            );
        }
        assert!(plan(&["-H", "Cookie: a=b", "--user", "a:b", "--origin", "null"]).is_ok());
    }

    #[test]
    fn what_cannot_be_sent_is_told_by_its_flag_and_without_secrets() {
        for flags in [
            &["--header", "s3cret"][..],
            &["--header", "Token: s3cret\r\nEvil: 1"],
            &["--user", "s3cret"],
            &["--user", "alice:s3cret\n"],
            &["--bearer", "s3cret token"],
            &["--bearer", ""],
            &["--origin", "https://a.example\r\n"],
            &["--subprotocol", "a b"],
            &["--subprotocol", "a", "--subprotocol", "a"],
        ] {
            let sentence = refused(flags);
            assert!(sentence.starts_with(&format!("{}: ", flags[0])), "{sentence}");
            assert!(!sentence.contains("s3cret"), "{sentence}");
        }
    }

    #[test]
    fn a_plan_shows_no_secrets() {
        let connecting = plan(&["--header", "Authorization: s3cret"]).unwrap();
        assert!(!format!("{connecting:?}").contains("s3cret"));
    }
}
