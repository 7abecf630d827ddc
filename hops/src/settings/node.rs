//! A deserializer over settings whose errors carry the path of the faulty part.

use std::{fmt, iter::Enumerate, slice, str::FromStr};

use serde::{
    Deserializer,
    de::{
        self, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
        Visitor,
        value::{MapAccessDeserializer, MapDeserializer, StrDeserializer},
    },
    forward_to_deserialize_any,
};
use serde_yaml::Value;

use super::{FORGOTTEN, Fault, InvalidSetting, Key, is_left_out};

/// A value to read. Its errors carry the path of the part that could not be read.
#[derive(Clone, Copy)]
pub(super) struct Node<'de>(pub(super) &'de Value);

impl Node<'_> {
    /// Parses a text as a number or a boolean.
    fn scalar<T: FromStr>(&self) -> Option<T> {
        self.0.as_str()?.parse().ok()
    }
}

macro_rules! read_from_text {
    ($($method:ident => $type:ty, $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidSetting> {
            // Values from variables are texts, and `"${PORT}"` has to be readable as a port.
            match self.scalar::<$type>() {
                Some(value) => visitor.$visit(value),
                None => self.deserialize_any(visitor),
            }
        }
    )*};
}

impl<'de> Deserializer<'de> for Node<'de> {
    type Error = InvalidSetting;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidSetting> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            // Whole numbers come first, since `as_f64` converts them too.
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(value), ..) => visitor.visit_u64(value),
                (_, Some(value), _) => visitor.visit_i64(value),
                (.., value) => visitor.visit_f64(value.unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Sequence(list) => visitor.visit_seq(Elements { list: list.iter().enumerate() }),
            Value::Mapping(mapping) => {
                visitor.visit_map(Entries { entries: mapping.iter(), value: None })
            }
            Value::Tagged(tagged) if tagged.tag == FORGOTTEN => {
                // Only settings that are read later, such as those of a pool's member, accept the mark itself.
                let entry = MapDeserializer::new(std::iter::once((FORGOTTEN, ())));
                let kept = visitor.visit_enum(MapAccessDeserializer::new(entry));
                kept.map_err(|_: InvalidSetting| de::Error::custom(FORGOTTEN))
            }
            // A value behind any other tag is not read, so no error can quote it.
            Value::Tagged(_) => Err(de::Error::custom("a YAML tag has no meaning here; remove it")),
        }
    }

    read_from_text! {
        deserialize_bool => bool, visit_bool;
        deserialize_u8 => u64, visit_u64;
        deserialize_u16 => u64, visit_u64;
        deserialize_u32 => u64, visit_u64;
        deserialize_u64 => u64, visit_u64;
        deserialize_i8 => i64, visit_i64;
        deserialize_i16 => i64, visit_i64;
        deserialize_i32 => i64, visit_i64;
        deserialize_i64 => i64, visit_i64;
        deserialize_f32 => f64, visit_f64;
        deserialize_f64 => f64, visit_f64;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, InvalidSetting> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            // `is_null` would look below a tag.
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, InvalidSetting> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, InvalidSetting> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(StrDeserializer::new(name)),
            Value::Tagged(_) => self.deserialize_any(visitor),
            // No setting is an enum with content. If a mapping were read as one, its key, which may be a part of a secret, would
            // get into the path of the error.
            other => Err(InvalidSetting::without_path(Fault::WrongType {
                expected: one_of(variants),
                found: name_of_value(other),
            })),
        }
    }

    /// Refuses a list, which a derived struct would read as its fields in order.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, InvalidSetting> {
        match self.0 {
            Value::Sequence(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"a mapping")),
            _ => self.deserialize_any(visitor),
        }
    }

    forward_to_deserialize_any! {
        i128 u128 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct Elements<'de> {
    list: Enumerate<slice::Iter<'de, Value>>,
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = InvalidSetting;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, InvalidSetting> {
        // Items that were left out count too, since the index is a part of the path that the operator sees.
        let Some((index, value)) = self.list.find(|(_, value)| !is_left_out(value)) else {
            return Ok(None);
        };
        // Errors get their path on the way out: each level adds its own key in front.
        seed.deserialize(Node(value)).map(Some).map_err(|invalid| invalid.below(Key::Index(index)))
    }
}

