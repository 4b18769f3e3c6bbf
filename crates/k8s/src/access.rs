//! Who we are to the API server, and how to reach it: from a kubeconfig file, or from the service account of the pod that we run in.
//!
//! Owns: the keys of a kubeconfig, and what is refused of them. kube's own loader does more (exec plugins, merged files, environment), for
//! which it brings 1 MB of parsers; nothing of that has a place on a node.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cni::{Code, Error, Result};
use http::Uri;
use serde::Deserialize;
use serde_json::Value;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::remedy::{Given, Identity};

mod yaml;

/// Longest file that is read: a kubeconfig with its certificates is some kB.
const LIMIT: u64 = 4 << 20;
/// Where a pod finds its service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Who we are to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// A kubeconfig file.
    Kubeconfig(PathBuf),
    /// The service account of the pod that this process runs in; its token file is read again as it rotates.
    ServiceAccount,
}

/// An API server and what it wants to see. Without `Debug`: it holds secrets.
pub(crate) struct Access {
    /// `https://host:port`, with a path before the API's own where a proxy has it so.
    pub(crate) server: Uri,
    /// Whose signature the server's certificate must have.
    pub(crate) trust: Trust,
    /// The name in the server's certificate, if it is not the host's.
    pub(crate) server_name: Option<String>,
    /// Our certificate and its key.
    pub(crate) identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    pub(crate) token: Token,
    /// The same for messages.
    pub(crate) given: Given,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    Authorities(Vec<CertificateDer<'static>>),
    /// Those of the system.
    System,
    /// Anyone: `insecure-skip-tls-verify`.
    Anyone,
}

/// A bearer token.
pub(crate) enum Token {
    None,
    Text(String),
    /// Read for each request: kubelet replaces it.
    File(PathBuf),
}

impl Token {
    /// The token as it is now.
    ///
    /// # Errors
    /// Code 5 if its file cannot be read or is empty.
    pub(crate) fn read(&self) -> Result<Option<Cow<'_, str>>> {
        match self {
            Token::None => Ok(None),
            Token::Text(text) => Ok(Some(text.into())),
            Token::File(path) => {
                let text = String::from_utf8_lossy(&read(path, "token")?).trim().to_owned();
                if text.is_empty() {
                    return Err(Error::new(Code::IO, format!("token file {} is empty", path.display())));
                }
                Ok(Some(text.into()))
            }
        }
    }
}

impl Access {
    /// Reads what the credentials name.
    ///
    /// # Errors
    /// Code 7, with the file, the key and what to do.
    pub(crate) fn new(credentials: &Credentials) -> Result<Access> {
        match credentials {
            Credentials::Kubeconfig(path) => kubeconfig(path).map_err(|e| {
                Error::config(format!(
                    "failed to use kubeconfig {}: {}; check key \"kubeconfig\" of the configuration",
                    path.display(),
                    e.message
                ))
            }),
            Credentials::ServiceAccount => {
                let env = |key: &str| std::env::var(key).unwrap_or_default();
                let [host, port] = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"].map(env);
                in_cluster(&host, &port, Path::new(SERVICE_ACCOUNT)).map_err(|e| {
                    Error::config(format!(
                        "failed to use the pod's service account: {}; set key \"kubeconfig\"",
                        e.message
                    ))
                })
            }
        }
    }
}

fn in_cluster(host: &str, port: &str, dir: &Path) -> Result<Access> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    Ok(Access {
        server: url(&format!("https://{host}:{port}"))?,
        trust: Trust::Authorities(certificates(&read(&dir.join("ca.crt"), "CA")?, "ca.crt")?),
        server_name: None,
        identity: None,
        token: Token::File(dir.join("token")),
        given: Given {
            place: "the pod's service account".to_owned(),
            authority: Some(dir.join("ca.crt").display().to_string()),
            identity: Identity::Token,
        },
    })
}

#[derive(Deserialize)]
struct Kubeconfig {
    #[serde(rename = "current-context", default)]
    current_context: String,
    #[serde(default)]
    clusters: Vec<NamedCluster>,
    #[serde(default)]
    users: Vec<NamedUser>,
    #[serde(default)]
    contexts: Vec<NamedContext>,
}

