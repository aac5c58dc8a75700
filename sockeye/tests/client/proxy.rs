//! Proxies: tinyproxy and microsocks, as Debian packages them, with and without credentials; and some that misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sockeye::{Client, ClientBuilder, ConnectError, ProxyError, ProxyUrlError, SocksReply};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::common::programs::free_port;
use crate::common::{Program, directory, echo, exchange, in_environment};

/// A server in plain text, and one under TLS, and a client that trusts it.
struct Servers {
    ws: SocketAddr,
    #[cfg(feature = "tls")]
    wss: SocketAddr,
    #[cfg(feature = "tls")]
    authority: crate::tls::Authority,
}

impl Servers {
    async fn new() -> Self {
        #[cfg(feature = "tls")]
        let authority = crate::tls::Authority::new();
        Self {
            ws: echo(|server| server).await,
            #[cfg(feature = "tls")]
            wss: echo(|server| server.with_tls(authority.server("localhost"))).await,
            #[cfg(feature = "tls")]
            authority,
        }
    }

    fn client(&self) -> ClientBuilder {
        #[cfg(feature = "tls")]
        return Client::builder().trust_pem(self.authority.pem().as_bytes());
        #[cfg(not(feature = "tls"))]
        Client::builder()
    }

    /// The URLs of the servers, by name.
    fn urls(&self) -> Vec<String> {
        vec![
            format!("ws://localhost:{}/", self.ws.port()),
            #[cfg(feature = "tls")]
            format!("wss://localhost:{}/", self.wss.port()),
        ]
    }

    /// Messages go through this proxy to both servers.
    async fn reached_through(&self, proxy: &str) {
        for url in self.urls() {
            let client = self.client().proxy(proxy).build().unwrap();
            let ws = client
                .connect(&url)
                .await
                .unwrap_or_else(|error| panic!("{url}: {error}"));
            let (peer, secure) = ws.with_transport(|stream| (stream.peer_addr().unwrap(), stream.is_secure()));
            assert!(proxy.ends_with(&format!(":{}", peer.port())), "{peer} is not {proxy}");
            assert_eq!(secure, url.starts_with("wss:"));
            exchange(ws).await;
        }
    }

    /// What the proxy says about the way to the server in plain text.
    async fn refused_by(&self, proxy: &str) -> ProxyError {
        let client = self.client().proxy(proxy).build().unwrap();
        match client.connect(&self.urls()[0]).await {
            Err(ConnectError::Proxy(error)) => error,
            other => panic!("{other:?}"),
        }
    }
}

/// tinyproxy with these lines in its configuration beside the least that it needs.
fn tinyproxy(test: &str, lines: &str) -> Option<Program> {
    let directory = directory(test);
    let lines = lines.to_owned();
    Program::start("tinyproxy", move |port| {
        let path = directory.join("tinyproxy.conf");
        let log = directory.join("log");
        let configuration = format!(
            "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nAllow 127.0.0.1\nLogFile \"{}\"\n{lines}\n",
            log.display()
        );
        std::fs::write(&path, configuration).unwrap();
        vec!["-d".into(), "-c".into(), path.display().to_string()]
    })
}

fn microsocks(arguments: &'static [&'static str]) -> Option<Program> {
    Program::start("microsocks", |port| {
        let mut all = vec!["-i".into(), "127.0.0.1".into(), "-p".into(), port.to_string()];
        all.extend(arguments.iter().map(|argument| (*argument).to_owned()));
        all
    })
}

#[tokio::test]
async fn http_connect() {
    let servers = Servers::new().await;
    let Some(proxy) = tinyproxy("connect", "") else {
        return;
    };
    let port = proxy.port;
    servers.reached_through(&format!("http://127.0.0.1:{port}")).await;
    // Without a scheme, and with credentials that nobody asks for.
    servers.reached_through(&format!("alice:s3cret@localhost:{port}")).await;

    // What the proxy cannot reach, with its page about it.
    let client = Client::builder()
        .proxy(&format!("http://127.0.0.1:{port}"))
        .build()
        .unwrap();
    let connected = client.connect(&format!("ws://127.0.0.1:{}/", free_port())).await;
    let Err(ConnectError::Proxy(ProxyError::Refused(refusal))) = connected else {
        panic!("{connected:?}");
    };
    assert!((500..600).contains(&refusal.status()), "{refusal:?}");
    assert!(!refusal.body().is_empty());
}

