//! The kubeconfig that CNI calls use: made of the pod's service account, made anew when its token or CA changes.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cni::{Code, Error, Result};
use serde_json::json;

/// A projected token is about 1 KiB, a CA bundle some.
const LIMIT: u64 = 1_000_000;

/// Where the API server is, as kubelet tells every pod.
#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) url: String,
    pub(super) skip_tls_verify: bool,
}

impl Server {
    /// From `KUBERNETES_SERVICE_{PROTOCOL,HOST,PORT}`. `None` outside of a pod.
    pub(super) fn from_env(env: impl Fn(&str) -> Option<String>, skip_tls_verify: bool) -> Option<Server> {
        let get = |key: &str| env(key).filter(|v| !v.is_empty());
        let host = get("KUBERNETES_SERVICE_HOST")?;
        let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
        let protocol = get("KUBERNETES_SERVICE_PROTOCOL").unwrap_or_else(|| "https".into());
        let port = get("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".into());
        Some(Server { url: format!("{protocol}://{host}:{port}"), skip_tls_verify })
    }
}

/// The kubeconfig for the service account in `account` (`token`, `ca.crt`). JSON, which is YAML too.
///
/// # Errors
/// If the token is missing or empty, or the CA is missing and its check is asked for.
pub(super) fn generate(server: &Server, account: &Path) -> Result<Vec<u8>> {
    let read = |name: &str| {
        let path = account.join(name);
        let content = cni::file::read(&path, LIMIT)?.filter(|c| !c.trim_ascii().is_empty());
        content.ok_or_else(|| {
            Error::new(
                Code::IO,
                format!(
                    "{} is missing or empty: does the pod have a service account (automountServiceAccountToken)?",
                    path.display()
                ),
            )
        })
    };
    let token = String::from_utf8(read("token")?)
        .map_err(|_| Error::new(Code::DECODE, format!("{} is not text", account.join("token").display())))?;
    let mut cluster = json!({"server": server.url});
    if server.skip_tls_verify {
        cluster["insecure-skip-tls-verify"] = true.into();
    } else {
        cluster["certificate-authority-data"] = STANDARD.encode(read("ca.crt")?).into();
    }
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "local", "cluster": cluster}],
        "users": [{"name": "multus", "user": {"token": token.trim()}}],
        "contexts": [{"name": "multus-context", "context": {"cluster": "local", "user": "multus"}}],
        "current-context": "multus-context",
    });
    let mut bytes = serde_json::to_vec_pretty(&document).map_err(|e| Error::internal(e.to_string()))?;
    bytes.push(b'\n');
    Ok(bytes)
}
