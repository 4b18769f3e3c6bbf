//! The connection to the API server: one, opened by the first request, used by all.
//!
//! Owns: TCP, TLS and HTTP under kube's client. HTTP/2 where the server speaks it, so that requests made at the same time share the
//! connection; else HTTP/1.1, one after the other. A connection that was closed is opened anew by the next request; repeating a request that
//! failed is the caller's.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cni::{Error, Result};
use http::header::{AUTHORIZATION, HOST, HeaderValue, USER_AGENT};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{Request, Response, Uri, Version};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use kube::Client;
use kube::client::{Body, ClientBuilder};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::crypto::ring::{self, kx_group};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::access::{Access, Trust};

mod anyone;

/// How long TCP and TLS may take together; then it is tried again.
const CONNECT: Duration = Duration::from_secs(5);
/// By this audit logs tell our requests from others'.
const AGENT: HeaderValue = HeaderValue::from_static(concat!("plexus/", env!("CARGO_PKG_VERSION")));

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// An API server, connected to or not.
struct Connection {
    access: Access,
    host: String,
    port: u16,
    /// `None` for `http://`.
    tls: Option<(TlsConnector, ServerName<'static>)>,
    sender: Mutex<Option<Sender>>,
}

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

/// A client for this server. Nothing is opened yet. To be called inside a tokio runtime.
///
/// # Errors
/// If the server's name, our certificate or the authorities are not usable.
pub(crate) fn client(access: Access) -> Result<Client> {
    let host = access.server.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let secure = access.server.scheme() != Some(&Scheme::HTTP);
    let port = access.server.port_u16().unwrap_or(if secure { 443 } else { 80 });
    let tls = match secure {
        true => {
            let name = access.server_name.clone().unwrap_or_else(|| host.clone());
            let name = ServerName::try_from(name.clone())
                .map_err(|_| Error::config(format!("\"{name}\" is no name that a certificate could have")))?;
            Some((TlsConnector::from(Arc::new(tls(&access)?)), name))
        }
        false => None,
    };
    let connection = Arc::new(Connection { access, host, port, tls, sender: Mutex::new(None) });
    let service = tower::service_fn(move |request| {
        let connection = connection.clone();
        async move { connection.send(request).await }
    });
    Ok(ClientBuilder::new(service, "default").build())
}

fn tls(access: &Access) -> Result<ClientConfig> {
    let wrong =
        |what: &str, e: tokio_rustls::rustls::Error| Error::config(format!("{what} cannot be used for TLS: {e}"));
    let provider = Arc::new(provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| wrong("this program's cryptography", e))?;
    let builder = match &access.trust {
        Trust::Anyone => builder.dangerous().with_custom_certificate_verifier(Arc::new(anyone::Anyone(provider))),
        Trust::Authorities(authorities) => {
            let mut roots = RootCertStore::empty();
            for authority in authorities {
                roots.add(authority.clone()).map_err(|e| wrong("the certificate authority", e))?;
            }
            builder.with_root_certificates(roots)
        }
        Trust::System => {
            let mut roots = RootCertStore::empty();
            // What the system has and cannot be parsed is of no use to anyone.
            let (usable, _) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            if usable == 0 {
                return Err(Error::config(
                    "neither the kubeconfig nor this node has a certificate authority; set \"certificate-authority-data\"",
                ));
            }
            builder.with_root_certificates(roots)
        }
    };
    let mut config = match &access.identity {
        Some((chain, key)) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|e| wrong("the client certificate", e))?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// ring's, with P-256 before X25519: every server has it, and ring has assembly for it and portable C for the other (0.4 ms of a handshake).
fn provider() -> CryptoProvider {
    let kx_groups = vec![kx_group::SECP256R1, kx_group::X25519, kx_group::SECP384R1];
    CryptoProvider { kx_groups, ..ring::default_provider() }
}

impl Connection {
    async fn send(&self, mut request: Request<Body>) -> Result<Response<Incoming>, Failure> {
        if let Some(token) = self.access.token.read()? {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| Error::config("the token holds characters that no token has"))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        request.headers_mut().insert(USER_AGENT, AGENT);

        let mut sender = self.sender.lock().await;
        let usable = match sender.as_mut() {
            Some(open) => open.ready().await,
            None => false,
        };
        if !usable {
            *sender = None;
            *sender = Some(self.open().await?);
        }
        match sender.as_mut() {
            Some(Sender::Two(open)) => {
                let mut open = open.clone();
                // The others' turn: streams are independent.
                drop(sender);
                *request.uri_mut() = self.uri(request.uri(), true)?;
                *request.version_mut() = Version::HTTP_2;
                Ok(open.send_request(request).await?)
            }
            Some(Sender::One(open)) => {
                let host = self.authority()?.as_str().to_owned();
                request.headers_mut().insert(HOST, HeaderValue::from_str(&host)?);
                *request.uri_mut() = self.uri(request.uri(), false)?;
                Ok(open.send_request(request).await?)
            }
            None => Err("there is no connection".into()),
        }
    }

    fn authority(&self) -> Result<&Authority, Failure> {
        self.access.server.authority().ok_or_else(|| "the server's address has no host".into())
    }

    /// kube's requests have a path only. HTTP/2 wants the whole address.
    fn uri(&self, request: &Uri, whole: bool) -> Result<Uri, Failure> {
        let path = request.path_and_query().map_or("/", PathAndQuery::as_str);
        let path: PathAndQuery = format!("{}{path}", self.access.server.path().trim_end_matches('/')).parse()?;
        let mut parts = http::uri::Parts::default();
        parts.path_and_query = Some(path);
        if whole {
            parts.scheme = self.access.server.scheme().cloned();
            parts.authority = Some(self.authority()?.clone());
        }
        Ok(Uri::from_parts(parts)?)
    }

    async fn open(&self) -> Result<Sender, Failure> {
        let at = format!("{}:{}", self.host, self.port);
        timeout(CONNECT, self.connect())
            .await
            .map_err(|_| format!("no connection to {at} within {} s", CONNECT.as_secs()))?
            .map_err(|cause| NoConnection { at, cause }.into())
    }

    async fn connect(&self) -> Result<Sender, Failure> {
        let tcp = TcpStream::connect((self.host.as_str(), self.port)).await?;
        tcp.set_nodelay(true)?;
        let Some((connector, name)) = &self.tls else { return one(tcp).await };
        let stream = connector.connect(name.clone(), tcp).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return one(stream).await;
        }
        let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
        // Its errors come out of the requests that are under way.
        tokio::spawn(async move { _ = driver.await });
        Ok(Sender::Two(sender))
    }
}

/// What is wrong is its cause, which a caller can look at.
#[derive(Debug)]
struct NoConnection {
    at: String,
    cause: Failure,
}

impl fmt::Display for NoConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no connection to {}", self.at)
    }
}

impl std::error::Error for NoConnection {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.cause)
    }
}

async fn one(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Result<Sender, Failure> {
    let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move { _ = driver.await });
    Ok(Sender::One(sender))
}

impl Sender {
    /// Waits until a request can be sent; `false` if it never can.
    async fn ready(&mut self) -> bool {
        match self {
            Sender::One(open) => open.ready().await.is_ok(),
            Sender::Two(open) => open.ready().await.is_ok(),
        }
    }
}

#[cfg(test)]
mod tests;
