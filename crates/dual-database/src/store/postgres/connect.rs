//! From settings to a connection to a server that can take writes: each host and each of its
//! addresses in turn, each within the time allowed.

use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::seq::SliceRandom as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, Client, Config, Connection, NoTls, SimpleQueryMessage, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;
use tracing::debug;

use super::failure::{Peer, ServerError, describe_io, refused};
use super::handshake::MakeHandshake;
use super::passfile::Secret;
use super::peer::check as check_peer;
use super::url::{Settings, SslMode};
use super::{session::Limits, tls};
use crate::phase::timed;
use crate::{Error, Kind, Result, Store};

pub(super) const OPERATION: &str = "connect to PostgreSQL";
const OLDEST: u32 = 120_000;
/// How long a silent peer is asked whether it is PostgreSQL at all.
const PROBE_LIMIT: Duration = Duration::from_secs(2);

/// A connection to a server that was looked at.
pub(super) struct Connected {
    pub(super) client: Client,
    pub(super) task: JoinHandle<()>,
    /// Why the server ended the connection, once it has.
    pub(super) closing: Arc<OnceLock<ServerError>>,
    /// Rung by a notification, and when the connection ends.
    pub(super) notified: Arc<Notify>,
    pub(super) peer: Peer,
    /// As in `server_version_num`: 150018 for 15.18.
    pub(super) version: u32,
    /// The database's encoding is SQL_ASCII.
    pub(super) takes_any_bytes: bool,
    /// The search path of the user's.
    pub(super) path: String,
}

/// The first host that takes writes.
pub(super) async fn connect(settings: &Settings, limits: &Limits) -> Result<Connected> {
    let tls = timed("prepare TLS", async { tls::connector(settings) }).await?;
    let limit = settings.driver.get_connect_timeout().copied().unwrap_or(limits.connect);
    let mut failures: Vec<Error> = Vec::new();
    let mut order: Vec<usize> = (0..settings.hosts().len()).collect();
    if settings.any_order {
        order.shuffle(&mut rand::rng());
    }
    for position in order {
        let Some((host, port)) = settings.hosts().get(position) else { continue };
        let address = settings.addresses.get(position).copied().flatten();
        let attempt = connect_host(settings, (host, *port, address), tls.as_ref(), limit);
        match timed("connect to PostgreSQL", attempt).await {
            Ok(connected) => return Ok(connected),
            Err(error) => {
                debug!(host, port, error = %error.message(), "no connection to PostgreSQL");
                failures.push(error);
            }
        }
    }
    Err(summary(failures))
}

/// One error for all hosts: the kind and the hint of the one that a person can act on.
fn summary(mut failures: Vec<Error>) -> Error {
    let messages: Vec<String> = failures.iter().map(|e| e.message().to_owned()).collect();
    let position = failures.iter().position(|error| !error.is_unavailable()).unwrap_or(0);
    if position >= failures.len() {
        return Error::new(Kind::Configuration, OPERATION, "there is no host to connect to");
    }
    let chosen = failures.swap_remove(position);
    if messages.len() == 1 {
        return chosen;
    }
    let error = Error::new(chosen.kind(), OPERATION, messages.join("; "));
    let hint = chosen.hint().map(str::to_owned);
    let error = error.with_source(chosen);
    match hint {
        Some(hint) => error.with_hint(hint),
        None => error,
    }
}

