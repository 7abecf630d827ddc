//! Reads the names and the dates of an X.509 certificate (RFC 5280), which rustls does not expose.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use thiserror::Error;

use crate::{
    auth::der::{Element, OBJECT_IDENTIFIER, SEQUENCE},
    calendar::{days_before, days_in},
};

/// Facts of one certificate. No signature is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateFacts<'a> {
    /// The name of the authority that issued it, in DER.
    issuer: &'a [u8],
    /// The name of its owner, in DER.
    subject: &'a [u8],
    not_before: SystemTime,
    not_after: SystemTime,
}

/// The reason why a certificate is not valid at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OutOfDate {
    /// Its time has not begun.
    #[error("the certificate is not valid yet")]
    NotYetValid {
        /// The first second at which it is valid.
        from: SystemTime,
    },
    /// Its time is over.
    #[error("the certificate has expired")]
    Expired {
        /// The last second at which it was valid.
        at: SystemTime,
    },
}

impl<'a> CertificateFacts<'a> {
    /// Reads a certificate in DER. Returns `None` if it is not one, or has a date before 1970 or none at all.
    pub fn read(certificate: &'a [u8]) -> Option<Self> {
        let (certificate, after) = Element::expect(SEQUENCE, certificate)?;
        if !after.is_empty() {
            return None;
        }
        let (to_be_signed, _signature) = Element::expect(SEQUENCE, certificate)?;
        // The version may be missing; then the serial number is first.
        let (first, rest) = Element::read(to_be_signed)?;
        let rest = match first.tag {
            VERSION => Element::expect(INTEGER, rest)?.1,
            INTEGER => rest,
            _ => return None,
        };
        // The order of the fields is fixed (RFC 5280 §4.1), so unneeded ones can be skipped by their types.
        let (_algorithm, rest) = Element::expect(SEQUENCE, rest)?;
        let (issuer, rest) = Element::expect(SEQUENCE, rest)?;
        let (validity, rest) = Element::expect(SEQUENCE, rest)?;
        let (subject, _) = Element::expect(SEQUENCE, rest)?;
        let (not_before, validity) = Element::read(validity)?;
        let (not_after, _) = Element::read(validity)?;
        Some(Self { issuer, subject, not_before: time(not_before)?, not_after: time(not_after)? })
    }

    /// Returns whether the owner of `other` has the name of the authority that issued this certificate.
    pub fn names_as_issuer(&self, other: &Self) -> bool {
        self.issuer == other.subject
    }

    /// Returns the name of the authority that issued it, for people.
    pub fn issuer_name(&self) -> Option<String> {
        shown_name(self.issuer)
    }

    /// Returns the name of its owner, for people.
    pub fn subject_name(&self) -> Option<String> {
        shown_name(self.subject)
    }

    /// Checks that the certificate is valid at `now`.
    ///
    /// # Errors
    /// It is not valid yet, or not any more.
    pub fn check_dates(&self, now: SystemTime) -> Result<(), OutOfDate> {
        if now < self.not_before {
            return Err(OutOfDate::NotYetValid { from: self.not_before });
        }
        if now > self.not_after {
            return Err(OutOfDate::Expired { at: self.not_after });
        }
        Ok(())
    }
}

/// Returns the common name in `name`, or else the name of the organisation (RFC 5280 §4.1.2.4), printable and shortened.
fn shown_name(name: &[u8]) -> Option<String> {
    let find = |wanted: &[u8]| {
        let mut rest = name;
        let mut found = None;
        while let Some((set, after)) = Element::expect(SET, rest) {
            rest = after;
            let Some((attribute, _)) = Element::expect(SEQUENCE, set) else { continue };
            let Some((kind, value)) = Element::expect(OBJECT_IDENTIFIER, attribute) else {
                continue;
            };
            let value = Element::read(value).map(|(value, _)| value);
            if kind == wanted {
                found = value.map(|value| String::from_utf8_lossy(value.content)).or(found);
            }
        }
        found.filter(|text| !text.trim().is_empty())
    };
    let text = find(COMMON_NAME).or_else(|| find(ORGANIZATION))?;
    // The issuer of a certificate can put any text into its names.
    let clean = |letter: char| match letter {
        '`' => '\'',
        ' '..='~' => letter,
        letter if letter.is_alphanumeric() => letter,
        _ => '?',
    };
    Some(text.chars().take(NAME_CHARS_MAX).map(clean).collect())
}

