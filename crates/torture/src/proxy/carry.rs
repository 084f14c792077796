//! One connection through the proxy.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use super::{Flow, Mode};

/// Which way pieces go.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Up,
    Down,
}

/// How a direction ended.
enum End {
    /// One side has closed, and the other is to hear of it.
    Closed,
    /// The connection is to be reset.
    Reset,
}

/// Carries both directions until one side closes or the mode breaks it.
pub(super) async fn carry(mut client: TcpStream, port: u16, mode: watch::Receiver<Mode>) {
    let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
        reset(&client);
        return;
    };
    // Small pieces are what the faults are about.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let broken = mode.borrow().broken;
    let end = {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let (committed, watched) = watch::channel(false);
        let mut breaks = mode.clone();
        tokio::select! {
            end = pump(Way::Up, &mut from_client, &mut to_server, mode.clone(), |piece, mode| {
                if mode.cut_commit && is_commit(piece) {
                    committed.send_replace(true);
                }
                false
            }) => end,
            end = pump(Way::Down, &mut from_server, &mut to_client, mode.clone(), |_, mode| {
                mode.cut_commit && *watched.borrow()
            }) => end,
            _ = breaks.wait_for(|mode| mode.broken != broken) => End::Reset,
        }
    };
    if matches!(end, End::Reset) {
        reset(&client);
        reset(&server);
    }
}

/// Encrypted pieces could be anything: one of that size may be a statement.
fn is_commit(piece: &[u8]) -> bool {
    let encrypted = piece.starts_with(&[23, 3, 3]) && piece.len() > 200;
    encrypted || piece.windows(6).any(|window| window.eq_ignore_ascii_case(b"COMMIT"))
}

/// With no time to linger the system sends RST instead of FIN.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Carries one direction. `strikes` sees each piece before it is passed on, and says whether
/// the connection breaks instead.
async fn pump(
    way: Way,
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut mode: watch::Receiver<Mode>,
    strikes: impl Fn(&[u8], Mode) -> bool,
) -> End {
    let flow = |mode: &Mode| if way == Way::Up { mode.up } else { mode.down };
    let mut buffer = vec![0; 16_384];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return End::Closed };
        let piece = &buffer[..length];
        let now = *mode.borrow_and_update();
        if strikes(piece, now) {
            return End::Reset;
        }
        match flow(&now) {
            Flow::Pass => {}
            Flow::Hold => {
                // What was held arrives late: the statement of a caller who has long gone on.
                if mode.wait_for(|mode| flow(mode) != Flow::Hold).await.is_err() {
                    return End::Reset;
                }
            }
            Flow::Swallow => {
                let _ = mode.wait_for(|mode| flow(mode) != Flow::Swallow).await;
                return End::Reset;
            }
            Flow::Late(by) => tokio::time::sleep(by).await,
            Flow::Throttle(rate) => {
                let seconds = length as f64 / f64::from(rate.max(1));
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            }
            Flow::Cut => {
                let _ = to.write_all(&piece[..length / 2]).await;
                let _ = to.flush().await;
                return End::Reset;
            }
        }
        if to.write_all(piece).await.is_err() {
            return End::Closed;
        }
    }
}
