//! `Proxy-Authenticate` fields (RFC 9110 §11.3, §11.7.1).

use base64::{Engine as _, engine::general_purpose::STANDARD};
use thiserror::Error;

/// One way in which a proxy offers to authenticate a client.
///
/// ```
/// use mooltiroute_hops::auth::challenge::{AuthScheme, Challenge};
///
/// let fields: [&[u8]; 2] = [b"Negotiate, NTLM TlRMTVNTUAAC", b"Digest realm=\"a, b\", nonce=\"n\""];
/// let challenges = Challenge::parse(fields);
/// let schemes: Vec<_> = challenges.iter().map(Challenge::scheme).collect();
/// assert_eq!(schemes, [AuthScheme::Negotiate, AuthScheme::Ntlm, AuthScheme::Digest].map(Some));
/// assert_eq!(challenges[0].token(), Ok(None));
/// assert_eq!(challenges[1].token(), Ok(Some(b"NTLMSSP\0\x02".to_vec())));
/// assert_eq!(challenges[2].parameter("Realm"), Some(&b"a, b"[..]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    name: String,
    token68: Option<String>,
    parameters: Vec<(String, Vec<u8>)>,
    is_malformed: bool,
}

/// An authentication scheme that a hop can speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthScheme {
    /// SPNEGO (RFC 4559), with Kerberos or NTLM inside.
    Negotiate,
    /// NTLM (MS-NTHT).
    Ntlm,
    /// Digest (RFC 7616).
    Digest,
    /// Basic (RFC 7617).
    Basic,
}

impl AuthScheme {
    /// Returns the name as it is sent.
    pub fn name(self) -> &'static str {
        match self {
            Self::Negotiate => "Negotiate",
            Self::Ntlm => "NTLM",
            Self::Digest => "Digest",
            Self::Basic => "Basic",
        }
    }

    /// Finds a scheme by its name in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::Negotiate, Self::Ntlm, Self::Digest, Self::Basic];
        all.into_iter().find(|scheme| scheme.name().eq_ignore_ascii_case(name))
    }
}

/// The error for a challenge that breaks the grammar of RFC 9110, so that nothing in it can be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the proxy's challenge is malformed")]
pub struct MalformedChallenge;

impl Challenge {
    /// Reads the values of all `Proxy-Authenticate` fields of a response, in their order.
    ///
    /// A challenge that breaks the grammar is still listed by its name, so that the offer is known, but its content is
    /// refused ([`is_malformed`](Self::is_malformed)). Its neighbours are not affected. At most 32 challenges, 32 parameters
    /// of each, and 64 KiB of a field are read. A challenge that is cut by a limit is malformed.
    pub fn parse<'a>(fields: impl IntoIterator<Item = &'a [u8]>) -> Vec<Self> {
        let mut challenges = Vec::new();
        for field in fields {
            read_field(field, &mut challenges);
        }
        challenges
    }

    /// Returns the name of the scheme as the proxy writes it: printable ASCII, at most 120 characters.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the scheme, if a hop can speak it.
    pub fn scheme(&self) -> Option<AuthScheme> {
        AuthScheme::from_name(&self.name)
    }

    /// Returns whether the challenge breaks the grammar or was too long to read.
    pub fn is_malformed(&self) -> bool {
        self.is_malformed
    }

    /// Decodes the token after the scheme's name (RFC 9110 §11.2, `token68`). Returns `Ok(None)` if there is none.
    ///
    /// # Errors
    /// The challenge is malformed, has parameters in place of a token, or the token is not base64.
    pub fn token(&self) -> Result<Option<Vec<u8>>, MalformedChallenge> {
        // `None` would mean a bare offer of the scheme.
        if self.is_malformed || !self.parameters.is_empty() {
            return Err(MalformedChallenge);
        }
        let decode = |token: &String| STANDARD.decode(token).map_err(|_| MalformedChallenge);
        self.token68.as_ref().map(decode).transpose()
    }

    /// Returns the value of a parameter, without quotes and escapes. The name is compared in any case.
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        let mut parameters = self.parameters.iter();
        let found = parameters.find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, value)| &value[..])
    }

    fn new(name: &[u8]) -> Self {
        let name = name.iter().take(NAME_BYTES_MAX).copied().map(char::from).collect();
        Self { name, token68: None, parameters: Vec::new(), is_malformed: false }
    }

    /// Adds a parameter. A second one of this name, or one after a token, makes the challenge malformed.
    fn add(&mut self, parameter: Option<(&[u8], Vec<u8>)>) {
        let Some((name, value)) = parameter else {
            self.is_malformed = true;
            return;
        };
        // RFC 9110 §11.2 lets each parameter occur once. Of two nonces or realms, the proxy and this client might use
        // different ones, so neither is used.
        let name = String::from_utf8_lossy(name).into_owned();
        self.is_malformed |= self.token68.is_some() || self.parameter(&name).is_some();
        if self.parameters.len() < PARAMETERS_MAX {
            self.parameters.push((name, value));
        } else {
            self.is_malformed = true;
        }
    }
}

