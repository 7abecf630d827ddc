//! A proxy of a list, and the reasons why a line is none.

use super::OtherForm;
use crate::{Authority, InvalidAuthority, Secret};

/// A proxy of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::kinds::pool) struct ListedProxy {
    /// The scheme, if the line is a URL.
    pub(in crate::kinds::pool) scheme: Option<ListScheme>,
    pub(in crate::kinds::pool) address: Authority,
    /// Username and password.
    pub(in crate::kinds::pool) login: Option<(Secret, Secret)>,
    /// Whether the login is behind the address, so that nothing marks its end.
    pub(in crate::kinds::pool) is_login_last: bool,
}

/// The protocol that a proxy of a list speaks.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Hash,
    serde::Deserialize,
    serde::Serialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub(in crate::kinds::pool) enum ListScheme {
    /// HTTP, with CONNECT.
    #[default]
    Http,
    /// HTTP over TLS.
    Https,
    /// SOCKS5.
    Socks5,
}

/// Why a line is not a proxy. The text never repeats the line, which may hold a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::pool) enum InvalidLine {
    Address(InvalidAuthority),
    Scheme,
    Socks4,
    /// The login is behind the address, although there is an `@` between them.
    AddressBeforeAt,
    Form(OtherForm),
    Markup,
    Json,
    Quotes,
    Header,
    /// `USER:PASSWORD:HOST:PORT`.
    Order,
    /// The username or the password is missing.
    Login,
    Ambiguous,
    Control,
    Escape,
    /// There is a path, a query or a fragment behind the address.
    Path,
}

/// A probable mistake in a line that is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::pool) enum LineDoubt {
    /// The password has a `:`.
    LongPassword,
    /// The password behind the address is empty, as in a line that was cut off.
    NoPassword,
    Comment,
    Variable,
    /// The password ends with a `,` or a `;`.
    Ending(char),
    /// The login has a character as in a URL, such as `%40`, and nothing decodes it.
    Encoded,
    /// The password has this character in it, which lists have between columns.
    Column(char),
}

impl From<InvalidAuthority> for InvalidLine {
    fn from(invalid: InvalidAuthority) -> Self {
        Self::Address(invalid)
    }
}

impl ListedProxy {
    /// Describes a probable mistake in the line, although it is valid.
    pub(in crate::kinds::pool) fn doubt(&self) -> Option<LineDoubt> {
        let (user, password) = self.login.as_ref()?;
        let password = password.expose();
        if self.is_login_last && password.contains(':') {
            return Some(LineDoubt::LongPassword);
        }
        // Some providers take a key as the username and no password. `USER:@HOST:PORT` says that on purpose.
        if self.is_login_last && password.is_empty() {
            return Some(LineDoubt::NoPassword);
        }
        if password.contains(" #") {
            return Some(LineDoubt::Comment);
        }
        let is_variable = |text: &str| text.starts_with("${") && text.ends_with('}');
        if is_variable(user.expose()) || is_variable(password) {
            return Some(LineDoubt::Variable);
        }
        // Only the login before the `@` of a URL is decoded.
        let is_decoded = self.scheme.is_some() && !self.is_login_last;
        if !is_decoded && [user.expose(), password].into_iter().any(has_escape) {
            return Some(LineDoubt::Encoded);
        }
        if !self.is_login_last {
            return None;
        }
        let end = password.chars().next_back().filter(|end| [',', ';'].contains(end));
        let column = || password.chars().find(|one| [' ', '|'].contains(one));
        end.map(LineDoubt::Ending).or_else(|| column().map(LineDoubt::Column))
    }
}

/// Returns whether `text` has a `%` with two hexadecimal digits behind it (RFC 3986 § 2.1).
fn has_escape(text: &str) -> bool {
    let mut triples = text.as_bytes().windows(3);
    triples.any(|three| three[0] == b'%' && three[1..].iter().all(u8::is_ascii_hexdigit))
}
