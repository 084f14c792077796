use std::path::{Path, PathBuf};

use dual_database::store::postgres::{Limits, Session, Settings};
use dual_database::{Error, Kind};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use throwaway_postgres::Server;

/// Certificates made for one test.
pub struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Authority {
        let folder = tempfile::tempdir().unwrap();
        let make = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let mut parameters = CertificateParams::default();
            parameters.distinguished_name.push(DnType::CommonName, "test CA");
            parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            let certificate = parameters.self_signed(&key).unwrap();
            std::fs::write(folder.path().join(format!("{name}.crt")), certificate.pem()).unwrap();
            Issuer::new(parameters, key)
        };
        make("other");
        let issuer = make("ca");
        Authority { folder, issuer }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server's certificate for that host name or address, signed by `ca`.
    pub fn issue(&self, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::new([host.to_string()]).unwrap();
        parameters.serial_number = Some(SerialNumber::from_slice(name.as_bytes()));
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        self.write(name, &certificate.pem(), &key);
    }

    /// One that is signed by itself.
    fn issue_alone(&self, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new([host.to_string()]).unwrap().self_signed(&key).unwrap();
        self.write(name, &certificate.pem(), &key);
    }

    /// A client's certificate for that role.
    pub fn issue_for(&self, name: &str, role: &str) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, role);
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        self.write(name, &certificate.pem(), &key);
    }

    /// One that is signed by itself and names its host as one did long ago.
    pub fn issue_by_common_name(&self, name: &str, host: &str) {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name = DistinguishedName::new();
        parameters.distinguished_name.push(DnType::CommonName, host);
        let certificate = parameters.self_signed(&key).unwrap();
        self.write(name, &certificate.pem(), &key);
    }

    /// The authority's list of what it has revoked: that certificate.
    pub fn revoke(&self, name: &str) -> String {
        let revoked = RevokedCertParams {
            serial_number: SerialNumber::from_slice(name.as_bytes()),
            revocation_time: date_time_ymd(2024, 1, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(2100, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![revoked],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    fn write(&self, name: &str, certificate: &str, key: &KeyPair) {
        std::fs::write(self.path(&format!("{name}.crt")), certificate).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    pub fn server(&self, name: &str) -> Server {
        Server::builder()
            .tls(self.path(&format!("{name}.crt")), self.path(&format!("{name}.key")))
            .tls_required(true)
            .password("secret")
            .start()
            .unwrap()
    }
}

async fn open(
    server: &Server,
    host: &str,
    query: &str,
    root: Option<&Path>,
) -> Result<Session, Error> {
    let root = root.map(|path| format!("&sslrootcert={}", path.display())).unwrap_or_default();
    let url =
        format!("postgresql://postgres:secret@{host}:{}/postgres?{query}{root}", server.port());
    Session::open(&Settings::parse(&url)?, &Limits::default()).await
}

async fn encrypted(session: Session) -> bool {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    session.query("look", sql, &[]).await.unwrap()[0].try_get(0).unwrap()
}

#[tokio::test]
async fn every_mode_against_a_certificate_for_localhost() {
    let authority = Authority::new();
    authority.issue("server", "localhost");
    let server = authority.server("server");
    let (right, wrong) = (authority.path("ca.crt"), authority.path("other.crt"));
    let (right, wrong) = (Some(right.as_path()), Some(wrong.as_path()));
    for (host, query, root) in [
        ("127.0.0.1", "sslmode=prefer", None),
        ("127.0.0.1", "sslmode=require", None),
        ("127.0.0.1", "sslmode=require&channel_binding=require", None),
        ("127.0.0.1", "sslmode=require", right),
        ("127.0.0.1", "sslmode=verify-ca", right),
        ("localhost", "sslmode=verify-full", right),
    ] {
        let session = open(&server, host, query, root).await.unwrap();
        assert!(encrypted(session).await, "{query}");
    }
    for (host, query, root, hint) in [
        ("127.0.0.1", "sslmode=require", wrong, "sslrootcert"),
        ("127.0.0.1", "sslmode=verify-ca", wrong, "sslrootcert"),
        ("127.0.0.1", "sslmode=verify-ca", None, "sslrootcert"),
        ("localhost", "sslmode=verify-full", wrong, "sslrootcert"),
        ("127.0.0.1", "sslmode=verify-full", right, "another host"),
    ] {
        let error = open(&server, host, query, root).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration, "{query}: {}", error.chain());
        assert!(error.hint().unwrap().contains(hint), "{query}: {} {:?}", error, error.hint());
    }
    let error = open(&server, "127.0.0.1", "sslmode=disable", None).await.unwrap_err();
    assert_eq!(error.kind(), Kind::AccessDenied);
    assert!(error.hint().unwrap().contains("sslmode=require"), "{:?}", error.hint());
}

#[tokio::test]
async fn the_servers_own_certificate_can_be_the_root() {
    let authority = Authority::new();
    authority.issue_alone("self", "127.0.0.1");
    let server = authority.server("self");
    let own = authority.path("self.crt");
    for mode in ["verify-ca", "verify-full"] {
        let query = format!("sslmode={mode}");
        let session = open(&server, "127.0.0.1", &query, Some(&own)).await.unwrap();
        assert!(encrypted(session).await);
    }
    let error = open(&server, "localhost", "sslmode=verify-full", Some(&own)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Configuration, "{}", error.chain());
    let other = authority.path("ca.crt");
    assert!(open(&server, "127.0.0.1", "sslmode=verify-ca", Some(&other)).await.is_err());
}

#[tokio::test]
async fn a_bad_file_of_authorities_is_named() {
    let authority = Authority::new();
    authority.issue("server", "localhost");
    let server = authority.server("server");
    std::fs::write(authority.path("empty.crt"), "nothing\n").unwrap();
    for name in ["missing.crt", "empty.crt"] {
        let path = authority.path(name);
        let error = open(&server, "localhost", "sslmode=verify-ca", Some(&path)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration);
        assert!(error.message().contains(name), "{error}");
    }
}

#[tokio::test]
async fn a_server_without_tls_is_given_it_and_not_done_without() {
    let authority = Authority::new();
    authority.issue("server", "localhost");
    let server = Server::builder().start().unwrap();
    let root = authority.path("ca.crt");
    for mode in ["require", "verify-ca", "verify-full"] {
        let query = format!("sslmode={mode}");
        let error = open(&server, "localhost", &query, Some(&root)).await.unwrap_err();
        assert_eq!(error.kind(), Kind::Configuration, "{}", error.chain());
        let hint = error.hint().unwrap();
        assert!(!hint.contains("sslmode") && !hint.contains("disable"), "{hint}");
        if mode != "verify-full" {
            continue;
        }
        // As the hint says.
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
        let owner = std::fs::metadata(server.data_dir()).unwrap();
        for name in ["server.crt", "server.key"] {
            let to = server.data_dir().join(name);
            std::fs::copy(authority.path(name), &to).unwrap();
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600)).unwrap();
            chown(&to, Some(owner.uid()), Some(owner.gid())).unwrap();
        }
        let (_, sql) = hint.split_once("can run there: ").unwrap();
        for statement in sql.split("; ") {
            server.execute("postgres", statement).unwrap();
        }
    }
    // A reload takes a moment.
    let session = loop {
        match open(&server, "localhost", "sslmode=verify-full", Some(&root)).await {
            Ok(session) => break session,
            Err(error) => assert!(error.message().contains("TLS"), "{}", error.chain()),
        }
    };
    assert!(encrypted(session).await);
}
