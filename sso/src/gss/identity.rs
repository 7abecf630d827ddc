//! Credentials of a user.

use std::{path::Path, time::SystemTime};

use super::{
    credential::{AcquireFrom, GssCredential},
    failure::GssFailure,
    kerberos::{KerberosLibrary, ThreadCache},
    library::GssLibrary,
    memory::KeytabMemory,
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
        memory: &KeytabMemory,
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
                let cache = ccache.clone().unwrap_or_else(|| memory.name());
                let store = AcquireFrom(&[("client_keytab", path.as_str()), ("ccache", &cache)]);
                GssCredential::acquire_from(library, Some(&name), store).map(Self::Own)
            }
            Credentials::Password { .. } => Ok(Self::Kept),
        }
    }
}

/// Refuses a default cache whose file can't be read.
///
/// MIT Kerberos 1.20 hides the reason under SPNEGO, or reports that there is no ticket. It tells what is wrong with the same file
/// if it is asked for it by name, so that is done first.
fn check_default_cache(library: &'static GssLibrary) -> Result<(), GssFailure> {
    // A file that can't be inspected belongs to another user.
    let may_exist = |path: &Path| {
        let found = std::fs::symlink_metadata(path);
        !found.is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    };
    let name = default_cache(library);
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

/// Returns the name of the user's default cache, which may be a collection of caches.
fn default_cache(library: &GssLibrary) -> Option<String> {
    let set = std::env::var("KRB5CCNAME").ok().filter(|name| !name.is_empty());
    set.or_else(|| library.kerberos?.default_cache_name())
}

/// Chooses one cache among those of the user, as the library would for `service`, and makes it the default one of this thread.
/// See [`ThreadCache`] for the reason.
pub(super) fn choose_default_cache(
    library: &GssLibrary,
    service: Option<&str>,
) -> Option<ThreadCache> {
    let (kerberos, name) = (library.kerberos?, default_cache(library)?);
    // A file holds one cache, and so does a name within a directory. The name of a collection stands for its primary cache.
    let is_one = file_of(&name).is_some() || name.starts_with("DIR::");
    let service = service.filter(|_| !is_one);
    let selected = service.and_then(|service| kerberos.selected_cache_name(service));
    kerberos.name_thread_cache(&selected.unwrap_or(name))
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
    let found = ticket_of(library, identity);
    found.map_err(|failure| failure.into_error(place(identity)))
}

fn ticket_of(library: &'static GssLibrary, identity: &Identity) -> Result<Ticket, GssFailure> {
    let named = |name: &Option<String>| {
        name.as_deref().map(|text| GssName::principal(library, text)).transpose()
    };
    // Only MIT Kerberos uses a keytab that nobody has named.
    let no_keytab = library.kerberos.filter(KerberosLibrary::is_mit).map(|_| NO_KEYTAB);
    let look = |name: Option<&GssName>, cache: Option<&str>| {
        let cache = cache.map(|cache| ("ccache", cache));
        let store: Vec<_> = cache.into_iter().chain(no_keytab).collect();
        match store[..] {
            [] => GssCredential::acquire(library, name),
            _ => GssCredential::acquire_from(library, name, AcquireFrom(&store)),
        }
    };
    let credential = match identity.credentials() {
        Credentials::LoggedIn { principal } => {
            let name = named(principal)?;
            check_default_cache(library)?;
            let _cache = choose_default_cache(library, None).filter(|_| name.is_none());
            return described(&look(name.as_ref(), None)?);
        }
        Credentials::Ccache { name, principal } => look(named(principal)?.as_ref(), Some(name))?,
        Credentials::Keytab { principal, ccache, .. } => {
            let name = GssName::principal(library, principal)?;
            let cache = ccache.clone().unwrap_or_else(|| identity.memory.name());
            look(Some(&name), Some(&cache))?
        }
        // A password gets its tickets inside this process, so no `kinit` can replace them.
        Credentials::Password { .. } => {
            return Err(GssFailure::unsupported("a password has no ticket"));
        }
    };
    described(&credential)
}

fn described(credential: &GssCredential) -> Result<Ticket, GssFailure> {
    let (principal, rest) = credential.inquire()?;
    // GSS-API returns the time that is left and not the end, so the computed end can differ by a second between two calls.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(Ticket { principal: principal.text()?, ends_at: (now + rest).as_secs() })
}

/// A keytab without keys. In place of the user's own one, it keeps the library from getting a ticket by itself.
const NO_KEYTAB: (&str, &str) = ("client_keytab", "MEMORY:mooltiroute-none");

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
