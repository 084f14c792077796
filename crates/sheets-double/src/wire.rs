//! Answers on the wire: headers, compression, and bodies that break or dawdle.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use hyper::Response;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{HeaderName, HeaderValue};
use tokio::time::Sleep;

use crate::clock;
use crate::faults::FaultKind;
use crate::route::Reply;

/// Size of a piece of a body. Google sends chunks too, without a Content-Length [R].
const PIECE: usize = 64 * 1024;
const SLOW_PIECES: usize = 10;
/// A wait before a cut lets the first half leave the machine.
const BEFORE_CUT: Duration = Duration::from_millis(50);

/// The HTTP response to `reply`.
pub(crate) fn response(reply: Reply, gzip: bool) -> Result<Response<PacedBody>, io::Error> {
    let answer = reply.answer;
    let mut builder = Response::builder()
        .status(answer.status)
        .header("Content-Type", answer.content_type)
        .header("Date", clock::http_date(reply.clock))
        .header("Server", "ESF")
        .header("Cache-Control", "private")
        .header("Vary", "Origin")
        .header("Vary", "X-Origin")
        .header("Vary", "Referer");
    for (name, value) in answer.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(io::Error::other)?;
        let value = HeaderValue::from_str(&value).map_err(io::Error::other)?;
        builder = builder.header(name, value);
    }
    let body = if gzip {
        builder = builder.header("Content-Encoding", "gzip");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&answer.body)?;
        encoder.finish()?
    } else {
        answer.body
    };
    builder.body(PacedBody::new(body.into(), reply.fault)).map_err(io::Error::other)
}

/// Whether `Accept-Encoding` takes gzip.
pub(crate) fn takes_gzip(accepted: Option<&str>) -> bool {
    accepted.unwrap_or("").split(',').any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let name = parts.next().unwrap_or("");
        let refused = parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"));
        matches!(name, "gzip" | "*") && !refused
    })
}

/// A body in pieces, with a wait before each and perhaps an end before the end.
pub(crate) struct PacedBody {
    pieces: VecDeque<Bytes>,
    wait: Option<Duration>,
    sleep: Option<Pin<Box<Sleep>>>,
    cut: bool,
}

impl PacedBody {
    fn new(body: Bytes, fault: Option<FaultKind>) -> Self {
        let (size, wait, cut) = match fault {
            Some(FaultKind::SlowBody { millis }) => {
                let size = body.len().div_ceil(SLOW_PIECES);
                (size, Some(Duration::from_millis(millis)), false)
            }
            Some(FaultKind::CutBody) => (body.len().div_ceil(2), None, true),
            _ => (PIECE, None, false),
        };
        let mut rest = body;
        let mut pieces = VecDeque::new();
        while !rest.is_empty() {
            pieces.push_back(rest.split_to(size.clamp(1, rest.len())));
        }
        if cut {
            pieces.truncate(1);
        }
        Self { pieces, wait, sleep: None, cut }
    }

    /// Ready once the wait before the next piece is over.
    fn waited(&mut self, wait: Duration, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(wait)));
        let done = sleep.as_mut().poll(context);
        if done.is_ready() {
            self.sleep = None;
        }
        done
    }
}

impl Body for PacedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.pieces.is_empty() {
            if !self.cut {
                return Poll::Ready(None);
            }
            return match self.waited(BEFORE_CUT, context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => Poll::Ready(Some(Err(io::Error::other("cut on demand")))),
            };
        }
        if let Some(wait) = self.wait
            && self.waited(wait, context).is_pending()
        {
            return Poll::Pending;
        }
        Poll::Ready(self.pieces.pop_front().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.pieces.is_empty() && !self.cut
    }

    fn size_hint(&self) -> SizeHint {
        // Unknown, so that the body goes out in chunks.
        SizeHint::default()
    }
}
