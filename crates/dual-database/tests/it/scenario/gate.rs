//! A gate between the product and PostgreSQL: open, silent (it forwards nothing and keeps every
//! connection), or shut (it refuses).

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const OPEN: u8 = 0;
const SILENT: u8 = 1;
const SHUT: u8 = 2;
/// Requests pass, answers do not.
const MUTE: u8 = 3;

pub struct Gate {
    port: u16,
    state: Arc<AtomicU8>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Gate {
    pub fn before(server_port: u16) -> Gate {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(AtomicU8::new(OPEN));
        let streams = Arc::new(Mutex::new(Vec::new()));
        let gate = Gate { port, state: Arc::clone(&state), streams: Arc::clone(&streams) };
        // Ends with the test process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                if state.load(Ordering::SeqCst) == SHUT {
                    let _ = client.shutdown(Shutdown::Both);
                    continue;
                }
                let Ok(server) = TcpStream::connect(("127.0.0.1", server_port)) else { continue };
                let mut kept = streams.lock().unwrap();
                kept.push(client.try_clone().unwrap());
                kept.push(server.try_clone().unwrap());
                drop(kept);
                forward(client.try_clone().unwrap(), server.try_clone().unwrap(), &state, false);
                forward(server, client, &state, true);
            }
        });
        gate
    }

    /// The server's URL with the gate's port.
    pub fn url(&self, url: &str) -> String {
        let (head, rest) = url.rsplit_once(':').unwrap();
        let (_, tail) = rest.split_once('/').unwrap();
        format!("{head}:{}/{tail}", self.port)
    }

    pub fn open(&self) {
        self.state.store(OPEN, Ordering::SeqCst);
    }

    /// Forwards nothing more, in either direction, and says nothing about it.
    pub fn silence(&self) {
        self.state.store(SILENT, Ordering::SeqCst);
    }

    /// What is asked is done, and the answers are lost.
    pub fn mute(&self) {
        self.state.store(MUTE, Ordering::SeqCst);
    }

    /// Breaks every connection and refuses new ones.
    pub fn shut(&self) {
        self.state.store(SHUT, Ordering::SeqCst);
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn forward(mut from: TcpStream, mut to: TcpStream, state: &Arc<AtomicU8>, is_answer: bool) {
    let state = Arc::clone(state);
    thread::spawn(move || {
        let mut buffer = [0; 65536];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            let holds = || match state.load(Ordering::SeqCst) {
                SILENT => true,
                MUTE => is_answer,
                _ => false,
            };
            // What was swallowed stays swallowed: such a connection never works again.
            if holds() {
                loop {
                    thread::sleep(Duration::from_millis(20));
                    if state.load(Ordering::SeqCst) == SHUT {
                        break;
                    }
                    if !holds() {
                        break;
                    }
                }
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                return;
            }
            if to.write_all(&buffer[..length]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}
