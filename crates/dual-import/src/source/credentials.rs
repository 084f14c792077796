//! A service account's key file: from a file, or from the text of an environment variable
//! with the damage that such texts suffer on their way.

use std::fmt;
use std::io::Read;
use std::path::Path;

use aws_lc_rs::signature::RsaKeyPair;
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use dual_database::error::{Error, Kind, Result};
use serde_json::{Map, Value};

use super::endpoint::Endpoint;

const OPERATION: &str = "read the credentials";
/// A key file has 2 to 3 kB.
const LARGEST: u64 = 64 * 1024;
const WHERE_TO_GET_ONE: &str = "make a JSON key in the Google Cloud console: IAM & Admin → \
     Service accounts → the account → Keys → Add key → JSON";

/// Forgiving: the padding and the unused bits of the last character differ between tools.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// A service account that can sign. `Debug` shows whose it is, never the key.
pub struct ServiceAccount {
    client_email: String,
    private_key_id: Option<String>,
    token_uri: Endpoint,
    key: RsaKeyPair,
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount")
            .field("client_email", &self.client_email)
            .field("token_uri", &self.token_uri)
            .finish_non_exhaustive()
    }
}

impl ServiceAccount {
    /// From a key file as the Google Cloud console hands it out.
    ///
    /// # Errors
    /// [`Kind::AccessDenied`] if the file may not be read; [`Kind::Configuration`] if it is
    /// missing, a folder, too big, or not a service account's key.
    pub fn from_file(path: &Path) -> Result<ServiceAccount> {
        let name = path.display().to_string();
        let refuse = |kind, message: String| Error::new(kind, OPERATION, message);
        if path.is_dir() {
            return Err(refuse(Kind::Configuration, format!("{name} is a folder")));
        }
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path)
            .and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes));
        if let Err(error) = read {
            let (kind, message) = match error.kind() {
                std::io::ErrorKind::NotFound => {
                    (Kind::Configuration, format!("there is no file {name}"))
                }
                std::io::ErrorKind::PermissionDenied => {
                    (Kind::AccessDenied, format!("{name} may not be read by this user"))
                }
                _ => (Kind::Configuration, format!("{name} cannot be read")),
            };
            return Err(refuse(kind, message).with_hint(WHERE_TO_GET_ONE).with_source(error));
        }
        if u64::try_from(bytes.len()).is_ok_and(|length| length > LARGEST) {
            return Err(refuse(
                Kind::Configuration,
                format!("{name} is larger than {} KiB: not a key file", LARGEST / 1024),
            )
            .with_hint(WHERE_TO_GET_ONE));
        }
        let text = String::from_utf8(bytes).map_err(|_| {
            refuse(Kind::Configuration, format!("{name} is not JSON: it is not UTF-8 text"))
                .with_hint(WHERE_TO_GET_ONE)
        })?;
        ServiceAccount::from_text(&text, &name)
    }

    /// From text: the JSON itself; the JSON with real line breaks inside the key, with
    /// escaped quotes or with doubly escaped line breaks; or any of them in base64 (standard
    /// or URL alphabet, padded or not, broken into lines or not). `origin` names it in errors.
    ///
    /// # Errors
    /// [`Kind::Configuration`], saying what the text looks like or which field is wrong.
    pub fn from_text(text: &str, origin: &str) -> Result<ServiceAccount> {
        let refuse = |message: String| {
            Error::new(Kind::Configuration, OPERATION, format!("{origin} {message}"))
        };
        let fields = object(text).ok_or_else(|| {
            refuse(format!("is not JSON: {}", appearance(text))).with_hint(WHERE_TO_GET_ONE)
        })?;
        check_type(&fields).map_err(|message| refuse(message).with_hint(WHERE_TO_GET_ONE))?;
        let required = ["client_email", "private_key", "token_uri"];
        let missing: Vec<&str> =
            required.into_iter().filter(|name| field(&fields, name).is_none()).collect();
        if !missing.is_empty() {
            return Err(
                refuse(format!("has no {}", missing.join(", no "))).with_hint(WHERE_TO_GET_ONE)
            );
        }
        let [email, pem, token_uri] = required.map(|name| field(&fields, name).unwrap_or_default());
        let token_uri = Endpoint::parse(token_uri, &format!("token_uri in {origin}"))?;
        let key = private_key(pem).map_err(|message| {
            refuse(format!("has a private_key that {message}")).with_hint(
                "copy the file whole, as it was downloaded; in an environment variable base64 \
                 is the safest form",
            )
        })?;
        Ok(ServiceAccount {
            client_email: email.to_owned(),
            private_key_id: field(&fields, "private_key_id").map(str::to_owned),
            token_uri,
            key,
        })
    }

    /// The address to share a spreadsheet with.
    #[must_use]
    pub fn client_email(&self) -> &str {
        &self.client_email
    }

    pub(crate) fn private_key_id(&self) -> Option<&str> {
        self.private_key_id.as_deref()
    }

    pub(crate) fn token_uri(&self) -> &Endpoint {
        &self.token_uri
    }

    pub(crate) fn key(&self) -> &RsaKeyPair {
        &self.key
    }
}

fn field<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    fields.get(name)?.as_str().map(str::trim).filter(|text| !text.is_empty())
}

