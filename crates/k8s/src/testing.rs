//! For tests: an API server that has a few objects, and a client of it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use crate::{Api, Credentials};

/// A client of the API server at `server`; its kubeconfig is put into `dir`.
pub(crate) fn api(dir: &Path, server: &str) -> Api {
    let kubeconfig = dir.join("kubeconfig");
    let text = serde_json::json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": {}}],
        "clusters": [{"name": "c", "cluster": {"server": server}}]});
    std::fs::write(&kubeconfig, text.to_string()).unwrap();
    Api::new(Credentials::Kubeconfig(kubeconfig), "n1")
}

/// An API server that has these objects by path; returns its address and what is asked of it.
pub(crate) fn api_server(objects: BTreeMap<&'static str, serde_json::Value>) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            let path = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
            while stream.read_line(&mut line).unwrap() > 2 {}
            let missing = serde_json::json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404});
            let (code, body) = objects.get(path.as_str()).map_or((404, &missing), |o| (200, o));
            let body = body.to_string();
            log.lock().unwrap().push(path);
            let head = format!(
                "HTTP/1.1 {code} X\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
                body.len()
            );
            let mut stream = stream.into_inner();
            stream.write_all((head + &body).as_bytes()).unwrap();
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read(&mut [0]);
        }
    });
    (address, asked)
}
