//! TLS: whose certificates are taken.

use std::{io::Write, net::IpAddr};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType, date_time_ymd,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer},
    },
};

use super::{http::get, *};
use crate::model::probe::{Http, Tls};

/// What a certificate is for.
enum For<'a> {
    Address(IpAddr),
    Name(&'a str),
}

/// An authority, its certificate in a file, and what it signs.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(issuer.pem().as_bytes()).unwrap();
        Self { issuer, file }
    }

    /// A certificate with its key, good until the end of that year.
    fn sign(&self, what: For<'_>, year: i32) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2000, 1, 1);
        params.not_after = date_time_ymd(year, 12, 31);
        params.subject_alt_names = vec![match what {
            For::Address(ip) => SanType::IpAddress(ip),
            For::Name(name) => SanType::DnsName(name.try_into().unwrap()),
        }];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (certificate.der().clone(), key)
    }

    /// A server with such a certificate, that answers every request with 200.
    async fn server(&self, what: For<'_>, year: i32) -> SocketAddr {
        let (certificate, key) = self.sign(what, year);
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        server(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return;
                };
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .await;
                let _ = stream.shutdown().await;
            }
        })
        .await
    }

    /// A check that trusts it.
    fn https(&self, sni: Option<&str>) -> Probe {
        https(true, sni, Some(self.file.path()))
    }
}

fn https(verify: bool, sni: Option<&str>, ca_file: Option<&std::path::Path>) -> Probe {
    let tls = Tls {
        verify,
        sni: sni.map(str::to_owned),
        ca_file: ca_file.map(Into::into),
    };
    Probe::Http(Box::new(Http {
        tls: Some(tls),
        body: Some("ok".into()),
        ..get()
    }))
}

const HERE: For<'_> = For::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// What TLS failed by.
async fn refused(probe: &Probe, address: SocketAddr) -> String {
    match failure(probe, address).await {
        Failure::Tls(words) => words,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_certificate_for_the_address_or_the_name_passes() {
    let ours = Authority::new();
    let address = ours.server(HERE, 4000).await;
    assert_eq!(run(&ours.https(None), address).await, Outcome::PASSED);
    let named = ours.server(For::Name("www.example.com"), 4000).await;
    let probe = ours.https(Some("www.example.com"));
    assert_eq!(run(&probe, named).await, Outcome::PASSED);
    let words = refused(&ours.https(None), named).await;
    assert!(words.contains("not valid for name"), "{words}");
}

#[tokio::test]
async fn an_expired_certificate_fails() {
    let ours = Authority::new();
    let address = ours.server(HERE, 2001).await;
    let words = refused(&ours.https(None), address).await;
    assert!(words.contains("expired"), "{words}");
}

#[tokio::test]
async fn a_certificate_of_somebody_else_fails_unless_it_is_not_verified() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let address = theirs.server(HERE, 4000).await;
    let words = refused(&ours.https(None), address).await;
    assert!(words.contains("invalid peer certificate"), "{words}");
    assert_eq!(
        run(&https(false, None, None), address).await,
        Outcome::PASSED
    );
    let expired = theirs.server(For::Name("elsewhere.example"), 2001).await;
    assert_eq!(
        run(&https(false, None, None), expired).await,
        Outcome::PASSED
    );
}

#[tokio::test]
async fn what_speaks_no_tls_fails() {
    let probe = https(false, None, None);
    let plain = answering(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
    refused(&probe, plain).await;
    let closing = answering(b"").await;
    assert_eq!(
        failure(&probe, closing).await,
        Failure::Closed(Phase::Handshake)
    );
    let silent = run_within(SHORT, &probe, silent().await).await;
    assert_eq!(
        silent,
        Outcome::Failed(Failure::TimedOut(Phase::Handshake, SHORT))
    );
}

#[tokio::test]
async fn certificates_that_can_not_be_read_say_nothing_of_the_target() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    for file in [std::path::Path::new("/nonexistent/ca.pem"), empty.path()] {
        let outcome = run(&https(true, None, Some(file)), closed().await).await;
        assert_eq!(outcome, Outcome::Failed(Failure::Refused), "not needed yet");
        let outcome = run(&https(true, None, Some(file)), silent().await).await;
        let local = matches!(outcome, Outcome::Unknown(crate::health::Unknown::Local(_)));
        assert!(local, "{outcome:?}");
    }
}
