//! The floor under tokio: bytes go back as they come, with no protocol at all. Also over TLS, by tokio-rustls.

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use server_args::{ServerArgs, announce};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What one read may bring, in bytes.
const BUFFER: usize = 64 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let args = ServerArgs::parse()?;
    ServerArgs::refuse(args.deflate, "compression")?;
    ServerArgs::refuse(args.batched, "loop that is batched by hand")?;
    ServerArgs::refuse(args.broadcast || args.threads > 1, "broadcast and no threads")?;
    let acceptor = args.tls.as_ref().map(|(chain, key)| -> Result<_, Box<dyn Error>> {
        let chain = CertificateDer::pem_file_iter(chain)?.collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_file(key)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(TlsAcceptor::from(Arc::new(config)))
    });
    let acceptor = acceptor.transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(args.address()).await?;
        announce(listener.local_addr()?)?;
        loop {
            let (tcp, _) = listener.accept().await?;
            tcp.set_nodelay(true)?;
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let end = match acceptor {
                    Some(acceptor) => match acceptor.accept(tcp).await {
                        Ok(tls) => echo(tls).await,
                        Err(error) => Err(error),
                    },
                    None => echo(tcp).await,
                };
                if let Err(error) = end {
                    eprintln!("{error}");
                }
            });
        }
    })
}

async fn echo(mut io: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = io.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        io.write_all(&buffer[..length]).await?;
        // TLS buffers what is written; over TCP this does nothing.
        io.flush().await?;
    }
}
