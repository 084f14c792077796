//! What a server is to be like.

use std::path::PathBuf;

use crate::binaries::Binaries;
use crate::database::literal;
use crate::fetch::Version;
use crate::server::ADMINISTRATOR;

/// What the server is to be like.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    pub(crate) binaries: Option<Binaries>,
    pub(crate) version: Option<Version>,
    pub(crate) port: Option<u16>,
    pub(crate) password: Option<String>,
    pub(crate) tls: Option<(PathBuf, PathBuf)>,
    pub(crate) tls_required: bool,
    pub(crate) fsync: bool,
    pub(crate) settings: Vec<(String, String)>,
}

impl Builder {
    /// Uses these binaries instead of [`Binaries::find`].
    #[must_use]
    pub fn binaries(mut self, binaries: Binaries) -> Builder {
        self.binaries = Some(binaries);
        self
    }

    /// Uses [`Binaries::fetch`] of that version.
    #[must_use]
    pub fn version(mut self, version: Version) -> Builder {
        self.version = Some(version);
        self
    }

    /// Listens on this port instead of a free one.
    #[must_use]
    pub fn port(mut self, port: u16) -> Builder {
        self.port = Some(port);
        self
    }

    /// Asks for this password (SCRAM-SHA-256). Without one, everybody on the loopback address
    /// is trusted.
    #[must_use]
    pub fn password(mut self, password: impl Into<String>) -> Builder {
        self.password = Some(password.into());
        self
    }

    /// Offers TLS with this certificate chain and private key (PEM files; copied).
    #[must_use]
    pub fn tls(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Builder {
        self.tls = Some((certificate.into(), key.into()));
        self
    }

    /// Refuses connections without TLS.
    #[must_use]
    pub fn tls_required(mut self, required: bool) -> Builder {
        self.tls_required = required;
        self
    }

    /// Whether commits wait for the disk. Off by default: a killed server loses nothing by
    /// it, only a crash of the machine would.
    #[must_use]
    pub fn fsync(mut self, fsync: bool) -> Builder {
        self.fsync = fsync;
        self
    }

    /// A line of `postgresql.conf`; later ones win.
    #[must_use]
    pub fn setting(mut self, name: impl Into<String>, value: impl Into<String>) -> Builder {
        self.settings.push((name.into(), value.into()));
        self
    }

    pub(crate) fn configuration(&self) -> String {
        let onoff = |flag| if flag { "on" } else { "off" }.to_owned();
        let mut lines: Vec<(String, String)> = [
            ("listen_addresses", "127.0.0.1".to_owned()),
            ("unix_socket_directories", String::new()),
            ("password_encryption", "scram-sha-256".into()),
            ("fsync", onoff(self.fsync)),
            ("full_page_writes", onoff(self.fsync)),
            ("shared_buffers", "32MB".into()),
            ("log_line_prefix", "%m [%p] ".into()),
            ("lc_messages", "C".into()),
            ("timezone", "UTC".into()),
            ("log_timezone", "UTC".into()),
            ("ssl", onoff(self.tls.is_some())),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        lines.extend(self.settings.iter().cloned());
        lines
            .iter()
            .map(|(name, value)| format!("{name} = {}\n", literal(value).replace('\\', "\\\\")))
            .collect()
    }

    pub(crate) fn host_based_access(&self) -> String {
        let method = if self.password.is_some() { "scram-sha-256" } else { "trust" };
        let host = if self.tls_required { "hostssl" } else { "host" };
        format!(
            "host all {ADMINISTRATOR} 127.0.0.1/32 trust\n\
             {host} all all 127.0.0.1/32 {method}\n\
             {host} replication all 127.0.0.1/32 {method}\n"
        )
    }
}
