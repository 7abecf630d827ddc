//! Credentials of a user.

use std::{path::Path, time::SystemTime};

use super::{
    credential::{AcquireFrom, GssCredential, memory_cache},
    failure::GssFailure,
    library::GssLibrary,
    name::GssName,
};
use crate::{Credentials, Identity, Reason, SsoError, Ticket, Words};

/// The credential of one authentication.
#[derive(Debug)]
pub(super) enum ChosenCredential {
    /// The default one. The library looks for it at each step, and so finds a ticket that is newer than this program.
    Default,
    /// A credential for this authentication alone.
    Own(GssCredential),
    /// The credential of a password, which all authentications of its user share.
    Kept,
}

impl ChosenCredential {
    /// Acquires the credential. A password is not used before the first step.
    pub(super) fn acquire(
        library: &'static GssLibrary,
        credentials: &Credentials,
    ) -> Result<Self, GssFailure> {
        match credentials {
            Credentials::LoggedIn { principal: None } => {
                check_default_cache(library)?;
                Ok(Self::Default)
            }
            // A collection of caches can hold the tickets of several users. The name chooses among them.
            Credentials::LoggedIn { principal: Some(principal) } => {
                let name = GssName::principal(library, principal)?;
                check_default_cache(library)?;
                GssCredential::acquire(library, Some(&name)).map(Self::Own)
            }
            Credentials::Ccache { name, principal } => {
                let principal = principal.as_deref();
                let principal =
                    principal.map(|text| GssName::principal(library, text)).transpose()?;
                let store = AcquireFrom(&[("ccache", name.as_str())]);
                GssCredential::acquire_from(library, principal.as_ref(), store).map(Self::Own)
            }
            Credentials::Keytab { path, principal, ccache } => {
                let name = GssName::principal(library, principal)?;
                let path = path.display().to_string();
                // Without a shared cache, each sign-on would ask the KDC for new tickets.
                let cache = ccache.clone().unwrap_or_else(|| memory_cache(&path, principal));
                let store = AcquireFrom(&[("client_keytab", path.as_str()), ("ccache", &cache)]);
                GssCredential::acquire_from(library, Some(&name), store).map(Self::Own)
            }
            Credentials::Password { .. } => Ok(Self::Kept),
        }
    }
}

/// Refuses a default cache whose file can't be read.
///
/// MIT Kerberos 1.20 looks through all caches for a ticket, and crashes at a file without a principal, such as an empty file or
/// one of another user. It does not crash if it is asked for the same file by name, so that is done first.
fn check_default_cache(library: &'static GssLibrary) -> Result<(), GssFailure> {
    let set = std::env::var("KRB5CCNAME").ok().filter(|name| !name.is_empty());
    let name = set.or_else(|| library.kerberos.as_ref()?.default_cache_name());
    // A file that can't be inspected belongs to another user.
    let may_exist = |path: &Path| {
        let found = std::fs::symlink_metadata(path);
        !found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    let Some(name) = name.filter(|name| file_of(name).is_some_and(may_exist)) else {
        return Ok(());
    };
    let store = AcquireFrom(&[("ccache", name.as_str())]);
    match GssCredential::acquire_from(library, None, store) {
        // Even without a usable ticket the library may succeed, by a keytab or another mechanism.
        Err(failure) if failure.reason() == Reason::BadCache => Err(failure),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Returns the path of a cache that is a file.
fn file_of(cache: &str) -> Option<&Path> {
    match cache.split_once(':') {
        Some(("FILE", path)) => Some(Path::new(path)),
        // A name without a type is a file. Its path may contain a `:`.
        _ if cache.starts_with('/') => Some(Path::new(cache)),
        Some(_) => None,
        None => Some(Path::new(cache)),
    }
}

/// Identifies the ticket in a cache.
pub(crate) fn ticket(identity: &Identity) -> Result<Ticket, SsoError> {
    let library = GssLibrary::get()?;
    let found = ticket_of(library, identity.credentials());
    found.map_err(|failure| failure.into_error(place(identity)))
}

fn ticket_of(
    library: &'static GssLibrary,
    credentials: &Credentials,
) -> Result<Ticket, GssFailure> {
    let credential = match ChosenCredential::acquire(library, credentials)? {
        // The default credential has no handle, so it is acquired to be inspected.
        ChosenCredential::Default => GssCredential::acquire(library, None)?,
        ChosenCredential::Own(credential) => credential,
        // A password gets its tickets inside this process, so no `kinit` can replace them.
        ChosenCredential::Kept => return Err(GssFailure::unsupported("a password has no ticket")),
    };
    let (principal, rest) = credential.inquire()?;
    // GSS-API returns the time that is left and not the end, so the computed end can differ by a second between two calls.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Ticket { principal: principal.text()?, ends_at: (now + rest).as_secs() })
}

/// Describes the place that is searched for tickets.
pub(super) fn place(identity: &Identity) -> Vec<Words> {
    let named = |name: &str| Words::Foreign(name.to_owned());
    match identity.credentials() {
        Credentials::LoggedIn { principal } => {
            let mut words = match principal {
                Some(principal) => vec![Words::Ours("looked for "), named(principal)],
                None => vec![Words::Ours("looked")],
            };
            // The variable is read only for this message. The library reads it by itself.
            match std::env::var("KRB5CCNAME") {
                Ok(name) => words.extend([Words::Ours(" in cache "), Words::Foreign(name)]),
                Err(_) => words.push(Words::Ours(" in the default cache")),
            }
            words
        }
        Credentials::Ccache { name, principal } => {
            let mut words = match principal {
                Some(principal) => vec![Words::Ours("looked for "), named(principal)],
                None => vec![Words::Ours("looked")],
            };
            words.extend([Words::Ours(" in cache "), named(name)]);
            words
        }
        Credentials::Keytab { path, principal, .. } => vec![
            Words::Ours("with the keys of "),
            named(principal),
            Words::Ours(" in keytab "),
            Words::Foreign(path.display().to_string()),
        ],
        Credentials::Password { username, .. } => {
            vec![Words::Ours("with the password of "), named(username)]
        }
    }
}
