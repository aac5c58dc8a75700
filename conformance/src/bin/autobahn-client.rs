//! The client that Autobahn's fuzzing server tests: `autobahn-client URL AGENT`.
//!
//! It asks how many cases there are, echoes through each of them, and has the report written.
#![forbid(unsafe_code)]

use anyhow::{Context, bail};
use sockeye::{Client, DeflateOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(agent)) = (arguments.next(), arguments.next()) else {
        bail!("usage: autobahn-client URL AGENT");
    };
    let url = url.trim_end_matches('/');
    // Cases of section 9 send 16 MiB in a message, and 65,536 fragments of one.
    let client = Client::builder()
        .deflate(DeflateOptions::client())
        .max_message_size(64 << 20)
        .build()?;

    let mut ws = client.connect(&format!("{url}/getCaseCount")).await?;
    let count = ws
        .recv()
        .await?
        .context("the server did not say how many cases there are")?;
    let count: u32 = count.as_text().context("the number of cases is text")?.parse()?;

    for case in 1..=count {
        let case_url = format!("{url}/runCase?case={case}&agent={agent}");
        // Many cases end in an error, as they should; the server judges, by what it saw.
        if let Err(error) = echo(&client, &case_url).await {
            eprintln!("case {case}: {error}");
        }
    }

    let mut ws = client.connect(&format!("{url}/updateReports?agent={agent}")).await?;
    while ws.recv().await?.is_some() {}
    println!("{count} cases run");
    Ok(())
}

async fn echo(client: &Client, url: &str) -> anyhow::Result<()> {
    let mut ws = client.connect(url).await?;
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
