//! The pods' web server: one thread per pod, inside its network namespace, serving one page.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use netlink::Netns;

/// The process with the servers. It ends when this handle goes, unless told to stay.
#[derive(Debug)]
pub(crate) struct Pages {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Pages {
    /// Starts it and waits until every pod answers.
    ///
    /// # Errors
    /// If a namespace cannot be entered or port 80 not be had.
    pub(crate) fn start(pods: &[&str]) -> Result<Pages> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("demo-pages").args(pods).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("cannot start the web servers")?;
        let stdin = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("their output")?).read_line(&mut line)?;
        let pages = Pages { child, stdin };
        if line != "ready\n" {
            bail!("the web servers did not start");
        }
        Ok(pages)
    }

    /// Leaves it running after this process; returns its id.
    ///
    /// # Errors
    /// If it has ended.
    pub(crate) fn keep(mut self) -> Result<u32> {
        let mut stdin = self.stdin.take().context("the web servers' input")?;
        stdin.write_all(b"keep\n").context("the web servers have ended")?;
        Ok(self.child.id())
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // Closing its input is what tells it to end; without input it was told to stay.
        if self.stdin.take().is_some() {
            let _ = self.child.wait();
        }
    }
}

/// The process itself: serves until its input ends, or for ever after a line "keep".
///
/// # Errors
/// If a namespace cannot be entered or port 80 not be had.
pub(crate) fn serve(pods: &[String]) -> Result<()> {
    for pod in pods {
        let netns = Netns::open(Path::new("/run/netns").join(pod))?;
        let listener = netns.run(|| TcpListener::bind("0.0.0.0:80"))?.with_context(|| format!("port 80 of {pod}"))?;
        let pod = pod.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let _ = answer(stream, &pod);
            }
        });
    }
    println!("ready");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    if line == "keep\n" {
        // Out of the terminal's reach: its Ctrl-C and its end are not ours any more.
        rustix::process::setsid().context("setsid")?;
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

fn answer(mut stream: TcpStream, pod: &str) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    let mut request = [0; 2048];
    let _ = stream.read(&mut request)?;
    let page = format!(
        "<html><body><h1>Welcome to {pod}!</h1>\n<p><em>Thank you for using Plexus.</em></p>\n</body></html>\n"
    );
    let length = page.len();
    write!(stream, "HTTP/1.0 200 OK\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n{page}")
}
