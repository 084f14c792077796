//! How long TLS takes, which is a round trip or two of every connection.

use std::io;
use std::pin::Pin;

use tokio_postgres::Socket;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::phase::timed;

type Connect = <MakeRustlsConnect as MakeTlsConnect<Socket>>::TlsConnect;
type Stream = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Stream;

/// Makes TLS connections, and tells how long each of them took.
#[derive(Clone)]
pub(super) struct MakeHandshake(pub MakeRustlsConnect);

/// One of them.
pub(super) struct Handshake(Connect);

impl MakeTlsConnect<Socket> for MakeHandshake {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = <MakeRustlsConnect as MakeTlsConnect<Socket>>::Error;

    fn make_tls_connect(&mut self, domain: &str) -> Result<Handshake, Self::Error> {
        MakeTlsConnect::<Socket>::make_tls_connect(&mut self.0, domain).map(Handshake)
    }
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, stream: Socket) -> Self::Future {
        Box::pin(timed("TLS handshake", self.0.connect(stream)))
    }
}