/// Reads a date (RFC 5280 §4.1.2.5): a `UTCTime` of two digits for the year, or a `GeneralizedTime` of four.
fn time(element: Element<'_>) -> Option<SystemTime> {
    let text = str::from_utf8(element.content).ok()?;
    let digits = text.strip_suffix('Z')?;
    let (year_digits, is_short) = match element.tag {
        UTC_TIME => (2, true),
        GENERALIZED_TIME => (4, false),
        _ => return None,
    };
    // RFC 5280 demands seconds, `Z` and no fraction in both forms, so the length is fixed.
    if digits.len() != year_digits + 10 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number =
        |start: usize, length: usize| digits.get(start..start + length)?.parse::<u64>().ok();
    let mut year = number(0, year_digits)?;
    if is_short {
        // RFC 5280 §4.1.2.5.1: two digits below 50 belong to this century.
        year += if year < 50 { 2000 } else { 1900 };
    }
    let part = |index: usize| number(year_digits + 2 * index, 2);
    let days = days_since_1970(year, part(0)?, part(1)?)?;
    let (hour, minute, second) = (part(2)?, part(3)?, part(4)?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    UNIX_EPOCH.checked_add(Duration::from_secs(((days * 24 + hour) * 60 + minute) * 60 + second))
}

/// Returns the number of days between 1970-01-01 and a later date, or `None` for an earlier or impossible one.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    let signed = |number: u64| i64::try_from(number).ok();
    let (year, month, day) = (signed(year)?, signed(month)?, signed(day)?);
    let is_date =
        year >= 1970 && (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !is_date {
        return None;
    }
    u64::try_from(days_before(year, month) + day - 1).ok()
}

/// The most characters of a name that are shown.
const NAME_CHARS_MAX: usize = 80;
/// The attribute types 2.5.4.3 and 2.5.4.10.
const COMMON_NAME: &[u8] = &[0x55, 4, 3];
const ORGANIZATION: &[u8] = &[0x55, 4, 10];
const SET: u8 = 0x31;
const INTEGER: u8 = 0x02;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The tag `[0]` of an explicit version.
const VERSION: u8 = 0xA0;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};

    use super::*;

    #[track_caller]
    fn check_time(tag: u8, text: &str, expected: Option<u64>) {
        let read = time(Element { tag, content: text.as_bytes() });
        let seconds = read.map(|time| time.duration_since(UNIX_EPOCH).unwrap().as_secs());
        assert_eq!(seconds, expected, "{text}");
    }

    #[test]
    fn dates_are_those_of_rfc_5280() {
        check_time(UTC_TIME, "700101000000Z", Some(0));
        check_time(UTC_TIME, "491231235959Z", Some(2_524_607_999));
        check_time(GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000));
        check_time(GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799));
        check_time(UTC_TIME, "000229120000Z", Some(951_825_600));
        check_time(GENERALIZED_TIME, "20240301000000Z", Some(1_709_251_200));
        for invalid in [
            "",
            "Z",
            "700101000000",
            "7001010000Z",
            "691231235959Z",
            "701301000000Z",
            "700001000000Z",
            "700100000000Z",
            "700230000000Z",
            "010229000000Z",
            "700101240000Z",
            "700101006000Z",
            "700101000060Z",
            "70010100000+Z",
            "700101000000+0000",
        ] {
            check_time(UTC_TIME, invalid, None);
        }
        check_time(0x0C, "700101000000Z", None);
    }

    #[test]
    fn the_names_of_a_certificate_are_shown_printable_and_short() {
        let named = |kind: DnType, name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name = rcgen::DistinguishedName::new();
            params.distinguished_name.push(kind, name);
            let der = params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec();
            CertificateFacts::read(&der).unwrap().subject_name()
        };
        assert_eq!(named(DnType::CommonName, "Corp Root").as_deref(), Some("Corp Root"));
        assert_eq!(named(DnType::OrganizationName, "Größe AG").as_deref(), Some("Größe AG"));
        assert_eq!(named(DnType::CommonName, "a\u{1b}`[2J").as_deref(), Some("a?'[2J"));
        assert_eq!(named(DnType::CommonName, &"x".repeat(200)).unwrap().len(), NAME_CHARS_MAX);
        assert_eq!(named(DnType::CountryName, "DE"), None);
    }

    fn certificate() -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "one");
        (params.not_before, params.not_after) =
            (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_to_its_last_second() {
        let certificate = certificate();
        let facts = CertificateFacts::read(&certificate).unwrap();
        assert!(facts.names_as_issuer(&facts));
        let at = |seconds| UNIX_EPOCH + Duration::from_secs(seconds);
        let (first, last) = (at(1_577_836_800), at(1_893_456_000));
        assert_eq!(facts.check_dates(first), Ok(()));
        assert_eq!(facts.check_dates(last), Ok(()));
        let second = Duration::from_secs(1);
        assert_eq!(facts.check_dates(first - second), Err(OutOfDate::NotYetValid { from: first }));
        assert_eq!(facts.check_dates(last + second), Err(OutOfDate::Expired { at: last }));
    }

    #[test]
    fn a_part_of_a_certificate_is_refused() {
        let certificate = certificate();
        for length in 0..certificate.len() {
            assert_eq!(CertificateFacts::read(&certificate[..length]), None);
        }
        let longer = [certificate.as_slice(), &[0]].concat();
        assert_eq!(CertificateFacts::read(&longer), None);
    }

    proptest! {
        #[test]
        fn a_damaged_certificate_causes_no_panic(at: prop::sample::Index, byte: u8) {
            let mut certificate = certificate();
            let at = at.index(certificate.len());
            certificate[at] = byte;
            let _ = CertificateFacts::read(&certificate);
        }
    }
}
