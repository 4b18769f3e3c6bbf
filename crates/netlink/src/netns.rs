//! Network namespaces: a handle, and running code inside one.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fstat, fstatfs, open};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, UnshareFlags};

use crate::{Error, Result, Rtnl, pool};

/// File system magic of nsfs (include/uapi/linux/magic.h).
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// ioctl that tells a namespace's kind (include/uapi/linux/nsfs.h, since Linux 4.11).
const NS_GET_NSTYPE: libc::Ioctl = 0xb703;

/// ioctl of a socket that opens its network namespace (include/uapi/linux/sockios.h, since Linux 4.10).
const SIOCGSKNS: libc::Ioctl = 0x894c;

/// The calling thread's network namespace.
const CURRENT: &str = "/proc/thread-self/ns/net";

/// Stack of a thread that enters a namespace, in bytes.
const STACK: usize = 1024 * 1024;

/// An open network namespace. Identity is device and inode, not the path.
#[derive(Debug)]
pub struct Netns {
    file: Arc<File>,
    path: PathBuf,
}

impl Netns {
    /// Opens the namespace at `path` (`/run/netns/x`, `/proc/1/ns/net`).
    ///
    /// # Errors
    /// `ENOENT` if nothing is there; `EINVAL` if what is there is not a network namespace.
    pub fn open(path: impl AsRef<Path>) -> Result<Netns> {
        let path = path.as_ref();
        if let Some(file) = pool::opened(path) {
            return Ok(Netns { file, path: path.to_owned() });
        }
        let opened = Netns::open_new(path)?;
        pool::keep_opened(path, &opened.file);
        Ok(opened)
    }

    fn open_new(path: &Path) -> Result<Netns> {
        let failed = |e, words: String| Error {
            kernel: words,
            ..Error::new("open network namespace", path.display().to_string(), e)
        };
        // Not blocking: the path comes from outside and may be a FIFO.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = open(path, flags, Mode::empty()).map_err(|e| failed(e, String::new()))?;
        let magic = fstatfs(&file).map_err(|e| failed(e, String::new()))?.f_type;
        if magic != NSFS_MAGIC {
            return Err(failed(Errno::INVAL, format!("unknown FS magic {magic:x}: this is not a network namespace")));
        }
        #[expect(unsafe_code, reason = "ioctl")]
        // SAFETY: the descriptor is open, and this request takes no argument.
        let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
        // Where the kernel cannot tell (-1), setns will.
        if kind >= 0 && kind != libc::CLONE_NEWNET {
            return Err(failed(Errno::INVAL, "this is a namespace of another kind, not a network namespace".into()));
        }
        Ok(Netns { file: Arc::new(file.into()), path: path.to_owned() })
    }