#[derive(Deserialize)]
struct NamedCluster {
    name: String,
    cluster: Cluster,
}

#[derive(Deserialize)]
struct NamedUser {
    name: String,
    /// `null` for someone without credentials.
    user: Option<User>,
}

#[derive(Deserialize)]
struct NamedContext {
    name: String,
    context: Context,
}

#[derive(Deserialize)]
struct Context {
    cluster: String,
    #[serde(default)]
    user: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Cluster {
    server: String,
    certificate_authority: Option<PathBuf>,
    certificate_authority_data: Option<String>,
    #[serde(default)]
    insecure_skip_tls_verify: bool,
    tls_server_name: Option<String>,
    proxy_url: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct User {
    token: Option<String>,
    #[serde(rename = "tokenFile")]
    token_file: Option<PathBuf>,
    client_certificate: Option<PathBuf>,
    client_certificate_data: Option<String>,
    client_key: Option<PathBuf>,
    client_key_data: Option<String>,
    // What we do not do. Without it the server would take us for someone else.
    exec: Option<serde::de::IgnoredAny>,
    auth_provider: Option<serde::de::IgnoredAny>,
    username: Option<serde::de::IgnoredAny>,
    #[serde(rename = "as")]
    impersonate: Option<serde::de::IgnoredAny>,
}

fn kubeconfig(path: &Path) -> Result<Access> {
    let file = parse(&read(path, "file")?)?;
    let context = named("context", &file.current_context, file.contexts, |c| (c.name, c.context))?;
    let cluster = named("cluster", &context.cluster, file.clusters, |c| (c.name, c.cluster))?;
    let user = match context.user.as_str() {
        "" => User::default(),
        name => named("user", name, file.users, |u| (u.name, u.user.unwrap_or_default()))?,
    };
    let refused = [
        ("exec", user.exec.is_some()),
        ("auth-provider", user.auth_provider.is_some()),
        ("username", user.username.is_some()),
        ("as", user.impersonate.is_some()),
        ("proxy-url", cluster.proxy_url.as_ref().is_some_and(|u| !u.is_empty())),
    ];
    if let Some((key, _)) = refused.iter().find(|(_, set)| *set) {
        return Err(Error::config(format!(
            "key \"{key}\" is not supported; use a token (\"token\", \"tokenFile\") or a client certificate, and a server that is \
             reached directly"
        )));
    }
    // Paths are relative to the file, as kubectl has it.
    let dir = path.parent().unwrap_or(Path::new("/"));
    let bytes = |key: &str, data: &Option<String>, file: &Option<PathBuf>| -> Result<Option<Vec<u8>>> {
        match (data, file) {
            (Some(data), _) if !data.is_empty() => STANDARD
                .decode(data.split_ascii_whitespace().collect::<String>())
                .map(Some)
                .map_err(|e| Error::config(format!("key \"{key}-data\" is not base64: {e}"))),
            (_, Some(file)) if !file.as_os_str().is_empty() => read(&dir.join(file), key).map(Some),
            _ => Ok(None),
        }
    };
    let authority =
        bytes("certificate-authority", &cluster.certificate_authority_data, &cluster.certificate_authority)?;
    let trust = match authority {
        _ if cluster.insecure_skip_tls_verify => Trust::Anyone,
        Some(pem) => Trust::Authorities(certificates(&pem, "certificate-authority")?),
        None => Trust::System,
    };
    let trusted = matches!(trust, Trust::Authorities(_)).then(|| {
        let (data, file) = (&cluster.certificate_authority_data, &cluster.certificate_authority);
        holder("certificate-authority", data, file, dir)
    });
    let certificate = bytes("client-certificate", &user.client_certificate_data, &user.client_certificate)?;
    let key = bytes("client-key", &user.client_key_data, &user.client_key)?;
    let identity = match (certificate, key) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_slice(&key)
                .map_err(|e| Error::config(format!("\"client-key\" holds no private key in PEM: {e}")))?;
            Some((certificates(&certificate, "client-certificate")?, key))
        }
        (None, None) => None,
        _ => return Err(Error::config("of \"client-certificate\" and \"client-key\" only one is there")),
    };
    // As client-go: the file, which can be newer, before the text.
    let token = match (user.token_file, user.token) {
        (Some(file), _) if !file.as_os_str().is_empty() => Token::File(dir.join(file)),
        (_, Some(text)) if !text.is_empty() => Token::Text(text),
        _ => Token::None,
    };
    let shown = match (&token, &identity) {
        (Token::None, None) => Identity::Nobody,
        (Token::None, Some(_)) => {
            let (data, file) = (&user.client_certificate_data, &user.client_certificate);
            Identity::Certificate(holder("client-certificate", data, file, dir))
        }
        (Token::Text(_) | Token::File(_), _) => Identity::Token,
    };
    let given = Given { place: format!("kubeconfig {}", path.display()), authority: trusted, identity: shown };
    let server_name = cluster.tls_server_name.filter(|n| !n.is_empty());
    Ok(Access { server: url(&cluster.server)?, trust, server_name, identity, token, given })
}

