//! Which plugin types are compiled in, and how one is run: in process where we have it, as a program otherwise.

use cni::{Call, CniResult, Command, Error, Invoke, Result};

use crate::Plugin;

/// The configuration key `inProcess`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InProcess {
    /// A plugin that is compiled in is run in process.
    #[default]
    Auto,
    /// Every plugin is executed as a program, exactly as libcni would.
    Never,
}

/// All compiled-in plugins.
static PLUGINS: &[&dyn Plugin] = &[
    &crate::Bridge,
    &crate::Flannel,
    &crate::HostLocal,
    &crate::Loopback,
    &crate::Macvlan,
    &crate::Passthru,
    &crate::Static,
];

/// Runs plugins: the [`Invoke`] of a node.
pub struct Registry<'a> {
    in_process: InProcess,
    /// How programs are run.
    exec: &'a dyn Invoke,
}

impl<'a> Registry<'a> {
    /// A registry that runs what it does not have through `exec`.
    #[must_use]
    pub fn new(in_process: InProcess, exec: &'a dyn Invoke) -> Self {
        Registry { in_process, exec }
    }

    /// The compiled-in plugin of this type.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static dyn Plugin> {
        PLUGINS.iter().copied().find(|p| p.name() == name)
    }

    /// The types of all compiled-in plugins.
    pub fn names() -> impl Iterator<Item = &'static str> {
        PLUGINS.iter().map(|p| p.name())
    }
}

impl Registry<'_> {
    /// The plugin that a call is to be performed on in process.
    fn in_process(&self, plugin: &str) -> Option<&'static dyn Plugin> {
        Registry::find(plugin).filter(|_| self.in_process == InProcess::Auto)
    }
}

impl Invoke for Registry<'_> {
    fn invoke(&self, plugin: &str, call: &Call) -> Result<Option<CniResult>> {
        match self.in_process(plugin) {
            Some(found) => perform(found, call, self),
            None => self.exec.invoke(plugin, call),
        }
    }

    fn validate(&self, plugin: &str, call: &Call) -> Result<()> {
        match self.in_process(plugin) {
            Some(found) => found.validate(call),
            None => self.exec.validate(plugin, call),
        }
    }
}

/// Performs a call on a compiled-in plugin.
///
/// # Errors
/// The plugin's own.
pub fn perform(plugin: &dyn Plugin, call: &Call, delegates: &dyn Invoke) -> Result<Option<CniResult>> {
    match call.command {
        Command::Add => plugin.add(call, delegates).map(Some),
        Command::Del => plugin.del(call, delegates).map(|()| None),
        Command::Check => plugin.check(call, delegates).map(|()| None),
        Command::Status => plugin.status(call, delegates).map(|()| None),
        Command::Gc => plugin.gc(call, delegates).map(|()| None),
        Command::Version => Err(Error::internal("VERSION is answered by the caller of a plugin, not by the plugin")),
    }
}