    /// A new, empty network namespace without a name: it lives as long as handles to it and what runs or stands in it. Its path leads
    /// to this handle's descriptor (`/proc/PID/fd/N`), so other processes can open it while the handle lives.
    ///
    /// # Errors
    /// `EPERM` without CAP_SYS_ADMIN, `ENOSPC` if there may be no more.
    pub fn unshare() -> Result<Netns> {
        on_thread("create network namespace", "without a name", || {
            #[expect(unsafe_code, reason = "unshare")]
            // SAFETY: CLONE_NEWNET changes the namespace of this thread only, which ends here; no descriptor table is unshared.
            let unshared = unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) };
            unshared?;
            Ok(Netns::current())
        })?
        .map(|netns| {
            let path = format!("/proc/{}/fd/{}", std::process::id(), netns.file.as_raw_fd()).into();
            Netns { path, ..netns }
        })
    }

    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// If /proc is not mounted.
    pub fn current() -> Result<Netns> {
        if let Some(file) = pool::current() {
            return Ok(Netns { file, path: CURRENT.into() });
        }
        let current = Netns::open_current()?;
        pool::set_current(&current.file);
        Ok(current)
    }

    fn open_current() -> Result<Netns> {
        // A new socket is in the thread's namespace and opens it for a fraction of what /proc takes, which first has to make the entries of a
        // process that it has not been asked about. It needs CAP_NET_ADMIN.
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None);
        let Ok(socket) = socket else { return Netns::open_new(CURRENT.as_ref()) };
        #[expect(unsafe_code, reason = "ioctl")]
        // SAFETY: the descriptor is open, and this request takes no argument.
        let opened = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCGSKNS) };
        if opened < 0 {
            return Netns::open_new(CURRENT.as_ref());
        }
        #[expect(unsafe_code, reason = "a descriptor from ioctl")]
        // SAFETY: the kernel has just opened it for us, close-on-exec, and nobody else has it.
        let file = unsafe { OwnedFd::from_raw_fd(opened) };
        Ok(Netns { file: Arc::new(file.into()), path: CURRENT.into() })
    }

    /// The path it was opened by.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Both handles are the same namespace.
    #[must_use]
    pub fn is_same(&self, other: &Netns) -> bool {
        self.id().is_some() && self.id() == other.id()
    }

    /// It is the calling thread's.
    #[must_use]
    pub fn is_current(&self) -> bool {
        Netns::current().is_ok_and(|own| own.is_same(self))
    }

    fn id(&self) -> Option<pool::Id> {
        fstat(&self.file).map(|s| (s.st_dev, s.st_ino)).ok()
    }

    /// Runs `f` inside: the calling thread enters, and returns when `f` has ended, also by a panic. No thread is made for it: that would be
    /// the larger part of most visits (`docs/decisions/0003`). What `f` opens stays in the namespace; a thread or a program that it starts does too.
    ///
    /// A thread that could not return would work on the wrong network from then on, so the process is ended instead.
    ///
    /// # Errors
    /// `EPERM` without CAP_SYS_ADMIN; if /proc is not mounted.
    pub fn run<T>(&self, f: impl FnOnce() -> T) -> Result<T> {
        let home = Home(Netns::current()?);
        self.enter().map_err(|e| Error::new("enter network namespace", self.path.display().to_string(), e))?;
        let done = f();
        drop(home);
        Ok(done)
    }

    /// Moves the calling thread into it.
    fn enter(&self) -> Result<(), Errno> {
        rustix::thread::move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))?;
        pool::set_current(&self.file);
        Ok(())
    }

    /// An rtnetlink socket that talks to this namespace, usable from any thread.
    ///
    /// # Errors
    /// As [`Netns::run`] and [`Rtnl::open`].
    pub fn rtnl(&self) -> Result<Rtnl> {
        self.run(Rtnl::open)?
    }

    /// Runs `f` with an rtnetlink socket that talks to this namespace: one that is kept, where there is a [`crate::Pool`]. The thread stays
    /// where it is, so kernel parameters (sysctls) are not this namespace's: they need [`Netns::run`].
    ///
    /// # Errors
    /// As [`Netns::rtnl`].
    pub fn with_rtnl<T>(&self, f: impl FnOnce(&mut Rtnl) -> T) -> Result<T> {
        self.with_socket(Netns::rtnl, f)
    }

    /// As [`Netns::with_rtnl`], for the calling thread's namespace.
    ///
    /// # Errors
    /// As [`Netns::current`] and [`Rtnl::open`].
    pub fn with_rtnl_here<T>(f: impl FnOnce(&mut Rtnl) -> T) -> Result<T> {
        Netns::current()?.with_socket(|_| Rtnl::open(), f)
    }

    fn with_socket<T>(&self, open: impl FnOnce(&Netns) -> Result<Rtnl>, f: impl FnOnce(&mut Rtnl) -> T) -> Result<T> {
        let id = self.id();
        let mut rtnl = match id.and_then(pool::take) {
            Some(kept) => kept,
            None => open(self)?,
        };
        let done = f(&mut rtnl);
        if let Some(id) = id {
            pool::give(id, rtnl);
        }
        Ok(done)
    }
}

/// The namespace to return to.
struct Home(Netns);

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(e) = self.0.enter() {
            // What is recorded is undone by the runtime's DEL.
            eprintln!(
                "cannot return to the host's network namespace: {e}; ending, so that nothing is done to the wrong one"
            );
            std::process::abort();
        }
    }
}

/// Runs `f` on a thread that ends with it.
fn on_thread<T: Send>(attempted: &'static str, object: &str, f: impl FnOnce() -> Result<T, Errno> + Send) -> Result<T> {
    let failed = |e| Error::new(attempted, object, e);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".into()).stack_size(STACK);
        let thread = thread.spawn_scoped(scope, f);
        let thread = thread.map_err(|e| failed(Errno::from_io_error(&e).unwrap_or(Errno::AGAIN)))?;
        match thread.join() {
            Ok(done) => done.map_err(failed),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

impl AsFd for Netns {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
