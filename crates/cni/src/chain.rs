//! A network's plugins in their order: ADD, DEL, CHECK, GC and STATUS as libcni does them.

use std::path::PathBuf;

use crate::cache::Cache;
use crate::conf::NetworkList;
use crate::{CniResult, Error, Invoke, Json, Result};

/// What a runtime says about one attachment: the parameters of one invocation, without the network.
#[derive(Clone, Debug, PartialEq)]
pub struct Runtime {
    /// The container.
    pub container_id: String,
    /// Path of its network namespace; empty on DEL if it is gone.
    pub netns: String,
    /// Name of the interface in it.
    pub ifname: String,
    /// `CNI_ARGS`.
    pub args: Vec<(String, String)>,
    /// Capability arguments: an object, or `null` for none.
    pub capability_args: Json,
    /// Where plugins are searched.
    pub path: Vec<PathBuf>,
}

impl Runtime {
    /// An attachment without arguments and without a search path.
    pub fn new(container_id: impl Into<String>, netns: impl Into<String>, ifname: impl Into<String>) -> Runtime {
        Runtime {
            container_id: container_id.into(),
            netns: netns.into(),
            ifname: ifname.into(),
            args: Vec::new(),
            capability_args: Json::Null,
            path: Vec::new(),
        }
    }
}

/// An attachment that a GC is to leave alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attachment {
    /// The container.
    pub container_id: String,
    /// The interface in it.
    pub ifname: String,
}

/// ADD: every plugin in order, each with the result of the one before. The last result is cached and returned.
///
/// # Errors
/// The first plugin's error, with `plugin type="X" name="Y" failed (add): ` in front; its code is kept. Nothing is undone: call [`del`].
pub fn add(list: &NetworkList, runtime: &Runtime, invoke: &dyn Invoke, cache: &Cache) -> Result<CniResult> {
    let _ = (list, runtime, invoke, cache);
    Err(Error::internal("chains are being written"))
}

/// DEL: every plugin in reverse order, with the cached result from 0.4.0 on; then the cache file is removed.
///
/// # Errors
/// The first plugin's error stops the chain and keeps the cache file; the runtime should try again.
pub fn del(list: &NetworkList, runtime: &Runtime, invoke: &dyn Invoke, cache: &Cache) -> Result<()> {
    let _ = (list, runtime, invoke, cache);
    Err(Error::internal("chains are being written"))
}

/// CHECK: every plugin in order, with the cached result.
///
/// # Errors
/// Below 0.4.0; if the cached result cannot be read; the first plugin's error.
pub fn check(list: &NetworkList, runtime: &Runtime, invoke: &dyn Invoke, cache: &Cache) -> Result<()> {
    let _ = (list, runtime, invoke, cache);
    Err(Error::internal("chains are being written"))
}

/// GC: DEL for every cached attachment of the network that is not in `valid`, then, from 1.1.0 on, GC of every plugin. Without `valid`
/// nothing is known to be valid, and plugins are not told a list.
///
/// # Errors
/// All errors met, in one; the code is the first one's.
pub fn gc(
    list: &NetworkList,
    valid: Option<&[Attachment]>,
    path: &[PathBuf],
    invoke: &dyn Invoke,
    cache: &Cache,
) -> Result<()> {
    let _ = (list, valid, path, invoke, cache);
    Err(Error::internal("chains are being written"))
}

/// STATUS: every plugin in order; succeeds below 1.1.0, where there is no such command.
///
/// # Errors
/// The first plugin's error as it is, so that its code survives.
pub fn status(list: &NetworkList, path: &[PathBuf], invoke: &dyn Invoke) -> Result<()> {
    let _ = (list, path, invoke);
    Err(Error::internal("chains are being written"))
}
