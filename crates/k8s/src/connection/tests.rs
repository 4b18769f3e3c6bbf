//! Against servers of our own: TLS by rustls, HTTP by hyper.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use attach::cluster::Cluster as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn as server;
use hyper::service::service_fn;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::Barrier;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;

use super::*;
use crate::access::Token;
use crate::remedy::{Flaw, Given, Identity};

/// A certificate and its key.
type Shown = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        Authority::named("kubernetes")
    }

    fn named(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Authority { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    fn der(&self) -> CertificateDer<'static> {
        self.issuer.der().clone()
    }

    fn certificate(&self, name: &str) -> Shown {
        self.sign(CertificateParams::new([name.to_owned()]).unwrap())
    }

    fn sign(&self, params: CertificateParams) -> Shown {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }
}

/// What a server does with its first connection.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Keeps,
    ClosesTheFirst,
}

struct Server {
    port: u16,
    connections: Arc<AtomicUsize>,
}

/// A server that answers with the request's path, authorization and agent; `/meet` is answered when two have asked.
async fn serve(tls: Option<ServerConfig>, manner: Manner) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    let meeting = Arc::new(Barrier::new(2));
    tokio::spawn(async move {
        let acceptor = tls.map(|t| TlsAcceptor::from(Arc::new(t)));
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let first = count.fetch_add(1, Ordering::SeqCst) == 0;
            let (acceptor, meeting) = (acceptor.clone(), meeting.clone());
            tokio::spawn(async move {
                let once = service_fn(move |request: Request<Incoming>| {
                    let meeting = meeting.clone();
                    async move {
                        let header =
                            |name| request.headers().get(name).map(|v: &HeaderValue| v.to_str().unwrap().to_owned());
                        if request.uri().path().ends_with("/meet") {
                            meeting.wait().await;
                        }
                        let host = header(HOST).or(request.uri().authority().map(ToString::to_string));
                        let said = serde_json::json!({"path": request.uri().path_and_query().unwrap().as_str(), "host": host,
                        "token": header(AUTHORIZATION), "agent": header(USER_AGENT)});
                        let mut response = Response::new(Full::new(Bytes::from(said.to_string())));
                        if first && manner == Manner::ClosesTheFirst && request.version() < Version::HTTP_2 {
                            response.headers_mut().insert("connection", HeaderValue::from_static("close"));
                        }
                        Ok::<_, Infallible>(response)
                    }
                });
                match acceptor {
                    None => _ = server::http1::Builder::new().serve_connection(TokioIo::new(tcp), once).await,
                    Some(acceptor) => {
                        let Ok(stream) = acceptor.accept(tcp).await else { return };
                        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
                            let builder = server::http2::Builder::new(TokioExecutor::new());
                            _ = builder.serve_connection(TokioIo::new(stream), once).await;
                        } else {
                            _ = server::http1::Builder::new().serve_connection(TokioIo::new(stream), once).await;
                        }
                    }
                }
            });
        }
    });
    Server { port, connections }
}

fn tls_server(authority: &Authority, alpn: &[&str], clients: Option<&Authority>) -> ServerConfig {
    tls_server_as(authority.certificate("127.0.0.1"), alpn, clients)
}

fn tls_server_as((chain, key): Shown, alpn: &[&str], clients: Option<&Authority>) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = RootCertStore::empty();
            roots.add(clients.der()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder.with_single_cert(chain, key).unwrap();
    config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
    config
}

fn access(server: &str, trust: Trust) -> Access {
    let given = Given { place: "kubeconfig /k".to_owned(), authority: None, identity: Identity::Nobody };
    Access { server: server.parse().unwrap(), trust, server_name: None, identity: None, token: Token::None, given }
}

async fn get(client: &Client, path: &str) -> Result<serde_json::Value, String> {
    let request = Request::get(path).body(Vec::new()).unwrap();
    client.request(request).await.map_err(|e| crate::retry::text(&e))
}

fn run(test: impl Future<Output = ()>) {
    let runtime: Runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test);
}

