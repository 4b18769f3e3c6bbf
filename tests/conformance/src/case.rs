//! The case files: what a test does and expects, as data.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use crate::wire;

/// One file of `cases/`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// What the file covers.
    pub about: String,
    /// Its cases run within our meta-plugin too.
    #[serde(default)]
    pub in_process: bool,
    /// Its cases run with ADD by one side and the rest by the other, too.
    #[serde(default)]
    pub interop: bool,
    /// The cases.
    pub cases: Vec<Case>,
}

/// One case: a world, and steps in it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// Unique within the file.
    pub name: String,
    /// Versions it runs with (`${version}`, and the configuration's `cniVersion`); `["all"]`; default 1.1.0.
    #[serde(default = "latest")]
    versions: Vec<String>,
    /// The plugin of steps that name none.
    pub plugin: String,
    /// The configuration of steps that have none.
    #[serde(default)]
    pub conf: Value,
    /// Kernel features it needs: `vlan_filtering`.
    #[serde(default)]
    pub needs: Vec<String>,
    /// It needs originals newer than Debian's 1.1.1: the release that brought the feature.
    #[serde(default)]
    pub since: Option<String>,
    /// Why the original at hand cannot run it at all (another reason than a version).
    #[serde(default)]
    pub not_original: Option<String>,
    /// Commands that make the world, `host: ...` or `pod: ...`.
    #[serde(default)]
    pub setup: Vec<String>,
    /// Files that exist at the start.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Overrides the file's word.
    #[serde(default)]
    pub in_process: Option<bool>,
    /// Overrides the file's word.
    #[serde(default)]
    pub interop: Option<bool>,
    /// What happens.
    pub steps: Vec<Step>,
}

/// One step: `do` a call, `run` a command, or look at something.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Step {
    /// A CNI command.
    #[serde(rename = "do")]
    pub call: Option<String>,
    /// The program; default the case's.
    pub plugin: Option<String>,
    /// The configuration; default the case's.
    pub conf: Option<Value>,
    /// Merged over the configuration (`null` removes a key).
    pub with: Option<Value>,
    /// stdin as it is, in place of a configuration.
    pub stdin: Option<String>,
    /// `CNI_CONTAINERID`, default `c0ffee01`.
    pub id: Option<String>,
    /// `CNI_IFNAME`, default `eth0`.
    pub ifname: Option<String>,
    /// `CNI_NETNS`, default `${netns}`.
    pub netns: Option<String>,
    /// `CNI_ARGS`, default none.
    pub args: Option<String>,
    /// Environment variables set, or removed (`null`).
    pub env: BTreeMap<String, Option<String>>,
    /// `prevResult`: default what ADD of this container and interface returned (CHECK and DEL from 0.4.0 on); `false` none.
    pub prev: Option<Value>,
    /// Only in these versions and newer.
    pub from: Option<String>,
    /// Only up to this version.
    pub until: Option<String>,
    /// Only where the originals are newer than Debian's 1.1.1, or take no part.
    pub since: Option<String>,
    /// Not within the meta-plugin, where it makes no sense (`false`).
    pub meta: Option<bool>,
    /// Runs a command; it must succeed.
    pub run: Option<String>,
    /// Runs a command that prints JSON.
    pub see: Option<String>,
    /// Runs a command that prints text.
    pub text: Option<String>,
    /// Reads a file.
    pub file: Option<String>,
    /// Reads a file of JSON.
    pub json: Option<String>,
    /// Lists a directory.
    pub list: Option<String>,
    /// There is no such file or directory.
    pub absent: Option<String>,
    /// Nothing is left of the attachment but what `stays`.
    pub clean: bool,
    /// Parts of lines of a snapshot that stay after `clean`.
    pub stays: Vec<String>,
    /// What is expected.
    #[serde(flatten)]
    pub expect: Expect,
    /// What ours does otherwise.
    pub differs: Option<Differs>,
}

/// What a step should show.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Expect {
    /// The result of ADD in 1.1.0 form without `cniVersion`; compared exactly, in the form of the version at hand.
    pub result: Option<Value>,
    /// stdout as JSON, as it is.
    pub stdout: Option<Value>,
    /// The call fails.
    pub error: Option<ErrorExpect>,
    /// A regex that stderr matches.
    pub stderr: Option<String>,
    /// What is seen.
    pub is: Option<Value>,
    /// Regexes that a text matches (a file, `text`).
    pub matches: Vec<String>,
    /// Regexes that a text does not match.
    pub not: Vec<String>,
}

/// How a call fails.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ErrorExpect {
    /// The code.
    pub code: i64,
    /// Ours has a code that says more (`docs/compatibility.md`, `error-codes`).
    #[serde(default)]
    pub ours: Option<i64>,
    /// A regex (case-insensitive) that message and details, taken together, match.
    #[serde(default)]
    pub msg: String,
}

/// An intended difference.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Differs {
    /// Its name in `docs/compatibility.md`.
    pub why: String,
    /// In place of the step's expectation.
    #[serde(flatten)]
    pub expect: Expect,
}

fn latest() -> Vec<String> {
    vec!["1.1.0".to_owned()]
}

impl CaseFile {
    /// Reads `cases/<name>.json`.
    ///
    /// # Panics
    /// If it is not there or not valid.
    #[must_use]
    pub fn read(name: &str) -> CaseFile {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(format!("{name}.json"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The names of all files.
    ///
    /// # Panics
    /// If the directory cannot be read.
    #[must_use]
    pub fn all() -> Vec<String> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
        let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = files.filter_map(|f| f.strip_suffix(".json").map(ToOwned::to_owned)).collect();
        names.sort();
        names
    }
}

impl Case {
    /// The versions it runs with.
    #[must_use]
    pub fn versions(&self) -> Vec<String> {
        let all = self.versions.iter().any(|v| v == "all");
        if all { wire::VERSIONS.map(ToOwned::to_owned).to_vec() } else { self.versions.clone() }
    }

    /// Every `why` of its steps.
    pub fn reasons(&self) -> impl Iterator<Item = String> {
        self.steps.iter().flat_map(|s| {
            let code = s.expect.error.as_ref().and_then(|e| e.ours).map(|_| "error-codes".to_owned());
            s.differs.as_ref().map(|d| d.why.clone()).into_iter().chain(code)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_key_is_an_error() {
        assert!(
            serde_json::from_str::<Step>(r#"{"do": "ADD", "result": {}, "differs": {"why": "x", "is": 1}}"#).is_ok()
        );
        for bad in [r#"{"do": "ADD", "reslt": {}}"#, r#"{"do": "ADD", "differs": {"why": "x", "si": 1}}"#] {
            assert!(serde_json::from_str::<Step>(bad).is_err(), "{bad}");
        }
    }
}
