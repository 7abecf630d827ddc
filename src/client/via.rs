//! Finds loops by the `Via` field of a request (RFC 9110 §7.6.3).

use crate::http::Fields;

/// Returns whether the request has passed this proxy before, which `Via` calls `own`, or another proxy three times.
pub(crate) fn names_loop(fields: &Fields, own: Option<&str>) -> bool {
    let mut seen: Vec<(&str, usize)> = Vec::new();
    for name in values(fields).flat_map(received_by) {
        if own.is_some_and(|own| own.eq_ignore_ascii_case(name)) {
            return true;
        }
        let known = seen.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name));
        if let Some((_, count)) = known {
            *count += 1;
            if *count == VISITS_MAX {
                return true;
            }
        } else if seen.len() < NAMES_MAX {
            // The limit bounds the cost of a long field; loops are shorter.
            seen.push((name, 1));
        }
    }
    false
}

fn values(fields: &Fields) -> impl Iterator<Item = &str> {
    fields
        .values("Via")
        .filter_map(|value| str::from_utf8(value).ok())
        .filter(|value| !value.is_empty())
}

/// Returns the names of the proxies in one value. A comma in a comment only adds a word that is not a name.
fn received_by(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').filter_map(|member| {
        let mut words = member.split_ascii_whitespace();
        let protocol = words.next()?;
        words.next().filter(|name| !name.starts_with('(') && !protocol.starts_with('('))
    })
}

/// The number of visits that make a loop. Two proxies of a cluster may share a name.
const VISITS_MAX: usize = 3;
const NAMES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::http::{HeadLimits, HeadReader};

    #[track_caller]
    fn check(fields: &str, own: Option<&str>, is_loop: bool) {
        let text = format!("GET http://a/ HTTP/1.1\r\nHost: a\r\n{fields}\r\n");
        let head = HeadReader::new(HeadLimits::default()).request(&mut BytesMut::from(&*text));
        let head = head.unwrap().unwrap();
        assert_eq!(names_loop(head.fields(), own), is_loop, "{fields}");
    }

    #[test]
    fn a_client_without_via_is_no_loop() {
        check("", None, false);
        check("Via: \r\n", None, false);
        check("", Some("m"), false);
    }

    #[test]
    fn the_own_name_or_a_name_three_times_is_a_loop() {
        check("Via: 1.1 m\r\n", Some("M"), true);
        check("Via: 1.1 m\r\n", None, false);
        check("Via: 1.0 a, HTTP/1.1 m (x)\r\n", Some("m"), true);
        check("Via: 1.1 mm, 1.1 a (m)\r\n", Some("m"), false);
        check("Via: 1.1 s (q), 1.1 s (q)\r\n", None, false);
        check("Via: 1.1 s, 1.1 t, 1.0 S, 1.1 t, 1.1 s\r\n", None, true);
        check("Via: 1.1 s\r\nVia: 1.1 s\r\nVia: 1.1 s\r\n", None, true);
    }
}
