//! The reference CNI plugins, in process: one file each, behind one trait.
//!
//! Owns: what each plugin does with a configuration. The kernel is reached through [`netlink`] only; IPAM plugins and other delegates are
//! reached through [`cni::Invoke`], so a plugin does not know whether its delegate is compiled in or a program.

mod bridge;
mod dns;
#[doc(hidden)]
pub mod files;
mod flannel;
mod host_local;
pub mod interface;
pub mod ipam;
mod loopback;
mod macvlan;
pub mod masquerade;
mod passthru;
mod registry;
pub mod skel;
pub mod spoofcheck;
mod static_;

#[cfg(test)]
mod testing;

pub use bridge::Bridge;
pub use cni::chain::Attachment;
pub use flannel::Flannel;
pub use host_local::HostLocal;
pub use loopback::Loopback;
pub use macvlan::Macvlan;
pub use passthru::Passthru;
pub use registry::{InProcess, Registry, perform};
pub use static_::Static;

use std::path::PathBuf;

use cni::{Call, CniResult, Error, Invoke, Json, Result, Version};

/// One CNI plugin. Implementations hold no state: everything comes with the call.
pub trait Plugin: Sync {
    /// The `type` in a configuration, and the name of the program it stands for.
    fn name(&self) -> &'static str;

    /// The versions of the specification it speaks.
    fn versions(&self) -> &'static [Version] {
        &Version::ALL
    }

    /// DEL removes the container's interface named by the call, and nothing of DEL needs that interface to be there. A runtime may then
    /// remove the interfaces of several attachments in one batch before it calls their DELs. The call tells for plugins whose delegate
    /// decides (flannel).
    fn owns_interface(&self, _call: &Call) -> bool {
        false
    }

    /// The directories in which an ADD with this configuration leaves files. What it makes besides is the kernel's, and gone when the machine
    /// is; what its own delegates leave is theirs to say.
    fn state_dirs(&self, _conf: &Json) -> Vec<PathBuf> {
        Vec::new()
    }

    /// What of an ADD's call can be judged without the kernel and without what is kept on disk: whether the configuration makes sense.
    ///
    /// # Errors
    /// As the ADD would say it.
    fn validate(&self, _call: &Call) -> Result<()> {
        Ok(())
    }

    /// ADD: all or nothing. On an error nothing made by this call is left behind.
    ///
    /// # Errors
    /// Names the object, what was attempted, the errno and the remedy.
    fn add(&self, call: &Call, delegates: &dyn Invoke) -> Result<CniResult>;

    /// DEL: succeeds when there is nothing to undo; never stops early.
    ///
    /// # Errors
    /// If something could not be removed; the runtime should try again.
    fn del(&self, call: &Call, delegates: &dyn Invoke) -> Result<()>;

    /// CHECK: the attachment is as `prevResult` says.
    ///
    /// # Errors
    /// What differs.
    fn check(&self, call: &Call, delegates: &dyn Invoke) -> Result<()>;

    /// STATUS: an ADD could be served now.
    ///
    /// # Errors
    /// Code 50 or 51 and why not.
    fn status(&self, _call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        Ok(())
    }

    /// GC: removes what belongs to no attachment of `cni.dev/valid-attachments`.
    ///
    /// # Errors
    /// If something could not be removed.
    fn gc(&self, _call: &Call, _delegates: &dyn Invoke) -> Result<()> {
        Ok(())
    }
}

/// A kernel error as a CNI error: the netlink layer's text already names request, object, errno and the kernel's words.
pub fn kernel(e: netlink::Error) -> Error {
    Error::internal(e.to_string())
}

/// The outcome of steps that were all made, whatever became of each: all failures as one, with the first one's code.
///
/// # Errors
/// If any step failed.
pub fn every(steps: impl IntoIterator<Item = Result<()>>) -> Result<()> {
    Error::join(steps.into_iter().filter_map(Result::err))
}