async fn connect_host(
    settings: &Settings,
    (host, port, address): (&str, u16, Option<IpAddr>),
    tls: Option<&MakeRustlsConnect>,
    limit: Duration,
) -> Result<Connected> {
    let mut peer = Peer {
        address: format!("{host}:{port}"),
        user: settings.user().unwrap_or_default().to_owned(),
        database: settings.database().or(settings.user()).unwrap_or_default().to_owned(),
    };
    let mut config = driver_settings(settings, limit);
    config.port(port);
    let secret = Secret::of(settings, host, port);
    if let Some(password) = &secret.password {
        config.password(password);
    }
    let is_socket = host.starts_with('/') && address.is_none();
    if is_socket {
        // A socket in the file system; libpq does not use TLS there either.
        config.host_path(host).ssl_mode(config::SslMode::Disable);
        let wanted = settings.peer.as_deref();
        let tried = attempt(&config, None, wanted, &mut peer, limit).await;
        return tried.map_err(|error| secret.explain(error));
    }
    config.host(host);
    let addresses = match address {
        Some(address) => Ok(Ok(vec![SocketAddr::new(address, port)])),
        None => timeout(limit, tokio::net::lookup_host((host, port)))
            .await
            .map(|found| found.map(|addresses| addresses.collect())),
    };
    let mut addresses: Vec<SocketAddr> = match addresses {
        Ok(Ok(addresses)) => addresses,
        Ok(Err(error)) => {
            return Err(peer
                .lost(
                    OPERATION,
                    &format!("the host's address is not known: {}", describe_io(&error)),
                )
                .with_hint("check the host's name in the URL, and the network"));
        }
        Err(_) => return Err(peer.silent("look up PostgreSQL's address", limit)),
    };
    if settings.any_order {
        addresses.shuffle(&mut rand::rng());
    }
    let mut failure = None;
    for address in addresses {
        let mut config = config.clone();
        config.hostaddr(address.ip());
        match attempt(&config, tls, None, &mut peer, limit).await {
            Ok(connected) => return Ok(connected),
            Err(error) if error.is_unavailable() => {
                failure.get_or_insert(error);
            }
            // Another address of the same server will not say otherwise.
            Err(error) => return Err(secret.explain(error)),
        }
    }
    Err(failure.unwrap_or_else(|| peer.lost(OPERATION, "the host has no address")))
}

fn driver_settings(settings: &Settings, limit: Duration) -> Config {
    let mut config = settings.clone().with_application_name("dual-database").driver;
    config.ssl_mode(match settings.ssl_mode() {
        SslMode::Disable => config::SslMode::Disable,
        SslMode::Prefer => config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => config::SslMode::Require,
    });
    config
        .connect_timeout(limit)
        .keepalives(true)
        .keepalives_idle(Duration::from_secs(30))
        .keepalives_interval(Duration::from_secs(10))
        .keepalives_retries(3)
        .tcp_user_timeout(Duration::from_secs(30));
    config
}

/// One address: the connection, then the look at the server, both within the limit.
async fn attempt(
    config: &Config,
    tls: Option<&MakeRustlsConnect>,
    wanted: Option<&str>,
    peer: &mut Peer,
    limit: Duration,
) -> Result<Connected> {
    let preferred = config.get_ssl_mode() == config::SslMode::Prefer;
    let outcome = timeout(limit, async {
        match tls {
            None => match wanted {
                None => establish(config, NoTls, peer).await,
                Some(wanted) => establish_with(config, wanted, peer).await,
            },
            Some(tls) => match establish(config, MakeHandshake(tls.clone()), peer).await {
                // `prefer` is content with less, as libpq is.
                Err(ConnectFailure::Tls(_)) if preferred => {
                    let mut plain = config.clone();
                    plain.ssl_mode(config::SslMode::Disable);
                    establish(&plain, NoTls, peer).await
                }
                other => other,
            },
        }
    })
    .await;
    let error = match outcome {
        Ok(Ok(connected)) => return Ok(connected),
        Ok(Err(ConnectFailure::Tls(error) | ConnectFailure::Other(error))) => error,
        Ok(Err(ConnectFailure::NotUnderstood(error))) => match foreign_answer(config).await {
            Some(answer) => not_postgres(peer, &answer),
            None => error,
        },
        Err(_) => match foreign_answer(config).await {
            Some(answer) => not_postgres(peer, &answer),
            None => peer
                .lost(OPERATION, &format!("no answer within {} s", limit.as_secs_f32()))
                .with_hint("check the host, the port and the firewall"),
        },
    };
    Err(error)
}

enum ConnectFailure {
    Tls(Error),
    /// The peer may be anything.
    NotUnderstood(Error),
    Other(Error),
}

async fn establish<T>(config: &Config, tls: T, peer: &mut Peer) -> Result<Connected, ConnectFailure>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: Send + 'static,
{
    let dialled = config.connect(tls).await.map_err(|error| refusal(peer, &error))?;
    serve(dialled, peer).await
}

