//! A host outside the cluster, on the nodes' network: this machine.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::Duration;

/// Fetches `http://ADDRESS:PORT/` and returns the answer, header and all.
///
/// # Errors
/// If nobody answers within a few seconds.
pub fn get(address: IpAddr, port: u16) -> Result<String, String> {
    let patience = Duration::from_secs(5);
    let to = SocketAddr::new(address, port);
    let fetch = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&to, patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    fetch().map_err(|e| format!("GET http://{to}/: {e}"))
}
