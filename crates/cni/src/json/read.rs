//! Reading Rust types out of the tree, with Go's rules for keys and `null`.

use serde::Deserializer;
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::{Error, Json, same_key};

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

macro_rules! zero_for_null {
    ($($method:ident => $visit:ident($zero:expr),)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            if *self == Json::Null { visitor.$visit($zero) } else { self.deserialize_any(visitor) }
        }
    )*};
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
        let members: &[(String, Json)] = match self {
            Json::Object(members) => members,
            Json::Null => &[],
            _ => return Err(de::Error::invalid_type(self.unexpected(), &visitor)),
        };
        let mut found: Vec<Option<&Json>> = vec![None; fields.len()];
        for (key, value) in members.iter().filter(|(_, v)| *v != Json::Null) {
            let exact = fields.iter().position(|f| f == key);
            if let Some(at) = exact.or_else(|| fields.iter().position(|f| same_key(f, key))) {
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

    // In Go `null` leaves a value as it is, which for an element of a list or a map is the type's zero.

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if *self == Json::Null {
            return visitor.visit_seq(Elements { rest: [].iter(), index: 0 });
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if *self == Json::Null {
            return visitor.visit_map(Members { rest: [].iter(), current: None });
        }
        self.deserialize_any(visitor)
    }

    zero_for_null! {
        deserialize_bool => visit_bool(false), deserialize_f32 => visit_f32(0.0), deserialize_f64 => visit_f64(0.0),
        deserialize_i8 => visit_i8(0), deserialize_i16 => visit_i16(0), deserialize_i32 => visit_i32(0),
        deserialize_i64 => visit_i64(0), deserialize_i128 => visit_i128(0),
        deserialize_u8 => visit_u8(0), deserialize_u16 => visit_u16(0), deserialize_u32 => visit_u32(0),
        deserialize_u64 => visit_u64(0), deserialize_u128 => visit_u128(0),
        deserialize_str => visit_str(""), deserialize_string => visit_str(""),
    }

    serde::forward_to_deserialize_any! {
        char bytes byte_buf unit unit_struct tuple tuple_struct identifier ignored_any
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