/// Where a user finds what `key` holds: the key that counts, and the file that it names.
fn holder(key: &str, data: &Option<String>, file: &Option<PathBuf>, dir: &Path) -> String {
    match (data, file) {
        (Some(data), _) if !data.is_empty() => format!("key \"{key}-data\""),
        (_, Some(file)) => format!("key \"{key}\": {}", dir.join(file).display()),
        _ => format!("key \"{key}\""),
    }
}

/// JSON, as the installer writes it, is read without the YAML library, which is slower.
fn parse(bytes: &[u8]) -> Result<Kubeconfig> {
    if let Ok(config) = serde_json::from_slice(bytes) {
        return Ok(config);
    }
    let text = std::str::from_utf8(bytes).map_err(|e| Error::config(format!("it is not UTF-8: {e}")))?;
    // An empty file is an empty document.
    let tree = match yaml::parse(text)? {
        Value::Null => Value::Object(serde_json::Map::new()),
        tree => tree,
    };
    serde_json::from_value(tree).map_err(|e| {
        // "invalid type: string "SECRET", expected a map": without what is there.
        let said = e.to_string();
        let said =
            said.rsplit_once("expected ").map_or(said.clone(), |(_, what)| format!("something else than {what}"));
        Error::config(format!("it is no kubeconfig: {said}"))
    })
}

fn named<N, T>(kind: &str, name: &str, all: Vec<N>, split: impl Fn(N) -> (String, T)) -> Result<T> {
    if name.is_empty() {
        return Err(Error::config(format!("it names no {kind} (\"current-context\" and what that names)")));
    }
    let found = all.into_iter().map(split).find(|(n, _)| n == name);
    found.map(|(_, value)| value).ok_or_else(|| Error::config(format!("it has no {kind} \"{name}\"")))
}

fn url(text: &str) -> Result<Uri> {
    let wrong = |why: &str| Error::config(format!("the server's address \"{text}\" is not usable: {why}"));
    // kubectl takes a bare host.
    let text = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let uri: Uri = text.parse().map_err(|e: http::uri::InvalidUri| wrong(&e.to_string()))?;
    match uri.scheme_str() {
        Some("https" | "http") if uri.host().is_some_and(|h| !h.is_empty()) => Ok(uri),
        _ => Err(wrong("it is not https://HOST:PORT")),
    }
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let all: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) => Err(Error::config(format!("\"{what}\" holds no certificate in PEM"))),
        Err(e) => Err(Error::config(format!("\"{what}\" holds no certificates in PEM: {e}"))),
    }
}

fn read(path: &Path, what: &str) -> Result<Vec<u8>> {
    cni::file::read(path, LIMIT)?
        .ok_or_else(|| Error::new(Code::IO, format!("the {what} {} is not there", path.display())))
}

#[cfg(test)]
mod tests;
