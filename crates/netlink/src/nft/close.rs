//! Closing a socket without waiting for what its close waits for.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType, sendmsg, socketpair,
};

/// Hands a reference to `socket` to the kernel's collector of descriptors in flight. The caller closes `socket`, then what this returns:
/// the collector then closes `socket` for good, in a worker of the kernel.
///
/// A Unix socket is sent to itself, and `socket` with it. With our descriptors closed, what holds the two is a message that nobody can
/// receive any more. The kernel looks for such rings whenever a Unix socket closes (unix(7), "SCM_RIGHTS"; net/unix/garbage.c), since
/// Linux 6.8 in a worker; where it does so in the closing process the cost is that of a plain close. Where it cannot be done (no
/// descriptors left, Unix sockets filtered) nothing was sent, and the caller's close of `socket` is the last.
pub(super) fn in_background(socket: BorrowedFd<'_>) -> Option<OwnedFd> {
    let (near, far) = socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None).ok()?;
    let descriptors = [socket, far.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        sendmsg(&near, &[IoSlice::new(&[0])], &mut control, SendFlags::DONTWAIT).ok()?;
    }
    Some(near)
}
