//! Header fields that pass between the client's CONNECT and those that the hops receive.

use std::{fmt, sync::Arc};

use crate::{Field, FieldName, InvalidSetting, Key, Request, Secret, field::is_value};

/// The names of fields that pass from a client's CONNECT to the last hop, and from its answer to the client.
///
/// Some providers choose the exit by a header field, and name the exit in another one. The fields travel on the
/// [`Tunnel`](crate::Tunnel): the chain puts them there before the last hop is asked,
/// [`Exchange`](crate::exchange::Exchange) adds them to the CONNECT, and keeps those of the answer.
#[derive(Clone, Debug, Default)]
pub struct PassHeaders {
    to_hop: Arc<[FieldName]>,
    to_client: Arc<[FieldName]>,
}

/// The header fields of a client's request.
pub trait ClientFields: fmt::Debug + Sync {
    /// Calls `visit` with the value of each field of this name, in order.
    fn visit(&self, name: &str, visit: &mut dyn FnMut(&[u8]));
}

/// Fields on their way with one CONNECT.
#[derive(Debug)]
pub(crate) struct PassedFields {
    sent: Vec<Field>,
    wanted: Arc<[FieldName]>,
    returned: Vec<Field>,
}

impl PassHeaders {
    /// Checks `pass_headers` and `return_headers`. `own` are the fields that the hop adds itself.
    ///
    /// # Errors
    /// A name that is listed twice, or that the hop sets itself.
    pub(crate) fn new(
        to_hop: Vec<FieldName>,
        to_client: Vec<FieldName>,
        own: &[Field],
    ) -> Result<Self, InvalidSetting> {
        for (key, names) in [("pass_headers", &to_hop), ("return_headers", &to_client)] {
            for (index, name) in names.iter().enumerate() {
                // A field that the hop and the client both set would have two values, and the hop would choose one.
                // In the other direction there is no such conflict, because the hop's answer has none of our fields.
                let is_it = |other: &str| other.eq_ignore_ascii_case(name.as_str());
                let message = if names[..index].iter().any(|other| is_it(other.as_str())) {
                    "is listed twice"
                } else if key == "pass_headers" && own.iter().any(|field| is_it(&field.name)) {
                    "is set by `headers` already; remove one of the two"
                } else {
                    continue;
                };
                let place = Key::Index(index);
                return Err(InvalidSetting::new("", message)
                    .below(place)
                    .below(Key::Name(key.into())));
            }
        }
        Ok(Self { to_hop: to_hop.into(), to_client: to_client.into() })
    }

    /// Returns the listed fields of `client`.
    fn sent(&self, client: &dyn ClientFields) -> Vec<Field> {
        let mut sent = Vec::new();
        for name in self.to_hop.iter() {
            // A field can occur several times in a request. All of its lines pass, in their order.
            client.visit(name.as_str(), &mut |value| sent.extend(passable(name.as_str(), value)));
        }
        sent
    }
}

impl PassedFields {
    /// Returns what the CONNECT that serves `request` carries, or `None` if it carries nothing: the client's fields
    /// that `listed` names, and, if this proxy is to be named, the client's `Via` with this proxy added.
    ///
    /// A value that is not printable ASCII is left out, since it could mean something else to the hop.
    pub(crate) fn new(request: Request<'_>, listed: Option<&PassHeaders>) -> Option<Self> {
        let client = request.fields;
        let mut sent = match (listed, client) {
            (Some(listed), Some(client)) => listed.sent(client),
            _ => Vec::new(),
        };
        // The client's `Via` goes before our own entry, in the order of travel (RFC 9110 §7.6.3). Without the earlier
        // entries a loop through several proxies could not be recognised.
        if let Some(own) = request.via {
            if let Some(client) = client {
                client.visit("Via", &mut |value| sent.extend(passable("Via", value)));
            }
            sent.push(Field::new("Via", Secret::new(format!("1.1 {own}"))));
        }
        let wanted = listed.map_or_else(Arc::default, |listed| Arc::clone(&listed.to_client));
        // Most connections carry nothing, and then the tunnel holds nothing for them.
        let is_needed = !sent.is_empty() || !wanted.is_empty();
        is_needed.then(|| Self { sent, wanted, returned: Vec::new() })
    }

    /// Returns the fields to add to the CONNECT.
    pub(crate) fn sent(&self) -> &[Field] {
        &self.sent
    }

    /// Keeps those fields of an answer that the client is to receive.
    pub(crate) fn keep(&mut self, answer: &[(Box<[u8]>, Vec<u8>)]) {
        for name in self.wanted.iter() {
            let is_it = |known: &[u8]| known.eq_ignore_ascii_case(name.as_str().as_bytes());
            let values = answer.iter().filter(|(known, _)| is_it(known)).map(|(_, value)| value);
            self.returned.extend(values.filter_map(|value| passable(name.as_str(), value)));
        }
    }

