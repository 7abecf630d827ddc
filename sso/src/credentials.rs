//! The sources of a user's credentials.

use std::{fmt, path::PathBuf};

use zeroize::Zeroizing;

/// The source of the credentials.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// A ticket of the user who runs the program.
    LoggedIn {
        /// The principal, such as `alice@CORP.EXAMPLE`. `None` is the user's default principal.
        principal: Option<String>,
    },
    /// A credential cache, such as `FILE:/run/user/1000/krb5cc`. Unix only.
    Ccache {
        /// The name of the cache.
        name: String,
        /// The principal. `None` is the default one of the cache.
        principal: Option<String>,
    },
    /// A keytab file. Unix only.
    Keytab {
        /// The file.
        path: PathBuf,
        /// The principal, which must have a key in the file.
        principal: String,
        /// The cache that keeps the tickets. `None` keeps them in memory.
        ccache: Option<String>,
    },
    /// A password. The ticket that it gives stays in memory.
    Password {
        /// The user: `alice@CORP.EXAMPLE` or `CORP\alice`. On Unix the second form means a user of the default realm, since
        /// Kerberos has no such domains.
        username: String,
        /// The password.
        password: Password,
    },
}

/// A password. It is hidden by `Debug` and wiped when it is dropped.
#[derive(Clone)]
pub struct Password(Zeroizing<String>);

impl Password {
    /// Wraps a password.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_hides_the_password() {
        let password = Password::new("hunter2");
        assert_eq!(password.expose(), "hunter2");
        let credentials = Credentials::Password { username: "alice".into(), password };
        assert!(!format!("{credentials:?}").contains("hunter2"));
    }
}