/// The same on a socket whose server has to be that user's.
async fn establish_with(
    config: &Config,
    wanted: &str,
    peer: &mut Peer,
) -> Result<Connected, ConnectFailure> {
    let (Some(config::Host::Unix(folder)), Some(port)) =
        (config.get_hosts().first(), config.get_ports().first())
    else {
        let message = "there is no socket to connect to";
        return Err(ConnectFailure::Other(Error::new(Kind::Internal, OPERATION, message)));
    };
    let path = folder.join(format!(".s.PGSQL.{port}"));
    let stream = UnixStream::connect(path).await.map_err(|cause| {
        let lost = peer.lost(OPERATION, &describe_io(&cause));
        ConnectFailure::Other(lost.with_hint("is PostgreSQL running there? check host and port"))
    })?;
    check_peer(&stream, wanted).map_err(ConnectFailure::Other)?;
    let dialled = config.connect_raw(stream, NoTls).await.map_err(|error| refusal(peer, &error))?;
    serve(dialled, peer).await
}

async fn serve<S, T>(
    (client, mut connection): (Client, Connection<S, T>),
    peer: &Peer,
) -> Result<Connected, ConnectFailure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let closing = Arc::new(OnceLock::new());
    let notified = Arc::new(Notify::new());
    let (reason, waiter) = (closing.clone(), notified.clone());
    let task = tokio::spawn(async move {
        while let Some(message) = poll_fn(|context| connection.poll_message(context)).await {
            match message {
                Ok(AsyncMessage::Notification(_)) => waiter.notify_one(),
                Ok(_) => {}
                Err(error) => {
                    if let Some(server) = error.as_db_error() {
                        // The first reason is the one; there is no other.
                        let _ = reason.set(ServerError::new(server));
                    }
                    break;
                }
            }
        }
        drop(connection);
        waiter.notify_one();
    });
    let (peer, version, takes_any_bytes, path) = (peer.clone(), 0, false, String::new());
    let connected =
        Connected { client, task, closing, notified, peer, version, takes_any_bytes, path };
    inspect(connected).await.map_err(ConnectFailure::Other)
}

fn refusal(peer: &Peer, error: &tokio_postgres::Error) -> ConnectFailure {
    let text = error.to_string();
    let cause = std::error::Error::source(error);
    if text.starts_with("error performing TLS handshake") {
        let reason = cause.map(ToString::to_string).unwrap_or_default();
        return ConnectFailure::Tls(tls_failure(peer, &reason, cause));
    }
    let mapped = peer.failure(OPERATION, error, None);
    if let Some(said) = error.as_db_error() {
        return ConnectFailure::Other(refused(mapped, &peer.address, said));
    }
    if text.starts_with("authentication") {
        return ConnectFailure::Other(mapped);
    }
    if cause.is_some_and(|cause| cause.to_string() == "password missing") {
        let message =
            format!("{}: the server asks for a password, and there is none", peer.address);
        return ConnectFailure::Other(Error::new(Kind::AccessDenied, OPERATION, message).with_hint(
            "put it into a password file (~/.pgpass) or PGPASSWORD, or behind the user in the URL",
        ));
    }
    if text.starts_with("error connecting") {
        return ConnectFailure::Other(
            mapped.with_hint("is PostgreSQL running there? check host and port"),
        );
    }
    ConnectFailure::NotUnderstood(
        peer.lost(
            OPERATION,
            &cause
                .and_then(|cause| cause.downcast_ref().map(describe_io))
                .unwrap_or("the connection was closed".into()),
        ),
    )
}

