//! Lines that are written field by field, without `tracing`.
//!
//! An event of `tracing` costs more than any other part of a plain request: each of its fields takes a virtual call, a
//! formatter and a second buffer. The line at the end of a request always has the same fields, so it is written straight into
//! the buffer of the [queue](mod@super::queue). It has exactly the bytes that an event would have.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
    io,
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mooltiroute_hops::{Authority, Host};
use tracing::Level;

use super::logfmt::in_form;

/// One line of the log, while it is written.
#[derive(Debug)]
pub(crate) struct LogLine<'a> {
    out: &'a mut Vec<u8>,
    format: LineFormat,
}

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LineFormat {
    /// Text without colours.
    Text,
    /// One JSON object.
    Json,
}

/// Writes the time of day. It keeps the text of the current second, which most lines share.
#[derive(Debug, Default)]
pub(super) struct Clock {
    second: u64,
    text: String,
}

impl<'a> LogLine<'a> {
    /// Begins a line with the time, the level and the message.
    pub(super) fn begin(
        out: &'a mut Vec<u8>,
        format: LineFormat,
        now: (&mut Clock, SystemTime),
        level: Level,
        message: &str,
    ) -> Self {
        // Messages belong to this program and have nothing to escape. The levels have one width, as in
        // `tracing_subscriber`.
        let (clock, time) = now;
        match format {
            LineFormat::Text => {
                clock.write(time, out);
                let level: &[u8] = match level {
                    Level::ERROR => b" ERROR ",
                    Level::WARN => b"  WARN ",
                    Level::INFO => b"  INFO ",
                    Level::DEBUG => b" DEBUG ",
                    Level::TRACE => b" TRACE ",
                };
                out.extend_from_slice(level);
                out.extend_from_slice(message.as_bytes());
            }
            LineFormat::Json => {
                out.extend_from_slice(br#"{"timestamp":""#);
                clock.write(time, out);
                out.extend_from_slice(br#"","level":""#);
                out.extend_from_slice(level.as_str().as_bytes());
                out.extend_from_slice(br#"","message":""#);
                out.extend_from_slice(message.as_bytes());
                out.push(b'"');
            }
        }
        Self { out, format }
    }

    /// Ends the line.
    pub(super) fn end(self) {
        let end: &[u8] = match self.format {
            LineFormat::Text => b"\n",
            LineFormat::Json => b"}\n",
        };
        self.out.extend_from_slice(end);
    }

    /// Adds a whole number.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    /// Adds a duration in seconds, to the microsecond.
    pub(crate) fn seconds(&mut self, name: &str, value: Duration) {
        self.name(name);
        self.out.extend_from_slice(itoa::Buffer::new().format(value.as_secs()).as_bytes());
        self.out.push(b'.');
        fraction(value.subsec_micros(), self.out);
    }

    /// Adds a duration with its unit, as in `1.5ms`.
    pub(crate) fn duration(&mut self, name: &str, value: Duration) {
        self.value(name, |out| {
            // Writing into memory does not fail.
            let _ = io::Write::write_fmt(out, format_args!("{value:?}"));
        });
    }

    /// Adds a word that has no character to escape.
    pub(crate) fn word(&mut self, name: &str, value: &str) {
        self.value(name, |out| out.extend_from_slice(value.as_bytes()));
    }

    /// Adds a socket address.
    pub(crate) fn socket(&mut self, name: &str, value: SocketAddr) {
        self.value(name, |out| address(value.ip(), value.port(), out));
    }

    /// Adds a host with its port.
    pub(crate) fn authority(&mut self, name: &str, value: &Authority) {
        self.value(name, |out| match value.host() {
            Host::Address(ip) => address(*ip, value.port(), out),
            Host::Name(name) => {
                out.extend_from_slice(name.as_bytes());
                port(value.port(), out);
            }
        });
    }

    /// Adds the text of a value. Control characters are escaped, so that no value can begin a new line.
    pub(crate) fn display(&mut self, name: &str, value: &dyn fmt::Display) {
        let format = self.format;
        self.value(name, |out| {
            // Writing into memory does not fail.
            if format == LineFormat::Json {
                let _ = write!(Escaping { out }, "{value}");
                return;
            }
            let begin = out.len();
            let _ = io::Write::write_fmt(out, format_args!("{value}"));
            // Most values are a single word, which stays as it is.
            if let Ok(Cow::Owned(quoted)) = str::from_utf8(&out[begin..]).map(in_form) {
                out.truncate(begin);
                out.extend_from_slice(quoted.as_bytes());
            }
        });
    }

    /// Adds a text.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        self.display(name, &value);
    }

    fn name(&mut self, name: &str) {
        match self.format {
            LineFormat::Text => {
                self.out.push(b' ');
                self.out.extend_from_slice(name.as_bytes());
                self.out.push(b'=');
            }
            LineFormat::Json => {
                self.out.extend_from_slice(b",\"");
                self.out.extend_from_slice(name.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
        }
    }

    /// Adds a value that is a string in JSON.
    fn value(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.name(name);
        match self.format {
            LineFormat::Text => write(self.out),
            LineFormat::Json => {
                self.out.push(b'"');
                write(self.out);
                self.out.push(b'"');
            }
        }
    }
}

/// Writes text to `out`, and escapes characters that would end the line or the JSON string.
struct Escaping<'a> {
    out: &'a mut Vec<u8>,
}

impl fmt::Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let out = &mut *self.out;
        // An error may quote a peer, whose quotation marks must not end the string.
        let needs_escape = |byte: u8| byte.is_ascii_control() || matches!(byte, b'"' | b'\\');
        if !text.bytes().any(needs_escape) {
            out.extend_from_slice(text.as_bytes());
            return Ok(());
        }
        for character in text.chars() {
            match character {
                '"' | '\\' => out.extend_from_slice(&[b'\\', character as u8]),
                control if control.is_ascii_control() => {
                    let escaped = format!("\\u{:04x}", u32::from(control));
                    out.extend_from_slice(escaped.as_bytes());
                }
                _ => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Ok(())
    }
}

impl Clock {
    /// Appends `time` as RFC 3339 in UTC, to the microsecond.
    fn write(&mut self, time: SystemTime, out: &mut Vec<u8>) {
        // A clock before 1970 was never set. It is written as 1970.
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        if self.second != since.as_secs() || self.text.is_empty() {
            self.second = since.as_secs();
            let second = UNIX_EPOCH + Duration::from_secs(self.second);
            self.text = humantime::format_rfc3339_seconds(second).to_string();
            // The `Z` comes after the fraction.
            self.text.pop();
        }
        out.extend_from_slice(self.text.as_bytes());
        out.push(b'.');
        fraction(since.subsec_micros(), out);
        out.push(b'Z');
    }
}

/// Appends six digits.
fn fraction(mut micros: u32, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit += (micros % 10) as u8;
        micros /= 10;
    }
    out.extend_from_slice(&digits);
}

/// Appends an address and a port. The formatter of IPv4 addresses is bypassed, since almost every line has two of them.
fn address(ip: IpAddr, number: u16, out: &mut Vec<u8>) {
    match ip {
        IpAddr::V4(ip) => {
            for (index, part) in ip.octets().into_iter().enumerate() {
                if index > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(part).as_bytes());
            }
        }
        IpAddr::V6(ip) => {
            // Writing into memory does not fail.
            let _ = io::Write::write_fmt(out, format_args!("[{ip}]"));
        }
    }
    port(number, out);
}

fn port(number: u16, out: &mut Vec<u8>) {
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn line(format: LineFormat, write: impl FnOnce(&mut LogLine<'_>)) -> String {
        let (mut out, mut clock) = (Vec::new(), Clock::default());
        let time = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_042);
        let mut line = LogLine::begin(&mut out, format, (&mut clock, time), Level::INFO, "request");
        write(&mut line);
        line.end();
        String::from_utf8(out).unwrap()
    }

    fn write(line: &mut LogLine<'_>) {
        line.number("status", 200);
        line.seconds("duration", Duration::from_micros(12_000_345));
        line.word("stage", "dial");
        line.socket("client", "127.0.0.1:80".parse().unwrap());
        line.socket("other", "[2001:db8::1]:80".parse().unwrap());
        line.authority("target", &"target.example:443".parse().unwrap());
        line.display("end", &"client left");
        line.text("error", "a \"b\"");
    }

    #[test]
    fn a_line_of_text_has_the_form_of_all_others() {
        assert_eq!(
            line(LineFormat::Text, write),
            "2023-11-14T22:13:20.000042Z  INFO request status=200 duration=12.000345 stage=dial \
             client=127.0.0.1:80 other=[2001:db8::1]:80 target=target.example:443 end=\"client left\" \
             error=\"a \\\"b\\\"\"\n"
        );
    }

    #[test]
    fn a_line_of_json_has_numbers_and_strings() {
        let line = line(LineFormat::Json, write);
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            value,
            serde_json::json!({
                "timestamp": "2023-11-14T22:13:20.000042Z", "level": "INFO", "message": "request", "status": 200,
                "duration": 12.000345, "stage": "dial", "client": "127.0.0.1:80", "other": "[2001:db8::1]:80",
                "target": "target.example:443", "end": "client left", "error": "a \"b\"",
            })
        );
    }

    #[test]
    fn the_second_is_written_again_when_it_has_passed() {
        let mut clock = Clock::default();
        for (micros, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (999_999, "1970-01-01T00:00:00.999999Z"),
            (1_000_000, "1970-01-01T00:00:01.000000Z"),
            (86_400_000_001, "1970-01-02T00:00:00.000001Z"),
        ] {
            let mut out = Vec::new();
            clock.write(UNIX_EPOCH + Duration::from_micros(micros), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn no_value_ends_its_line_or_its_string(text in any::<String>()) {
            for format in [LineFormat::Text, LineFormat::Json] {
                let line = line(format, |line| {
                    line.display("end", &text);
                    line.text("error", &text);
                });
                prop_assert!(!line.trim_end_matches('\n').contains(|c: char| c.is_ascii_control()));
                if format == LineFormat::Json {
                    let value: serde_json::Value = serde_json::from_str(&line).unwrap();
                    prop_assert_eq!(value["end"].as_str(), Some(&*text));
                    prop_assert_eq!(value["error"].as_str(), Some(&*text));
                }
            }
        }
    }
}
