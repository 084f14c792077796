//! A proxy between the program and PostgreSQL that breaks the connection at COMMIT.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

/// What happens to the first COMMIT; later connections pass unharmed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AtCommit {
    /// It is done, the answer never comes.
    HoldAnswer,
    /// It is done, the connection breaks before the answer.
    CutAfter,
    /// The connection breaks before the server sees it.
    CutBefore,
    /// It is done, the connection breaks, and so does every later one.
    CutForGood,
    /// It is never reached: the connection breaks at the COPY before it.
    CutAtCopy,
}

pub struct Proxy {
    port: u16,
    reached: Arc<AtomicBool>,
}

impl Proxy {
    /// Listens, and forwards to the server's port.
    pub fn start(server_port: u16, at_commit: AtCommit) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let reached = Arc::new(AtomicBool::new(false));
        let shared = Arc::clone(&reached);
        // Ends with the test process; the test's program is gone long before.
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let broken = shared.load(Ordering::SeqCst);
                if broken && at_commit == AtCommit::CutForGood {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", server_port)).unwrap();
                let armed = (!broken).then(|| Arc::clone(&shared));
                thread::spawn(move || serve(client, server, at_commit, armed));
            }
        });
        Proxy { port, reached }
    }

    /// The server's URL with the proxy's port.
    pub fn url(&self, url: &str, server_port: u16) -> String {
        url.replace(&format!(":{server_port}/"), &format!(":{}/", self.port))
    }

    pub fn wait_for_commit(&self) {
        while !self.reached.load(Ordering::SeqCst) {
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

fn serve(
    client: TcpStream,
    server: TcpStream,
    at_commit: AtCommit,
    armed: Option<Arc<AtomicBool>>,
) {
    let (mut from_server, mut to_client) =
        (server.try_clone().unwrap(), client.try_clone().unwrap());
    let silent = Arc::new(AtomicBool::new(false));
    let held = Arc::clone(&silent);
    let (cut_client, cut_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(length @ 1..) = from_server.read(&mut buffer) {
            let is_done = buffer[..length].windows(7).any(|window| window == b"COMMIT\x00");
            if held.load(Ordering::SeqCst) && is_done {
                // The server has answered the COMMIT, so it is done.
                if at_commit != AtCommit::HoldAnswer {
                    let _ = cut_client.shutdown(Shutdown::Both);
                    let _ = cut_server.shutdown(Shutdown::Both);
                    return;
                }
                continue;
            }
            if to_client.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
    });
    let (mut from_client, mut to_server) = (client, server);
    let mut buffer = [0; 65536];
    while let Ok(length @ 1..) = from_client.read(&mut buffer) {
        let message = &buffer[..length];
        let commit = message.windows(12).any(|window| window == b"Q\x00\x00\x00\x0bCOMMIT\x00");
        if at_commit == AtCommit::CutAtCopy && message.windows(5).any(|window| window == b"COPY ") {
            let _ = from_client.shutdown(Shutdown::Both);
            let _ = to_server.shutdown(Shutdown::Both);
            return;
        }
        if commit && let Some(reached) = &armed {
            if at_commit == AtCommit::CutBefore {
                reached.store(true, Ordering::SeqCst);
                let _ = from_client.shutdown(Shutdown::Both);
                let _ = to_server.shutdown(Shutdown::Both);
                return;
            }
            silent.store(true, Ordering::SeqCst);
            to_server.write_all(message).unwrap();
            reached.store(true, Ordering::SeqCst);
            continue;
        }
        if to_server.write_all(message).is_err() {
            return;
        }
    }
}
