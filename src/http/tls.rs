//! TLS: whom to trust, and what to show.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::{BuilderVerifierExt as _, Verifier};

use super::ClientError;

/// TLS files and policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Certificates (PEM) to trust beside the system's.
    pub ca: Option<PathBuf>,
    /// Client certificate chain (PEM); needs `key`.
    pub cert: Option<PathBuf>,
    /// Client key (PEM).
    pub key: Option<PathBuf>,
    /// Whether the other side's certificate is looked at.
    pub verify: Verify,
}

impl Tls {
    /// Reads the files, as each client does that is made with them.
    ///
    /// # Errors
    /// [`ClientError`] where one cannot be read, or is not what it should be.
    pub fn read(&self) -> Result<(), ClientError> {
        tls_config(self).map(|_| ())
    }
}

/// Whether the other side's certificate is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// It must be valid and of that host.
    #[default]
    Certificate,
    /// Anybody in between can read and change everything.
    Nothing,
}

/// Takes whatever certificate comes.
#[derive(Debug)]
struct Unverified(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Unverified {
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

    // That the other side has the key of the certificate it showed is still checked: a handshake
    // that is broken must not look like one that is only not trusted.
    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For plain HTTP. All clients share one: a thousand streams would have a thousand stores of sessions.
pub(super) fn no_tls() -> Result<ClientConfig, ClientError> {
    static SHARED: OnceLock<ClientConfig> = OnceLock::new();
    shared(&SHARED, build_no_tls)
}

/// What all clients share that need nothing of their own.
fn shared(
    known: &OnceLock<ClientConfig>,
    build: impl FnOnce() -> Result<ClientConfig, ClientError>,
) -> Result<ClientConfig, ClientError> {
    if let Some(config) = known.get() {
        return Ok(config.clone());
    }
    let config = build()?;
    Ok(known.get_or_init(|| config).clone())
}

fn build_no_tls() -> Result<ClientConfig, ClientError> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(|error| ClientError::Tls(error.to_string()))?;
    Ok(builder
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

/// Trusts the system's certificates, which are read once, and those of files, which are read each time.
pub(super) fn tls_config(tls: &Tls) -> Result<ClientConfig, ClientError> {
    static SHARED: OnceLock<ClientConfig> = OnceLock::new();
    if *tls == Tls::default() {
        return shared(&SHARED, || build_tls(tls));
    }
    build_tls(tls)
}

fn build_tls(tls: &Tls) -> Result<ClientConfig, ClientError> {
    let tls_error = |error: rustls::Error| ClientError::Tls(error.to_string());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(tls_error)?;
    let builder = match &tls.ca {
        _ if tls.verify == Verify::Nothing => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Unverified(provider()))),
        None => builder.with_platform_verifier().map_err(tls_error)?,
        Some(path) => {
            let extra = certificates("tls.ca", path)?;
            let verifier = Verifier::new_with_extra_roots(extra, provider()).map_err(tls_error)?;
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(verifier))
        }
    };
    let (Some(cert), Some(key)) = (&tls.cert, &tls.key) else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates("tls.cert", cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| pem("tls.key", key, &error))?;
    builder
        .with_client_auth_cert(chain, private)
        .map_err(tls_error)
}

fn certificates(
    what: &'static str,
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, ClientError> {
    let all = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| pem(what, path, &error))?;
    if all.is_empty() {
        let reason = "it holds no certificate".to_owned();
        return Err(ClientError::Pem {
            what,
            path: path.to_owned(),
            reason,
        });
    }
    Ok(all)
}

fn pem(what: &'static str, path: &Path, error: &rustls::pki_types::pem::Error) -> ClientError {
    ClientError::Pem {
        what,
        path: path.to_owned(),
        reason: match error {
            rustls::pki_types::pem::Error::Io(error) => error.to_string(),
            error => error.to_string(),
        },
    }
}
