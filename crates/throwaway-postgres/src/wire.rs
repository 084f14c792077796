//! As much of the protocol as it takes to run statements as the server's own administrator,
//! whom the server trusts on the loopback address.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::error::Error;

const ANSWER_LIMIT: Duration = Duration::from_secs(120);
const LARGEST_MESSAGE: usize = 64 << 20;

/// The rows of an answer as text; `None` is NULL.
pub(crate) type Rows = Vec<Vec<Option<String>>>;

/// Runs statements (several, separated by `;`, are one transaction) and returns the rows of
/// all of them.
pub(crate) fn run(port: u16, user: &str, database: &str, sql: &str) -> Result<Rows, Error> {
    let lost = |error| Error::io("talk to the server")(error);
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(lost)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(lost)?;
    stream.set_write_timeout(Some(ANSWER_LIMIT)).map_err(lost)?;
    stream.set_nodelay(true).map_err(lost)?;

    let mut body = 196_608_u32.to_be_bytes().to_vec();
    for text in ["user", user, "database", database, "client_encoding", "UTF8"] {
        body.extend_from_slice(text.as_bytes());
        body.push(0);
    }
    body.push(0);
    send(&mut stream, None, &body).map_err(lost)?;
    read_answer(&mut stream)?;

    let mut body = sql.as_bytes().to_vec();
    body.push(0);
    send(&mut stream, Some(b'Q'), &body).map_err(lost)?;
    let rows = read_answer(&mut stream)?;
    // The answer is complete; a failure to say goodbye changes nothing.
    let _ = send(&mut stream, Some(b'X'), &[]);
    Ok(rows)
}

fn send(stream: &mut TcpStream, kind: Option<u8>, body: &[u8]) -> io::Result<()> {
    let length = u32::try_from(body.len() + 4).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut message: Vec<u8> = kind.into_iter().collect();
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(body);
    stream.write_all(&message)
}

/// Reads until the server is ready for the next statement.
fn read_answer(stream: &mut TcpStream) -> Result<Rows, Error> {
    let lost = |error| Error::io("read the server's answer")(error);
    let mut rows = Rows::new();
    let mut refusal = None;
    loop {
        let mut head = [0; 5];
        if let Err(error) = stream.read_exact(&mut head) {
            // A refusal at the start is followed by the end of the connection.
            return Err(refusal.unwrap_or_else(|| lost(error)));
        }
        let [kind, length @ ..] = head;
        let length = (u32::from_be_bytes(length) as usize).saturating_sub(4);
        if length > LARGEST_MESSAGE {
            return Err(lost(io::ErrorKind::InvalidData.into()));
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).map_err(lost)?;
        match kind {
            b'Z' => return refusal.map_or(Ok(rows), Err),
            b'D' => rows.push(row(&body).ok_or_else(|| lost(io::ErrorKind::InvalidData.into()))?),
            b'E' => refusal = Some(refused(&body)),
            b'R' if body.iter().take(4).any(|byte| *byte != 0) => {
                return Err(Error::Refused {
                    code: "28000".into(),
                    message: "the server asks its administrator for a password".into(),
                });
            }
            _ => {}
        }
    }
}

fn row(body: &[u8]) -> Option<Vec<Option<String>>> {
    let (count, mut rest) = body.split_first_chunk::<2>()?;
    let mut fields = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>()?;
        rest = after;
        fields.push(match usize::try_from(i32::from_be_bytes(*length)) {
            Err(_) => None,
            Ok(length) => {
                let (value, after) = rest.split_at_checked(length)?;
                rest = after;
                Some(String::from_utf8_lossy(value).into_owned())
            }
        });
    }
    Some(fields)
}

fn refused(body: &[u8]) -> Error {
    let field = |wanted: u8| {
        body.split(|byte| *byte == 0)
            .find_map(|field| match field.split_first() {
                Some((kind, text)) if *kind == wanted => Some(String::from_utf8_lossy(text)),
                _ => None,
            })
            .unwrap_or_default()
            .into_owned()
    };
    Error::Refused { code: field(b'C'), message: field(b'M') }
}
