//! JSON as the Go originals read it.
//!
//! Owns: a tree that keeps the document's order ([`Json`]) and reading Rust types out of it ([`from_json`]): object keys match a struct's
//! fields without regard to case, the last duplicate wins, `null` means "not given", unknown keys are ignored. Configurations in the wild
//! rely on each of these (containerd sends `HostPort`, not `hostPort`).
//!
//! ```
//! use plexus_cni::{Json, json};
//!
//! #[derive(serde::Deserialize)]
//! #[serde(default)]
//! #[derive(Default)]
//! struct Conf {
//!     #[serde(rename = "hostPort")]
//!     host_port: u16,
//! }
//! let conf: Conf = json::from_json(&Json::parse(br#"{"HostPort": 80, "hostport": null, "other": []}"#)?)?;
//! assert_eq!(conf.host_port, 80);
//! # Ok::<(), json::Error>(())
//! ```

mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeOwned, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A JSON value that keeps the order, and the duplicates, of object keys.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(serde_json::Number),
    /// A string.
    String(String),
    /// An array.
    Array(Vec<Json>),
    /// An object: its members in document order, duplicates included.
    Object(Vec<(String, Json)>),
}

/// Why a document could not be read: where (`ipam.ranges[0][1].subnet`, empty for the document itself) and what is wrong there.
#[derive(Debug)]
pub struct Error {
    /// The path of keys from the document's root.
    pub path: String,
    /// What is wrong with the value.
    pub message: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "key \"{}\": {}", self.path, self.message)
        }
    }
}

impl std::error::Error for Error {}

impl de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Error { path: String::new(), message: shortened(message.to_string()) }
    }

    /// Serde would name the Rust type (`struct Known`), which says nothing to whoever wrote the JSON.
    fn invalid_type(unexpected: de::Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let expected = expected.to_string();
        let expected = if expected.starts_with("struct ") { "an object" } else { &expected };
        de::Error::custom(format_args!("invalid type: {unexpected}, expected {expected}"))
    }
}

impl Error {
    /// The same error, seen from the object that holds `key`.
    #[must_use]
    fn inside(mut self, key: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{key}{dot}{}", self.path);
        self
    }
}

/// Offending values are quoted in messages, but not a megabyte of them.
fn shortened(mut message: String) -> String {
    const LIMIT: usize = 400;
    if message.len() > LIMIT {
        message.truncate(message.floor_char_boundary(LIMIT));
        message.push_str("...");
    }
    message
}

/// Whether Go's `encoding/json` takes two keys for the same: by simple case folding, in which two letters outside ASCII fold to ASCII ones.
fn same_key(a: &str, b: &str) -> bool {
    fn fold(c: char) -> char {
        match c {
            '\u{17f}' => 'S',
            '\u{212a}' => 'K',
            c => c.to_ascii_uppercase(),
        }
    }
    // Most differ in the first letter.
    a.chars().map(fold).eq(b.chars().map(fold))
}

/// Reads `T` from a document, as Go's `encoding/json` would.
///
/// # Errors
/// Names the key whose value has the wrong type.
pub fn from_json<T: DeserializeOwned>(value: &Json) -> Result<T, Error> {
    T::deserialize(value)
}

impl Json {
    /// Reads a document. Nesting is limited to 127 levels.
    ///
    /// A number without fraction is an integer however it is written (`1500.0`, `15e2`): libcni's plugins see it so, since libcni passes
    /// every configuration through `float64`.
    ///
    /// # Errors
    /// If it is not UTF-8 or not JSON; the message has line and column.
    pub fn parse(bytes: &[u8]) -> Result<Json, Error> {
        serde_json::from_slice(bytes).map_err(|e| Error { path: String::new(), message: e.to_string() })
    }

    /// An object without members.
    #[must_use]
    pub const fn object() -> Json {
        Json::Object(Vec::new())
    }

    /// The document as compact JSON.
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        // Writing a tree with string keys into a Vec cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The document as compact JSON, keys in alphabetical order.
    #[must_use]
    pub fn to_vec_sorted(&self) -> Vec<u8> {
        // As above.
        serde_json::to_vec(&Sorted(self)).unwrap_or_default()
    }