/// Reads the challenges of one field.
///
/// Commas separate challenges as well as the parameters of one challenge. So each element decides: `name = value` continues
/// the challenge before it, and everything else begins a new one. The field is first split at the commas outside quotes, so
/// that a malformed element does not spoil its neighbours.
fn read_field(field: &[u8], challenges: &mut Vec<Challenge>) {
    let (kept, cut) = field.split_at(field.len().min(FIELD_BYTES_MAX));
    let mut current: Option<Challenge> = None;
    for element in elements(kept) {
        let element = element.trim_ascii();
        let (word, rest) = split_token(element);
        if rest.trim_ascii_start().starts_with(b"=") || word.is_empty() {
            if let Some(challenge) = current.as_mut().filter(|_| !element.is_empty()) {
                challenge.add(parameter(element));
            }
            continue;
        }
        // Only now is it known that the previous challenge is complete.
        challenges.extend(current.take());
        if challenges.len() >= CHALLENGES_MAX {
            return;
        }
        let mut challenge = Challenge::new(word);
        // What follows the scheme's name is a token or the first parameter; RFC 9110 §11.3 allows one of the two.
        let content = rest.trim_ascii_start();
        if is_token68(content) {
            challenge.token68 = str::from_utf8(content).ok().map(str::to_owned);
        } else if !content.is_empty() {
            challenge.add(parameter(content));
        }
        // Only a blank may end the name of a scheme.
        challenge.is_malformed |= rest.len() == content.len() && !content.is_empty();
        current = Some(challenge);
    }
    // The cut may have removed a part of a token, which must not be answered then.
    if let Some(mut challenge) = current {
        challenge.is_malformed |= !cut.is_empty();
        challenges.push(challenge);
    }
}

