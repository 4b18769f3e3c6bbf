//! For tests: an API server that has a few objects, and a client of it.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::{Api, Credentials};

/// A client of the API server at `server`; its kubeconfig is put into `dir`.
pub(crate) fn api(dir: &Path, server: &str) -> Api {
    api_as(dir, server, &json!({}))
}

/// The same, for this user of the kubeconfig.
pub(crate) fn api_as(dir: &Path, server: &str, user: &Value) -> Api {
    api_to(dir, &json!({"server": server}), user)
}

/// The same, for this cluster and user of the kubeconfig.
pub(crate) fn api_to(dir: &Path, cluster: &Value, user: &Value) -> Api {
    let kubeconfig = dir.join("kubeconfig");
    let text = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}], "users": [{"name": "u", "user": user}],
        "clusters": [{"name": "c", "cluster": cluster}]});
    std::fs::write(&kubeconfig, text.to_string()).unwrap();
    Api::new(Credentials::Kubeconfig(kubeconfig), "n1")
}

/// An API server that has these objects by path; returns its address and what is asked of it.
pub(crate) fn api_server(objects: BTreeMap<&'static str, Value>) -> (String, Arc<Mutex<Vec<String>>>) {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = asked.clone();
    let address = serve(move |_, path, _| {
        log.lock().unwrap().push(path.to_owned());
        objects.get(path).map_or_else(|| refusal(404, "NotFound"), |object| (200, object.clone()))
    });
    (address, asked)
}

/// What an API server says to what it does not do.
pub(crate) fn refusal(code: u16, reason: &str) -> (u16, Value) {
    (code, json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code}))
}

/// An API server that answers so to method, path and body; returns its address.
pub(crate) fn serve(mut answer: impl FnMut(&str, &str, Value) -> (u16, Value) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while stream.read_line(&mut head).unwrap() > 2 {}
            let length = head.lines().find_map(|l| l.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |l| l.parse().unwrap())];
            stream.read_exact(&mut body).unwrap();
            let mut words = head.split_whitespace();
            let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let (code, body) = answer(method, path, serde_json::from_slice(&body).unwrap_or_default());
            let body = body.to_string();
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
    address
}
