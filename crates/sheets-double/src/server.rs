//! The server: listening, connections, starting and stopping.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::book::Books;
use crate::error::Error;
use crate::faults::{Endpoint, Fault, FaultKind};
use crate::route::{Reply, Request, SeenRequest, State, header};
use crate::token::Account;
use crate::wire::{self, PacedBody};

/// The longest body taken, in bytes; an assertion has about a thousand.
const LONGEST_BODY: usize = 256 * 1024;

/// How a double is started.
#[derive(Debug, Clone)]
pub struct Options {
    /// Port on 127.0.0.1; 0 takes a free one.
    pub port: u16,
    /// Faults from the start.
    pub faults: Vec<Fault>,
    /// The service account's address.
    pub client_email: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            faults: Vec::new(),
            client_email: "reader@sheets-double.iam.gserviceaccount.com".to_owned(),
        }
    }
}

/// A running double. Dropping it closes its port and its connections.
pub struct Double {
    state: Arc<State>,
    base_url: String,
    server: JoinHandle<()>,
}

impl Double {
    /// Serves `books` on 127.0.0.1, as a task of the current tokio runtime.
    ///
    /// # Errors
    /// [`Error::Listen`] when the port cannot be had, [`Error::Key`] when no key can be
    /// made.
    pub async fn start(books: Books, options: Options) -> Result<Self, Error> {
        let port = options.port;
        let listen = |source| Error::Listen { port, source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        let base_url = format!("http://{address}");
        let token_uri = format!("{base_url}/token");
        // A key takes a while: not on the thread that drives the connections.
        let account = tokio::task::spawn_blocking(move || {
            Account::generate(&options.client_email, token_uri)
        })
        .await
        .map_err(|_| Error::Key)??;
        let state = Arc::new(State::new(account, books, options.faults));
        let server = tokio::spawn(accept(listener, Arc::clone(&state)));
        Ok(Self { state, base_url, server })
    }

    /// `http://127.0.0.1:PORT`: stands for `https://sheets.googleapis.com`.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The service account's key file; its `token_uri` is the double's.
    pub fn credentials_json(&self) -> String {
        self.state.account.credentials_json()
    }

    /// The address that a spreadsheet would be shared with.
    pub fn client_email(&self) -> &str {
        &self.state.account.client_email
    }

    /// Puts `faults` in place of the earlier ones.
    pub fn set_faults(&self, faults: Vec<Fault>) {
        self.state.set_faults(faults);
    }

    /// Serves other books from the next request on.
    pub fn set_books(&self, books: Books) {
        self.state.set_books(books);
    }

    /// The requests so far in the order of their answers, the first 10,000 of them.
    pub fn requests(&self) -> Vec<SeenRequest> {
        self.state.requests()
    }

    /// How many requests went to `endpoint` so far.
    pub fn count(&self, endpoint: Endpoint) -> usize {
        self.requests().iter().filter(|request| request.endpoint == endpoint).count()
    }

    /// Starts [`requests`](Self::requests) and [`count`](Self::count) anew.
    pub fn forget_requests(&self) {
        self.state.forget_requests();
    }
}

impl Drop for Double {
    fn drop(&mut self) {
        // The connections are tasks of a set that this task owns.
        self.server.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                connections.spawn(connection(stream, Arc::clone(&state)));
            }
            // Out of file descriptors, most likely: some connection will end.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(stream: TcpStream, state: Arc<State>) {
    let service = service_fn(|request| answer(request, Arc::clone(&state)));
    // An error here is a client that went away, or a cut that was asked for.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(
    request: HttpRequest<Incoming>,
    state: Arc<State>,
) -> Result<Response<PacedBody>, io::Error> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, LONGEST_BODY).collect().await.map_err(io::Error::other)?;
    let body: Bytes = body.to_bytes();
    let headers = parts.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    // A proxy's request line holds the whole address.
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    let request = Request {
        method: parts.method.as_str().to_owned(),
        target,
        headers: headers.collect(),
        body: body.to_vec(),
    };
    let gzip = wire::takes_gzip(header(&request.headers, "accept-encoding"));
    // A big sheet takes a while to print and to compress.
    let reply: (Option<FaultKind>, Result<Response<PacedBody>, io::Error>) =
        tokio::task::spawn_blocking(move || {
            let reply: Reply = state.reply(request);
            (reply.fault, wire::response(reply, gzip))
        })
        .await
        .map_err(io::Error::other)?;
    match reply.0 {
        // An error of the service closes the connection without an answer.
        Some(FaultKind::Cut) => Err(io::Error::other("cut on demand")),
        Some(FaultKind::Slow { millis }) => {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            reply.1
        }
        _ => reply.1,
    }
}
