//! `examples/reconnect.rs`, run.

use sockeye::CloseCode;
use tokio::time::advance;

use crate::common::{Server, StillClock, settle};

#[path = "../../examples/reconnect.rs"]
#[expect(dead_code, reason = "its main is for the command line")]
mod reconnect;

#[tokio::test(start_paused = true)]
async fn it_logs_in_again_and_goes_on() {
    let _clock = StillClock::new();
    let server = Server::bind().await;
    let (messages, mut received) = tokio::sync::mpsc::unbounded_channel();
    let running = tokio::spawn(reconnect::run(server.url(), move |message| {
        messages.send(message).unwrap();
    }));
    for round in 1..=3 {
        let mut ws = server.accept().await;
        let login = ws.recv().await.unwrap().unwrap();
        assert_eq!(
            login.as_text(),
            Some(format!("subscribe from {}", (round - 1) * 2).as_str())
        );
        for number in 1..=2 {
            ws.send(format!("news {round}.{number}")).await.unwrap();
            let news = received.recv().await.unwrap();
            assert_eq!(news, format!("news {round}.{number}"));
        }
        let code = if round < 3 {
            CloseCode::SERVICE_RESTART
        } else {
            CloseCode::NORMAL
        };
        ws.close(code, "").await.unwrap();
        settle().await;
        advance(std::time::Duration::from_secs(120)).await;
    }
    running.await.unwrap().unwrap();
}
