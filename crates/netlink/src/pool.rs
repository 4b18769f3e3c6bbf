//! What is used again: one CNI call asks the container's namespace a dozen things from several places, and to open the namespace, enter it and open a
//! socket costs more than an answer.
//!
//! Owns: sockets and open namespaces between two uses, of one thread, for as long as somebody holds a [`Pool`]. Without one everything is opened anew.

use std::cell::RefCell;
use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Rtnl;

/// A namespace: device and inode of its file. A socket keeps its namespace alive, so no other gets the number meanwhile.
pub(crate) type Id = (u64, u64);

#[derive(Default)]
struct Kept {
    idle: Vec<(Id, Rtnl)>,
    opened: Vec<(PathBuf, Arc<File>)>,
    current: Option<Arc<File>>,
}

thread_local! {
    // What the thread's end had to drop would have to be registered with the C library, at the price of several system calls; a [`Pool`] drops it.
    static KEPT: RefCell<ManuallyDrop<Option<Kept>>> = const { RefCell::new(ManuallyDrop::new(None)) };
}

fn replace(kept: Option<Kept>) {
    drop(ManuallyDrop::into_inner(KEPT.replace(ManuallyDrop::new(kept))));
}

/// While this lives, the calling thread's namespaces and its sockets of [`crate::Netns::with_rtnl`] are kept for the next use. They keep their namespaces
/// alive, and a path leads where it led first: hold it for one call, not for the life of a process.
#[must_use = "nothing is kept but while this lives"]
#[derive(Debug)]
pub struct Pool(());

impl Pool {
    /// Begins to keep.
    #[expect(clippy::new_without_default, reason = "it has an effect, which a default value should not have")]
    pub fn new() -> Pool {
        replace(Some(Kept::default()));
        Pool(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        replace(None);
    }
}

fn with<T>(f: impl FnOnce(&mut Kept) -> T) -> Option<T> {
    KEPT.with_borrow_mut(|kept| kept.as_mut().map(f))
}

/// So many of each are kept: a call is about one container, but a GC goes from one to the next.
const MOST: usize = 8;

/// Adds to what is kept, in the place of the oldest.
fn push<T>(kept: &mut Vec<T>, one: T) {
    if kept.len() >= MOST {
        kept.remove(0);
    }
    kept.push(one);
}

/// A kept socket of this namespace.
pub(crate) fn take(id: Id) -> Option<Rtnl> {
    with(|kept| {
        let at = kept.idle.iter().position(|(whose, _)| *whose == id)?;
        Some(kept.idle.swap_remove(at).1)
    })?
}

/// Keeps a socket; closes it where there is no pool.
pub(crate) fn give(id: Id, socket: Rtnl) {
    with(|kept| push(&mut kept.idle, (id, socket)));
}

/// The namespace that was opened by this path.
pub(crate) fn opened(path: &Path) -> Option<Arc<File>> {
    with(|kept| kept.opened.iter().find(|(by, _)| by == path).map(|(_, file)| Arc::clone(file)))?
}

/// Keeps a namespace that has been opened.
pub(crate) fn keep_opened(path: &Path, file: &Arc<File>) {
    with(|kept| push(&mut kept.opened, (path.to_owned(), Arc::clone(file))));
}

/// The calling thread's namespace, where it is known.
pub(crate) fn current() -> Option<Arc<File>> {
    with(|kept| kept.current.clone())?
}

/// The calling thread is in this namespace now.
pub(crate) fn set_current(file: &Arc<File>) {
    with(|kept| kept.current = Some(Arc::clone(file)));
}
