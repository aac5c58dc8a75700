//! Names, addresses, and the socket that comes of them; the deadline over each step. How attempts race is tested where
//! they do, in `src/client/dial.rs`.

use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sockeye::{Client, ConnectError, ProxyError, Resolve, Resolving};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::common::programs::free_port;
use crate::common::{client, echo, exchange};

/// Answers always with the same addresses, and counts how often.
#[derive(Clone, Debug, Default)]
struct Fixed {
    addresses: Vec<SocketAddr>,
    asked: Arc<AtomicUsize>,
}

impl Fixed {
    fn new(addresses: impl Into<Vec<SocketAddr>>) -> Self {
        Self {
            addresses: addresses.into(),
            asked: Arc::default(),
        }
    }
}

impl Resolve for Fixed {
    fn resolve<'a>(&'a self, host: &'a str, port: u16) -> Resolving<'a> {
        assert_eq!((host, port), ("chat.internal", 81));
        self.asked.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(self.addresses.clone()) })
    }
}

const URL: &str = "ws://chat.internal:81/";

#[tokio::test]
async fn a_resolver_of_ones_own() {
    let resolver = Fixed::new([echo(|server| server).await]);
    let asked = Arc::clone(&resolver.asked);
    let client = Client::builder().resolver(resolver).build().unwrap();
    exchange(client.connect(URL).await.unwrap()).await;
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_closure_resolves() {
    let address = echo(|server| server).await;
    let client = Client::builder()
        .resolver(move |host: String, _: u16| async move {
            match host.as_str() {
                "chat.internal" => Ok(vec![address]),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        })
        .build()
        .unwrap();
    client.connect(URL).await.unwrap();
    let connected = client.connect("ws://elsewhere/").await;
    assert!(matches!(connected, Err(ConnectError::Resolve(_))), "{connected:?}");
}

#[tokio::test]
async fn addresses_are_not_resolved() {
    let address = echo(|server| server).await;
    let client = Client::builder().resolver(Fixed::default()).build().unwrap();
    client.connect(&format!("ws://{address}/")).await.unwrap();
}

#[tokio::test]
async fn no_address_is_an_error() {
    let client = Client::builder().resolver(Fixed::default()).build().unwrap();
    let connected = client.connect(URL).await;
    assert!(matches!(connected, Err(ConnectError::Resolve(_))), "{connected:?}");
}

/// RFC 8305 §5, with sockets: the first addresses refuse, IPv6 among them, and the last takes it.
#[tokio::test]
async fn rfc8305_an_address_that_refuses_is_passed_over() {
    let refusing = free_port();
    let resolver = Fixed::new([
        ([0, 0, 0, 0, 0, 0, 0, 1], refusing).into(),
        ([127, 0, 0, 1], refusing).into(),
        echo(|server| server).await,
    ]);
    let client = Client::builder()
        .resolver(resolver)
        // Only what fails makes the next one begin.
        .attempt_delay(Duration::MAX)
        .build()
        .unwrap();
    exchange(client.connect(URL).await.unwrap()).await;
}

#[tokio::test]
async fn all_addresses_refuse() {
    let refusing = free_port();
    let resolver = Fixed::new([([127, 0, 0, 1], refusing).into(), ([127, 0, 0, 2], refusing).into()]);
    let client = Client::builder().resolver(resolver).build().unwrap();
    match client.connect(URL).await {
        Err(ConnectError::Connect(error)) => assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused),
        other => panic!("{other:?}"),
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_local_address() {
    let address = echo(|server| server).await;
    let local: IpAddr = Ipv4Addr::new(127, 0, 0, 9).into();
    // An address of the other family is no candidate.
    let resolver = Fixed::new([([0, 0, 0, 0, 0, 0, 0, 1], address.port()).into(), address]);
    let builder = || Client::builder().local_address(local);
    let client = builder().resolver(resolver).build().unwrap();
    let ws = client.connect(URL).await.unwrap();
    assert_eq!(ws.with_transport(|stream| stream.local_addr().unwrap().ip()), local);
    let only_v6 = Fixed::new([([0, 0, 0, 0, 0, 0, 0, 1], address.port()).into()]);
    let connected = builder().resolver(only_v6).build().unwrap().connect(URL).await;
    assert!(matches!(connected, Err(ConnectError::Connect(_))), "{connected:?}");
}

#[tokio::test]
async fn options_of_the_socket() {
    let address = echo(|server| server).await;
    let url = format!("ws://{address}/");
    let ws = client().connect(&url).await.unwrap();
    ws.with_transport(|stream| {
        assert!(stream.tcp().unwrap().nodelay().unwrap());
        assert!(!socket2::SockRef::from(stream.tcp().unwrap()).keepalive().unwrap());
        assert!(!stream.is_secure());
    });
    let probing = Client::builder()
        .tcp_keepalive(Duration::from_secs(60), Duration::from_secs(7))
        .build()
        .unwrap();
    let ws = probing.connect(&url).await.unwrap();
    ws.with_transport(|stream| {
        let socket = socket2::SockRef::from(stream.tcp().unwrap());
        assert!(socket.keepalive().unwrap());
        #[cfg(target_os = "linux")]
        {
            assert_eq!(socket.tcp_keepalive_time().unwrap(), Duration::from_secs(60));
            assert_eq!(socket.tcp_keepalive_interval().unwrap(), Duration::from_secs(7));
        }
    });
}

/// Connects, which takes as long as the deadline is.
async fn times_out(client: sockeye::ClientBuilder, url: &str) {
    let client = client.build().unwrap();
    let start = Instant::now();
    let connected = client.connect(url).await;
    assert!(matches!(connected, Err(ConnectError::Timeout)), "{connected:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn h1_the_deadline_covers_resolution() {
    let client = Client::builder().resolver(|_: String, _: u16| pending::<io::Result<Vec<SocketAddr>>>());
    times_out(client, URL).await;
}

/// Takes connections, and says nothing: it is the kernel that takes them.
async fn silent() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

#[tokio::test(start_paused = true)]
async fn h1_the_deadline_covers_the_handshake() {
    let (_listener, address) = silent().await;
    times_out(Client::builder(), &format!("ws://{address}/")).await;
}

#[cfg(feature = "tls")]
#[tokio::test(start_paused = true)]
async fn h1_the_deadline_covers_tls() {
    let (_listener, address) = silent().await;
    let client = Client::builder().danger_accept_any_certificate(true);
    times_out(client, &format!("wss://{address}/")).await;
}

#[tokio::test(start_paused = true)]
async fn h1_the_deadline_covers_proxies() {
    let (_listener, address) = silent().await;
    for scheme in ["http", "socks5", "socks5h"] {
        let client = Client::builder().proxy(&format!("{scheme}://{address}"));
        times_out(client, "ws://127.0.0.1:9/").await;
    }
    #[cfg(feature = "tls")]
    times_out(
        Client::builder()
            .roots(sockeye::transport::tls::Roots::None)
            .trust_pem(crate::tls::Authority::new().pem().as_bytes())
            .proxy(&format!("https://{address}")),
        "ws://127.0.0.1:9/",
    )
    .await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there() {
    let port = free_port();
    let client = Client::builder()
        .proxy(&format!("http://127.0.0.1:{port}"))
        .build()
        .unwrap();
    let connected = client.connect("ws://127.0.0.1:9/").await;
    assert!(
        matches!(connected, Err(ConnectError::Proxy(ProxyError::Connect(_)))),
        "{connected:?}"
    );
}
