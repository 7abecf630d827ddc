//! Refusals that came as an HTTP response.

use super::{Meaning, Party, Refusal, RequestSecrets, printable, retry_after};
use crate::auth::challenge::{AuthScheme, Challenge};

/// The head of an HTTP response by which a hop declines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpRefusal {
    /// The status code (RFC 9110 §15).
    pub status: u16,
    /// The schemes that `Proxy-Authenticate` fields offer, in their order, each once.
    pub schemes: Vec<String>,
    /// All fields, as printable ASCII and shortened.
    fields: Vec<(String, String)>,
}

impl Refusal {
    /// Reads a refusal from the head of an HTTP response.
    pub fn from_http<'a>(
        status: u16,
        reason: &[u8],
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Self {
        let mut http = HttpRefusal { status, ..HttpRefusal::default() };
        let mut wait = None;
        // Every field is kept, because only the kind of hop knows in which of them its provider explains a refusal.
        for (name, value) in fields {
            if name.eq_ignore_ascii_case(b"Proxy-Authenticate") {
                http.offer(Challenge::parse([value]));
            } else if name.eq_ignore_ascii_case(b"Retry-After") {
                // A second field of this name is not legal. The first one that can be read counts.
                wait = wait.or_else(|| retry_after(value, std::time::SystemTime::now()));
            }
            http.fields.push((printable(name), printable(value)));
        }
        let (meaning, about) = match (status, wait) {
            // A proxy that names a time means itself: it is overloaded, or being maintained (RFC 9110 §15.6.4). It can't know
            // when a target that is down will be back.
            (503, Some(_)) => (Meaning::Unclear, Party::Hop),
            _ => meaning(status),
        };
        let said = match printable(reason) {
            reason if reason.is_empty() => status.to_string(),
            reason => format!("{status} {reason}"),
        };
        Self {
            meaning,
            about,
            said,
            detail: REASON_FIELDS.iter().find_map(|name| http.field(name)).map(str::to_owned),
            retry_after: wait,
            http: Some(http),
            ..Self::new(meaning, about, "")
        }
    }

    /// Returns the first HTTP field of this name that is not empty, as printable ASCII and shortened.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.http.as_ref()?.field(name)
    }
}

/// Returns the meaning that a status alone has for a CONNECT. Some proxies answer 401 instead of 407, and to a CONNECT
/// only a proxy can answer 401.
fn meaning(status: u16) -> (Meaning, Party) {
    match status {
        401 | 407 => (Meaning::Credentials, Party::Hop),
        // The status alone does not say whether the hop or the target is meant. 403 and 405 are how proxies refuse a
        // port.
        403 | 405 => (Meaning::Policy, Party::Next),
        404 => (Meaning::Unclear, Party::Next),
        429 => (Meaning::Busy, Party::Hop),
        // Most proxies answer these for a target that they can't reach. If the hop were blamed, each dead target would
        // take members out of a pool.
        502 | 503 => (Meaning::Unreachable, Party::Next),
        504 => (Meaning::Timeout, Party::Next),
        _ => (Meaning::Unclear, Party::Hop),
    }
}

impl HttpRefusal {
    fn offer(&mut self, challenges: Vec<Challenge>) {
        for challenge in challenges {
            if !self.offers(challenge.name()) {
                self.schemes.push(challenge.name().to_owned());
            }
        }
    }

    /// Forgets the schemes and the values of fields that may repeat one of `secrets`.
    pub(super) fn leave_out(&mut self, secrets: &RequestSecrets) {
        self.schemes.retain(|scheme| {
            AuthScheme::from_name(scheme).is_some() || !secrets.are_in_shortened(scheme)
        });
        for (_, value) in &mut self.fields {
            if secrets.are_in_shortened(value) {
                value.clear();
            }
        }
    }

    /// Returns whether `scheme` is one of those on offer, in any case of its letters.
    pub fn offers(&self, scheme: &str) -> bool {
        self.schemes.iter().any(|known| known.eq_ignore_ascii_case(scheme))
    }

    fn field(&self, name: &str) -> Option<&str> {
        let is_it = |(known, value): &&(String, String)| {
            known.eq_ignore_ascii_case(name) && !value.is_empty()
        };
        self.fields.iter().find(is_it).map(|(_, value)| value.as_str())
    }

    pub(super) fn unanswered(&self) -> Option<usize> {
        let status = self.field("Proxy-Status").filter(|_| self.status == 503)?;
        let rest = status.strip_prefix(UNANSWERED)?;
        rest.split(';').next()?.trim().parse().ok()
    }

    /// Returns whether an answer to a plain request says that it comes from the hop and not from an origin. That is a 407,
    /// which only a proxy may send, or a server error with Squid's field for its reason, unless `Via` names another
    /// proxy that may have made it. An origin can imitate both.
    pub(super) fn is_by_proxy(&self) -> bool {
        // With a second proxy in `Via`, Squid's field may come from a proxy in front of the origin, and not from the
        // hop.
        let via = self.fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Via"));
        let proxies =
            via.flat_map(|(_, value)| value.split(',')).filter(|one| !one.trim().is_empty());
        self.status == 407
            || self.status >= 500 && self.field(SQUID_ERROR).is_some() && proxies.count() <= 1
    }
}

