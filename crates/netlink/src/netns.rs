//! Network namespaces: a handle, and running code inside one.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{fstat, statfs};
use rustix::io::Errno;
use rustix::thread::LinkNameSpaceType;

use crate::{Error, Result, Rtnl};

/// Filesystem magic of nsfs (include/uapi/linux/magic.h) and of procfs, whose links to namespaces older kernels report.
const NSFS_MAGIC: i64 = 0x6e73_6673;
const PROC_SUPER_MAGIC: i64 = 0x9fa0;

/// An open network namespace. Identity is device and inode, not the path.
#[derive(Debug)]
pub struct Netns {
    file: File,
    path: PathBuf,
}

impl Netns {
    /// Opens the namespace at `path` (`/run/netns/x`, `/proc/1/ns/net`).
    ///
    /// # Errors
    /// `ENOENT` if nothing is there; `EINVAL` if what is there is not a namespace.
    pub fn open(path: impl AsRef<Path>) -> Result<Netns> {
        let path = path.as_ref();
        let object = || path.display().to_string();
        let file = File::open(path).map_err(|e| {
            Error::new("open network namespace", object(), Errno::from_io_error(&e).unwrap_or(Errno::IO))
        })?;
        let magic = statfs(path).map_err(|e| Error::new("open network namespace", object(), e))?.f_type;
        if ![NSFS_MAGIC, PROC_SUPER_MAGIC].contains(&magic) {
            let mut error = Error::new("open network namespace", object(), Errno::INVAL);
            error.kernel = format!("unknown FS magic {magic:x}: this file is not a network namespace");
            return Err(error);
        }
        Ok(Netns { file, path: path.to_owned() })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// If /proc is not mounted.
    pub fn current() -> Result<Netns> {
        Netns::open("/proc/thread-self/ns/net")
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Both handles are the same namespace.
    #[must_use]
    pub fn is_same(&self, other: &Netns) -> bool {
        let id = |n: &Netns| fstat(&n.file).map(|s| (s.st_dev, s.st_ino));
        matches!((id(self), id(other)), (Ok(a), Ok(b)) if a == b)
    }

    /// Runs `f` inside, on a thread of its own that ends with it: a thread that entered a namespace is spent.
    ///
    /// # Errors
    /// If the thread cannot be started or may not enter.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T> {
        let failed = |e| Error::new("enter network namespace", self.path.display().to_string(), e);
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name("netns".into()).stack_size(256 * 1024);
            let thread = thread.spawn_scoped(scope, || {
                rustix::thread::move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
                    .map(|()| f())
            });
            let thread = thread.map_err(|e| failed(Errno::from_io_error(&e).unwrap_or(Errno::AGAIN)))?;
            match thread.join() {
                Ok(done) => done.map_err(failed),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// An rtnetlink socket that talks to this namespace, usable from any thread.
    ///
    /// # Errors
    /// As [`Netns::run`] and [`Rtnl::open`].
    pub fn rtnl(&self) -> Result<Rtnl> {
        self.run(Rtnl::open)?
    }
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
