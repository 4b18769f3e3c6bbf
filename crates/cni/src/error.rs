//! The error object of the specification (section "Error"): a code, a message, details.

use std::fmt;

use crate::Json;

/// A code of the specification's table, or of the originals' libraries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u32);

impl Code {
    /// The plugin does not speak the configuration's `cniVersion`.
    pub const INCOMPATIBLE_VERSION: Code = Code(1);
    /// A field has a value that is not supported; the message has key and value.
    pub const UNSUPPORTED_FIELD: Code = Code(2);
    /// The container is unknown or gone: the runtime need not clean up.
    pub const UNKNOWN_CONTAINER: Code = Code(3);
    /// A `CNI_*` environment variable is missing or invalid.
    pub const INVALID_ENVIRONMENT: Code = Code(4);
    /// Reading or writing failed.
    pub const IO: Code = Code(5);
    /// The configuration is not JSON, or a value has the wrong type.
    pub const DECODE: Code = Code(6);
    /// The network configuration is invalid.
    pub const INVALID_CONFIG: Code = Code(7);
    /// The network namespace is not one (code of the originals' library, not in the specification).
    pub const INVALID_NETNS: Code = Code(8);
    /// Transient: the runtime should try again later.
    pub const TRY_AGAIN: Code = Code(11);
    /// STATUS: the plugin cannot serve ADD.
    pub const NOT_AVAILABLE: Code = Code(50);
    /// STATUS: the plugin cannot serve ADD, and existing containers may have limited connectivity.
    pub const NOT_AVAILABLE_LIMITED: Code = Code(51);
    /// Any other failure (what every ordinary error of the reference plugins is).
    pub const INTERNAL: Code = Code(999);
}

/// A CNI error: what a plugin prints and a runtime shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The code.
    pub code: Code,
    /// What failed, on which object, why, and what to do about it.
    pub message: String,
    /// More, where it helps: the offending value, output of an external plugin.
    pub details: String,
}

impl Error {
    /// An error without details.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error { code, message: message.into(), details: String::new() }
    }

    /// An ordinary failure: [`Code::INTERNAL`].
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(Code::INTERNAL, message)
    }

    /// An invalid network configuration: [`Code::INVALID_CONFIG`].
    pub fn config(message: impl Into<String>) -> Self {
        Error::new(Code::INVALID_CONFIG, message)
    }

    /// The same error with details.
    #[must_use]
    pub fn with_details(mut self, details: impl Into<String>) -> Self {
        self.details = details.into();
        self
    }

    /// The same error with what was attempted in front of its message; code and details stay.
    #[must_use]
    pub fn context(mut self, attempted: impl fmt::Display) -> Self {
        self.message = format!("{attempted}: {}", self.message);
        self
    }

    /// All errors as one: the first one's code, every message.
    ///
    /// # Errors
    /// Unless there are none.
    pub fn join(errors: impl IntoIterator<Item = Error>) -> crate::Result<()> {
        let mut errors = errors.into_iter();
        let Some(mut all) = errors.next() else { return Ok(()) };
        for error in errors {
            all.message = format!("{} / {}", all.message, error.message);
            if !error.details.is_empty() {
                let separator = if all.details.is_empty() { "" } else { " / " };
                all.details = format!("{}{separator}{}", all.details, error.details);
            }
        }
        Err(all)
    }

    /// The error object of the specification, `cniVersion` included.
    #[must_use]
    pub fn to_json(&self, version: &str) -> Json {
        let mut object = Json::object();
        object.set("cniVersion", version);
        object.set("code", u64::from(self.code.0));
        object.set("msg", self.message.as_str());
        if !self.details.is_empty() {
            object.set("details", self.details.as_str());
        }
        object
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, "; {}", self.details) }
    }
}

impl std::error::Error for Error {}

impl From<crate::json::Error> for Error {
    fn from(e: crate::json::Error) -> Self {
        Error::new(Code::DECODE, format!("failed to read the network configuration: {e}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_object_of_the_specification() {
        let error = Error::new(Code::TRY_AGAIN, "m").context("at").with_details("d \"q\"");
        assert_eq!(
            error.to_json("1.0.0").to_vec(),
            br#"{"cniVersion":"1.0.0","code":11,"msg":"at: m","details":"d \"q\""}"#
        );
        assert_eq!(Error::internal("m").to_json("").to_vec(), br#"{"cniVersion":"","code":999,"msg":"m"}"#);
        assert_eq!(error.to_string(), "at: m; d \"q\"");
    }
}
