//! The client's certificate and key, with libpq's rules for the file of the key (PostgreSQL manual,
//! section "Client Certificates").

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use super::parameter::ClientCertificate;
use crate::{Error, Kind, Result};

const OPERATION: &str = "prepare TLS for PostgreSQL";

/// The certificates of a PEM file, of which there is one at least. `name` is that of the parameter.
pub(super) fn certificates(name: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    sections(name, path, "certificate")
}

/// The lists of what has been revoked, of which there is one at least.
pub(super) fn revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    sections("sslcrl", path, "revocation list")
}

fn sections<T: PemObject>(name: &str, path: &Path, what: &str) -> Result<Vec<T>> {
    let refused = |reason: String| wrong(name, path, reason);
    let pem = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
    let found: Vec<T> = T::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| refused(format!("it is not PEM: {error}")))?;
    if found.is_empty() {
        return Err(refused(format!("it holds no {what}")));
    }
    Ok(found)
}

/// What a server is shown that asks who we are.
pub(super) fn load(
    client: &ClientCertificate,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = certificates("sslcert", &client.certificate)?;
    let path = client.key.as_path();
    let refused = |reason: &str| wrong("sslkey", path, reason.to_owned());
    let found = std::fs::metadata(path).map_err(|error| refused(&error.to_string()))?;
    if !found.is_file() {
        return Err(refused("it is not a regular file"));
    }
    // Of root's a group may read it, so that a key can be for several services.
    let too_much = if found.uid() == 0 { 0o037 } else { 0o077 };
    if found.mode() & too_much != 0 {
        let hint = format!("chmod 600 {}", path.display());
        return Err(refused("others than its owner can use the key").with_hint(hint));
    }
    let pem = std::fs::read(path).map_err(|error| refused(&error.to_string()))?;
    if pem.windows(9).any(|part| part == b"ENCRYPTED") {
        return Err(refused("the key is encrypted, and such a key cannot be read")
            .with_hint("store it without a password, for its owner alone"));
    }
    let key = PrivateKeyDer::from_pem_slice(&pem).map_err(|_| refused("it holds no key in PEM"))?;
    Ok((chain, key))
}

fn wrong(name: &str, path: &Path, reason: String) -> Error {
    let message = format!("{name} {}: {reason}", path.display());
    Error::new(Kind::Configuration, OPERATION, message)
}
