//! An answer by which a hop declines, and what it says of why.

use std::fmt;

/// An answer by which a hop declines to reach the next stop.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The status code (RFC 9110 §15).
    pub status: u16,
    /// The reason phrase, as printable ASCII and shortened.
    pub reason: String,
    /// The schemes that `Proxy-Authenticate` fields offer, in their order, each once.
    pub schemes: Vec<String>,
    /// The reason that a provider gives in a field of its own, as printable ASCII and shortened.
    pub detail: Option<String>,
    /// What it means, where the kind of hop knows more than the status tells.
    pub meaning: Option<Meaning>,
    /// What the operator can do, where the kind of hop knows.
    pub advice: Option<String>,
    /// All fields, as printable ASCII and shortened.
    fields: Vec<(String, String)>,
}

/// What a refusal means to whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Meaning {
    /// The credentials are not accepted, or the account may not do what they ask for.
    Credentials,
    /// What the account has paid for is used up.
    Quota,
    /// The hop lets nobody go to the next stop.
    Forbidden,
    /// Too much is asked at once; later it may go.
    Busy,
    /// The hop knows no address of the next stop.
    UnknownName,
    /// The hop did not reach the next stop.
    Unreachable,
    /// The hop has a fault of its own.
    Fault,
}

impl Refusal {
    /// Reads it from the head of a response.
    pub fn new<'a>(
        status: u16,
        reason: &[u8],
        fields: impl Iterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Self {
        let mut refusal = Self { status, reason: printable(reason), ..Self::default() };
        for (name, value) in fields {
            if name.eq_ignore_ascii_case(b"Proxy-Authenticate") {
                refusal.offer(schemes(value));
            }
            refusal.fields.push((printable(name), printable(value)));
        }
        refusal.detail = refusal.field(SQUID_ERROR).map(str::to_owned);
        refusal
    }

    fn offer(&mut self, schemes: impl Iterator<Item = String>) {
        for scheme in schemes {
            if !self.schemes.iter().any(|known| known.eq_ignore_ascii_case(&scheme)) {
                self.schemes.push(scheme);
            }
        }
    }

    /// The first field of this name that says anything, as printable ASCII and shortened.
    pub fn field(&self, name: &str) -> Option<&str> {
        let is_it = |(known, value): &&(String, String)| {
            known.eq_ignore_ascii_case(name) && !value.is_empty()
        };
        self.fields.iter().find(is_it).map(|(_, value)| value.as_str())
    }

    /// Whether an answer to a plain request says of itself that it is the hop's own and no origin's: a 407, which only a
    /// proxy may send, or a server error with Squid's field for that, where `Via` tells of no other proxy that made it.
    /// Whatever an origin sends can say so too.
    pub fn is_by_proxy(&self) -> bool {
        let via = self.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Via"));
        let proxies =
            via.flat_map(|(_, value)| value.split(',')).filter(|one| !one.trim().is_empty());
        self.status == 407
            || self.status >= 500 && self.field(SQUID_ERROR).is_some() && proxies.count() <= 1
    }

    /// Whether the next stop is why, and not the hop that refuses: another hop in its place would refuse as well.
    pub fn is_about_next(&self) -> bool {
        match self.meaning {
            Some(Meaning::Forbidden | Meaning::UnknownName | Meaning::Unreachable) => true,
            Some(_) => false,
            None => matches!(self.status, 403..=405 | 502..=504),
        }
    }

    /// Whether it is by the hop's policy that the next stop is not for anybody, such as for its port.
    pub fn is_by_policy(&self) -> bool {
        self.meaning == Some(Meaning::Forbidden)
            || self.meaning.is_none() && matches!(self.status, 403 | 405)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if !self.reason.is_empty() {
            write!(f, " {}", self.reason)?;
        }
        match &self.detail {
            Some(detail) => write!(f, " ({detail})"),
            None => Ok(()),
        }
    }
}

/// The schemes of a list of challenges (RFC 9110 §11.3): the words that open an element and are no parameter.
fn schemes(value: &[u8]) -> impl Iterator<Item = String> + '_ {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+!#$%&'*^`|~".contains(byte);
    outside_quotes(value).filter_map(move |element| {
        let element = element.trim_ascii();
        let word_bytes = element.iter().take_while(|byte| is_token(byte)).count();
        let (word, rest) = element.split_at(word_bytes);
        let is_parameter = rest.trim_ascii_start().starts_with(b"=");
        (!word.is_empty() && !is_parameter).then(|| printable(word))
    })
}

/// The elements of a comma-separated list, whose quoted strings may hold commas.
fn outside_quotes(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    value.split(move |&byte| {
        let is_separator = byte == b',' && !is_quoted;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
        is_separator
    })
}

/// What may stand in a log or an error of what a stranger sent.
fn printable(bytes: &[u8]) -> String {
    let clean =
        |&byte: &u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '?' };
    bytes.iter().take(PRINTABLE_BYTES_MAX).map(clean).collect()
}

const PRINTABLE_BYTES_MAX: usize = 120;
/// Where Squid says why.
const SQUID_ERROR: &str = "X-Squid-Error";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn schemes_are_found_among_parameters() {
        let found = |value: &'static [u8]| schemes(value).collect::<Vec<_>>();
        assert_eq!(
            found(b"Negotiate, NTLM, Basic realm=\"a, Fake b\""),
            ["Negotiate", "NTLM", "Basic"]
        );
        assert_eq!(found(b"Digest realm=\"x\\\", Fake\", qop=auth, nonce = 1"), ["Digest"]);
        assert_eq!(found(b"NTLM TlRMTVNTUAAC=="), ["NTLM"]);
        assert_eq!(found(b" ,, "), [""; 0]);
    }

    #[test]
    fn a_scheme_that_is_offered_twice_is_named_once() {
        let offers = [&b"Negotiate, NTLM"[..], b"ntlm TlRMTVNTUAAC==, Basic realm=a"];
        let fields = offers.map(|value| (&b"Proxy-Authenticate"[..], value));
        let refusal = Refusal::new(407, b"", fields.into_iter());
        assert_eq!(refusal.schemes, ["Negotiate", "NTLM", "Basic"]);
    }

    #[test]
    fn only_an_answer_that_says_so_is_a_proxys() {
        let is_by_proxy = |status, fields: &[(&str, &str)]| {
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            Refusal::new(status, b"", fields).is_by_proxy()
        };
        let squid = ("x-squid-error", "ERR_CONNECT_FAIL 111");
        assert!(is_by_proxy(407, &[]));
        assert!(is_by_proxy(503, &[squid]));
        assert!(is_by_proxy(503, &[squid, ("Via", "1.1 corp (squid/6.1)")]));
        assert!(!is_by_proxy(503, &[squid, ("Via", "1.1 theirs (squid)"), ("via", "1.1 corp")]));
        assert!(!is_by_proxy(503, &[squid, ("Via", "1.1 theirs, 1.1 corp")]));
        assert!(!is_by_proxy(403, &[squid]), "a page for people, of a company's own");
        assert!(!is_by_proxy(502, &[("Via", "1.1 corp"), ("Server", "squid")]));
        assert!(!is_by_proxy(504, &[]));
    }

    proptest! {
        #[test]
        fn what_a_stranger_sent_is_fit_for_a_log(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let fields = [(&b"Proxy-Authenticate"[..], &bytes[..]), (&b"X-Squid-Error"[..], &bytes[..])];
            let refusal = Refusal::new(407, &bytes, fields.into_iter());
            let shown = format!("{refusal} {}", refusal.schemes.concat());
            prop_assert!(shown.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
        }
    }
}