/// Splits a list at the commas outside quoted strings (RFC 9110 §5.6.1, §5.6.4).
fn elements(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    list.split(move |&byte| {
        // Whether this byte separates depends on the state before it.
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

/// Reads `name = value`. Returns `None` if it is malformed.
fn parameter(element: &[u8]) -> Option<(&[u8], Vec<u8>)> {
    let (name, rest) = split_token(element);
    // Nobody should send blanks around `=`, but RFC 9110 §5.6.3 demands that recipients accept them.
    let value = rest.trim_ascii_start().strip_prefix(b"=")?.trim_ascii();
    if name.is_empty() {
        return None;
    }
    let value = match value.strip_prefix(b"\"") {
        Some(quoted) => unquote(quoted)?,
        None if split_token(value).1.is_empty() => value.to_vec(),
        None => return None,
    };
    Some((name, value))
}

/// Removes the escapes of a quoted string whose first quote is gone. Returns `None` unless its last quote ends it.
fn unquote(quoted: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = quoted.iter().copied();
    let mut text = Vec::with_capacity(quoted.len());
    loop {
        match bytes.next()? {
            b'"' => return bytes.next().is_none().then_some(text),
            b'\\' => text.push(bytes.next()?),
            byte => text.push(byte),
        }
    }
}

/// Splits off the token (RFC 9110 §5.6.2) at the start, which may be empty.
fn split_token(text: &[u8]) -> (&[u8], &[u8]) {
    let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.+!#$%&'*^`|~".contains(byte);
    text.split_at(text.iter().take_while(|byte| is_token(byte)).count())
}

/// Returns whether this is a `token68` (RFC 9110 §11.2): base64 of any alphabet with its padding.
fn is_token68(text: &[u8]) -> bool {
    let is_base64 = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    let digits = text.iter().take_while(|byte| is_base64(byte)).count();
    digits > 0 && text[digits..].iter().all(|byte| *byte == b'=')
}

const CHALLENGES_MAX: usize = 32;
const PARAMETERS_MAX: usize = 32;
/// The most bytes of a field that are read. Proxies accept no token of Kerberos that is as long.
const FIELD_BYTES_MAX: usize = 64 << 10;
const NAME_BYTES_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Refusal;

    fn parse(field: &str) -> Vec<Challenge> {
        Challenge::parse([field.as_bytes()])
    }

    #[test]
    fn several_challenges_share_a_field_and_several_fields_a_response() {
        let fields: [&[u8]; 3] = [
            b"nEGOTIATE , ,NTLM",
            b"",
            b"Digest qop=\"auth,auth-int\" , realm = x, basic realm=\"\\\"y\\\", Z\"",
        ];
        let challenges = Challenge::parse(fields);
        let names: Vec<_> = challenges.iter().map(Challenge::name).collect();
        assert_eq!(names, ["nEGOTIATE", "NTLM", "Digest", "basic"]);
        assert_eq!(challenges[0].scheme(), Some(AuthScheme::Negotiate));
        assert_eq!(challenges[2].parameter("QOP"), Some(&b"auth,auth-int"[..]));
        assert_eq!(challenges[2].parameter("realm"), Some(&b"x"[..]));
        assert_eq!(challenges[3].parameter("realm"), Some(&b"\"y\", Z"[..]));
        assert!(challenges.iter().all(|challenge| !challenge.is_malformed()));
    }

    #[test]
    fn tokens_are_decoded() {
        assert_eq!(parse("NTLM TlRMTVNTUAA=")[0].token(), Ok(Some(b"NTLMSSP\0".to_vec())));
        let both = parse("NTLM TlRMTVNTUAA=, Basic realm=\"x\"");
        assert_eq!(both[0].token(), Ok(Some(b"NTLMSSP\0".to_vec())));
        assert_eq!(both[1].parameter("realm"), Some(&b"x"[..]));
        for malformed in
            ["NTLM TlRM=TVN", "NTLM T", "NTLM \"x\"", "NTLM a b", "NTLM T-_~", "NTLM/x"]
        {
            assert_eq!(parse(malformed)[0].token(), Err(MalformedChallenge), "{malformed}");
        }
    }

    #[test]
    fn a_malformed_challenge_keeps_its_name_and_spares_its_neighbours() {
        for malformed in
            ["realm=\"x", "realm=\"x\"y", "a=1, A=2", "a=b c", "TlRM, a=1", "a=1, =2", "a=1, \"x\""]
        {
            let challenges = parse(&format!("Negotiate, Digest {malformed}"));
            assert!(!challenges[0].is_malformed(), "{malformed}");
            assert_eq!(challenges[1].name(), "Digest");
            assert!(challenges[1].is_malformed(), "{malformed}");
        }
        assert_eq!(parse(" , =, \"x\", a=1"), []);
    }

    #[test]
    fn enormous_fields_are_cut() {
        let token = format!("NTLM {}", "A".repeat(FIELD_BYTES_MAX));
        assert!(parse(&token)[0].is_malformed());
        assert_eq!(parse(&"a,".repeat(100_000)).len(), CHALLENGES_MAX);
        let endless = format!("Digest {}", (0..40).map(|n| format!("a{n}=1,")).collect::<String>());
        assert!(parse(&endless)[0].is_malformed());
        assert_eq!(parse(&"a".repeat(1000))[0].name().len(), NAME_BYTES_MAX);
    }

    proptest! {
        /// The names of the challenges agree with the schemes that a refusal lists.
        #[test]
        fn names_agree_with_those_of_a_refusal(field in "[a-c \"=,\\\\\u{e4}/]{0,40}") {
            let field = field.as_bytes();
            let refusal = Refusal::from_http(407, b"", [(&b"Proxy-Authenticate"[..], field)].into_iter());
            let mut names = Vec::<String>::new();
            for challenge in Challenge::parse([field]) {
                if !names.iter().any(|known| known.eq_ignore_ascii_case(challenge.name())) {
                    names.push(challenge.name().to_owned());
                }
            }
            prop_assert_eq!(names, refusal.http.unwrap().schemes);
        }

        #[test]
        fn what_is_written_is_read(realm: Vec<u8>, nonce in "[a-z]{1,20}", token: Vec<u8>) {
            let mut field = format!("NTLM {},Digest realm=\"", STANDARD.encode(&token)).into_bytes();
            for byte in &realm {
                field.extend_from_slice(&[b'\\', *byte]);
            }
            field.extend_from_slice(format!("\" , NONCE={nonce}").as_bytes());
            let challenges = Challenge::parse([&field[..]]);
            prop_assert_eq!(challenges[0].token(), Ok(Some(token).filter(|token| !token.is_empty())));
            prop_assert_eq!(challenges[1].parameter("realm"), Some(&realm[..]));
            prop_assert_eq!(challenges[1].parameter("nonce"), Some(nonce.as_bytes()));
        }

        #[test]
        fn any_bytes_have_an_answer(fields: Vec<Vec<u8>>) {
            for challenge in Challenge::parse(fields.iter().map(Vec::as_slice)) {
                prop_assert!(challenge.name().bytes().all(|byte| byte.is_ascii_graphic()));
                let _ = challenge.token();
            }
        }
    }
}
