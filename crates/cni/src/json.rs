//! JSON as the Go originals read it.
//!
//! Owns: a tree that keeps the document's order ([`Json`]) and reading Rust types out of it ([`from_json`]): object keys match a struct's
//! fields without regard to case, the last duplicate wins, `null` means "not given", unknown keys are ignored. Configurations in the wild
//! rely on each of these (containerd sends `HostPort`, not `hostPort`).

use std::fmt;

use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};
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
        Error { path: String::new(), message: message.to_string() }
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

    /// The member `key` of an object, matched without regard to case; the last one wins, `null` is as good as absent.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        let found = members.iter().rev().find(|(k, v)| k.eq_ignore_ascii_case(key) && *v != Json::Null);
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
            members.retain(|(k, _)| !k.eq_ignore_ascii_case(key));
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
        let value = serde_json::to_value(value).map_err(|e| de::Error::custom(e))?;
        Ok(Json::from(value))
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

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Json, E> {
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

impl Json {
    /// What stands here, for messages.
    fn unexpected(&self) -> de::Unexpected<'_> {
        match self {
            Json::Null => de::Unexpected::Unit,
            Json::Bool(b) => de::Unexpected::Bool(*b),
            Json::Number(n) => match (n.as_u64(), n.as_i64(), n.as_f64()) {
                (Some(n), _, _) => de::Unexpected::Unsigned(n),
                (_, Some(n), _) => de::Unexpected::Signed(n),
                (_, _, n) => de::Unexpected::Float(n.unwrap_or(f64::NAN)),
            },
            Json::String(s) => de::Unexpected::Str(s),
            Json::Array(_) => de::Unexpected::Seq,
            Json::Object(_) => de::Unexpected::Map,
        }
    }
}

impl<'de> Deserializer<'de> for &'de Json {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Json::Null => visitor.visit_unit(),
            Json::Bool(b) => visitor.visit_bool(*b),
            Json::Number(n) => match (n.as_u64(), n.as_i64(), n.as_f64()) {
                (Some(n), _, _) => visitor.visit_u64(n),
                (_, Some(n), _) => visitor.visit_i64(n),
                (_, _, Some(n)) => visitor.visit_f64(n),
                _ => Err(de::Error::custom("number out of range")),
            },
            Json::String(s) => visitor.visit_borrowed_str(s),
            Json::Array(a) => visitor.visit_seq(Elements { rest: a.iter(), index: 0 }),
            Json::Object(members) => visitor.visit_map(Members { rest: members.iter(), current: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if *self == Json::Null { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    /// Only here are keys known, so only here can they be matched as Go does.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Json::Object(members) = self else { return Err(de::Error::invalid_type(self.unexpected(), &visitor)) };
        let mut found: Vec<Option<&Json>> = vec![None; fields.len()];
        for (key, value) in members.iter().filter(|(_, v)| *v != Json::Null) {
            let exact = fields.iter().position(|f| f == key);
            if let Some(at) = exact.or_else(|| fields.iter().position(|f| f.eq_ignore_ascii_case(key))) {
                found[at] = Some(value);
            }
        }
        visitor.visit_map(Fields { rest: fields.iter().zip(found).collect::<Vec<_>>().into_iter(), current: None })
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Json::String(s) = self else { return Err(de::Error::invalid_type(self.unexpected(), &"a string")) };
        if !variants.contains(&s.as_str()) {
            return Err(de::Error::unknown_variant(s, variants));
        }
        visitor.visit_enum(s.as_str().into_deserializer())
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Elements<'de> {
    rest: std::slice::Iter<'de, Json>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(value) = self.rest.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        seed.deserialize(value).map(Some).map_err(|e| e.inside(&format!("[{index}]")))
    }
}

struct Members<'de> {
    rest: std::slice::Iter<'de, (String, Json)>,
    current: Option<&'de (String, Json)>,
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.rest.next();
        self.current.map(|(key, _)| seed.deserialize(key.as_str().into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, value) = self.current.ok_or_else(|| <Error as de::Error>::custom("value without key"))?;
        seed.deserialize(value).map_err(|e| e.inside(key))
    }
}

struct Fields<'de> {
    rest: std::vec::IntoIter<(&'static &'static str, Option<&'de Json>)>,
    current: Option<(&'static str, &'de Json)>,
}

impl<'de> MapAccess<'de> for Fields<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        self.current = self.rest.by_ref().find_map(|(field, value)| value.map(|v| (*field, v)));
        self.current.map(|(field, _)| seed.deserialize(field.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (field, value) = self.current.ok_or_else(|| <Error as de::Error>::custom("value without key"))?;
        seed.deserialize(value).map_err(|e| e.inside(field))
    }
}