#[tokio::test]
async fn http_connect_with_credentials() {
    let servers = Servers::new().await;
    let Some(proxy) = tinyproxy("credentials", "BasicAuth alice s3cret") else {
        return;
    };
    let port = proxy.port;
    servers
        .reached_through(&format!("http://alice:s3cret@127.0.0.1:{port}"))
        .await;
    let none = servers.refused_by(&format!("http://127.0.0.1:{port}")).await;
    assert!(
        matches!(&none, ProxyError::AuthenticationRequired(refusal) if refusal.headers().contains("Proxy-Authenticate")),
        "{none:?}"
    );
    // tinyproxy answers 401 to wrong ones, though 407 is what RFC 9110 wants.
    let wrong = servers
        .refused_by(&format!("http://alice:wrong@127.0.0.1:{port}"))
        .await;
    assert!(
        matches!(&wrong, ProxyError::Refused(refusal) if refusal.status() == 401)
            || matches!(wrong, ProxyError::AuthenticationRequired(_)),
        "{wrong:?}"
    );
}

#[tokio::test]
async fn socks5() {
    let servers = Servers::new().await;
    let Some(proxy) = microsocks(&[]) else {
        return;
    };
    let port = proxy.port;
    servers.reached_through(&format!("socks5h://127.0.0.1:{port}")).await;
    servers.reached_through(&format!("socks5://127.0.0.1:{port}")).await;
    servers
        .reached_through(&format!("socks5://alice:unasked@127.0.0.1:{port}"))
        .await;

    let client = Client::builder()
        .proxy(&format!("socks5h://127.0.0.1:{port}"))
        .build()
        .unwrap();
    let connected = client.connect(&format!("ws://127.0.0.1:{}/", free_port())).await;
    assert!(
        matches!(
            connected,
            Err(ConnectError::Proxy(ProxyError::Socks(SocksReply::ConnectionRefused)))
        ),
        "{connected:?}"
    );
}

#[tokio::test]
async fn socks5_with_credentials() {
    let servers = Servers::new().await;
    let Some(proxy) = microsocks(&["-u", "alice", "-P", "s3cret"]) else {
        return;
    };
    let port = proxy.port;
    for scheme in ["socks5", "socks5h"] {
        servers
            .reached_through(&format!("{scheme}://alice:s3cret@127.0.0.1:{port}"))
            .await;
        let none = servers.refused_by(&format!("{scheme}://127.0.0.1:{port}")).await;
        assert!(matches!(none, ProxyError::NoAcceptableMethod), "{none:?}");
        let wrong = servers
            .refused_by(&format!("{scheme}://alice:wrong@127.0.0.1:{port}"))
            .await;
        assert!(matches!(wrong, ProxyError::Credentials), "{wrong:?}");
    }
}

