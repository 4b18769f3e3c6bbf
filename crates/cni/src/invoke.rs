//! The port through which plugins are run: in process or as programs, the caller does not know which.

use crate::{Call, CniResult, Result};

/// Runs one plugin once.
///
/// Whoever holds a chain, an IPAM delegate or a meta-plugin's delegate calls this; [`crate::exec`](crate) runs a program, the node's
/// registry runs what is compiled in and falls back to programs.
pub trait Invoke {
    /// Performs `call` on the plugin of type `plugin`.
    ///
    /// `Some` result on ADD, `None` on every other command.
    ///
    /// # Errors
    /// The plugin's own error, code and details kept; or why it could not be run.
    fn invoke(&self, plugin: &str, call: &Call) -> Result<Option<CniResult>>;

    /// What can be told of `call` on that plugin without performing it, and without a program being run: that there is such a plugin, that
    /// it takes the configuration. Success says nothing where nothing can be told.
    ///
    /// # Errors
    /// What [`Invoke::invoke`] would say.
    fn validate(&self, _plugin: &str, _call: &Call) -> Result<()> {
        Ok(())
    }
}
