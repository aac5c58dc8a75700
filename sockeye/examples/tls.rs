//! TLS with certificates on both sides, of an authority that lives as long as this program: `cargo run --example tls`.
#![forbid(unsafe_code)]

use std::error::Error;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use sockeye::transport::tls::rustls::pki_types::pem::PemObject;
use sockeye::transport::tls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sockeye::transport::tls::rustls::server::WebPkiClientVerifier;
use sockeye::transport::tls::rustls::{RootCertStore, ServerConfig, crypto::ring};
use sockeye::transport::tls::{Roots, certificates};
use sockeye::{Client, CloseCode, Server, ServerOptions};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let issue = |name: &str, usage| {
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        Ok::<_, rcgen::Error>((certificate.pem(), key.serialize_pem()))
    };

    // A server that lets nobody in without a certificate.
    let (chain, key) = issue("localhost", ExtendedKeyUsagePurpose::ServerAuth)?;
    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone())?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build()?;
    let chain: Vec<CertificateDer<'static>> = certificates(chain.as_bytes())?;
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, PrivateKeyDer::from_pem_slice(key.as_bytes())?)?;
    let server = Server::bind("127.0.0.1:0", ServerOptions::default())
        .await?
        .with_tls(Arc::new(config));
    let url = format!("wss://localhost:{}/", server.local_addr()?.port());
    let serving = tokio::spawn(async move {
        let mut ws = server.accept().await?.accept().await?;
        while let Some(message) = ws.recv().await? {
            ws.send(message).await?;
        }
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    });

    // A client that trusts this authority alone, and has a certificate of it.
    let (chain, key) = issue("client.example", ExtendedKeyUsagePurpose::ClientAuth)?;
    let client = Client::builder()
        .roots(Roots::None)
        .trust_pem(authority.pem().as_bytes())
        .client_certificate(chain.as_bytes(), key.as_bytes())
        .build()?;
    let mut ws = client.connect(&url).await?;
    ws.send("hello, whom I know").await?;
    if let Some(message) = ws.recv().await? {
        println!("{}", message.as_text().unwrap_or("(binary)"));
    }
    ws.close(CloseCode::NORMAL, "").await?;
    serving.await??;
    Ok(())
}