struct Entries<'de> {
    entries: serde_yaml::mapping::Iter<'de>,
    value: Option<(&'de str, &'de Value)>,
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = InvalidSetting;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, InvalidSetting> {
        // An entry that was left out is skipped with its key, so that a misspelt key is reported once.
        let Some((key, value)) = self.entries.find(|(_, value)| !is_left_out(value)) else {
            return Ok(None);
        };
        let Some(name) = key.as_str() else {
            return Err(de::Error::custom("a key here must be a text; write it in quotes"));
        };
        self.value = Some((name, value));
        let key: StrDeserializer<'_, InvalidSetting> = name.into_deserializer();
        seed.deserialize(key).map(Some).map_err(|invalid| invalid.below(Key::Name(name.to_owned())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, InvalidSetting> {
        let (name, value) =
            self.value.take().ok_or_else(|| <InvalidSetting as de::Error>::custom("no key"))?;
        seed.deserialize(Node(value)).map_err(|invalid| invalid.below(Key::Name(name.to_owned())))
    }
}

impl de::Error for InvalidSetting {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::without_path(Fault::Other(message.to_string()))
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::without_path(Fault::WrongType {
            expected: in_words(&expected.to_string()),
            found: name_of(&found),
        })
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn Expected) -> Self {
        // serde hands over the value itself. Only its type is kept, because the value may be a secret.
        let found = match found {
            Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => {
                "a number out of range"
            }
            found => name_of(&found),
        };
        Self::without_path(Fault::WrongType { expected: in_words(&expected.to_string()), found })
    }

    fn unknown_variant(_: &str, known: &'static [&'static str]) -> Self {
        Self::without_path(Fault::UnknownValue { known })
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::without_path(Fault::UnknownKey { known })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::without_path(Fault::MissingKey(field))
    }
}

fn name_of(found: &Unexpected<'_>) -> &'static str {
    match found {
        Unexpected::Bool(_) => "a boolean",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Str(_) | Unexpected::Char(_) => "a text",
        Unexpected::Unit | Unexpected::Option => "nothing",
        Unexpected::Seq => "a list",
        Unexpected::Map => "a mapping",
        _ => "a YAML tag",
    }
}

/// Returns the words for the type of a value in messages, such as "a list".
pub fn name_of_value(found: &Value) -> &'static str {
    match found {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Sequence(_) => "a list",
        Value::Mapping(_) => "a mapping",
        Value::Tagged(_) => "something else",
    }
}

/// Lists the names that a value may have.
fn one_of(names: &[&str]) -> String {
    match names {
        [] => "a name".to_owned(),
        [one] => format!("`{one}`"),
        [others @ .., last] => format!("one of `{}` and `{last}`", others.join("`, `")),
    }
}

/// Translates serde's name of a type into an operator's words.
fn in_words(expected: &str) -> String {
    let (low, high) = match expected {
        "a string" | "string" => return "a text".into(),
        "a sequence" => return "a list, such as `[a, b]`".into(),
        "a map" => return "a mapping".into(),
        "path string" => return "the path of a file".into(),
        "a boolean" => return "`true` or `false`".into(),
        "u8" => (0, u64::from(u8::MAX)),
        "u16" => (0, u64::from(u16::MAX)),
        "a nonzero u16" => (1, u64::from(u16::MAX)),
        "u32" => (0, u64::from(u32::MAX)),
        "a nonzero u32" => (1, u64::from(u32::MAX)),
        "u64" | "usize" => return "a whole number that is not negative".into(),
        "a nonzero u64" | "a nonzero usize" => return "a whole number above zero".into(),
        _ if expected.starts_with("struct ") => return "a mapping".into(),
        _ => return expected.to_owned(),
    };
    format!("a whole number from {low} to {high}")
}
