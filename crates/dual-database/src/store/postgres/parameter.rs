//! What each parameter of libpq's means here; the table for people is in `docs/reference.md`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, SslNegotiation};

use super::keyword::{Part, Parts};
use super::url::{RootCertificates, Settings, SslMode, ended_password, refused};
use crate::{Error, Result};

/// Which versions of TLS may be spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum TlsVersions {
    #[default]
    Both,
    /// 1.2 and no newer one.
    Only12,
    /// 1.3 and no older one.
    Only13,
}

/// What proves who we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientCertificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// What is done with each parameter; what is not named is a mistake that would otherwise go
/// unnoticed.
pub(super) const KNOWN: [(&str, Use); 52] = [
    ("host", Use::Done),
    ("hostaddr", Use::Done),
    ("port", Use::Done),
    ("dbname", Use::Done),
    ("user", Use::Done),
    ("password", Use::Done),
    ("passfile", Use::Done),
    ("service", Use::Done),
    ("servicefile", Use::Done),
    ("connect_timeout", Use::Done),
    ("application_name", Use::Done),
    ("fallback_application_name", Use::Done),
    ("options", Use::Done),
    ("client_encoding", Use::Done),
    ("target_session_attrs", Use::Done),
    ("load_balance_hosts", Use::Done),
    ("channel_binding", Use::Done),
    ("sslmode", Use::Done),
    ("requiressl", Use::Done),
    ("sslnegotiation", Use::Done),
    ("sslrootcert", Use::Done),
    ("sslcert", Use::Done),
    ("sslkey", Use::Done),
    ("sslcertmode", Use::Done),
    ("sslcrl", Use::Done),
    ("sslsni", Use::Done),
    ("ssl_min_protocol_version", Use::Done),
    ("ssl_max_protocol_version", Use::Done),
    ("gssencmode", Use::Done),
    ("requirepeer", Use::Done),
    // Compression of TLS is gone from everywhere.
    ("sslcompression", Use::Idle),
    // Our own are stricter than what is usually given here.
    ("keepalives", Use::Idle),
    ("keepalives_idle", Use::Idle),
    ("keepalives_interval", Use::Idle),
    ("keepalives_count", Use::Idle),
    ("tcp_user_timeout", Use::Idle),
    // Only for methods that are refused where a server asks for them.
    ("krbsrvname", Use::Idle),
    ("gsslib", Use::Idle),
    ("gssdelegation", Use::Idle),
    ("min_protocol_version", Use::Idle),
    ("max_protocol_version", Use::Idle),
    (
        "require_auth",
        Use::Refused(
            "which way of proving the password is used cannot be restricted",
            "channel_binding=require, over TLS, lets nothing but SCRAM pass",
        ),
    ),
    (
        "sslpassword",
        Use::Refused(
            "a key that is encrypted cannot be read",
            "store the key without a password, for its owner alone: chmod 600",
        ),
    ),
    (
        "sslcrldir",
        Use::Refused(
            "revocation lists are read from one file",
            "put them into one PEM file and name it with sslcrl",
        ),
    ),
    ("sslkeylogfile", Use::Refused("the keys of a connection are written nowhere", "leave it out")),
    ("replication", Use::Refused("these are no connections for replication", "leave it out")),
    ("scram_client_key", Use::Refused(SCRAM_KEYS, PASSWORD)),
    ("scram_server_key", Use::Refused(SCRAM_KEYS, PASSWORD)),
    ("oauth_issuer", Use::Refused(OAUTH, PASSWORD)),
    ("oauth_client_id", Use::Refused(OAUTH, PASSWORD)),
    ("oauth_client_secret", Use::Refused(OAUTH, PASSWORD)),
    ("oauth_scope", Use::Refused(OAUTH, PASSWORD)),
];

const SCRAM_KEYS: &str = "a password cannot be stood for by its keys";
const OAUTH: &str = "tokens of OAuth are not understood";
const PASSWORD: &str = "connect with a password or a client certificate";

/// What is done with a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Done,
    /// Accepted, and of no effect here.
    Idle,
    /// Why, and what to do instead.
    Refused(&'static str, &'static str),
}

/// What has been read so far.
#[derive(Default)]
struct Draft {
    settings: Settings,
    hosts: String,
    addresses: String,
    ports: String,
    fallback_name: Option<String>,
    ssl_mode: Option<SslMode>,
    system_roots: bool,
    certificate: Option<String>,
    key: Option<String>,
    no_certificate: bool,
    oldest_tls: Option<bool>,
    newest_tls: Option<bool>,
}

