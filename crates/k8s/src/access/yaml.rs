//! YAML as a tree of JSON: as much as a kubeconfig needs. A library that fills Rust's types from YAML would add 400 kB to the binary.
//!
//! Owns: which plain words are not text (`true`, `false`, `null`; numbers stay text, no key of a kubeconfig is one), aliases, and a limit on
//! what they can grow to.

use std::collections::HashMap;

use cni::{Error, Result};
use granit_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

/// Values in all, those that aliases repeat included. A kubeconfig has some dozens.
const MOST: usize = 100_000;

/// A collection that is not complete yet, and its anchor (0 for none).
enum Open {
    List(Vec<Value>, usize),
    /// With the key whose value comes next.
    Map(Map<String, Value>, Option<String>, usize),
}

/// The first document; `null` if there is none.
///
/// # Errors
/// With the place; never with what stands there, which may be a secret.
pub(super) fn parse(text: &str) -> Result<Value> {
    let mut open: Vec<Open> = Vec::new();
    let mut anchors: HashMap<usize, Value> = HashMap::new();
    let mut count = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|e| Error::config(format!("it is no YAML: {e}")))?;
        let wrong = |why: &str| Error::config(format!("line {}: {why}", span.start.line()));
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, _) => (scalar(&text, style), anchor),
            Event::Alias(anchor) => {
                (anchors.get(&anchor).cloned().ok_or_else(|| wrong("an alias inside its own anchor"))?, 0)
            }
            Event::SequenceStart(_, anchor, _) => {
                open.push(Open::List(Vec::new(), anchor));
                continue;
            }
            Event::MappingStart(_, anchor, _) => {
                open.push(Open::Map(Map::new(), None, anchor));
                continue;
            }
            Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                Some(Open::List(list, anchor)) => (Value::Array(list), anchor),
                Some(Open::Map(map, _, anchor)) => (Value::Object(map), anchor),
                None => return Err(wrong("an end without a beginning")),
            },
            Event::DocumentEnd => break,
            _ => continue,
        };
        count += size(&value);
        if count > MOST {
            return Err(wrong("its aliases grow without end"));
        }
        if anchor != 0 {
            anchors.insert(anchor, value.clone());
        }
        match open.last_mut() {
            None => return Ok(value),
            Some(Open::List(list, _)) => list.push(value),
            Some(Open::Map(map, key, _)) => match (key.take(), value) {
                (Some(key), value) => _ = map.insert(key, value),
                (None, Value::String(text)) => *key = Some(text),
                (None, _) => return Err(wrong("a key that is no text")),
            },
        }
    }
    Ok(Value::Null)
}

fn scalar(text: &str, style: ScalarStyle) -> Value {
    match text {
        "" | "~" | "null" if style == ScalarStyle::Plain => Value::Null,
        "true" if style == ScalarStyle::Plain => true.into(),
        "false" if style == ScalarStyle::Plain => false.into(),
        _ => text.into(),
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(list) => 1 + list.iter().map(size).sum::<usize>(),
        Value::Object(map) => 1 + map.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_forms_of_a_kubeconfig() {
        let text = "%YAML 1.2\n--- # comment\na: &x {k: [1, yes, 'true', true, ~, \"\"]}\nb: *x\nc: |\n  two\n  lines\nd: >-\n  one\n  line\n\"e f\":\n- g: h\n...\n--- another\n";
        let tree = json!({"k": ["1", "yes", "true", true, null, ""]});
        let expected = json!({"a": tree, "b": tree, "c": "two\nlines\n", "d": "one line", "e f": [{"g": "h"}]});
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse("").unwrap(), Value::Null);
        assert_eq!(parse("# nothing\n").unwrap(), Value::Null);
    }

    #[test]
    fn what_is_none() {
        for (text, said) in [
            ("a: [", "no YAML"),
            ("a: b: c", "no YAML"),
            ("[1]: x", "line 1: a key that is no text"),
            ("a: *b", "no YAML"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(said), "{text:?}: {error}");
        }
        let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for i in 1..20 {
            let before = format!("*a{}, ", i - 1).repeat(10);
            bomb.push_str(&format!("a{i}: &a{i} [{before}]\n"));
        }
        assert!(parse(&bomb).unwrap_err().message.contains("without end"));
        assert!(parse(&"[".repeat(100_000)).is_err());
        assert!(parse(&format!("{}1{}", "[".repeat(200), "]".repeat(200))).is_ok());
    }
}
