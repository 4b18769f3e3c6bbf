//! gRPC calls over a Unix socket: as much of the protocol as a unary call needs.
//!
//! Owns: framing and trailers (gRPC over HTTP/2, `PROTOCOL-HTTP2.md` of the gRPC project). Deadlines are the caller's.

use std::path::Path;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::{self, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, StatusCode};
use prost::Message;
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

/// Largest answer that is read, as in kubelet's own clients.
const MAX_SIZE: u32 = 16 << 20;
/// Flag of compression, then the length, before each message.
const PREFIX: usize = 5;

/// Codes of `grpc-status` that mean something to the caller.
pub(super) mod code {
    /// There is no connection, or no answer that is one.
    pub(in super::super) const UNAVAILABLE: u32 = 14;
    /// Too many calls.
    pub(in super::super) const RESOURCE_EXHAUSTED: u32 = 8;
    /// The server failed, and says nothing of how.
    pub(in super::super) const INTERNAL: u32 = 13;
}

/// A call that did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) code: u32,
    pub(super) message: String,
}

impl Status {
    fn new(code: u32, message: impl Into<String>) -> Status {
        Status { code, message: message.into() }
    }
}

impl From<h2::Error> for Status {
    fn from(e: h2::Error) -> Status {
        Status::new(code::UNAVAILABLE, format!("the connection failed: {e}"))
    }
}

/// A connection to a server.
pub(super) struct Channel {
    send: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Channel {
    /// Connects to the socket at `path`.
    pub(super) async fn connect(path: &Path) -> Result<Channel, Status> {
        let stream = UnixStream::connect(path).await.map_err(|e| Status::new(code::UNAVAILABLE, e.to_string()))?;
        // Windows of the largest answer: nothing waits for us to make room.
        let handshake = client::Builder::new()
            .enable_push(false)
            .initial_window_size(MAX_SIZE)
            .initial_connection_window_size(MAX_SIZE)
            .handshake::<_, Bytes>(stream);
        let (send, connection) = handshake.await?;
        // Its errors come out of the call that is under way.
        let driver = tokio::spawn(async move { _ = connection.await });
        Ok(Channel { send, driver })
    }

    /// One call: `method` is `/package.Service/Method`.
    pub(super) async fn unary<A: Message + Default>(
        &mut self,
        method: &str,
        request: &impl Message,
    ) -> Result<A, Status> {
        let head = Request::post(format!("http://localhost{method}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .map_err(|e| Status::new(code::INTERNAL, e.to_string()))?;
        self.send = self.send.clone().ready().await?;
        let (response, mut body): (_, SendStream<Bytes>) = self.send.send_request(head, false)?;
        body.send_data(frame(request), true)?;
        let (head, body) = response.await?.into_parts();
        if head.status != StatusCode::OK {
            return Err(Status::new(code::UNAVAILABLE, format!("HTTP status {}: this is no gRPC server", head.status)));
        }
        // A call that failed at once has no body: its status is in the only headers.
        if let Some(status) = status(&head.headers) {
            status?;
        }
        receive(body).await
    }
}

fn frame(message: &impl Message) -> Bytes {
    let encoded = message.encode_to_vec();
    let mut bytes = BytesMut::with_capacity(PREFIX + encoded.len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(encoded.len()).unwrap_or(u32::MAX));
    bytes.extend_from_slice(&encoded);
    bytes.freeze()
}

/// The one message of the answer, and the status behind it.
async fn receive<A: Message + Default>(mut body: RecvStream) -> Result<A, Status> {
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        if bytes.len() + data.len() > MAX_SIZE as usize {
            return Err(Status::new(code::INTERNAL, format!("the answer is longer than {MAX_SIZE} bytes")));
        }
        bytes.extend_from_slice(&data);
    }
    let trailers = body.trailers().await?.unwrap_or_default();
    status(&trailers).unwrap_or_else(|| Err(Status::new(code::INTERNAL, "the answer has no status")))?;
    let malformed = |what: &str| Status::new(code::INTERNAL, format!("the answer is malformed: {what}"));
    let [flag, a, b, c, d, message @ ..] = &bytes[..] else { return Err(malformed("no message")) };
    if *flag != 0 {
        return Err(malformed("compressed, which was not asked for"));
    }
    if u32::from_be_bytes([*a, *b, *c, *d]) as usize != message.len() {
        return Err(malformed("its length is another than it says"));
    }
    A::decode(message).map_err(|e| malformed(&e.to_string()))
}

/// What headers or trailers say; `None` if they say nothing.
fn status(headers: &HeaderMap) -> Option<Result<(), Status>> {
    let code = headers.get("grpc-status")?.to_str().ok().and_then(|s| s.parse().ok()).unwrap_or(code::INTERNAL);
    if code == 0 {
        return Some(Ok(()));
    }
    let message = headers.get("grpc-message").map(|m| unescape(m.as_bytes())).unwrap_or_default();
    let message = if message.is_empty() { format!("gRPC status {code}") } else { message };
    Some(Err(Status::new(code, message)))
}

/// Percent-encoded text. What is not is left as it is.
fn unescape(text: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let byte = match rest {
            [b'%', hex, low, ..] => {
                std::str::from_utf8(&[*hex, *low]).ok().and_then(|h| u8::from_str_radix(h, 16).ok())
            }
            _ => None,
        };
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &rest[3..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