pub(super) fn settings(parts: Parts) -> Result<Settings> {
    let mut draft = Draft::default();
    for part in parts.named {
        let known = KNOWN.iter().find(|(name, _)| *name == part.name).map(|(_, known)| *known);
        let read = match known {
            Some(Use::Done) => draft.read(&part),
            Some(Use::Idle) => Ok(()),
            Some(Use::Refused(..)) if part.value.is_empty() => Ok(()),
            Some(Use::Refused(why, instead)) => {
                Err(refused(format!("{}: {why}", part.name)).with_hint(instead))
            }
            None => {
                return Err(parts
                    .instead
                    .unwrap_or_else(|| part.origin.locate(unknown_name(&part.name))));
            }
        };
        read.map_err(|error| part.origin.locate(error))?;
    }
    draft.finish()
}

impl Draft {
    fn read(&mut self, part: &Part) -> Result<()> {
        let (name, value, settings) = (part.name.as_str(), &part.value, &mut self.settings);
        let driver = &mut settings.driver;
        match name {
            // An empty one is none.
            "user" | "dbname" | "application_name" | "options" if value.is_empty() => {}
            "user" => drop(driver.user(value)),
            "dbname" => drop(driver.dbname(value)),
            "application_name" => drop(driver.application_name(value)),
            "options" => drop(driver.options(value)),
            "host" => self.hosts.clone_from(value),
            "hostaddr" => self.addresses.clone_from(value),
            "port" => self.ports.clone_from(value),
            "password" => settings.password = Some(value.clone()),
            "passfile" => settings.passfile = filled(value).map(PathBuf::from),
            "sslmode" => self.ssl_mode = Some(parse_ssl_mode(value)?),
            "sslrootcert" => {
                self.system_roots = value == "system";
                settings.roots = match filled(value) {
                    Some(path) if path != "system" => RootCertificates::File(path.into()),
                    _ => RootCertificates::System,
                };
            }
            "sslcrl" => settings.revoked = filled(value).map(PathBuf::from),
            "sslcert" => self.certificate = filled(value),
            "sslkey" => self.key = filled(value),
            "sslcertmode" => {
                let choices = [("disable", true), ("allow", false)];
                if value == "require" {
                    return Err(refused(
                        "sslcertmode=require: whether the server has asked for a \
                         certificate is not known",
                    )
                    .with_hint("demand it on the server: clientcert=verify-full in pg_hba.conf"));
                }
                self.no_certificate = one_of(name, value, choices)?;
            }
            "sslsni" => settings.no_sni = one_of(name, value, [("1", false), ("0", true)])?,
            "ssl_min_protocol_version" => self.oldest_tls = tls_version(name, value)?,
            "ssl_max_protocol_version" => {
                self.newest_tls = tls_version(name, value)?;
                if ["TLSv1", "TLSv1.1"].contains(&value.as_str()) {
                    return Err(refused(format!("{name}: TLS before 1.2 is not spoken"))
                        .with_hint("use TLSv1.2 or TLSv1.3"));
                }
            }
            "sslnegotiation" => {
                use SslNegotiation::{Direct, Postgres};
                let choices = [("postgres", Postgres), ("direct", Direct)];
                driver.ssl_negotiation(one_of(name, value, choices)?);
            }
            "connect_timeout" => {
                let seconds: i64 = number(name, value)?;
                // Zero and less mean "no limit" to libpq; then ours holds.
                if let Some(seconds) = u64::try_from(seconds).ok().filter(|s| *s > 0) {
                    driver.connect_timeout(Duration::from_secs(seconds));
                }
            }
            "target_session_attrs" => check_target(value)?,
            "load_balance_hosts" => {
                settings.any_order = one_of(name, value, [("disable", false), ("random", true)])?;
            }
            "fallback_application_name" => self.fallback_name = filled(value),
            "channel_binding" => {
                use ChannelBinding::{Disable, Prefer, Require};
                let choices = [("disable", Disable), ("prefer", Prefer), ("require", Require)];
                driver.channel_binding(one_of(name, value, choices)?);
            }
            "client_encoding" => {
                let known = ["utf8", "utf-8", "unicode", "auto"];
                if !known.contains(&value.to_ascii_lowercase().as_str()) {
                    return Err(refused("client_encoding must be UTF8"));
                }
            }
            "gssencmode" => {
                if value == "require" {
                    return Err(refused(
                        "gssencmode=require: encryption by Kerberos is not spoken",
                    )
                    .with_hint("encrypt with TLS: sslmode=verify-full"));
                }
                one_of(name, value, [("disable", ()), ("prefer", ())])?;
            }
            "requirepeer" => settings.peer = filled(value),
            _ => {}
        }
        Ok(())
    }

