//! `CNI_ARGS`: `K=V;K2=V2`.
//!
//! ```
//! use plexus_cni::args;
//!
//! let args = args::load("IgnoreUnknown=1;IP=10.1.2.3;K8S_POD_NAME=web", &["IP", "MAC"])?;
//! assert_eq!(args.get("IP"), Some("10.1.2.3"));
//! assert!(args::load("K8S_POD_NAME=web", &["IP"]).is_err());
//! # Ok::<(), plexus_cni::Error>(())
//! ```

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

/// Reads `CNI_ARGS` as the reference plugins do: only `known` keys (case matters) and `IgnoreUnknown` may be there.
///
/// # Errors
/// Code 4: a pair without exactly one `=`; unknown keys, unless `IgnoreUnknown` is `1` or `true` in any case; any other value of it than
/// these, `0` and `false`.
pub fn load(raw: &str, known: &[&str]) -> Result<Args> {
    if raw.is_empty() {
        return Ok(Args::default());
    }
    let mut args = Args::default();
    let (mut unknown, mut ignore) = (Vec::new(), false);
    for pair in raw.split(';') {
        let (key, value) =
            pair.split_once('=').filter(|(_, value)| !value.contains('=')).ok_or_else(|| invalid(pair))?;
        if key == "IgnoreUnknown" {
            ignore = boolean(pair, value)?;
        } else if known.contains(&key) {
            args.pairs.push((key.to_owned(), value.to_owned()));
        } else {
            unknown.push(pair);
        }
    }
    if unknown.is_empty() || ignore {
        return Ok(args);
    }
    let unknown: Vec<_> = unknown.iter().map(|pair| format!("{pair:?}")).collect();
    Err(Error::new(Code::INVALID_ENVIRONMENT, format!("CNI_ARGS: unknown args [{}]", unknown.join(" ")))
        .with_details(format!("known here: {}; IgnoreUnknown=1 allows others", known.join(", "))))
}

fn boolean(pair: &str, value: &str) -> Result<bool> {
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" => Ok(true),
        "0" | "false" => Ok(false),
        _ => Err(Error::new(
            Code::INVALID_ENVIRONMENT,
            format!("CNI_ARGS: error parsing value of pair {pair:?}: write 1, 0, true or false"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn pairs_keep_their_order_and_values_may_hold_equal_signs() {
        let args = Args::parse("IP=10.0.0.1;X=a=b;EMPTY=;IP=10.0.0.2").unwrap();
        assert_eq!(args.get("IP"), Some("10.0.0.2"));
        assert_eq!(args.get("X"), Some("a=b"));
        assert_eq!(args.get("EMPTY"), Some(""));
        assert_eq!(args.get("ip"), None);
        assert_eq!(args.pairs().len(), 4);
        assert_eq!(join(args.pairs()), "IP=10.0.0.1;X=a=b;EMPTY=;IP=10.0.0.2");
    }

    #[test]
    fn half_pairs_are_errors() {
        for raw in ["IP", ";", "A=1;", "=x", "A=1;;B=2"] {
            let error = Args::parse(raw).unwrap_err();
            assert_eq!(error.code, Code::INVALID_ENVIRONMENT, "{raw}");
        }
        assert_eq!(load("A=1=2", &["A"]).unwrap_err().message, "CNI_ARGS: invalid pair \"A=1=2\"");
    }

    #[test]
    fn unknown_keys_need_ignore_unknown() {
        assert_eq!(load("", &["IP"]).unwrap(), Args::default());
        assert_eq!(load("IP=1", &["IP"]).unwrap().get("IP"), Some("1"));
        let error = load("FOO=BAR;IP=1;ip=2", &["IP"]).unwrap_err();
        assert_eq!(error.message, "CNI_ARGS: unknown args [\"FOO=BAR\" \"ip=2\"]");
        for ignore in ["1", "true", "TRUE", "True"] {
            // Where it stands among the pairs does not matter.
            for raw in [format!("IgnoreUnknown={ignore};FOO=BAR;IP=1"), format!("FOO=BAR;IP=1;IgnoreUnknown={ignore}")]
            {
                assert_eq!(load(&raw, &["IP"]).unwrap().pairs(), [("IP".to_owned(), "1".to_owned())], "{raw}");
            }
        }
        for ignore in ["0", "false"] {
            assert!(load(&format!("IgnoreUnknown={ignore};FOO=BAR"), &["IP"]).is_err());
        }
        assert!(load("IgnoreUnknown=yes", &[]).is_err());
        assert!(load("ignoreunknown=1;FOO=BAR", &[]).is_err());
    }

    proptest! {
        #[test]
        fn joined_pairs_are_read_again(pairs in prop::collection::vec(("[^=;]+", "[^;]*"), 0..8)) {
            let read = Args::parse(&join(&pairs)).unwrap();
            prop_assert_eq!(read.pairs(), &pairs);
        }

        #[test]
        fn any_text_is_arguments_or_an_error(raw in ".*") {
            let _ = Args::parse(&raw);
            let _ = load(&raw, &["IP"]);
        }
    }
}
