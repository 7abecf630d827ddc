//! Decodes the bytes of a PAC file.

use std::borrow::Cow;

/// Reads the bytes of a PAC file, whose server may have named a `charset`.
///
/// A byte order mark decides before the name. Without either, bytes that are not UTF-8 are taken for Latin-1, which old files
/// on Windows servers use. This never fails: bytes that can't be decoded become `U+FFFD`.
pub fn decode<'a>(bytes: &'a [u8], charset: Option<&str>) -> Cow<'a, str> {
    if let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        return String::from_utf8_lossy(rest);
    }
    if let Some(rest) = bytes.strip_prefix(b"\xff\xfe") {
        return utf_16(rest, u16::from_le_bytes).into();
    }
    if let Some(rest) = bytes.strip_prefix(b"\xfe\xff") {
        return utf_16(rest, u16::from_be_bytes).into();
    }
    let charset = charset.unwrap_or_default().trim_matches(['"', ' ']).to_ascii_lowercase();
    match (&*charset, str::from_utf8(bytes)) {
        ("iso-8859-1" | "latin1" | "windows-1252" | "us-ascii", _) => latin_1(bytes).into(),
        ("utf-16" | "utf-16le", _) => utf_16(bytes, u16::from_le_bytes).into(),
        ("utf-16be", _) => utf_16(bytes, u16::from_be_bytes).into(),
        (_, Ok(text)) => text.into(),
        ("utf-8" | "utf8", Err(_)) => String::from_utf8_lossy(bytes),
        (_, Err(_)) => latin_1(bytes).into(),
    }
}

fn latin_1(bytes: &[u8]) -> String {
    bytes.iter().map(|&byte| char::from(byte)).collect()
}

fn utf_16(bytes: &[u8], unit: impl Fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|read| read.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], charset: Option<&str>, expected: &str) {
        assert_eq!(decode(bytes, charset), expected);
    }

    #[test]
    fn a_byte_order_mark_counts_more_than_the_charset() {
        check(b"\xef\xbb\xbf// \xc3\xa9", Some("iso-8859-1"), "// é");
        check(b"\xff\xfe/\0\xe9\0", None, "/é");
        check(b"\xfe\xff\0/\0\xe9", Some("utf-8"), "/é");
    }

    #[test]
    fn bytes_without_a_charset_are_utf_8_or_latin_1() {
        check(b"// \xc3\xa9", None, "// é");
        check(b"// \xe9", None, "// é");
        check(b"// \xe9", Some("something"), "// é");
    }

    #[test]
    fn a_charset_counts_without_a_mark() {
        check(b"\xc3\xa9", Some("ISO-8859-1"), "Ã©");
        check(b"\xc3\xa9", Some("\"utf-8\""), "é");
        check(b"\xe9", Some("utf-8"), "\u{fffd}");
        check(b"/\0\xe9\0", Some("UTF-16"), "/é");
        check(b"\0/\0", Some("utf-16be"), "/");
    }
}