    fn finish(self) -> Result<Settings> {
        let Draft { mut settings, fallback_name, certificate, key, .. } = self;
        if let Some(name) = fallback_name {
            settings = settings.with_application_name(&name);
        }
        (settings.hosts, settings.addresses) =
            hosts_with_ports(&self.hosts, &self.addresses, &self.ports)?;
        settings.ssl_mode = match (self.ssl_mode, self.system_roots) {
            (None, true) => SslMode::VerifyFull,
            (Some(SslMode::VerifyFull), true) | (_, false) => self.ssl_mode.unwrap_or_default(),
            (Some(_), true) => {
                return Err(refused("sslrootcert=system needs sslmode=verify-full")
                    .with_hint("anybody can get a certificate from a public authority"));
            }
        };
        if settings.ssl_mode == SslMode::VerifyCa && settings.roots == RootCertificates::System {
            return Err(refused("sslmode=verify-ca needs sslrootcert").with_hint(
                "anybody can get a certificate from a public authority: name your own with \
                     sslrootcert, or use sslmode=verify-full, which looks at the host's name, too",
            ));
        }
        let direct_tls = settings.driver.get_ssl_negotiation() == SslNegotiation::Direct;
        if direct_tls && matches!(settings.ssl_mode, SslMode::Disable | SslMode::Prefer) {
            return Err(refused(
                "sslnegotiation=direct goes with no sslmode that is content without TLS",
            )
            .with_hint("use sslmode=require, verify-ca or verify-full"));
        }
        settings.tls_versions = match (self.oldest_tls, self.newest_tls) {
            (Some(true), Some(false)) => {
                return Err(refused("the oldest version of TLS is newer than the newest"));
            }
            (Some(true), _) => TlsVersions::Only13,
            (_, Some(false)) => TlsVersions::Only12,
            _ => TlsVersions::Both,
        };
        // Where no TLS is, nobody asks for it: it may just lie in the user's folder.
        let is_socket = |(at, (host, _)): (usize, &(String, u16))| {
            host.starts_with('/') && settings.addresses.get(at).copied().flatten().is_none()
        };
        let without_tls = settings.ssl_mode == SslMode::Disable
            || settings.hosts.iter().enumerate().all(is_socket);
        settings.certificate = match (certificate, key) {
            _ if without_tls => None,
            (Some(certificate), Some(key)) if !self.no_certificate => {
                Some(ClientCertificate { certificate: certificate.into(), key: key.into() })
            }
            (Some(_), None) if !self.no_certificate => {
                return Err(refused("sslcert is given, and no key that belongs to it")
                    .with_hint("name the file of the key with sslkey"));
            }
            _ => None,
        };
        Ok(settings)
    }
}

/// Whether it is 1.3; `None`: no bound, as 1.2 is the oldest one anyway.
fn tls_version(name: &str, value: &str) -> Result<Option<bool>> {
    let choices = [
        ("TLSv1.2", Some(false)),
        ("TLSv1.3", Some(true)),
        ("TLSv1", None),
        ("TLSv1.1", None),
        ("", None),
    ];
    one_of(name, value, choices)
}