fn tls_failure(
    peer: &Peer,
    reason: &str,
    cause: Option<&(dyn std::error::Error + 'static)>,
) -> Error {
    let io = cause.and_then(|cause| cause.downcast_ref::<std::io::Error>());
    let refused_by_us =
        io.is_some_and(|io| io.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()));
    let message = format!("{}: TLS: {reason}", peer.address);
    if !refused_by_us && io.is_some() {
        return Error::new(Kind::Unavailable(Store::Postgres), OPERATION, message);
    }
    let hint = if reason.contains("does not support TLS") {
        "the server has no TLS: put server.crt and server.key into its data folder, and a superuser can \
         run there: ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf()"
    } else if reason.contains("UnknownIssuer") {
        "the certificate is not from a trusted authority: name the right one with sslrootcert=FILE"
    } else if reason.contains("not valid for any names") {
        "the certificate has no subjectAltName, and its common name is not looked at: give the server \
         one that has it, as `openssl req -x509 -newkey rsa:3072 -nodes -subj /CN=HOST -addext \
         subjectAltName=DNS:HOST` makes it"
    } else if reason.contains("not valid for name") || reason.contains("NotValidForName") {
        "the certificate is for another host: use the host's name that it names, or give the server one \
         that names this host as a subjectAltName"
    } else if reason.contains("Revoked") {
        "the certificate has been revoked: give the server a new one"
    } else if reason.contains("UnknownRevocationStatus") {
        "the list of sslcrl says nothing about this authority: add its own list to the file"
    } else if reason.contains("Expired") || reason.contains("NotValidYet") {
        "the server's certificate or this machine's clock is wrong"
    } else {
        "check sslmode and sslrootcert in the URL"
    };
    Error::new(Kind::Configuration, OPERATION, message).with_hint(hint)
}

/// Whether this server is new enough and takes writes.
async fn inspect(mut connected: Connected) -> Result<Connected> {
    const QUESTION: &str = "SELECT pg_catalog.current_setting('server_version_num'), \
         pg_catalog.pg_is_in_recovery(), pg_catalog.current_setting('transaction_read_only'), \
         current_user, pg_catalog.current_database(), \
         pg_catalog.current_setting('server_encoding'), \
         pg_catalog.current_setting('search_path')";
    let answer = connected
        .client
        .simple_query(QUESTION)
        .await
        .map_err(|error| connected.peer.failure(OPERATION, &error, connected.closing.get()));
    let address = connected.peer.address.clone();
    let refused =
        |kind, message: &str| Error::new(kind, OPERATION, format!("{address}: {message}"));
    let row = answer?.into_iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let field = |position| {
        row.as_ref().and_then(|row| row.try_get(position).ok().flatten()).unwrap_or_default()
    };
    connected.version = field(0).parse().unwrap_or(0);
    if connected.version < OLDEST {
        return Err(refused(
            Kind::Configuration,
            &format!("PostgreSQL 12 or newer is needed, this is {}", connected.version / 10_000),
        ));
    }
    if field(1) == "t" {
        return Err(refused(
            Kind::Unavailable(Store::Postgres),
            "the server is in recovery (a standby, or starting up) and takes no writes",
        )
        .with_hint("connect to the primary: list all servers in the URL"));
    }
    if field(2) == "on" {
        return Err(refused(Kind::Unavailable(Store::Postgres), "the server is read-only")
            .with_hint("look at default_transaction_read_only of the server, database and user"));
    }
    connected.peer.user = field(3).to_owned();
    connected.peer.database = field(4).to_owned();
    connected.takes_any_bytes = field(5) == "SQL_ASCII";
    connected.path = field(6).to_owned();
    Ok(connected)
}

fn not_postgres(peer: &Peer, answer: &str) -> Error {
    let message = format!("{}: this is not PostgreSQL; it answers like {answer}", peer.address);
    Error::new(Kind::Configuration, OPERATION, message).with_hint("check host and port in the URL")
}

/// Asks a peer that was not understood for TLS, to which PostgreSQL says `S` or `N`, and says
/// what it is if it says anything else.
async fn foreign_answer(config: &Config) -> Option<String> {
    let address = (*config.get_hostaddrs().first()?, *config.get_ports().first()?);
    let answer = timeout(PROBE_LIMIT, async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(&[0, 0, 0, 8, 4, 210, 22, 47]).await.ok()?;
        let mut bytes = [0; 16];
        let length = stream.read(&mut bytes).await.ok()?;
        bytes.get(..length).map(<[u8]>::to_vec)
    })
    .await
    .ok()??;
    match answer.as_slice() {
        [] | [b'S' | b'N' | b'E'] | [b'E', 0, ..] => None,
        text if text.starts_with(b"HTTP/") => Some("a web server".into()),
        text if text.starts_with(b"SSH-") => Some("an SSH server".into()),
        text if text.starts_with(b"-ERR") => Some("Redis".into()),
        [_, _, 0, 0, 10, ..] | [_, _, 0, 0, 255, ..] => Some("MySQL".into()),
        _ => Some("something else".into()),
    }
}
