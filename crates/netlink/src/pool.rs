//! Sockets that are used again: one CNI call asks the container's namespace a dozen things from several places, and to enter it and open a
//! socket costs more than an answer.
//!
//! Owns: the sockets between two uses, of one thread, for as long as somebody holds a [`Pool`]. Without one every socket is new.

use std::cell::RefCell;
use std::mem::ManuallyDrop;

use crate::Rtnl;

/// A namespace: device and inode of its file. A socket keeps its namespace alive, so no other gets the number meanwhile.
pub(crate) type Id = (u64, u64);

type Idle = Option<Vec<(Id, Rtnl)>>;

thread_local! {
    // What the thread's end had to drop would have to be registered with the C library, at the price of several system calls; a [`Pool`] drops it.
    static IDLE: RefCell<ManuallyDrop<Idle>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

fn replace(idle: Idle) {
    drop(ManuallyDrop::into_inner(IDLE.replace(ManuallyDrop::new(idle))));
}

/// While this lives, the calling thread's sockets of [`crate::Netns::with_rtnl`] are kept for the next use. They keep their namespaces alive:
/// hold it for one call, not for the life of a process.
#[must_use = "sockets are kept only while this lives"]
#[derive(Debug)]
pub struct Pool(());

impl Pool {
    /// Begins to keep sockets.
    #[expect(clippy::new_without_default, reason = "it has an effect, which a default value should not have")]
    pub fn new() -> Pool {
        replace(Some(Vec::new()));
        Pool(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        replace(None);
    }
}

/// A kept socket of this namespace.
pub(crate) fn take(id: Id) -> Option<Rtnl> {
    IDLE.with_borrow_mut(|idle| {
        let idle = idle.as_mut()?;
        let at = idle.iter().position(|(whose, _)| *whose == id)?;
        Some(idle.swap_remove(at).1)
    })
}

/// Keeps a socket; closes it where there is no pool.
pub(crate) fn give(id: Id, socket: Rtnl) {
    IDLE.with_borrow_mut(|idle| {
        if let Some(idle) = idle.as_mut() {
            idle.push((id, socket));
        }
    });
}
