//! The parameters of a connection by name, as libpq has them.

use std::iter::Peekable;
use std::str::Chars;
use std::time::Duration;

use super::url::{RootCertificates, Settings, SslMode, ended_password, refused};
use crate::{Error, Result};

/// Whether SCRAM must prove that nobody stands between.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChannelBinding {
    Disable,
    #[default]
    Prefer,
    Require,
}

/// Names with values, the last of a name counts.
#[derive(Default)]
pub(super) struct Parts {
    named: Vec<(String, String)>,
    /// Said instead of an unknown name that may be a part of a password.
    instead: Option<Error>,
}

impl Parts {
    pub(super) fn push(&mut self, name: &str, value: String) {
        self.push_named(name.to_owned(), value);
    }

    pub(super) fn push_named(&mut self, name: String, value: String) {
        self.named.push((name, value));
    }

    /// An unknown name is not shown, and this error told in its place.
    pub(super) fn hide_unknown_names(&mut self, instead: Error) {
        self.instead = Some(instead);
    }
}

/// Everything that is understood; the rest is a mistake that would otherwise go unnoticed.
const KNOWN: [&str; 24] = [
    "host",
    "hostaddr",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslnegotiation",
    "sslcert",
    "sslkey",
    "connect_timeout",
    "target_session_attrs",
    "application_name",
    "fallback_application_name",
    "options",
    "channel_binding",
    "client_encoding",
    "gssencmode",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
];

pub(super) fn settings(parts: Parts) -> Result<Settings> {
    let mut settings = Settings::default();
    let (mut hosts, mut ports) = (String::new(), String::new());
    let mut ssl_mode = None;
    let mut system_roots = false;
    for (name, value) in parts.named {
        match name.as_str() {
            "host" | "hostaddr" => hosts = value,
            "port" => ports = value,
            "user" => settings.user = filled(value),
            "password" => settings.password = Some(value),
            "dbname" => settings.database = filled(value),
            "sslmode" => ssl_mode = Some(parse_ssl_mode(&value)?),
            "sslrootcert" => {
                system_roots = value == "system";
                settings.roots = match filled(value) {
                    Some(path) if path != "system" => RootCertificates::File(path.into()),
                    _ => RootCertificates::System,
                };
            }
            "sslnegotiation" => {
                settings.direct_tls =
                    one_of(&name, &value, [("postgres", false), ("direct", true)])?;
            }
            "connect_timeout" => {
                let seconds: i64 = number(&name, &value)?;
                // Zero and less mean "no limit" to libpq; then ours holds.
                settings.connect_timeout =
                    u64::try_from(seconds).ok().filter(|s| *s > 0).map(Duration::from_secs);
            }
            "target_session_attrs" => check_target(&value)?,
            "application_name" => settings.application_name = filled(value),
            "fallback_application_name" => {
                settings.application_name = settings.application_name.or(filled(value));
            }
            "options" => settings.options = filled(value),
            "channel_binding" => {
                use ChannelBinding::{Disable, Prefer, Require};
                let choices = [("disable", Disable), ("prefer", Prefer), ("require", Require)];
                settings.channel_binding = one_of(&name, &value, choices)?;
            }
            "client_encoding" => {
                let known = ["utf8", "utf-8", "unicode", "auto"];
                if !known.contains(&value.to_ascii_lowercase().as_str()) {
                    return Err(refused("client_encoding must be UTF8"));
                }
            }
            "gssencmode" => {
                one_of(&name, &value, [("disable", ()), ("prefer", ())])?;
            }
            "sslcert" | "sslkey" if !value.is_empty() => {
                return Err(refused(format!("{name}: client certificates are not supported"))
                    .with_hint("connect with a password"));
            }
            // Our own keepalives are stricter than what is usually given here.
            "sslcert"
            | "sslkey"
            | "keepalives"
            | "keepalives_idle"
            | "keepalives_interval"
            | "keepalives_count"
            | "tcp_user_timeout" => {}
            unknown => return Err(parts.instead.unwrap_or_else(|| unknown_name(unknown))),
        }
    }
    settings.hosts = hosts_with_ports(&hosts, &ports)?;
    settings.ssl_mode = match (ssl_mode, system_roots) {
        (None, true) => SslMode::VerifyFull,
        (Some(SslMode::VerifyFull), true) | (_, false) => ssl_mode.unwrap_or_default(),
        (Some(_), true) => {
            return Err(refused("sslrootcert=system needs sslmode=verify-full")
                .with_hint("anybody can get a certificate from a public authority"));
        }
    };
    Ok(settings)
}