/// The beginning of our own `Proxy-Status` of a request beyond the bound of equal ones. No other proxy has the parameter
/// `unanswered`, and what follows the number may be the words of others.
const UNANSWERED: &str = "mooltiroute; error=connection_limit_reached; unanswered=";
/// The field in which Squid names the reason.
const SQUID_ERROR: &str = "X-Squid-Error";
/// The fields in which proxies and providers name the reason, the most precise first.
const REASON_FIELDS: [&str; 9] = [
    SQUID_ERROR,
    "X-Brd-Err-Msg",
    "X-Brd-Err-Code",
    "X-Brd-Error",
    "X-Luminati-Error",
    "X-Proxy-Error",
    "X-Error-Message",
    "X-Error-Reason",
    "X-Error",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Field, Secret};

    #[test]
    fn words_that_repeat_a_secret_are_left_out() {
        let token = "Basic am9lOkh1bnRlcjIh";
        let sent = [Field::new("Proxy-Authorization", Secret::new(token))];
        let fields = [
            (&b"X-Error"[..], &b"bad password hunter2!"[..]),
            (b"X-Code", b"17"),
            (b"Proxy-Authenticate", b"Basic realm=a, Hunter2 x=y"),
        ];
        let refusal = Refusal::from_http(407, b"No Hunter2!", fields).without_secrets_of(&sent);
        assert_eq!((&*refusal.said, refusal.detail.as_deref()), ("407", None));
        assert_eq!((refusal.field("X-Error"), refusal.field("X-Code")), (None, Some("17")));
        assert_eq!(refusal.http.as_ref().unwrap().schemes, ["Basic"]);
        // The words are cut to 120 bytes, which may leave the beginning of a secret at their end.
        let cut = |text: &str, bytes: usize| {
            format!("{}{text}", "x ".repeat(60)[..120 - bytes].to_owned())
        };
        for (text, bytes) in
            [("Basic am9lOkh1bnRlcjIh", 10), ("Hunter2!", 5), ("joe", 2), ("h%75nter2", 4)]
        {
            let (text, long) = (cut(text, bytes), cut("harmless", bytes));
            let said = |words: &str| {
                let fields = [(&b"X-Error"[..], words.as_bytes())];
                let refusal = Refusal::from_http(403, words.as_bytes(), fields);
                let refusal = refusal.without_secrets_of(&sent);
                (
                    refusal.said.len() > 3,
                    refusal.detail.is_some(),
                    refusal.field("X-Error").is_some(),
                )
            };
            assert_eq!(said(&text), (false, false, false), "{text}");
            assert_eq!(said(&long), (true, true, true), "{long}");
        }
        let harmless = Refusal::from_http(403, b"Blocked", [(&b"X-Error"[..], &b"site"[..])]);
        assert_eq!(harmless.clone().without_secrets_of(&sent), harmless);
    }

    #[test]
    fn an_answer_about_a_loop_is_told_from_one_about_the_hop() {
        const OURS: &str = "mooltiroute; error=connection_limit_reached";
        let refusal = |status, proxy_status: &str| {
            let fields =
                [(&b"Proxy-Status"[..], proxy_status.as_bytes()), (&b"Retry-After"[..], &b"1"[..])];
            Refusal::from_http(status, b"", fields)
        };
        assert!(refusal(508, "").is_of_loop());
        let passed_on = format!("{OURS}; unanswered=19; next-hop=\"b\"; received-status=503");
        for told in [format!("{OURS}; unanswered=19"), passed_on] {
            let refusal = refusal(503, &told);
            assert_eq!((refusal.unanswered(), refusal.is_of_loop()), (Some(19), true), "{told}");
        }
        for (status, told) in [
            (503, OURS.to_owned()),
            (429, format!("{OURS}; unanswered=19")),
            (503, format!("{OURS}; details=\"{OURS}; unanswered=19\"")),
            (502, String::new()),
        ] {
            assert!(!refusal(status, &told).is_of_loop(), "{status} {told}");
        }
    }

    #[test]
    fn schemes_are_found_among_parameters() {
        let found = |value: &'static [u8]| {
            let refusal = Refusal::from_http(407, b"", [(&b"Proxy-Authenticate"[..], value)]);
            refusal.http.unwrap().schemes
        };
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
        let http = Refusal::from_http(407, b"", fields).http.unwrap();
        assert_eq!(http.schemes, ["Negotiate", "NTLM", "Basic"]);
        assert!(http.offers("BASIC") && !http.offers("Digest"));
    }

    #[test]
    fn a_status_tells_what_is_meant_and_whom_it_is_about() {
        for (status, meaning, about) in [
            (407, Meaning::Credentials, Party::Hop),
            (403, Meaning::Policy, Party::Next),
            (429, Meaning::Busy, Party::Hop),
            (502, Meaning::Unreachable, Party::Next),
            (504, Meaning::Timeout, Party::Next),
            (500, Meaning::Unclear, Party::Hop),
        ] {
            let refusal = Refusal::from_http(status, b"", []);
            assert_eq!((refusal.meaning, refusal.about), (meaning, about), "{status}");
        }
    }

    #[test]
    fn a_503_that_names_a_time_is_about_the_hop() {
        let about = |fields: &[(&'static [u8], &'static [u8])]| {
            Refusal::from_http(503, b"", fields.iter().copied()).about
        };
        assert_eq!(about(&[]), Party::Next);
        assert_eq!(about(&[(b"Retry-After", b"soon")]), Party::Next);
        assert_eq!(about(&[(b"Retry-After", b"30")]), Party::Hop);
    }

    #[test]
    fn only_an_answer_that_says_so_comes_from_a_proxy() {
        let is_by_proxy = |status, fields: &[(&str, &str)]| {
            let fields = fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes()));
            Refusal::from_http(status, b"", fields).is_by_proxy()
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
        fn words_of_a_peer_are_fit_for_a_log(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let fields = [(&b"Proxy-Authenticate"[..], &bytes[..]), (&b"X-Squid-Error"[..], &bytes[..])];
            let refusal = Refusal::from_http(407, &bytes, fields);
            let schemes = refusal.http.as_ref().unwrap().schemes.concat();
            let shown = format!("{refusal} {schemes}");
            prop_assert!(shown.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
        }
    }
}
