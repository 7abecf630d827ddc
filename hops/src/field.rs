//! Fields of requests to a hop.

use std::{borrow::Cow, collections::BTreeMap, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use crate::{InvalidSetting, Key, Secret};

/// A field of a request that is meant for one hop, such as `Proxy-Authorization`.
///
/// ```
/// use mooltiroute_hops::{Field, Secret};
///
/// let field = Field::new("Proxy-Authorization", Secret::new("Basic dTpw"));
/// assert!(!format!("{field:?}").contains("dTpw"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// The name.
    pub name: Cow<'static, str>,
    /// The value, which never shows.
    pub value: Secret,
}

impl Field {
    /// Creates a field.
    pub fn new(name: impl Into<Cow<'static, str>>, value: Secret) -> Self {
        Self { name: name.into(), value }
    }
}

/// The name of a field (RFC 9110 §5.1) that an operator may add to requests. It is none of those that route, frame or
/// authenticate a message.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldName(Box<str>);

impl FieldName {
    /// Returns the name as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for FieldName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl JsonSchema for FieldName {
    fn schema_name() -> Cow<'static, str> {
        "FieldName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$" })
    }
}

impl<'de> Deserialize<'de> for FieldName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        // No error repeats the name, which may be a misplaced secret.
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_token) {
            return Err(de::Error::custom("is not the name of a field, such as `X-Client`"));
        }
        // A second `Host` or `Content-Length` would give the request two meanings.
        if RESERVED.iter().any(|reserved| name.eq_ignore_ascii_case(reserved)) {
            let is_login = name.eq_ignore_ascii_case("Proxy-Authorization");
            return Err(de::Error::custom(match is_login {
                true => {
                    "is made from the credentials of the hop; write `username` and `password` in its place"
                }
                false => "is a field that only the proxy itself sets; leave it out",
            }));
        }
        Ok(Self(name.into()))
    }
}

/// Checks that the fields below `key` have values that fit into a field.
///
/// # Errors
/// The field whose value does not fit, or whose name is written twice.
pub(crate) fn checked(
    key: &str,
    fields: BTreeMap<FieldName, Secret>,
) -> Result<Vec<Field>, InvalidSetting> {
    let mut checked: Vec<Field> = Vec::with_capacity(fields.len());
    for (name, value) in fields {
        let invalid =
            |message| InvalidSetting::new(name.as_str(), message).below(Key::Name(key.to_owned()));
        if !is_value(value.expose()) {
            return Err(invalid(
                "must be printable ASCII without a space at its ends, and not empty",
            ));
        }
        // A map has each spelling once, but names are also equal in another case (RFC 9110 §5.1).
        if checked.iter().any(|known| known.name.eq_ignore_ascii_case(&name.0)) {
            return Err(invalid("is here twice, in another case"));
        }
        checked.push(Field::new(name.as_str().to_owned(), value));
    }
    Ok(checked)
}

/// Returns whether `value` can be a field's value, and every reader reads it alike (RFC 9110 §5.5).
pub(crate) fn is_value(value: &str) -> bool {
    let is_printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    !value.is_empty() && value.trim() == value && value.bytes().all(is_printable)
}

const NAME_BYTES_MAX: usize = 64;
/// The fields that route or frame a message, or that last for one connection only.
const RESERVED: [&str; 13] = [
    "Host",
    "Proxy-Authorization",
    "Content-Length",
    "Transfer-Encoding",
    "Trailer",
    "TE",
    "Connection",
    "Proxy-Connection",
    "Keep-Alive",
    "Upgrade",
    "Expect",
    "Max-Forwards",
    "Via",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Settings;

    #[track_caller]
    fn check(yaml: &str, expected: Result<usize, &str>) {
        let settings: Settings = serde_yaml::from_str(yaml).unwrap();
        let read = settings.read::<BTreeMap<FieldName, Secret>>();
        let read = read.map_err(|invalid| invalid[0].clone());
        let checked = read.and_then(|fields| checked("headers", fields));
        let checked = checked.map(|fields| fields.len());
        assert_eq!(
            checked.map_err(|invalid| invalid.path().to_string()),
            expected.map_err(str::to_owned),
            "{yaml}"
        );
    }

    #[test]
    fn fields_are_checked() {
        check("{X-Client: mooltiroute, User-Agent: 'a (b)'}", Ok(2));
        for name in ["Host", "proxy-authorization", "Content-Length", "'X Y'", "'X:'", "''"] {
            let path = name.trim_matches('\'');
            check(&format!("{{{name}: a}}"), Err(path));
        }
        for value in ["\"a\\r\\nX: y\"", "''", "' a'", "'ü'", "\"a\\0\""] {
            check(&format!("{{X-A: {value}}}"), Err("headers.X-A"));
        }
        check("{X-A: a, x-a: b}", Err("headers.x-a"));
    }
}
