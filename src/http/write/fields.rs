//! Forwarding fields.

use crate::http::{
    BodyLength, Fields,
    role::{Role, role_of},
};

/// New values of the fields that are rewritten.
pub(super) struct Rewritten<'a> {
    /// `None` keeps the value that was received.
    pub(super) host: Option<&'a [u8]>,
    pub(super) length: BodyLength,
    /// `None` keeps the value that was received.
    pub(super) max_forwards: Option<u64>,
}

/// Appends the fields of a message that are forwarded.
pub(super) fn write_fields(fields: &Fields, rewritten: Rewritten<'_>, out: &mut Vec<u8>) {
    let options = fields.connection_options();
    // A body without chunks and without a length needs no field, so it counts as framed.
    let mut is_framed = !matches!(rewritten.length, BodyLength::Length(_) | BodyLength::Chunked);
    for (name, value) in fields.iter() {
        match role_of(name) {
            Role::HopByHop => {}
            Role::Host => field(out, name, rewritten.host.unwrap_or(value)),
            Role::ContentLength | Role::TransferEncoding => {
                // One field stands for all that were received, such as two equal lengths.
                if !is_framed {
                    write_framing(name, rewritten.length, out);
                    is_framed = true;
                }
            }
            // Options of `Connection` are looked at only here, behind `Host` and the framing, so
            // that none can remove those.
            _ if options.iter().any(|option| option.eq_ignore_ascii_case(name)) => {}
            Role::MaxForwards => match rewritten.max_forwards {
                Some(hops) => field(out, name, itoa::Buffer::new().format(hops).as_bytes()),
                None => field(out, name, value),
            },
            Role::EndToEnd => field(out, name, value),
        }
    }
    // A body that ended with the connection becomes chunked towards a 1.1 client. Its head had no
    // field to rewrite.
    if !is_framed {
        write_framing(b"", rewritten.length, out);
    }
}

/// Appends the one field that frames the body, with the name as received if it is the same field.
fn write_framing(spelt: &[u8], length: BodyLength, out: &mut Vec<u8>) {
    // The received spelling is kept if it is that of the same field. The two names differ in
    // length, so comparing lengths is enough.
    let spelt_or = |name: &'static [u8]| if spelt.len() == name.len() { spelt } else { name };
    match length {
        BodyLength::Length(bytes) => {
            field(out, spelt_or(b"Content-Length"), itoa::Buffer::new().format(bytes).as_bytes());
        }
        BodyLength::Chunked => field(out, spelt_or(b"Transfer-Encoding"), b"chunked"),
        BodyLength::Empty | BodyLength::UntilClose => {}
    }
}

pub(super) fn write_extra(extra: &[(&str, &str)], out: &mut Vec<u8>) {
    for (name, value) in extra {
        debug_assert!(!value.contains(['\r', '\n', '\0']), "`{name}` is not fit for a head");
        field(out, name.as_bytes(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

pub(super) fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    put(out, &[name, b": ", value, b"\r\n"]);
}

pub(super) fn put(out: &mut Vec<u8>, parts: &[&[u8]]) {
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Room for what is written besides the fields received: most of our own fields fit.
pub(super) const RESERVE_BYTES: usize = 256;
