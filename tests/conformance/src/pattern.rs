//! Comparing what a plugin or a tool says with what a case expects, by meaning.
//!
//! Owns: the pattern language of the case files.
//! - An object matches if every key of the pattern does (`exact`: and there are no others); `"<absent>"`: the key must not be there.
//! - An array matches element by element; `{"$contains": [..]}`, `{"$lacks": [..]}`, `{"$len": n}` (`{"$count": [pattern, n]}`) look into it.
//! - `"<any>"` matches anything, `"<any:name>"` the same and remembers it: every later `"<any:name>"`, and `${name}` in later steps, must be
//!   (is) the same value. `"~REGEX"` matches a string. Everything else must be equal.

use std::collections::BTreeMap;

use regex_lite::Regex;
use serde_json::Value;

/// Remembered values.
pub type Bindings = BTreeMap<String, String>;

/// Compares; the error says where and what differs.
///
/// # Errors
/// The first difference: path, expected, got.
pub fn matches(pattern: &Value, got: &Value, exact: bool, bindings: &mut Bindings) -> Result<(), String> {
    compare(pattern, got, exact, "", bindings)
}

fn differ(path: &str, expected: &dyn std::fmt::Display, got: &dyn std::fmt::Display) -> Result<(), String> {
    let at = if path.is_empty() { "the value" } else { path };
    Err(format!("{at}: expected {expected}, got {got}"))
}

fn compare(pattern: &Value, got: &Value, exact: bool, path: &str, bindings: &mut Bindings) -> Result<(), String> {
    match pattern {
        Value::String(s) => compare_text(s, got, path, bindings),
        Value::Object(wanted) if wanted.keys().next().is_some_and(|k| k.starts_with('$')) => {
            wanted.iter().try_for_each(|(op, arg)| operator(op, arg, got, exact, path, bindings))
        }
        Value::Object(wanted) => {
            let Value::Object(found) = got else { return differ(path, pattern, got) };
            for (key, value) in wanted {
                let at = format!("{path}.{key}");
                match (value.as_str(), found.get(key)) {
                    (Some("<absent>"), None) => {}
                    (Some("<absent>"), Some(v)) => return differ(&at, &"nothing", v),
                    (_, None) => return differ(&at, value, &"nothing"),
                    (_, Some(v)) => compare(value, v, exact, &at, bindings)?,
                }
            }
            match found.keys().find(|k| exact && !wanted.contains_key(*k)) {
                Some(extra) => differ(&format!("{path}.{extra}"), &"nothing", &found[extra]),
                None => Ok(()),
            }
        }
        Value::Array(wanted) => {
            let Value::Array(found) = got else { return differ(path, pattern, got) };
            if wanted.len() != found.len() {
                return differ(path, pattern, got);
            }
            wanted
                .iter()
                .zip(found)
                .enumerate()
                .try_for_each(|(i, (w, f))| compare(w, f, exact, &format!("{path}[{i}]"), bindings))
        }
        _ if pattern == got => Ok(()),
        _ => differ(path, pattern, got),
    }
}

fn compare_text(pattern: &str, got: &Value, path: &str, bindings: &mut Bindings) -> Result<(), String> {
    if pattern == "<any>" {
        return Ok(());
    }
    if let Some(name) = pattern.strip_prefix("<any:").and_then(|p| p.strip_suffix('>')) {
        let text = got.as_str().map_or_else(|| got.to_string(), ToOwned::to_owned);
        let bound = bindings.entry(name.to_owned()).or_insert_with(|| text.clone());
        return if *bound == text {
            Ok(())
        } else {
            differ(path, &format!("\"{bound}\" (seen before as {name})"), got)
        };
    }
    let Value::String(text) = got else { return differ(path, &format!("\"{pattern}\""), got) };
    let same = match pattern.strip_prefix('~') {
        Some(regex) => Regex::new(regex).map_err(|e| format!("bad regex {regex}: {e}"))?.is_match(text),
        None => pattern == text,
    };
    if same { Ok(()) } else { differ(path, &format!("\"{pattern}\""), got) }
}

