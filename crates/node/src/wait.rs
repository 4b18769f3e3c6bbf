//! Waiting in a program that runs until it is told to end.

use std::io;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use cni::{Error, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Hears SIGTERM and SIGINT. Without, they would not end a container's first process.
#[derive(Debug)]
pub(crate) struct Ending(UnixStream);

impl Ending {
    /// # Errors
    /// If the process has no descriptors left.
    pub(crate) fn listen() -> Result<Ending> {
        let listen = || {
            let (ours, theirs) = UnixStream::pair()?;
            signal_hook::low_level::pipe::register(SIGTERM, theirs.try_clone()?)?;
            signal_hook::low_level::pipe::register(SIGINT, theirs)?;
            Ok::<_, io::Error>(Ending(ours))
        };
        listen().map_err(|e| Error::internal(format!("failed to listen for signals: {e}")))
    }

    /// Sleeps. True, and at once, if the process is to end.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(crate) fn comes_within(&self, time: Duration) -> Result<bool> {
        let time =
            Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: time.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&time)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => Ok(false),
            Ok(_) => Ok(true),
            Err(e) => Err(Error::internal(format!("failed to wait: {e}"))),
        }
    }
}
