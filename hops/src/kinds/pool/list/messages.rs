//! The words about lines of a list. They show what fits the protocol that a line means.

use std::borrow::Cow;

use super::{InvalidLine, LineDoubt, ListScheme, scheme_of};
use crate::InvalidAuthority;

/// How a line is written, for the examples in its advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::kinds::pool) struct LineForm {
    /// The protocol that the line means.
    scheme: ListScheme,
    is_url: bool,
}

impl ListScheme {
    /// Returns the scheme of a URL.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
        }
    }
}

impl LineForm {
    /// Returns the form of `line` in a list whose lines without a scheme mean `default`.
    pub(in crate::kinds::pool) fn of(line: &str, default: ListScheme) -> Self {
        match line.trim().split_once("://") {
            Some((scheme, _)) => {
                Self { scheme: scheme_of(scheme).unwrap_or(default), is_url: true }
            }
            None => Self { scheme: default, is_url: false },
        }
    }

    /// Returns a URL with a login.
    fn url(self) -> String {
        format!("`{}://USER:PASSWORD@HOST:PORT`", self.scheme.name())
    }

    /// Returns a line with a login.
    fn with_login(self) -> String {
        if self.is_url { self.url() } else { "`HOST:PORT:USER:PASSWORD`".to_owned() }
    }

    /// Returns a line without a login.
    fn without_login(self) -> String {
        match self.is_url {
            true => format!("`{}://HOST:PORT`", self.scheme.name()),
            false => "`HOST:PORT`".to_owned(),
        }
    }
}

impl InvalidLine {
    /// Describes the mistake in a line of this form.
    pub(in crate::kinds::pool) fn in_words(self, form: LineForm) -> Cow<'static, str> {
        let (url, with, without) = (form.url(), form.with_login(), form.without_login());
        let words = match self {
            Self::Address(InvalidAuthority::MissingPort) => {
                return format!("the port is missing; write {without}").into();
            }
            Self::Address(InvalidAuthority::MissingHost) => {
                return format!("the host is missing; write {without}").into();
            }
            Self::Address(InvalidAuthority::Brackets) => {
                return "an IPv6 address is written in brackets, as in `[::1]:1080`".into();
            }
            Self::Address(invalid) => return invalid.to_string().into(),
            Self::AddressBeforeAt => {
                let with = if form.is_url { url } else { "`USER:PASSWORD@HOST:PORT`".to_owned() };
                return format!(
                    "the address is before the `@`, and the login after it; write {with}"
                )
                .into();
            }
            Self::Form(other) => {
                return other.in_words(&with, &without).into();
            }
            Self::Path => {
                let write = if form.is_url { format!("{without} or {url}") } else { without };
                return format!("a path follows the address, and a proxy has none; write {write}")
                    .into();
            }
            Self::Order => return format!("the address comes first: write {with}").into(),
            Self::Login => {
                return format!(
                    "the login needs a username and a password: write {with}, or {without} for a proxy without a login"
                )
                .into();
            }
            Self::Ambiguous => {
                return format!(
                    "it can be read as `HOST:PORT:USER:PASSWORD` and as `USER:PASSWORD@HOST:PORT`; write it as a URL, {url}"
                )
                .into();
            }
            Self::Scheme => {
                "the scheme is unknown; write `http://`, `https://` or `socks5://`, or leave it out"
            }
            Self::Socks4 => {
                "SOCKS4 is not supported; ask the provider for HTTP or SOCKS5, or remove the line"
            }
            Self::Markup => "this is a web page or XML; download the list again",
            Self::Json => "this is JSON; ask the provider for the list as text, one proxy a line",
            Self::Quotes => "it is in quotes; remove them",
            Self::Header => "this names the columns of a table; remove the line",
            Self::Control => "it has an invisible character; type the line again",
            Self::Escape => {
                "a `%` in the login is not followed by two hexadecimal digits; write `%25` for a `%`"
            }
        };
        words.into()
    }
}

impl LineDoubt {
    /// Describes the doubt about a line of this form.
    pub(in crate::kinds::pool) fn in_words(self, form: LineForm) -> Cow<'static, str> {
        match self {
            Self::LongPassword => format!(
                "everything after the third `:` is read as the password; if it has a `:` in it, write the line as a \
                 URL, {}, with `%25` for a `%`; otherwise remove what follows the password",
                form.url()
            )
            .into(),
            Self::NoPassword => format!(
                "the password after the username is missing, so an empty one is sent; if the line was cut off, \
                 complete it; if the proxy takes no password, write {}",
                form.url().replace("PASSWORD", "")
            )
            .into(),
            Self::Comment => {
                "`# …` after a proxy is part of its password; write a comment in a line of its own"
                    .into()
            }
            Self::Column(one) => format!(
                "the {} after the third `:`, and everything that follows, is read as part of the password; if it is \
                 another column, such as a country, remove it",
                if one == ' ' { "blank".to_owned() } else { format!("`{one}`") }
            )
            .into(),
            Self::Encoded => format!(
                "a `%` with two hexadecimal digits in the login is sent as it is written; only in a URL such as {} is it decoded, \
                 as `%40` to `@`, and `%25` is a `%` there",
                form.url()
            )
            .into(),
            Self::Variable => "variables are not replaced in lists; write the value itself".into(),
            Self::Ending(end) => format!(
                "the `{end}` at its end is read as a part of the password; remove it, unless the password ends so"
            )
            .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::parse_line, *};

    #[test]
    fn the_advice_shows_what_fits_the_scheme_of_the_list() {
        let told = |line: &str, scheme| {
            let form = LineForm::of(line, scheme);
            parse_line(line).unwrap().unwrap_err().in_words(form).into_owned()
        };
        let (http, https, socks5) = (ListScheme::Http, ListScheme::Https, ListScheme::Socks5);
        let path = "a path follows the address, and a proxy has none; write ";
        let both = "`http://HOST:PORT` or `http://USER:PASSWORD@HOST:PORT`";
        assert_eq!(told("http://a:80/x", socks5), format!("{path}{both}"));
        assert_eq!(told("a:80/x", socks5), format!("{path}`HOST:PORT`"));
        assert!(told("a:80:u:p@b:90", https).ends_with("`https://USER:PASSWORD@HOST:PORT`"));
        assert!(told("a:80:u:p@b:90", socks5).ends_with("`socks5://USER:PASSWORD@HOST:PORT`"));
        assert!(told("http://u@a:80", socks5).contains("`http://USER:PASSWORD@HOST:PORT`"));
        assert!(told("socks5://a.test", http).ends_with("write `socks5://HOST:PORT`"));
        assert!(told("a.test", socks5).ends_with("write `HOST:PORT`"));
        let doubt = LineDoubt::LongPassword.in_words(LineForm::of("", socks5)).into_owned();
        assert!(doubt.contains("`socks5://USER:PASSWORD@HOST:PORT`"), "{doubt}");
    }
}
