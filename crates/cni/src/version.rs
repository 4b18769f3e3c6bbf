//! The specification's versions and what each one allows.

use std::fmt;
use std::str::FromStr;

use crate::{Code, Error};

/// A version of the specification that is spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Version {
    V0_1_0,
    V0_2_0,
    V0_3_0,
    V0_3_1,
    V0_4_0,
    V1_0_0,
    V1_1_0,
}

impl Version {
    /// All, oldest first.
    pub const ALL: [Version; 7] = [
        Version::V0_1_0,
        Version::V0_2_0,
        Version::V0_3_0,
        Version::V0_3_1,
        Version::V0_4_0,
        Version::V1_0_0,
        Version::V1_1_0,
    ];

    /// The newest.
    pub const CURRENT: Version = Version::V1_1_0;

    /// As it stands in `cniVersion`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Version::V0_1_0 => "0.1.0",
            Version::V0_2_0 => "0.2.0",
            Version::V0_3_0 => "0.3.0",
            Version::V0_3_1 => "0.3.1",
            Version::V0_4_0 => "0.4.0",
            Version::V1_0_0 => "1.0.0",
            Version::V1_1_0 => "1.1.0",
        }
    }

    /// CHECK exists (0.4.0 and later).
    #[must_use]
    pub fn has_check(self) -> bool {
        self >= Version::V0_4_0
    }

    /// GC and STATUS exist (1.1.0 and later).
    #[must_use]
    pub fn has_gc_and_status(self) -> bool {
        self >= Version::V1_1_0
    }

    /// Versions whose results have the same shape: a `prevResult` of another family cannot be read by the originals.
    #[must_use]
    pub fn family(self) -> &'static [Version] {
        match self {
            Version::V0_1_0 | Version::V0_2_0 => &Version::ALL[..2],
            Version::V0_3_0 | Version::V0_3_1 | Version::V0_4_0 => &Version::ALL[2..5],
            Version::V1_0_0 | Version::V1_1_0 => &Version::ALL[5..],
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Version {
    type Err = Error;

    /// The match is by text; the empty string means 0.1.0 (a configuration without `cniVersion`).
    fn from_str(s: &str) -> Result<Self, Error> {
        if s.is_empty() {
            return Ok(Version::V0_1_0);
        }
        Version::ALL.into_iter().find(|v| v.as_str() == s).ok_or_else(|| incompatible(s, &Version::ALL))
    }
}

/// What a plugin says to a version it does not speak.
pub(crate) fn incompatible(config: &str, supported: &[Version]) -> Error {
    let supported: Vec<_> = supported.iter().map(|v| format!("{:?}", v.as_str())).collect();
    Error::new(Code::INCOMPATIBLE_VERSION, "incompatible CNI versions")
        .with_details(format!("config is {config:?}, plugin supports [{}]", supported.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_match_by_text() {
        for version in Version::ALL {
            assert_eq!(version.as_str().parse::<Version>().unwrap(), version);
            assert!(version.family().contains(&version));
        }
        assert_eq!("".parse::<Version>().unwrap(), Version::V0_1_0);
        for bad in ["1.1", "0.3", "1.1.0 ", "v1.0.0", "1.2.0", "0.0.0"] {
            let error = bad.parse::<Version>().unwrap_err();
            assert_eq!(error.code, Code::INCOMPATIBLE_VERSION);
            assert!(
                error.details.starts_with(&format!("config is {bad:?}, plugin supports [\"0.1.0\" \"0.2.0\"")),
                "{error}"
            );
        }
    }

    #[test]
    fn commands_came_with_versions() {
        let with = |has: fn(Version) -> bool| {
            Version::ALL.into_iter().filter(|v| has(*v)).map(Version::as_str).collect::<Vec<_>>()
        };
        assert_eq!(with(Version::has_check), ["0.4.0", "1.0.0", "1.1.0"]);
        assert_eq!(with(Version::has_gc_and_status), ["1.1.0"]);
    }
}
