//! Redirects (H10): off by default, at most so many, no credentials for other origins, never from wss: to ws:.

use std::time::Duration;

use sockeye::uri::UriError;
use sockeye::{Client, ClientBuilder, ConnectError, RedirectError};
use tokio::io::AsyncReadExt;
use tokio::time::Instant;

use crate::common::{Answer, Site, client, header, redirect};

fn following(at_most: u8) -> ClientBuilder {
    Client::builder().follow_redirects(at_most)
}

#[tokio::test]
async fn off_by_default() {
    let site = Site::new(|_| redirect(302, "/there")).await;
    let connected = client().connect(&site.url("/")).await;
    let Err(ConnectError::Refused(refusal)) = connected else {
        panic!("{connected:?}");
    };
    assert_eq!(
        (refusal.status(), refusal.headers().text("Location")),
        (302, Some("/there"))
    );
    assert_eq!(site.heads().len(), 1);
}

#[tokio::test]
async fn each_status_that_redirects() {
    for status in [301, 302, 303, 307, 308] {
        let site = Site::new(move |line| match line {
            "GET /a/b?c HTTP/1.1" => redirect(status, "../d/./e?f#g"),
            "GET /d/e?f HTTP/1.1" => Answer::Upgrade,
            other => panic!("{other}"),
        })
        .await;
        let client = following(1).build().unwrap();
        let ws = client.connect(&site.url("/a/b?c")).await.unwrap();
        assert_eq!(site.heads().len(), 2);
        assert_eq!(ws.uri().unwrap().to_string(), site.url("/d/e?f"));
        let (sender, receiver) = ws.split();
        assert_eq!((sender.uri(), receiver.uri()), (receiver.uri(), sender.uri()));
        let ws = receiver.reunite(sender).unwrap();
        assert_eq!(ws.uri().unwrap().resource(), "/d/e?f");
    }
}

#[tokio::test]
async fn what_is_no_redirect() {
    for answer in [
        "HTTP/1.1 300 Choices\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nLocation: /x\r\n\r\n",
        "HTTP/1.1 401 Who\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Where\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Which\r\nLocation: /x\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n",
    ] {
        let site = Site::new(move |_| Answer::Bytes(answer.into())).await;
        let connected = following(5).build().unwrap().connect(&site.url("/")).await;
        assert!(
            matches!(connected, Err(ConnectError::Refused(_))),
            "{answer}: {connected:?}"
        );
        assert_eq!(site.heads().len(), 1);
    }
}

#[tokio::test]
async fn a_circle_ends() {
    for (at_most, requests) in [(1, 2), (10, 11), (255, 11)] {
        let site = Site::new(|_| redirect(307, "/again")).await;
        let connected = following(at_most).build().unwrap().connect(&site.url("/")).await;
        assert!(
            matches!(connected, Err(ConnectError::Redirect(RedirectError::TooMany))),
            "{connected:?}"
        );
        assert_eq!(site.heads().len(), requests);
    }
}

#[tokio::test]
async fn h10_locations_that_lead_nowhere() {
    for (location, expected) in [
        ("ftp://localhost/", UriError::Scheme),
        ("javascript:alert(1)", UriError::Scheme),
        ("ws://localhost:0/", UriError::Port),
        ("//user@@host/", UriError::UserInfo),
        ("/a b", UriError::IllegalByte(b' ')),
    ] {
        let site = Site::new(move |_| redirect(302, location)).await;
        let connected = following(1).build().unwrap().connect(&site.url("/")).await;
        match connected {
            Err(ConnectError::Redirect(RedirectError::Location(error))) => assert_eq!(error, expected),
            other => panic!("{location}: {other:?}"),
        }
    }
}

const SECRETS: [&str; 2] = ["Authorization", "Cookie"];

#[tokio::test]
async fn h10_credentials_stay_with_their_origin() {
    let other = Site::new(|_| Answer::Upgrade).await;
    let there = other.url("/there");
    let site = Site::new(move |line| match line {
        "GET / HTTP/1.1" => redirect(302, "/here"),
        _ => redirect(302, &there),
    })
    .await;
    let client = following(5)
        .bearer_auth("s3cret")
        .cookie("id=s3cret")
        .header("X-Kept", "1")
        .build()
        .unwrap();
    client.connect(&site.url("/")).await.unwrap();
    let heads = site.heads();
    assert_eq!(heads.len(), 2);
    for head in heads {
        assert!(SECRETS.iter().all(|name| header(&head, name).is_some()), "{head}");
    }
    let head = &other.heads()[0];
    assert!(!head.contains("s3cret"), "{head}");
    assert_eq!(header(head, "X-Kept").as_deref(), Some("1"));
}

#[tokio::test]
async fn h10_user_information_stays_with_its_origin() {
    let other = Site::new(|_| Answer::Upgrade).await;
    let there = other.url("/");
    let site = Site::new(move |line| match line {
        "GET / HTTP/1.1" => redirect(302, "/here"),
        _ => redirect(302, &there),
    })
    .await;
    let url = format!("ws://alice:s3cret@{}/", site.address);
    following(5).build().unwrap().connect(&url).await.unwrap();
    for head in site.heads() {
        assert_eq!(
            header(&head, "Authorization").as_deref(),
            Some("Basic YWxpY2U6czNjcmV0")
        );
    }
    assert_eq!(header(&other.heads()[0], "Authorization"), None);
}

/// What is gone stays gone, also when another origin leads back: it might have chosen where to.
#[tokio::test]
async fn h10_credentials_do_not_come_back() {
    let (asked, asking) = std::sync::mpsc::channel::<String>();
    let other = Site::new(move |_| redirect(302, &asking.recv().unwrap())).await;
    let there = other.url("/");
    let site = Site::new(move |line| match line {
        "GET / HTTP/1.1" => redirect(302, &there),
        _ => Answer::Upgrade,
    })
    .await;
    asked.send(site.url("/chosen")).unwrap();
    let client = following(5).cookie("id=s3cret").build().unwrap();
    client.connect(&site.url("/")).await.unwrap();
    let heads = site.heads();
    assert!(heads[0].contains("s3cret"));
    assert!(
        heads[1].starts_with("GET /chosen ") && !heads[1].contains("s3cret"),
        "{}",
        heads[1]
    );
}

/// One deadline over all of it, however many redirects there are.
#[tokio::test(start_paused = true)]
async fn h1_one_deadline_over_all_hops() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = format!("ws://{}/", silent.local_addr().unwrap());
    let site = Site::new(move |_| redirect(302, &there)).await;
    let start = Instant::now();
    let hold = tokio::spawn(async move {
        let (mut tcp, _) = silent.accept().await.unwrap();
        tcp.read_to_end(&mut Vec::new()).await
    });
    let connected = following(1).build().unwrap().connect(&site.url("/")).await;
    assert!(matches!(connected, Err(ConnectError::Timeout)), "{connected:?}");
    assert_eq!(start.elapsed(), Duration::from_secs(10));
    hold.abort();
}

#[tokio::test]
async fn over_a_given_transport_nothing_is_followed() {
    let site = Site::new(|_| redirect(302, "/there")).await;
    let tcp = tokio::net::TcpStream::connect(site.address).await.unwrap();
    let connected = following(5).build().unwrap().connect_over(tcp, "ws://localhost/").await;
    assert!(matches!(connected, Err(ConnectError::Refused(_))), "{connected:?}");
}
