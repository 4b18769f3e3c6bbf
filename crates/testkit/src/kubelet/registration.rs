//! The registration socket of a plugin (kubelet's API `pluginregistration` v1).
//!
//! Not a [`super::Server`]: kubelet's client names the socket's path, escaped, as the HTTP/2 authority (`%2Fvar%2Flib...`), which is none, and
//! h2 resets such a stream. So the few frames are read here, without their headers: kubelet makes a connection for each registration, asks for
//! the information first and tells what came of it second.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// `PluginInfo`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Info {
    #[prost(string, tag = "1")]
    pub(super) kind: String,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(string, tag = "3")]
    pub(super) endpoint: String,
    #[prost(string, repeated, tag = "4")]
    pub(super) versions: Vec<String>,
}

/// `RegistrationStatus`.
#[derive(Clone, PartialEq, Message)]
struct Outcome {
    #[prost(bool, tag = "1")]
    registered: bool,
    #[prost(string, tag = "2")]
    error: String,
}

/// A socket that kubelet finds. It goes with the handle.
#[derive(Debug)]
pub struct Registration {
    socket: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Registration {
    /// Listens in kubelet's `plugins_registry`. To be called inside a tokio runtime.
    pub(super) fn start(socket: &Path, info: &Info) -> std::io::Result<Registration> {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        let info: Arc<[u8]> = info.encode_to_vec().into();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let info = info.clone();
                tokio::spawn(async move { _ = serve(stream, &info).await });
            }
        });
        Ok(Registration { socket: socket.to_owned(), task })
    }
}

/// Kinds of frames (RFC 9113, section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// `END_STREAM`, and `ACK` of settings and pings.
const END: u8 = 1;
const END_HEADERS: u8 = 4;

/// `:status: 200` (static table), `content-type: application/grpc` (static name), literal (RFC 7541).
const HEAD: &[u8] = b"\x88\x0f\x10\x10application/grpc";
const TRAILER: &[u8] = b"\x00\x0bgrpc-status\x010";

async fn serve(mut stream: UnixStream, info: &[u8]) -> std::io::Result<()> {
    stream.read_exact(&mut [0; b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".len()]).await?;
    stream.write_all(&frame(SETTINGS, 0, 0, b"")).await?;
    let (mut answered, mut request) = (0, Vec::new());
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        match kind {
            SETTINGS | PING if flags & END == 0 => {
                let payload = if kind == PING { &payload[..] } else { b"" };
                stream.write_all(&frame(kind, END, 0, payload)).await?;
            }
            DATA => request.extend_from_slice(&payload),
            GOAWAY => return Ok(()),
            _ => {}
        }
        if [DATA, HEADERS].contains(&kind) && flags & END != 0 {
            let answer = if answered == 0 { info } else { b"" };
            if answered > 0 {
                let outcome = Outcome::decode(request.get(5..).unwrap_or_default()).unwrap_or_default();
                eprintln!("registered: {} {}", outcome.registered, outcome.error);
            }
            answered += 1;
            request.clear();
            let id = u32::from_be_bytes(id);
            let length = u32::try_from(answer.len()).unwrap_or_default();
            let message = [&[0], &length.to_be_bytes()[..], answer].concat();
            let frames = [
                frame(HEADERS, END_HEADERS, id, HEAD),
                frame(DATA, 0, id, &message),
                frame(HEADERS, END_HEADERS | END, id, TRAILER),
            ];
            stream.write_all(&frames.concat()).await?;
        }
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes()[..], payload].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By a client that knows HTTP/2, with an authority that it accepts.
    #[tokio::test]
    async fn information_and_then_the_outcome() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("x-reg.sock");
        let info =
            Info { kind: "DRAPlugin".into(), name: "x".into(), endpoint: "/e".into(), versions: vec!["v1".into()] };
        let _registration = Registration::start(&socket, &info).expect("a socket");
        let stream = UnixStream::connect(&socket).await.expect("a connection");
        let (mut send, connection) = h2::client::handshake(stream).await.expect("a handshake");
        tokio::spawn(async move { _ = connection.await });
        for expected in [info.encode_to_vec(), Vec::new()] {
            send = send.ready().await.expect("ready");
            let request = http::Request::post("http://localhost/x").body(()).expect("a request");
            let (response, mut body) = send.send_request(request, false).expect("sent");
            body.send_data(vec![0, 0, 0, 0, 0].into(), true).expect("sent");
            let response = response.await.expect("a response");
            assert_eq!(
                (response.status().as_u16(), &response.headers()["content-type"]),
                (200, &"application/grpc".parse().expect("a value"))
            );
            let mut body = response.into_body();
            let mut bytes = Vec::new();
            while let Some(data) = body.data().await {
                bytes.extend_from_slice(&data.expect("data"));
            }
            assert_eq!(bytes[5..], expected);
            assert_eq!(body.trailers().await.expect("trailers").expect("some")["grpc-status"], "0");
        }
    }
}
