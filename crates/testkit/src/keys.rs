//! Which keys a type reads, asked of its own `Deserialize`: so documentation can be held against the code without a second list of keys.
//!
//! A derived implementation names its fields when it asks for a struct, and its variants when it asks for an enum. The probe writes them down
//! and refuses to go on; to look into a field it starts again with a document that has this field alone.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// The keys that `T` reads, each with the values that it may have where these are few. Keys of an object within an object, or within a
/// list, have its key in front: `logOptions.maxAge`.
#[must_use]
pub fn keys<T: for<'de> Deserialize<'de>>() -> BTreeMap<String, Vec<String>> {
    let mut keys = BTreeMap::new();
    let mut paths: Vec<Vec<&'static str>> = vec![Vec::new()];
    while let Some(path) = paths.pop() {
        let found = RefCell::new(Found::default());
        // It ends in the probe's own error, having seen what is wanted.
        let _ = T::deserialize(Probe { path: &path, found: &found });
        let found = found.into_inner();
        if !path.is_empty() {
            keys.insert(path.join("."), found.variants.iter().map(|v| (*v).to_owned()).collect());
        }
        paths.extend(found.fields.iter().map(|field| [path.as_slice(), &[*field]].concat()));
    }
    keys
}

#[derive(Default)]
struct Found {
    fields: &'static [&'static str],
    variants: &'static [&'static str],
}

/// What is at `path` of the document.
#[derive(Clone, Copy)]
struct Probe<'a> {
    path: &'a [&'static str],
    found: &'a RefCell<Found>,
}

/// The probe has seen enough.
#[derive(Debug)]
struct Enough;

impl fmt::Display for Enough {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the probe has seen enough")
    }
}

impl std::error::Error for Enough {}

impl de::Error for Enough {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Enough
    }
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Enough;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Enough> {
        match self.path {
            [] => {
                self.found.borrow_mut().fields = fields;
                Err(Enough)
            }
            [first, rest @ ..] => visitor.visit_map(Only { key: Some(*first), value: Probe { path: rest, ..self } }),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Enough> {
        self.found.borrow_mut().variants = variants;
        Err(Enough)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Enough> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Enough> {
        visitor.visit_seq(self)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Enough> {
        Err(Enough)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct tuple tuple_struct map identifier
        ignored_any
    }
}

/// A list whose elements are all alike: looking at one is enough.
impl<'de> SeqAccess<'de> for Probe<'_> {
    type Error = Enough;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Enough> {
        seed.deserialize(*self).map(Some)
    }
}

/// An object with one key.
struct Only<'a> {
    key: Option<&'static str>,
    value: Probe<'a>,
}

impl<'de> MapAccess<'de> for Only<'_> {
    type Error = Enough;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Enough> {
        self.key.take().map(|key| seed.deserialize(StrDeserializer::new(key))).transpose()
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Enough> {
        seed.deserialize(self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape counts")]
    #[serde(rename_all = "camelCase")]
    struct Outer {
        name: String,
        #[serde(rename = "old-name")]
        old: Option<u8>,
        mode: Mode,
        inner_list: Option<Vec<Vec<Inner>>>,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        One,
        Two,
    }

    #[derive(Deserialize)]
    #[expect(dead_code, reason = "only its shape counts")]
    struct Inner {
        first: String,
        second: BTreeMap<String, bool>,
    }

    #[test]
    fn every_key_of_every_level() {
        let got = keys::<Outer>();
        let paths: Vec<&str> = got.keys().map(String::as_str).collect();
        assert_eq!(paths, ["innerList", "innerList.first", "innerList.second", "mode", "name", "old-name"]);
        assert_eq!(got["mode"], ["one", "two"]);
        let _ = (Mode::One, Mode::Two);
    }
}
