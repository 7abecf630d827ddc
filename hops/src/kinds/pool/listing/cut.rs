//! Signs that the end of a list is missing, as after a download or a save that was cut off.
//!
//! The beginning of a line may be a valid proxy: `10.0.0.1:31` of `10.0.0.1:3128`, or a login without the end of its
//! password. So the last line is compared with all others, and only if no line end shows that it is complete.

use std::fmt;

use super::ListedProxy;
use crate::Secret;

/// A difference of the last line from all others, which shows that it was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CutSign {
    /// Its port is the beginning of the port that all others have.
    Port { found: u16, others: u16 },
    /// It has no login.
    NoLogin,
    /// Its password is the beginning of the one that all others have.
    Password,
}

/// The last line of a list, if it has no line end, and what all lines before it share.
#[derive(Debug)]
pub(super) struct LastLine {
    /// The number of the last line.
    open: Option<usize>,
    others: usize,
    /// The port of all others.
    port: Option<u16>,
    /// Whether all others have a login.
    have_logins: bool,
    /// The login of all others.
    login: Option<(Secret, Secret)>,
    sign: Option<(usize, CutSign)>,
}

impl LastLine {
    /// Prepares to compare the last line of `text` with the others.
    pub(super) fn of(text: &str) -> Self {
        let is_open = !text.is_empty() && !text.ends_with(['\n', '\r']);
        let open = is_open.then(|| text.lines().count());
        Self { open, others: 0, port: None, have_logins: true, login: None, sign: None }
    }

    /// Takes note of the proxy in the line of this number. Lines come in their order.
    pub(super) fn note(&mut self, number: usize, proxy: &ListedProxy) {
        let Some(open) = self.open else { return };
        if number == open {
            self.sign = self.sign_in(proxy).map(|sign| (number, sign));
            return;
        }
        let port = proxy.address.port();
        let is_first = self.others == 0;
        self.others += 1;
        self.have_logins &= proxy.login.is_some();
        if is_first {
            (self.port, self.login) = (Some(port), proxy.login.clone());
            return;
        }
        self.port = self.port.filter(|shared| *shared == port);
        if self.login != proxy.login {
            self.login = None;
        }
    }

    /// Returns the number of the last line and a sign that its end is missing, if there is one.
    pub(super) fn sign(&self) -> Option<(usize, CutSign)> {
        self.sign
    }

    fn sign_in(&self, last: &ListedProxy) -> Option<CutSign> {
        // One other line shows no habit.
        if self.others < OTHERS_MIN {
            return None;
        }
        if let (Some((user, password)), Some((own_user, own_password))) = (&self.login, &last.login)
            && user == own_user
            && is_beginning(own_password.expose(), password.expose())
        {
            return Some(CutSign::Password);
        }
        let found = last.address.port();
        // A login behind the port shows that the port is complete.
        let others = self.port.filter(|_| !last.is_login_last);
        if let Some(others) = others
            && is_beginning(&found.to_string(), &others.to_string())
        {
            return Some(CutSign::Port { found, others });
        }
        (self.have_logins && last.login.is_none()).then_some(CutSign::NoLogin)
    }
}

fn is_beginning(text: &str, whole: &str) -> bool {
    text.len() < whole.len() && whole.starts_with(text)
}

impl fmt::Display for CutSign {
    /// Completes "the line is the last one, has no line end, and …".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port { found, others } => {
                write!(f, "has port {found}, and all others have {others}")
            }
            Self::NoLogin => f.write_str("has no login, unlike all others"),
            Self::Password => f.write_str("has only the beginning of the password of all others"),
        }
    }
}

/// The least number of other lines.
const OTHERS_MIN: usize = 2;

#[cfg(test)]
mod tests {
    use super::{super::super::list::parse_line, *};

    fn sign(text: &str) -> Option<CutSign> {
        let mut last = LastLine::of(text);
        for (line, number) in text.lines().zip(1..) {
            if let Some(Ok(proxy)) = parse_line(line) {
                last.note(number, &proxy);
            }
        }
        last.sign().map(|(number, sign)| {
            assert_eq!(number, text.lines().count());
            sign
        })
    }

    #[test]
    fn a_line_that_was_cut_differs_from_all_others() {
        let port = Some(CutSign::Port { found: 31, others: 3128 });
        for (others, last, expected) in [
            ("10.0.0.1:3128\n10.0.0.2:3128\n", "10.0.0.3:31", port),
            ("u:p@10.0.0.1:3128\nu:p@10.0.0.2:3128\n", "u:p@10.0.0.3:31", port),
            ("10.0.0.1:80:u:p\n10.0.0.2:80:v:q\n", "10.0.0.3:80", Some(CutSign::NoLogin)),
            (
                "10.0.0.1:80:u:word\n10.0.0.2:80:u:word\n",
                "10.0.0.3:80:u:wo",
                Some(CutSign::Password),
            ),
            ("10.0.0.1:80:u:word\n10.0.0.2:80:u:word\n", "10.0.0.3:80:u:", Some(CutSign::Password)),
            // These are as likely to be complete.
            ("10.0.0.1:3128\n", "10.0.0.3:31", None),
            ("10.0.0.1:3128\n10.0.0.2:3129\n", "10.0.0.3:31", None),
            ("10.0.0.1:3128\n10.0.0.2:3128\n", "10.0.0.3:8080", None),
            ("10.0.0.1:3128\n10.0.0.2:3128\n", "10.0.0.3:3128", None),
            ("10.0.0.1:80:u:p\n10.0.0.2:80\n", "10.0.0.3:80", None),
            ("10.0.0.1:80:u:word\n10.0.0.2:80:v:word\n", "10.0.0.3:80:u:wo", None),
            ("10.0.0.1:3128:u:p\n10.0.0.2:3128:u:p\n", "10.0.0.3:31:u:p", None),
        ] {
            let text = format!("# a list\n\n{others}{last}");
            assert_eq!(sign(&text), expected, "{text}");
            for end in ["\n", "\r\n", "\n# the end"] {
                assert_eq!(sign(&format!("{text}{end}")), None, "{text}");
            }
        }
    }
}
