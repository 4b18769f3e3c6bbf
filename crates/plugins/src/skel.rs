//! What makes a [`Plugin`] a CNI program: environment and stdin in, result or error on stdout, exit code.

use std::process::ExitCode;

use crate::Plugin;

/// A whole CNI program: one call, from the process's environment and stdin to its exit code.
pub fn main(_plugin: &dyn Plugin) -> ExitCode {
    todo!()
}