/// `socks5` resolves here, and tries one address after the other; `socks5h` lets nobody here hear of the name.
#[tokio::test]
async fn socks5_resolves_where_it_says() {
    let server = echo(|server| server).await;
    let Some(proxy) = microsocks(&[]) else {
        return;
    };
    let asked = Arc::new(AtomicUsize::new(0));
    let client = |scheme: &str| {
        let (asked, refusing) = (Arc::clone(&asked), free_port());
        Client::builder()
            .resolver(move |host: String, _: u16| {
                asked.fetch_add(1, Ordering::Relaxed);
                assert_eq!(host, "chat.internal");
                async move { Ok(vec![([127, 0, 0, 1], refusing).into(), server]) }
            })
            .proxy(&format!("{scheme}://127.0.0.1:{}", proxy.port))
            .build()
            .unwrap()
    };
    let url = format!("ws://chat.internal:{}/", server.port());
    exchange(client("socks5").connect(&url).await.unwrap()).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    let connected = client("socks5h").connect(&url).await;
    assert!(
        matches!(
            connected,
            Err(ConnectError::Proxy(ProxyError::Socks(_) | ProxyError::Closed))
        ),
        "{connected:?}"
    );
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

/// A CONNECT proxy under TLS, which wants credentials; answers its port.
#[cfg(feature = "tls")]
async fn https_proxy(config: Arc<rustls::ServerConfig>) -> u16 {
    use crate::common::{header, read_head};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(tcp).await else {
                    return;
                };
                let head = read_head(&mut stream).await;
                // alice:s3cret
                if header(&head, "Proxy-Authorization").as_deref() != Some("Basic YWxpY2U6czNjcmV0") {
                    let answer = b"HTTP/1.1 407 Who\r\nContent-Length: 4\r\n\r\nwho?";
                    stream.write_all(answer).await.unwrap();
                    stream.shutdown().await.unwrap();
                    return;
                }
                let target = head.split(' ').nth(1).unwrap();
                let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")
                    .await
                    .unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    port
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn http_connect_under_tls() {
    let servers = Servers::new().await;
    let port = https_proxy(servers.authority.server("localhost")).await;
    servers
        .reached_through(&format!("https://alice:s3cret@localhost:{port}"))
        .await;
    let none = servers.refused_by(&format!("https://localhost:{port}")).await;
    assert!(
        matches!(&none, ProxyError::AuthenticationRequired(refusal) if refusal.body() == b"who?"),
        "{none:?}"
    );
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_tls_configuration_for_the_proxy_alone() {
    let (servers, other) = (Servers::new().await, crate::tls::Authority::new());
    let port = https_proxy(other.server("localhost")).await;
    let client = servers
        .client()
        .proxy(&format!("https://alice:s3cret@localhost:{port}"))
        .proxy_tls_config(crate::tls::own(&other, &[]))
        .build()
        .unwrap();
    for url in servers.urls() {
        exchange(client.connect(&url).await.unwrap()).await;
    }
}

/// A proxy's certificate is looked at, also when the server's is not; and what is wrong with it is the proxy's.
#[cfg(feature = "tls")]
#[tokio::test]
async fn t2_a_proxy_that_is_not_trusted() {
    let (servers, other) = (Servers::new().await, crate::tls::Authority::new());
    let port = https_proxy(other.server("localhost")).await;
    let proxy = format!("https://alice:s3cret@localhost:{port}");
    for insecure in [false, true] {
        let client = servers.client().danger_accept_any_certificate(insecure).proxy(&proxy);
        let connected = client.build().unwrap().connect(&servers.urls()[0]).await;
        assert!(
            matches!(connected, Err(ConnectError::Proxy(ProxyError::Tls(_)))),
            "{connected:?}"
        );
    }
    let port = https_proxy(servers.authority.server("other.example")).await;
    let error = servers.refused_by(&format!("https://localhost:{port}")).await;
    assert!(matches!(error, ProxyError::Tls(_)), "{error:?}");
}

#[tokio::test]
async fn the_environment() {
    let server = echo(|server| server).await;
    let Some(http) = tinyproxy("environment", "") else {
        return;
    };
    let Some(socks) = microsocks(&[]) else {
        return;
    };
    let url = format!("ws://127.0.0.1:{}/", server.port());
    let (http, socks) = (
        format!("http://127.0.0.1:{}", http.port),
        format!("socks5h://127.0.0.1:{}", socks.port),
    );
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let cases = vec![
        (
            vec![("HTTP_PROXY", http.clone()), ("ALL_PROXY", nobody.clone())],
            http.clone(),
        ),
        (
            vec![("http_proxy", http.clone()), ("HTTP_PROXY", nobody.clone())],
            http.clone(),
        ),
        (
            vec![("ALL_PROXY", socks.clone()), ("HTTPS_PROXY", nobody.clone())],
            socks,
        ),
        (
            vec![("HTTP_PROXY", nobody.clone()), ("NO_PROXY", "127.0.0.0/8".into())],
            url.clone(),
        ),
        (vec![("HTTPS_PROXY", nobody)], url.clone()),
    ];
    for (mut variables, through) in cases {
        variables.push(("SOCKEYE_TEST_URL", url.clone()));
        variables.push(("SOCKEYE_TEST_THROUGH", through));
        in_environment("proxy::a_client_in_an_environment", variables).await;
    }
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn the_environment_for_wss() {
    let servers = Servers::new().await;
    let Some(proxy) = tinyproxy("environment-wss", "BasicAuth alice s3cret") else {
        return;
    };
    let directory = directory("environment-wss-ca");
    let ca = directory.join("ca.pem");
    std::fs::write(&ca, servers.authority.pem()).unwrap();
    let through = format!("http://alice:s3cret@127.0.0.1:{}", proxy.port);
    let nobody = format!("http://127.0.0.1:{}", free_port());
    for variables in [
        [("HTTPS_PROXY", through.clone()), ("HTTP_PROXY", nobody.clone())],
        [("https_proxy", through.clone()), ("ALL_PROXY", nobody)],
    ] {
        let more = [
            ("SSL_CERT_FILE", ca.display().to_string()),
            ("SOCKEYE_TEST_URL", format!("wss://localhost:{}/", servers.wss.port())),
            ("SOCKEYE_TEST_THROUGH", through.clone()),
        ];
        in_environment("proxy::a_client_in_an_environment", [&variables[..], &more].concat()).await;
    }
    std::fs::remove_dir_all(directory).unwrap();
}

/// The other process of the tests above; by itself it has nothing to do.
#[tokio::test]
async fn a_client_in_an_environment() {
    let Ok(url) = std::env::var("SOCKEYE_TEST_URL") else {
        return;
    };
    let through = std::env::var("SOCKEYE_TEST_THROUGH").unwrap();
    let client = Client::builder().proxy_from_env().build().unwrap();
    let ws = client.connect(&url).await.unwrap();
    let peer = ws.with_transport(|stream| stream.peer_addr().unwrap());
    assert!(
        through.contains(&format!(":{}", peer.port())),
        "{peer} is not {through}"
    );
    exchange(ws).await;
    // Nobody reads the environment unasked, and who was asked can be told to forget it.
    for client in [Client::builder(), Client::builder().proxy_from_env().no_proxy()] {
        let ws = client.build().unwrap().connect(&url).await.unwrap();
        let peer = ws.with_transport(|stream| stream.peer_addr().unwrap());
        assert!(url.contains(&format!(":{}", peer.port())));
    }
}

/// What comes of a proxy that sends `answer` whatever it is asked, and ends.
async fn answered(scheme: &str, answer: impl Into<Vec<u8>>) -> ProxyError {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("{scheme}://{}", listener.local_addr().unwrap());
    let answer = answer.into();
    let serving = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        // The request, or the first of it: a proxy that ends with bytes unread resets the connection.
        assert_ne!(tcp.read(&mut [0; 1024]).await.unwrap(), 0);
        let _ = tcp.write_all(&answer).await;
        let _ = tcp.shutdown().await;
        let _ = tcp.read_to_end(&mut Vec::new()).await;
    });
    let client = Client::builder().proxy(&proxy).build().unwrap();
    let connected = client.connect("ws://127.0.0.1:9/").await;
    let Err(ConnectError::Proxy(error)) = connected else {
        panic!("{connected:?}");
    };
    serving.await.unwrap();
    error
}

#[tokio::test]
async fn http_proxies_that_misbehave() {
    let early = answered("http", "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n").await;
    assert!(matches!(early, ProxyError::EarlyData), "{early:?}");
    let nothing = answered("http", "").await;
    assert!(matches!(nothing, ProxyError::Closed), "{nothing:?}");
    let half = answered("http", "HTTP/1.1 200 OK\r\n").await;
    assert!(matches!(half, ProxyError::Closed), "{half:?}");
    let other = answered("http", "SSH-2.0-OpenSSH\r\n\r\n").await;
    assert!(matches!(other, ProxyError::Head(_)), "{other:?}");
    let endless = answered("http", format!("HTTP/1.1 200 OK\r\n{}", "X: y\r\n".repeat(100_000))).await;
    assert!(matches!(endless, ProxyError::Head(_)), "{endless:?}");
    let upgraded = answered("http", "HTTP/1.1 101 Switching Protocols\r\n\r\n").await;
    assert!(
        matches!(&upgraded, ProxyError::Refused(refusal) if refusal.status() == 101),
        "{upgraded:?}"
    );
    let huge = answered("http", format!("HTTP/1.1 403 No\r\n\r\n{}", "x".repeat(1 << 20))).await;
    assert!(
        matches!(&huge, ProxyError::Refused(refusal) if refusal.body().len() == 64 * 1024 && !refusal.is_complete()),
        "{huge:?}"
    );
}

#[tokio::test]
async fn socks_proxies_that_misbehave() {
    for scheme in ["socks5", "socks5h"] {
        let http = answered(scheme, "HTTP/1.1 400 Bad Request\r\n\r\n").await;
        assert!(matches!(http, ProxyError::NotSocks5), "{http:?}");
        let nothing = answered(scheme, "").await;
        assert!(matches!(nothing, ProxyError::Closed), "{nothing:?}");
        let reply = answered(scheme, b"\x05\x00\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00").await;
        assert!(matches!(reply, ProxyError::Socks(SocksReply::NotAllowed)), "{reply:?}");
    }
}

#[test]
fn urls_that_are_none() {
    for (url, expected) in [
        ("ftp://localhost", ProxyUrlError::Scheme),
        ("http://localhost/path", ProxyUrlError::Path),
    ] {
        match Client::builder().proxy(url).build() {
            Err(ConnectError::Proxy(ProxyError::Url(error))) => assert_eq!(error, expected),
            other => panic!("{other:?}"),
        }
    }
}
