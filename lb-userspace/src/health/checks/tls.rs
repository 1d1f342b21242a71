//! TLS towards backends: rustls with `ring`. Verifies with the system's certificates or those of a file, or
//! not at all.

use std::{io, path::Path, sync::Arc};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OnceCell,
    task::spawn_blocking,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        self, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
        client::{
            Resumption,
            danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        },
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
    },
};

use super::stream::{failed, local};
use crate::{
    health::{
        advice::shown,
        outcome::{Failure, Outcome, Phase},
        probing::Progress,
        targets::Target,
    },
    model::probe::Tls,
};

/// How to speak TLS with the targets of one probe. Its certificates are read for the first run.
#[derive(Debug)]
pub(super) struct Connector {
    tls: Tls,
    /// What is spoken above it (ALPN).
    protocol: &'static [u8],
    config: OnceCell<Arc<ClientConfig>>,
}

impl Connector {
    pub(super) fn new(tls: Tls, protocol: &'static [u8]) -> Self {
        Self {
            tls,
            protocol,
            config: OnceCell::new(),
        }
    }

    /// Agrees on TLS over a connection.
    pub(super) async fn connect<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
        target: Target,
        progress: &Progress,
    ) -> Result<TlsStream<S>, Outcome> {
        let config = self.config.get_or_try_init(|| self.configure()).await?;
        progress.reached(Phase::Handshake);
        let name = self.name(target)?;
        let connector = TlsConnector::from(Arc::clone(config));
        let connected = connector.connect(name, stream).await;
        connected.map_err(|error| refused(&error))
    }

    fn name(&self, target: Target) -> Result<ServerName<'static>, Outcome> {
        let Some(name) = &self.tls.sni else {
            return Ok(ServerName::from(target.socket().ip()));
        };
        // Without the dot that may end it (RFC 6066, section 3).
        let name = name.strip_suffix('.').unwrap_or(name).to_owned();
        ServerName::try_from(name).map_err(|error| local(&format!("`sni`: {error}")))
    }

    async fn configure(&self) -> Result<Arc<ClientConfig>, Outcome> {
        let tls = self.tls.clone();
        let roots = match tls.verify {
            true => Some(spawn_blocking(move || roots(tls.ca_file.as_deref())).await),
            false => None,
        };
        let roots = roots
            .transpose()
            .map_err(|error| local(&error.to_string()))?;
        let roots = roots.transpose().map_err(|words| local(&words))?;
        config(roots, self.protocol).map_err(|error| local(&error.to_string()))
    }
}

/// The certificates to trust.
fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut store = RootCertStore::empty();
    let Some(file) = file else {
        // Some can't be read on most systems; those that can will do.
        let found = rustls_native_certs::load_native_certs();
        store.add_parsable_certificates(found.certs);
        return match store.is_empty() {
            true => Err("this system has no certificates to trust: name a `ca_file`".to_owned()),
            false => Ok(store),
        };
    };
    let bad = |error: &dyn std::fmt::Display| format!("reading {}: {error}", file.display());
    let certificates = CertificateDer::pem_file_iter(file).map_err(|error| bad(&error))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| bad(&error))?;
        store.add(certificate).map_err(|error| bad(&error))?;
    }
    match store.is_empty() {
        true => Err(bad(&"no certificate in it")),
        false => Ok(store),
    }
}

fn config(
    roots: Option<RootCertStore>,
    protocol: &'static [u8],
) -> Result<Arc<ClientConfig>, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let mut config = match roots {
        Some(roots) => builder.with_root_certificates(roots).with_no_client_auth(),
        None => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(AnyCertificate(provider)))
            .with_no_client_auth(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    // Each run looks at the certificate: it may have expired since the last.
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

/// What an error while agreeing means.
fn refused(error: &io::Error) -> Outcome {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(error) => Outcome::Failed(Failure::Tls(shown(&error.to_string()))),
        None => failed(error, Phase::Handshake),
    }
}

/// `verify = false`: takes whatever certificate comes, though the peer must hold its key.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