/// The JSON object in a text, damage repaired.
fn object(text: &str) -> Option<Map<String, Value>> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let unquoted = ['\'', '`']
        .into_iter()
        .find_map(|quote| text.strip_prefix(quote)?.strip_suffix(quote))
        .unwrap_or(text)
        .trim();
    damaged_object(unquoted).or_else(|| {
        let packed: String = unquoted
            .chars()
            .filter(|c| !c.is_whitespace())
            .map(|c| match c {
                '-' => '+',
                '_' => '/',
                other => other,
            })
            .collect();
        let bytes = BASE64.decode(packed.trim_end_matches('=')).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        damaged_object(text.trim_start_matches('\u{feff}').trim())
    })
}

fn damaged_object(text: &str) -> Option<Map<String, Value>> {
    if let Some(fields) = plain_object(text).or_else(|| plain_object(&breaks_escaped(text))) {
        return Some(fields);
    }
    // JSON inside a JSON text, with or without the outer quotes.
    let inner = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    let inner: String =
        serde_json::from_str(&format!("\"{}\"", breaks_escaped_everywhere(inner))).ok()?;
    plain_object(&inner).or_else(|| plain_object(&breaks_escaped(&inner)))
}

fn plain_object(text: &str) -> Option<Map<String, Value>> {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Some(fields),
        _ => None,
    }
}

/// Real line breaks and tabs inside JSON texts, which JSON forbids, as escapes.
fn breaks_escaped(text: &str) -> String {
    let mut fixed = String::with_capacity(text.len() + 64);
    let (mut inside, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            '\n' if inside => fixed.push_str("\\n"),
            '\r' if inside => {}
            '\t' if inside => fixed.push_str("\\t"),
            other => fixed.push(other),
        }
        if c == '"' && !escaped {
            inside = !inside;
        }
        escaped = inside && c == '\\' && !escaped;
    }
    fixed
}

fn breaks_escaped_everywhere(text: &str) -> String {
    text.replace('\r', "").replace('\n', "\\n").replace('\t', "\\t")
}

/// What a text that is not JSON looks like, without quoting any of it.
fn appearance(text: &str) -> &'static str {
    let text = text.trim_start_matches('\u{feff}').trim();
    let one_line = !text.contains('\n');
    let lower: String = text.chars().take(64).collect::<String>().to_lowercase();
    if text.is_empty() {
        "it is empty"
    } else if lower.starts_with("<!doctype") || lower.starts_with("<html") || text.starts_with('<')
    {
        "it looks like an HTML page"
    } else if text.starts_with("-----BEGIN") {
        "it is only the private key (PEM), the whole JSON file is needed"
    } else if text.starts_with('{') {
        "it begins like JSON, but is damaged or cut off"
    } else if text.starts_with('[') || serde_json::from_str::<Value>(text).is_ok() {
        "it is JSON, but not an object"
    } else if one_line
        && (lower.starts_with('/')
            || lower.starts_with("~")
            || lower.starts_with("./")
            || text.to_lowercase().ends_with(".json"))
    {
        "it looks like the path of a file, its content is needed"
    } else {
        "it is neither JSON nor JSON in base64"
    }
}

fn check_type(fields: &Map<String, Value>) -> Result<(), String> {
    if fields.contains_key("installed") || fields.contains_key("web") {
        return Err("is an OAuth client's file, which needs a person to sign in; a service \
                    account's key is needed"
            .to_string());
    }
    match fields.get("type").map(|name| name.as_str().unwrap_or("")) {
        Some("service_account") => Ok(()),
        Some("authorized_user") => Err("holds a person's sign-in (authorized_user, as gcloud \
                                        writes it); a service account's key is needed"
            .to_string()),
        Some("external_account") => Err("describes workload identity federation \
                                         (external_account); a service account's key is needed"
            .to_string()),
        Some(_) => Err("has a `type` other than service_account".to_string()),
        None => Err("has no type, which a service account's key has".to_string()),
    }
}

/// The key from PEM; the error completes "a private_key that …".
fn private_key(pem: &str) -> Result<RsaKeyPair, &'static str> {
    // The two characters backslash and n stand for a line break where a text was escaped twice.
    let pem = pem.replace("\\r", "").replace("\\n", "\n");
    let (label, der) = pem_block(&pem).ok_or("is not PEM (-----BEGIN PRIVATE KEY-----)")?;
    match label.as_str() {
        "PRIVATE KEY" => RsaKeyPair::from_pkcs8(&der),
        "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der),
        "ENCRYPTED PRIVATE KEY" => return Err("is encrypted with a passphrase"),
        "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE" => {
            return Err("is a public key or a certificate");
        }
        _ => return Err("is of a sort other than PRIVATE KEY"),
    }
    .map_err(|_| "is PEM, but no usable RSA key: damaged or cut off")
}

/// The label and the bytes of the first PEM block.
fn pem_block(pem: &str) -> Option<(String, Vec<u8>)> {
    let (_, rest) = pem.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    let (body, _) = rest.split_once("-----END ")?;
    // Spaces too: some tools turn line breaks into them.
    let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    Some((label.to_owned(), BASE64.decode(body.trim_end_matches('=')).ok()?))
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
pub(in crate::source) mod tests;
