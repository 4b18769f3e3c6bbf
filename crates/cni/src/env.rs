//! A call from outside: the environment and stdin of a process that a runtime started.

use std::ffi::OsString;
use std::io::Read;

use crate::{Call, Error, Result};

/// The longest configuration that is read from stdin, in bytes.
pub const STDIN_LIMIT: u64 = 1_000_000;

/// Reads and validates one call. `var` gives an environment variable, as [`std::env::var_os`] does.
///
/// stdin is not read for VERSION.
///
/// # Errors
/// Those of the specification: code 4 for the environment (all missing variables in one error), 5 if stdin cannot be read or is longer than
/// [`STDIN_LIMIT`], 6 if it is not JSON, 7 for the network's name, 1 for a version that is not spoken or does not have the command.
pub fn call(var: impl Fn(&str) -> Option<OsString>, stdin: &mut dyn Read) -> Result<Call> {
    let _ = (var("CNI_COMMAND"), stdin);
    Err(Error::internal("reading the environment is being written"))
}
