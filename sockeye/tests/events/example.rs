//! The example runs and does what it says.

#[path = "../../examples/event_api.rs"]
#[expect(dead_code, reason = "its `main` is for a terminal")]
mod event_api;

#[tokio::test]
async fn the_example_greets_and_closes() {
    let server = sockeye::Server::bind("127.0.0.1:0", sockeye::ServerOptions::default())
        .await
        .unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        for _ in 0..2 {
            let mut ws = server.accept().await.unwrap().accept().await.unwrap();
            while let Some(message) = ws.recv().await.unwrap() {
                ws.send(message).await.unwrap();
            }
        }
    });
    event_api::with_callbacks(&url).await.unwrap();
    event_api::with_streams(&url).await.unwrap();
    serving.await.unwrap();
}
