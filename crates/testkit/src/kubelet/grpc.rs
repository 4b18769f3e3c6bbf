//! A gRPC server on a Unix socket that answers from a function, and one call as a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// What a server answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// One message, and success.
    Message(Vec<u8>),
    /// One message; the call then stays open, as one that watches for changes does.
    Watch(Vec<u8>),
    /// These bytes as they are where a message should stand, and success.
    Raw(Vec<u8>),
    /// A failure: `grpc-status` and its message.
    Status(u32, &'static str),
    /// Nothing, ever.
    Silence,
}

/// A server. It ends, and its socket goes, with the handle.
#[derive(Debug)]
pub struct Server {
    socket: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
        let _ = std::fs::remove_file(&self.socket);
    }
}

type Answer = dyn Fn(&str, &[u8]) -> Reply + Send + Sync;

impl Server {
    /// Listens at `socket`, in place of what is there. `answer` gets the method (`/package.Service/Method`) and the request's message.
    /// To be called inside a tokio runtime.
    ///
    /// # Errors
    /// If the socket cannot be made.
    pub fn start(
        socket: impl Into<PathBuf>,
        answer: impl Fn(&str, &[u8]) -> Reply + Send + Sync + 'static,
    ) -> std::io::Result<Server> {
        let socket = socket.into();
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket)?;
        let answer: Arc<Answer> = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, answer.clone()));
            }
        });
        Ok(Server { socket, task })
    }
}

async fn serve(stream: UnixStream, answer: Arc<Answer>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        let answer = answer.clone();
        tokio::spawn(async move { _ = respond_to(request, respond, &*answer).await });
    }
}

async fn respond_to(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    answer: &Answer,
) -> Result<(), h2::Error> {
    let (head, body) = request.into_parts();
    let message = receive(body).await?.0;
    let response = |code: Option<(u32, &str)>| {
        let mut response = Response::builder().header("content-type", "application/grpc");
        if let Some((code, message)) = code {
            response = response.header("grpc-status", code).header("grpc-message", message);
        }
        response.body(()).expect("a response")
    };
    let (bytes, ends) = match answer(head.uri.path(), message.get(5..).unwrap_or_default()) {
        Reply::Silence => return std::future::pending().await,
        Reply::Status(code, message) => {
            respond.send_response(response(Some((code, message))), true)?;
            return Ok(());
        }
        Reply::Raw(bytes) => (bytes.into(), true),
        Reply::Message(message) => (frame(&message), true),
        Reply::Watch(message) => (frame(&message), false),
    };
    let mut body = respond.send_response(response(None), false)?;
    send(&mut body, bytes).await?;
    if !ends {
        // Until the client goes.
        let _ = std::future::poll_fn(|cx| body.poll_reset(cx)).await;
        return Ok(());
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    body.send_trailers(trailers)
}

/// Sends as the client makes room.
async fn send(body: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), h2::Error> {
    while !bytes.is_empty() {
        body.reserve_capacity(bytes.len());
        match std::future::poll_fn(|cx| body.poll_capacity(cx)).await {
            Some(room) => body.send_data(bytes.split_to(room?.min(bytes.len())), false)?,
            None => return Ok(()),
        }
    }
    Ok(())
}

fn frame(message: &[u8]) -> Bytes {
    let mut bytes = BytesMut::with_capacity(5 + message.len());
    bytes.put_u8(0);
    bytes.put_u32(u32::try_from(message.len()).expect("a message of less than 4 GiB"));
    bytes.extend_from_slice(message);
    bytes.freeze()
}

async fn receive(mut body: RecvStream) -> Result<(Vec<u8>, HeaderMap), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, body.trailers().await?.unwrap_or_default()))
}

/// Calls a method of the server at `socket` and returns the answer's message.
///
/// # Errors
/// What went wrong, as text.
pub async fn call(socket: &Path, method: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let stream = UnixStream::connect(socket).await.map_err(|e| format!("{}: {e}", socket.display()))?;
    let text = |e: h2::Error| e.to_string();
    let (send, connection) = h2::client::handshake(stream).await.map_err(text)?;
    let driver = tokio::spawn(async move { _ = connection.await });
    let answer = async {
        let mut send = send.ready().await.map_err(text)?;
        let request = Request::post(format!("http://localhost{method}"));
        let request = request.header("content-type", "application/grpc").header("te", "trailers").body(());
        let (response, mut body) = send.send_request(request.map_err(|e| e.to_string())?, false).map_err(text)?;
        body.send_data(frame(message), true).map_err(text)?;
        let (head, body) = response.await.map_err(text)?.into_parts();
        let (bytes, trailers) = receive(body).await.map_err(text)?;
        match head.headers.get("grpc-status").or(trailers.get("grpc-status")).map(|s| s.as_bytes()) {
            Some(b"0") => Ok(bytes.get(5..).unwrap_or_default().to_vec()),
            _ => Err(format!("{method}: {:?} {trailers:?}", head.headers)),
        }
    };
    let answer = answer.await;
    driver.abort();
    answer
}