fn filled(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn parse_ssl_mode(value: &str) -> Result<SslMode> {
    one_of(
        "sslmode",
        value,
        [
            ("disable", SslMode::Disable),
            // Differs from `prefer` in the order of attempts only.
            ("allow", SslMode::Prefer),
            ("prefer", SslMode::Prefer),
            ("require", SslMode::Require),
            ("verify-ca", SslMode::VerifyCa),
            ("verify-full", SslMode::VerifyFull),
        ],
    )
}

fn check_target(value: &str) -> Result<()> {
    let standby = || {
        Err(refused(format!("target_session_attrs={value} finds a server that takes no writes"))
            .with_hint("use read-write"))
    };
    match value {
        // Each session of ours checks that it can write, whichever of these it is.
        "any" | "read-write" | "primary" => Ok(()),
        "read-only" | "standby" | "prefer-standby" => standby(),
        _ => one_of(
            "target_session_attrs",
            value,
            [("any", ()), ("read-write", ()), ("primary", ())],
        ),
    }
}

fn one_of<T, const N: usize>(name: &str, value: &str, choices: [(&str, T); N]) -> Result<T> {
    let names: Vec<String> = choices.iter().map(|(choice, _)| (*choice).to_owned()).collect();
    choices
        .into_iter()
        .find_map(|(choice, meaning)| (choice == value).then_some(meaning))
        .ok_or_else(|| {
            refused(format!("{name} is none of its values"))
                .with_hint(format!("one of: {}", names.join(", ")))
        })
}

fn number<T: std::str::FromStr>(name: &str, value: &str) -> Result<T> {
    value.trim().parse().map_err(|_| refused(format!("{name} is not a number")))
}

type Hosts = (Vec<(String, u16)>, Vec<Option<IpAddr>>);

/// The hosts with their ports, and the addresses that are not to be looked up.
fn hosts_with_ports(hosts: &str, addresses: &str, ports: &str) -> Result<Hosts> {
    // No host has one, and hosts are shown.
    if hosts.contains('@') || addresses.contains('@') {
        return Err(ended_password());
    }
    let split =
        |text: &str| -> Vec<String> { text.split(',').map(|s| s.trim().to_owned()).collect() };
    let (mut names, ports) = (split(hosts), split(ports));
    let mut known = vec![None; names.len()];
    if !addresses.is_empty() {
        let addresses = split(addresses);
        if hosts.is_empty() {
            names.clone_from(&addresses);
        }
        if addresses.len() != names.len() {
            let (hosts, addresses) = (names.len(), addresses.len());
            return Err(refused(format!("there are {hosts} hosts and {addresses} addresses")));
        }
        let parsed = addresses.iter().map(|text| match text.as_str() {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                refused("hostaddr is no address of the internet")
                    .with_hint("a name belongs to host")
            }),
        });
        known = parsed.collect::<Result<_>>()?;
    }
    if ports.len() > 1 && ports.len() != names.len() {
        return Err(refused(format!("there are {} hosts and {} ports", names.len(), ports.len())));
    }
    let hosts = names.into_iter().enumerate().map(|(position, host)| {
        let port = ports.get(position).or(ports.first()).map(String::as_str).unwrap_or_default();
        let port = match port {
            "" => 5432,
            text => text
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| refused("the port is not a number from 1 to 65535"))?,
        };
        Ok((if host.is_empty() { "localhost".to_owned() } else { host }, port))
    });
    Ok((hosts.collect::<Result<_>>()?, known))
}

fn unknown_name(name: &str) -> Error {
    // With a `?` in a password what stands here may be a part of it: show plain names only.
    let plain = name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let shown =
        if plain { format!("unknown parameter `{name}`") } else { "an unknown parameter".into() };
    let error = refused(shown);
    let nearest = KNOWN
        .iter()
        .map(|(known, _)| (strsim::damerau_levenshtein(known, &name.to_lowercase()), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match nearest {
        Some((_, known)) => error.with_hint(format!("did you mean `{known}`?")),
        None => error.with_hint("remove it: it belongs to another program"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ssl_rules_of_libpq() {
        let mode =
            |query: &str| Settings::parse(&format!("postgres://h/d?{query}")).unwrap().ssl_mode();
        assert_eq!(mode(""), SslMode::Prefer);
        assert_eq!(mode("sslmode=require"), SslMode::Require);
        assert_eq!(mode("sslmode=require&sslrootcert=ca.pem"), SslMode::VerifyCa);
        assert_eq!(mode("sslrootcert=system"), SslMode::VerifyFull);
        assert_eq!(mode("sslmode=verify-full"), SslMode::VerifyFull);
    }

    #[test]
    fn what_hosted_services_put_into_their_urls() {
        for text in [
            "postgresql://u:p@ep-x-1.eu.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
            "postgres://u.ref:p@aws-0-eu.pooler.supabase.com:6543/postgres",
            "postgresql://u:p@h/d?application_name=a%20b&connect_timeout=10&options=-c%20geqo%3Doff",
        ] {
            Settings::parse(text).unwrap();
        }
        let settings = Settings::parse("postgres://h/d?options=-c%20geqo%3Doff").unwrap();
        assert_eq!(settings.driver.get_options(), Some("-c geqo=off"));
    }
}