fn filled(value: String) -> Option<String> {
    (!value.is_empty()).then_some(value)
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

fn hosts_with_ports(hosts: &str, ports: &str) -> Result<Vec<(String, u16)>> {
    // No host has one, and hosts are shown.
    if hosts.contains('@') {
        return Err(ended_password());
    }
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    let ports: Vec<&str> = ports.split(',').map(str::trim).collect();
    if ports.len() > 1 && ports.len() != hosts.len() {
        return Err(refused(format!("there are {} hosts and {} ports", hosts.len(), ports.len())));
    }
    hosts
        .iter()
        .enumerate()
        .map(|(position, host)| {
            let port = ports.get(position).or(ports.first()).copied().unwrap_or_default();
            let port = match port {
                "" => 5432,
                text => text
                    .parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or_else(|| refused("the port is not a number from 1 to 65535"))?,
            };
            let host = if host.is_empty() { "localhost" } else { host };
            Ok((host.to_owned(), port))
        })
        .collect()
}

fn unknown_name(name: &str) -> Error {
    // With a `?` in a password what stands here may be a part of it: show plain names only.
    let plain = name.len() <= 40 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let shown =
        if plain { format!("unknown parameter `{name}`") } else { "an unknown parameter".into() };
    let error = refused(shown);
    let nearest = KNOWN
        .iter()
        .map(|known| (strsim::damerau_levenshtein(known, &name.to_lowercase()), known))
        .min()
        .filter(|(distance, _)| *distance <= 3);
    match nearest {
        Some((_, known)) => error.with_hint(format!("did you mean `{known}`?")),
        None => error.with_hint("remove it: it belongs to another program"),
    }
}

/// `key = value`, values in single quotes where they hold blanks, with backslash escapes.
pub(super) fn parse_pairs(text: &str) -> Result<Parts> {
    let mut parts = Parts::default();
    let mut chars = text.chars().peekable();
    loop {
        skip_blanks(&mut chars);
        if chars.peek().is_none() {
            return Ok(parts);
        }
        let mut name = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !c.is_whitespace()) {
            name.push(c);
        }
        skip_blanks(&mut chars);
        if chars.next_if_eq(&'=').is_none() {
            return Err(refused("a parameter has no `=`")
                .with_hint("put a value with blanks into single quotes"));
        }
        skip_blanks(&mut chars);
        let value =
            pair_value(&mut chars).ok_or_else(|| refused("a value in single quotes has no end"))?;
        parts.push_named(name, value);
    }
}

fn skip_blanks(chars: &mut Peekable<Chars<'_>>) {
    while chars.next_if(|c| c.is_whitespace()).is_some() {}
}

fn pair_value(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    let mut value = String::new();
    let quoted = chars.next_if_eq(&'\'').is_some();
    while let Some(c) = chars.next_if(|c| quoted || !c.is_whitespace()) {
        match c {
            '\\' => value.extend(chars.next()),
            // Doubled, it is no end either; libpq does not know that, but people write it.
            '\'' if quoted => {
                if chars.next_if_eq(&'\'').is_none() {
                    return Some(value);
                }
                value.push('\'');
            }
            c => value.push(c),
        }
    }
    (!quoted).then_some(value)
}

/// Masks what follows `password=`, in a query or in pairs.
pub(super) fn mask_pairs(text: &str) -> String {
    const NAME: &str = "password";
    let mut masked = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.to_ascii_lowercase().find(NAME) {
        let (before, after) = rest.split_at(start + NAME.len());
        masked.push_str(before);
        rest = after;
        let Some(value) = after.trim_start().strip_prefix('=') else { continue };
        let value = value.trim_start();
        let mut chars = value.chars().peekable();
        let end = if value.starts_with('\'') {
            // Without its end the rest of the text may all be the password.
            pair_value(&mut chars);
            value.len() - chars.collect::<String>().len()
        } else {
            let mut escaped = false;
            value
                .find(|c: char| {
                    let ends = !escaped && (c == '&' || c.is_whitespace());
                    escaped = c == '\\' && !escaped;
                    ends
                })
                .unwrap_or(value.len())
        };
        masked.push_str("=***");
        rest = value.split_at_checked(end).map_or("", |(_, behind)| behind);
    }
    masked.push_str(rest);
    masked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_as_libpq_reads_them() {
        let settings =
            Settings::parse("host=a,b port=1,2 user = bot password='it\\'s a \\\\ b' dbname=x")
                .unwrap();
        assert_eq!(settings.hosts, [("a".to_owned(), 1), ("b".to_owned(), 2)]);
        assert_eq!(settings.user.as_deref(), Some("bot"));
        assert_eq!(settings.password.as_deref(), Some("it's a \\ b"));
        assert_eq!(settings.database.as_deref(), Some("x"));
    }

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
        assert_eq!(settings.options.as_deref(), Some("-c geqo=off"));
    }
}