fn operator(
    op: &str,
    arg: &Value,
    got: &Value,
    exact: bool,
    path: &str,
    bindings: &mut Bindings,
) -> Result<(), String> {
    let Value::Array(found) = got else { return differ(path, &"an array", got) };
    let mut hit = |wanted: &Value| {
        found.iter().any(|f| {
            let mut trial = bindings.clone();
            let same = compare(wanted, f, exact, path, &mut trial).is_ok();
            if same {
                *bindings = trial;
            }
            same
        })
    };
    match (op, arg) {
        ("$contains", Value::Array(all)) => match all.iter().find(|w| !hit(w)) {
            Some(missing) => differ(path, &format!("an element {missing}"), got),
            None => Ok(()),
        },
        ("$lacks", Value::Array(none)) => match none.iter().find(|w| hit(w)) {
            Some(extra) => differ(path, &format!("no element {extra}"), got),
            None => Ok(()),
        },
        ("$len", n) if n.as_u64() == Some(found.len() as u64) => Ok(()),
        ("$len", n) => differ(path, &format!("{n} elements"), got),
        _ => Err(format!("{path}: unknown operator {op} {arg}")),
    }
}

/// Replaces every `${name}` in every string of a document.
pub fn substitute(value: &Value, vars: &Bindings) -> Value {
    match value {
        Value::String(s) => Value::String(expand(s, vars)),
        Value::Array(a) => a.iter().map(|v| substitute(v, vars)).collect(),
        Value::Object(o) => o.iter().map(|(k, v)| (expand(k, vars), substitute(v, vars))).collect(),
        other => other.clone(),
    }
}

/// Replaces every `${name}` in a text; an unknown name stays as it is.
#[must_use]
pub fn expand(text: &str, vars: &Bindings) -> String {
    let mut out = text.to_owned();
    // Values may hold names themselves ("${dir}/x"); two rounds are enough for what the cases do.
    for _ in 0..2 {
        for (name, value) in vars {
            if out.contains("${") {
                out = out.replace(&format!("${{{name}}}"), value);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn same(pattern: &Value, got: &Value, exact: bool) -> bool {
        matches(pattern, got, exact, &mut Bindings::new()).is_ok()
    }

    #[test]
    fn objects_and_arrays() {
        let got = json!({"a": 1, "b": ["x", "y"]});
        assert!(same(&json!({"a": 1}), &got, false) && !same(&json!({"a": 1}), &got, true));
        assert!(!same(&json!({"a": 2}), &got, false) && !same(&json!({"c": "<any>"}), &got, false));
        assert!(same(&json!({"c": "<absent>"}), &got, false) && !same(&json!({"a": "<absent>"}), &got, false));
        assert!(same(&json!({"b": ["x", "y"]}), &got, false) && !same(&json!({"b": ["x"]}), &got, false));
        assert!(!same(&json!({"b": ["y", "x"]}), &got, false));
        assert!(
            same(&json!({"b": {"$contains": ["y"]}}), &got, false)
                && !same(&json!({"b": {"$contains": ["z"]}}), &got, false)
        );
        assert!(
            same(&json!({"b": {"$lacks": ["z"]}}), &got, false) && !same(&json!({"b": {"$lacks": ["y"]}}), &got, false)
        );
        assert!(same(&json!({"b": {"$len": 2}}), &got, false) && !same(&json!({"b": {"$len": 1}}), &got, false));
        assert!(!same(&json!({"b": {"$nonsense": 1}}), &got, false));
    }

    #[test]
    fn texts() {
        assert!(same(&json!("~^ve"), &json!("veth0"), false) && !same(&json!("~^eth"), &json!("veth0"), false));
        assert!(!same(&json!("1"), &json!(1), false));
        let mut bound = Bindings::new();
        let pair = json!(["<any:mac>", "<any:mac>"]);
        assert!(matches(&pair, &json!(["a", "a"]), false, &mut bound).is_ok());
        assert!(matches(&pair, &json!(["b", "b"]), false, &mut bound).is_err(), "bound to a");
        assert!(matches(&pair, &json!(["a", "b"]), false, &mut Bindings::new()).is_err());
        assert_eq!(expand("${mac}/${other}", &bound), "a/${other}");
    }
}