    /// Returns whether any field of the answer is wanted.
    pub(crate) fn wants_answer(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Returns the fields that were kept.
    pub(crate) fn into_returned(self) -> Vec<Field> {
        self.returned
    }
}

/// Returns the field that passes on `value`, or `None` if the next reader could read the value in another way.
fn passable(name: &str, value: &[u8]) -> Option<Field> {
    let value = str::from_utf8(value).ok().filter(|value| is_value(value))?;
    Some(Field::new(name.to_owned(), Secret::new(value)))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;
    use crate::{Preferences, Tunnel, exchange};

    #[derive(Debug)]
    struct Client(Vec<(&'static str, &'static [u8])>);

    impl ClientFields for Client {
        fn visit(&self, name: &str, visit: &mut dyn FnMut(&[u8])) {
            let is_it = |known: &str| known.eq_ignore_ascii_case(name);
            self.0.iter().filter(|(known, _)| is_it(known)).for_each(|(_, value)| visit(value));
        }
    }

    fn names(names: &[&str]) -> Vec<FieldName> {
        let names = names.iter().map(|name| serde_yaml::from_str(name).unwrap());
        names.collect()
    }

    #[tokio::test]
    async fn listed_fields_pass_both_ways_and_no_others() {
        let pass = PassHeaders::new(names(&["X-Country", "x-a"]), names(&["X-IP"]), &[]).unwrap();
        let client = Client(vec![
            ("x-country", b"us"),
            ("X-A", b"one"),
            ("X-A", b"two"),
            ("X-A", b"three\r\nX-Evil: 1"),
            ("X-A", b"f\xFCnf"),
            ("X-A", b""),
            ("X-Other", b"no"),
        ]);
        let (near, mut hop) = duplex(4096);
        let answer =
            b"HTTP/1.1 200 OK\r\nx-ip : 192.0.2.1\r\nX-IP: 192.0.2.2\r\nX-Other: no\r\nX-IP: b\x01d\r\n\r\n";
        hop.write_all(answer).await.unwrap();
        let mut tunnel = Tunnel::layered(near);
        let (next, preferences) = ("a.example:443".parse().unwrap(), Preferences::default());
        let request = Request::new(&next, &preferences).with_fields(Some(&client));
        tunnel.prepare_connect(request, Some(&pass));
        let mut tunnel = exchange::connect(tunnel, &next, &[], 4096).await.unwrap();
        let returned: Vec<_> = tunnel
            .take_returned_fields()
            .into_iter()
            .map(|field| (field.name, field.value.expose().to_owned()))
            .collect();
        let ip = |value: &str| ("X-IP".into(), value.to_owned());
        assert_eq!(returned, [ip("192.0.2.1"), ip("192.0.2.2")]);
        assert!(tunnel.take_returned_fields().is_empty());
        drop(tunnel);
        let mut asked = String::new();
        hop.read_to_string(&mut asked).await.unwrap();
        let passed = "X-Country: us\r\nx-a: one\r\nx-a: two\r\n\r\n";
        assert!(asked.ends_with(passed) && !asked.contains("Evil"), "{asked}");
    }

    #[test]
    fn a_named_proxy_follows_the_names_that_the_client_sent() {
        let client = Client(vec![("via", b"1.0 a"), ("Via", b"1.1 b (c)"), ("Via", b"1.1 d\r\n")]);
        let (next, preferences) = ("a.example:443".parse().unwrap(), Preferences::default());
        let request = Request::new(&next, &preferences);
        let values = |request, listed| {
            let passed = PassedFields::new(request, listed)?;
            let values = passed.sent().iter().map(|field| field.value.expose().to_owned());
            Some(values.collect::<Vec<_>>())
        };
        let client = request.with_fields(Some(&client));
        assert_eq!(values(client, None), None);
        assert_eq!(values(request.marked(Some("m")), None).unwrap(), ["1.1 m"]);
        let all = values(client.marked(Some("m")), Some(&PassHeaders::default()));
        assert_eq!(all.unwrap(), ["1.0 a", "1.1 b (c)", "1.1 m"]);
    }

    #[test]
    fn a_name_is_listed_once_and_not_set_twice() {
        let new = |pass: &[&str], back: &[&str]| {
            let own = [Field::new("X-Own", Secret::new("1"))];
            let made = PassHeaders::new(names(pass), names(back), &own);
            made.map(|_| ()).map_err(|invalid| invalid.path().to_string())
        };
        assert_eq!(new(&["X-A", "X-B"], &["X-A", "X-Own"]), Ok(()));
        assert_eq!(new(&["X-A", "x-a"], &[]), Err("pass_headers[1]".into()));
        assert_eq!(new(&[], &["X-A", "x-a"]), Err("return_headers[1]".into()));
        assert_eq!(new(&["x-own"], &[]), Err("pass_headers[0]".into()));
    }
}
