//! What the kernel said, with everything needed to act on it.

use std::fmt;

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A request that the kernel refused, or a file of the kernel's that could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What was attempted: "create macvlan", "add address", "write sysctl".
    pub attempted: &'static str,
    /// On which object: "net1", "10.1.2.3/24 on eth0", "/proc/sys/net/ipv4/ip_forward".
    pub object: String,
    /// The error number, positive.
    pub errno: i32,
    /// The kernel's own words (extended ack); empty where it gave none.
    pub kernel: String,
}

impl Error {
    /// An error with nothing from an extended ack.
    pub fn new(attempted: &'static str, object: impl Into<String>, errno: rustix::io::Errno) -> Self {
        Error { attempted, object: object.into(), errno: errno.raw_os_error(), kernel: String::new() }
    }

    /// The error number is this one.
    #[must_use]
    pub fn is(&self, errno: rustix::io::Errno) -> bool {
        self.errno == errno.raw_os_error()
    }

    /// The object is not there (ENODEV, ENOENT, ESRCH, EADDRNOTAVAIL, ENXIO).
    #[must_use]
    pub fn is_missing(&self) -> bool {
        use rustix::io::Errno;
        [Errno::NODEV, Errno::NOENT, Errno::SRCH, Errno::ADDRNOTAVAIL, Errno::NXIO].iter().any(|e| self.is(*e))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errno = std::io::Error::from_raw_os_error(self.errno);
        write!(f, "failed to {} {}: {errno}", self.attempted, self.object)?;
        if self.kernel.is_empty() { Ok(()) } else { write!(f, " (kernel: {})", self.kernel) }
    }
}

impl std::error::Error for Error {}