    /// The document indented by four spaces, as the reference plugins print results and errors.
    #[must_use]
    pub fn to_vec_pretty(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        // As above.
        let _ = self.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter));
        bytes
    }

    /// The member `key` of an object, matched without regard to case; the last one wins, `null` is as good as absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        let found = members.iter().rev().find(|(k, v)| same_key(k, key) && *v != Json::Null);
        found.map(|(_, v)| v)
    }

    /// Sets the member `key` of an object, in place of every member of that name in any case.
    pub fn set(&mut self, key: &str, value: impl Into<Json>) {
        self.remove(key);
        if let Json::Object(members) = self {
            members.push((key.to_owned(), value.into()));
        }
    }

    /// Removes every member named `key`, in any case.
    pub fn remove(&mut self, key: &str) {
        if let Json::Object(members) = self {
            members.retain(|(k, _)| !same_key(k, key));
        }
    }

    /// The text, if this is a string.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        if let Json::String(s) = self { Some(s) } else { None }
    }

    /// The members, if this is an object.
    #[must_use]
    pub fn members(&self) -> Option<&[(String, Json)]> {
        if let Json::Object(m) = self { Some(m) } else { None }
    }

    /// The elements, if this is an array.
    #[must_use]
    pub fn elements(&self) -> Option<&[Json]> {
        if let Json::Array(a) = self { Some(a) } else { None }
    }

    /// A document from any serialisable value.
    ///
    /// # Errors
    /// If the value has map keys that are not strings.
    pub fn from_value<T: Serialize>(value: &T) -> Result<Json, Error> {
        let value = serde_json::to_value(value).map_err(<Error as de::Error>::custom)?;
        Ok(Json::from(value))
    }
}

/// The same document with the keys of every object in alphabetical order, as Go writes what it has read; of duplicates the last stays.
#[derive(Clone, Copy, Debug)]
pub struct Sorted<'a>(pub &'a Json);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Json::Array(elements) => serializer.collect_seq(elements.iter().map(Sorted)),
            Json::Object(members) => {
                let sorted: BTreeMap<&String, Sorted<'_>> = members.iter().map(|(k, v)| (k, Sorted(v))).collect();
                serializer.collect_map(sorted)
            }
            other => other.serialize(serializer),
        }
    }
}

impl From<serde_json::Value> for Json {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Json::Null,
            serde_json::Value::Bool(b) => Json::Bool(b),
            serde_json::Value::Number(n) => Json::Number(n),
            serde_json::Value::String(s) => Json::String(s),
            serde_json::Value::Array(a) => Json::Array(a.into_iter().map(Json::from).collect()),
            serde_json::Value::Object(o) => Json::Object(o.into_iter().map(|(k, v)| (k, Json::from(v))).collect()),
        }
    }
}

impl From<&str> for Json {
    fn from(s: &str) -> Self {
        Json::String(s.to_owned())
    }
}

impl From<String> for Json {
    fn from(s: String) -> Self {
        Json::String(s)
    }
}

impl From<bool> for Json {
    fn from(b: bool) -> Self {
        Json::Bool(b)
    }
}

impl From<u64> for Json {
    fn from(n: u64) -> Self {
        Json::Number(n.into())
    }
}

impl From<u32> for Json {
    fn from(n: u32) -> Self {
        Json::Number(n.into())
    }
}

impl From<i64> for Json {
    fn from(n: i64) -> Self {
        Json::Number(n.into())
    }
}

impl From<Vec<Json>> for Json {
    fn from(elements: Vec<Json>) -> Self {
        Json::Array(elements)
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Null => serializer.serialize_unit(),
            Json::Bool(b) => serializer.serialize_bool(*b),
            Json::Number(n) => n.serialize(serializer),
            Json::String(s) => serializer.serialize_str(s),
            Json::Array(a) => {
                let mut seq = serializer.serialize_seq(Some(a.len()))?;
                for element in a {
                    seq.serialize_element(element)?;
                }
                seq.end()
            }
            Json::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

/// Builds a [`Json`] from any self-describing format.
struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Tree)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Json, E> {
        Ok(Json::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Json, E> {
        Ok(Json::Number(n.into()))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Json, E> {
        Ok(Json::Number(n.into()))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked")]
    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Json, E> {
        if n.fract() == 0.0 {
            if (0.0..18_446_744_073_709_551_616.0).contains(&n) {
                return Ok(Json::Number((n as u64).into()));
            }
            if (-9_223_372_036_854_775_808.0..0.0).contains(&n) {
                return Ok(Json::Number((n as i64).into()));
            }
        }
        serde_json::Number::from_f64(n).map(Json::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, s: &str) -> Result<Json, E> {
        Ok(Json::String(s.to_owned()))
    }

    fn visit_string<E>(self, s: String) -> Result<Json, E> {
        Ok(Json::String(s))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(Json::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Json::Object(members))
    }
}