/// A status and its events are written at the same time, over the connection that the questions were asked on.
#[test]
fn http2_shares_one_connection() {
    run(async {
        let ca = Authority::new();
        let server = serve(Some(tls_server(&ca, &["h2", "http/1.1"], None)), Manner::Keeps).await;
        let mut access =
            access(&format!("https://127.0.0.1:{}/k8s/c-1/", server.port), Trust::Authorities(vec![ca.der()]));
        access.token = Token::Text("t".to_owned());
        let client = client(access).unwrap();
        let said = get(&client, "/api/v1/pods?limit=1").await.unwrap();
        assert_eq!(said["path"], "/k8s/c-1/api/v1/pods?limit=1");
        assert_eq!(said["host"], format!("127.0.0.1:{}", server.port));
        assert_eq!(said["token"], "Bearer t");
        assert!(said["agent"].as_str().unwrap().starts_with("plexus/"));
        let both = async { tokio::join!(get(&client, "/meet"), get(&client, "/meet")) };
        let (a, b) = timeout(Duration::from_secs(60), both).await.expect("two requests at the same time");
        assert!(a.is_ok() && b.is_ok());
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn http1_has_one_connection_too() {
    run(async {
        let ca = Authority::new();
        let server = serve(Some(tls_server(&ca, &["http/1.1"], None)), Manner::Keeps).await;
        let access = access(&format!("https://127.0.0.1:{}", server.port), Trust::Authorities(vec![ca.der()]));
        let client = client(access).unwrap();
        let (a, b) = tokio::join!(get(&client, "/apis"), get(&client, "/api"));
        assert_eq!((a.unwrap()["path"].as_str(), b.unwrap()["path"].as_str()), (Some("/apis"), Some("/api")));
        assert_eq!(server.connections.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_connection_that_the_server_closed_is_opened_anew() {
    run(async {
        let server = serve(None, Manner::ClosesTheFirst).await;
        let client = client(access(&format!("http://127.0.0.1:{}", server.port), Trust::System)).unwrap();
        for _ in 0..3 {
            get(&client, "/api").await.unwrap();
        }
        assert_eq!(server.connections.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn a_server_of_another_authority_is_not_talked_to() {
    run(async {
        let ca = Authority::new();
        let server = serve(Some(tls_server(&ca, &["h2"], None)), Manner::Keeps).await;
        let url = format!("https://127.0.0.1:{}", server.port);
        let other = client(access(&url, Trust::Authorities(vec![Authority::new().der()]))).unwrap();
        let error = get(&other, "/api").await.unwrap_err();
        assert!(error.contains("no connection to 127.0.0.1") && error.contains("certificate"), "{error}");
        let mut named = access(&url, Trust::Authorities(vec![ca.der()]));
        named.server_name = Some("kubernetes".to_owned());
        assert!(get(&client(named).unwrap(), "/api").await.unwrap_err().contains("kubernetes"));
        get(&client(access(&url, Trust::Anyone)).unwrap(), "/api").await.unwrap();
    });
}

/// Defects that there were: this was repeated for 20 s, and ended with advice to look at the network.
#[test]
fn a_certificate_that_is_refused_is_not_waited_for() {
    let year = |year| rcgen::date_time_ymd(year, 1, 1);
    let params = |name: &str| CertificateParams::new([name.to_owned()]).unwrap();
    let (ca, namesake) = (Authority::new(), Authority::new());
    let of_time = |from, to| {
        let mut params = params("127.0.0.1");
        (params.not_before, params.not_after) = (year(from), year(to));
        params
    };
    let mut no_server = params("127.0.0.1");
    no_server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    for (shown, why, todo) in [
        (
            Authority::named("other").certificate("127.0.0.1"),
            "UnknownIssuer",
            "(key \"certificate-authority-data\") has not signed",
        ),
        (
            namesake.certificate("127.0.0.1"),
            "BadSignature",
            "/kubeconfig (key \"certificate-authority-data\") has not signed",
        ),
        (ca.certificate("kubernetes"), "not valid for name", "set its key \"tls-server-name\""),
        (ca.sign(of_time(1990, 2000)), "expired", "renew the API server's certificate"),
        (ca.sign(of_time(2990, 3000)), "not valid yet", "this node's clock"),
        (ca.sign(no_server), "client authentication", "certificate for servers"),
    ] {
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            run(async move {
                let server = serve(Some(tls_server_as(shown, &["h2"], None)), Manner::Keeps).await;
                sender.send((server.port, server.connections)).unwrap();
                std::future::pending().await
            });
        });
        let (port, connections) = receiver.recv().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let cluster = serde_json::json!({"server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": STANDARD.encode(ca.issuer.pem())});
        let error =
            crate::testing::api_to(dir.path(), &cluster, &serde_json::json!({})).definition("ns", "blue").unwrap_err();
        assert_eq!(error.code, cni::Code::INTERNAL, "{error}");
        assert!(error.message.contains("invalid peer certificate") && error.message.contains(why), "{why}: {error}");
        assert!(error.message.contains(todo), "{todo}: {error}");
        assert_eq!(connections.load(Ordering::SeqCst), 1, "{why}: it was tried again");
    }
}

/// Without an authority in the kubeconfig those of the system count, and another key is to be set.
#[test]
fn what_to_do_without_an_authority() {
    let mut given = Given { place: "kubeconfig /k".to_owned(), authority: None, identity: Identity::Nobody };
    assert!(given.untrusted(Flaw::Issuer).contains("kubeconfig /k names no certificate authority"));
    given.authority = Some("/ca.crt".to_owned());
    assert!(given.untrusted(Flaw::Issuer).contains("kubeconfig /k (/ca.crt) has not signed"));
}

#[test]
fn a_client_certificate_is_shown() {
    run(async {
        let (ca, clients) = (Authority::new(), Authority::new());
        let server = serve(Some(tls_server(&ca, &["h2"], Some(&clients))), Manner::Keeps).await;
        let url = format!("https://127.0.0.1:{}", server.port);
        let access = |identity| {
            let mut access = access(&url, Trust::Authorities(vec![ca.der()]));
            access.identity = identity;
            client(access).unwrap()
        };
        get(&access(Some(clients.certificate("me"))), "/api").await.unwrap();
        get(&access(None), "/api").await.unwrap_err();
    });
}

#[test]
fn a_token_file_is_read_for_each_request() {
    run(async {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let server = serve(None, Manner::Keeps).await;
        let mut access = access(&format!("http://127.0.0.1:{}", server.port), Trust::System);
        access.token = Token::File(file.clone());
        let client = client(access).unwrap();
        for token in ["one", "two"] {
            std::fs::write(&file, token).unwrap();
            assert_eq!(get(&client, "/api").await.unwrap()["token"], format!("Bearer {token}"));
        }
        std::fs::remove_file(&file).unwrap();
        let request = Request::get("/api").body(Vec::new()).unwrap();
        let error = client.request::<serde_json::Value>(request).await.unwrap_err();
        assert_eq!(crate::retry::judge(&error), crate::retry::Verdict::Final, "{error}");
        assert!(crate::retry::text(&error).contains("token"), "{error}");
    });
}

#[test]
fn nobody_is_there() {
    run(async {
        let client = client(access("https://127.0.0.1:1", Trust::Anyone)).unwrap();
        let error = get(&client, "/api").await.unwrap_err();
        assert!(error.contains("no connection to 127.0.0.1:1: Connection refused"), "{error}");
    });
}
