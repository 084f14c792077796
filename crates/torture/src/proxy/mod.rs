//! A faulty way to PostgreSQL: one for each node and server. It parses nothing; with TLS it sees
//! only pieces.

mod carry;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use rand::random_range;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What is done with the pieces of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They pass.
    #[default]
    Pass,
    /// They wait, and pass when the fault has ended.
    Hold,
    /// They are lost; the connection is reset when the fault has ended.
    Swallow,
    /// Each is so late.
    Late(Duration),
    /// So many bytes a second.
    Throttle(u32),
    /// Half of the next piece passes, then the connection is reset.
    Cut,
}

/// What is done with new connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// They are carried.
    #[default]
    Carry,
    /// Nobody listens.
    Refuse,
    /// They are taken and never answered.
    Ignore,
}

/// How the way is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mode {
    /// From the client to the server.
    pub up: Flow,
    /// From the server to the client.
    pub down: Flow,
    /// For new connections.
    pub accept: Accept,
    /// The connection is reset after COMMIT (with TLS: anything) was sent, before its answer.
    pub cut_commit: bool,
    /// Raised to break every connection that is there.
    pub broken: u64,
}

/// A way from a port to a server.
#[derive(Clone, Debug)]
pub struct Proxy {
    port: u16,
    target: Arc<AtomicU16>,
    mode: watch::Sender<Mode>,
}

impl Proxy {
    /// Listens on a free port and leads to the server at that one.
    ///
    /// # Errors
    /// No port is free.
    pub async fn start(target: u16) -> io::Result<Proxy> {
        let listener = listen_anywhere().await?;
        let port = listener.local_addr()?.port();
        let (mode, watched) = watch::channel(Mode::default());
        let proxy = Proxy { port, target: Arc::new(AtomicU16::new(target)), mode };
        tokio::spawn(serve(listener, port, Arc::clone(&proxy.target), watched));
        Ok(proxy)
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where it leads from now on. Connections that are there stay.
    pub fn lead_to(&self, port: u16) {
        self.target.store(port, Ordering::SeqCst);
    }

    /// Changes how it is.
    pub fn set(&self, change: impl FnOnce(&mut Mode)) {
        self.mode.send_modify(change);
    }
}

/// Below the ports that systems hand out for outgoing connections: none of these takes it while
/// nobody listens.
async fn listen_anywhere() -> io::Result<TcpListener> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..100 {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, random_range(15_000..32_000))).await {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn serve(
    listener: TcpListener,
    port: u16,
    target: Arc<AtomicU16>,
    mut mode: watch::Receiver<Mode>,
) {
    let mut listener = Some(listener);
    // Connections that were taken and are never answered.
    let mut ignored: Vec<TcpStream> = Vec::new();
    loop {
        let accept = mode.borrow_and_update().accept;
        if accept == Accept::Refuse {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.ok();
        }
        if accept != Accept::Ignore {
            ignored.clear();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.ok(),
                None if accept == Accept::Refuse => std::future::pending().await,
                None => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    None
                }
            }
        };
        tokio::select! {
            client = accepted => match client {
                Some((client, _)) if accept == Accept::Ignore => ignored.push(client),
                Some((client, _)) => {
                    let port = target.load(Ordering::SeqCst);
                    tokio::spawn(carry::carry(client, port, mode.clone()));
                }
                None => {}
            },
            changed = mode.changed() => if changed.is_err() { return },
        }
    }
}
