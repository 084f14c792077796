//! TLS by rustls, with libpq's meaning of each `sslmode`.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::version::{TLS12, TLS13};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use tokio_postgres::config::SslNegotiation;
use tokio_postgres_rustls::MakeRustlsConnect;

use super::certificate;
use super::parameter::TlsVersions;
use super::url::{RootCertificates, Settings, SslMode};
use crate::{Error, Kind, Result};

const OPERATION: &str = "prepare TLS for PostgreSQL";

/// What makes the TLS connections, or `None` where none are wanted.
///
/// # Errors
/// [`Kind::Configuration`]: the file of authorities cannot be read or holds no certificate;
/// the system has no authorities.
pub(super) fn connector(settings: &Settings) -> Result<Option<MakeRustlsConnect>> {
    // Explicit, because another library in the process may have set another default.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier: Arc<dyn ServerCertVerifier> = match settings.ssl_mode() {
        SslMode::Disable => return Ok(None),
        SslMode::Prefer | SslMode::Require => Arc::new(Unverified(provider.clone())),
        SslMode::VerifyCa => verifier(settings, &provider, false)?,
        SslMode::VerifyFull => verifier(settings, &provider, true)?,
    };
    let versions: &[&SupportedProtocolVersion] = match settings.tls_versions {
        TlsVersions::Both => &[&TLS13, &TLS12],
        TlsVersions::Only12 => &[&TLS12],
        TlsVersions::Only13 => &[&TLS13],
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| Error::new(Kind::Internal, OPERATION, error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match &settings.certificate {
        None => builder.with_no_client_auth(),
        Some(client) => {
            let (chain, key) = certificate::load(client)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                let message = format!("sslcert and sslkey: {error}");
                Error::new(Kind::Configuration, OPERATION, message)
            })?
        }
    };
    config.enable_sni = !settings.no_sni;
    if settings.driver.get_ssl_negotiation() == SslNegotiation::Direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(Some(MakeRustlsConnect::new(config)))
}

fn verifier(
    settings: &Settings,
    provider: &Arc<CryptoProvider>,
    check_name: bool,
) -> Result<Arc<dyn ServerCertVerifier>> {
    let roots = &settings.roots;
    let trusted = match roots {
        RootCertificates::File(path) => certificate::certificates("sslrootcert", path)?,
        RootCertificates::System => from_system()?,
    };
    let mut store = RootCertStore::empty();
    let (added, _) = store.add_parsable_certificates(trusted.iter().cloned());
    if added == 0 {
        return Err(Error::new(Kind::Configuration, OPERATION, "no authority can be read")
            .with_hint("sslrootcert must be a PEM file with the certificate of the authority"));
    }
    let mut builder =
        WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider.clone());
    if let Some(path) = &settings.revoked {
        // As with libpq every certificate has to be in a list's reach, and the list not outdated.
        builder = builder.with_crls(certificate::revoked(path)?).enforce_revocation_expiration();
    }
    let chain = builder
        .build()
        .map_err(|error| Error::new(Kind::Configuration, OPERATION, error.to_string()))?;
    let pinned = match roots {
        RootCertificates::File(_) => trusted,
        RootCertificates::System => Vec::new(),
    };
    Ok(Arc::new(CertificateCheck { chain, pinned, check_name }))
}

fn from_system() -> Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let reasons: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let message = format!("this system has no trusted authorities {}", reasons.join("; "));
        return Err(Error::new(Kind::Configuration, OPERATION, message.trim_end())
            .with_hint("install ca-certificates, or name a file with sslrootcert"));
    }
    Ok(found.certs)
}

/// `require`: encrypted, whoever it is. That the peer holds the key of the certificate that
/// it shows is still checked: channel binding relies on it.
#[derive(Debug)]
struct Unverified(Arc<CryptoProvider>);

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

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// `verify-ca` and `verify-full`.
#[derive(Debug)]
struct CertificateCheck {
    chain: Arc<WebPkiServerVerifier>,
    /// The certificates of `sslrootcert`: a server may show one of these itself. The usual
    /// self-signed certificate is marked as an authority, which the chain's rules do not
    /// accept from a server; libpq does.
    pinned: Vec<CertificateDer<'static>>,
    check_name: bool,
}

impl ServerCertVerifier for CertificateCheck {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use CertificateError::{NotValidForName, NotValidForNameContext};
        match self.chain.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is looked at last, when all the rest has been accepted.
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) if !self.check_name => Ok(ServerCertVerified::assertion()),
            // So is this after the dates have been accepted.
            Err(error)
                if is_authority(&error)
                    && self.pinned.contains(&certificate.clone().into_owned()) =>
            {
                if self.check_name {
                    let parsed = ParsedCertificate::try_from(certificate)?;
                    rustls::client::verify_server_name(&parsed, name)?;
                }
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Rustls has no case of its own for "an authority's certificate shown by a server".
fn is_authority(error: &rustls::Error) -> bool {
    matches!(error, rustls::Error::InvalidCertificate(CertificateError::Other(_)))
        && format!("{error:?}").contains("CaUsedAsEndEntity")
}
