//! Credentials: tickets, keys and passwords.

use std::{ffi::CString, ptr, time::Duration};

use zeroize::Zeroizing;

use super::{
    abi::{Handle, INITIATE, Mechanism, RawBuffer, RawKeyValue, RawKeyValueSet, RawOidSet},
    failure::{GssFailure, check},
    library::GssLibrary,
    name::GssName,
    reason::reason,
};
use crate::{Password, Reason};

/// A credential, `gss_cred_id_t`.
#[derive(Debug)]
pub(crate) struct GssCredential {
    library: &'static GssLibrary,
    pub(super) handle: Handle,
}

/// The source of a credential: keys and values of MIT's credential store extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct AcquireFrom<'a>(pub(super) &'a [(&'static str, &'a str)]);

impl GssCredential {
    fn empty(library: &'static GssLibrary) -> Self {
        Self { library, handle: ptr::null_mut() }
    }

    /// Acquires the user's credential for a name, or the default one.
    pub(super) fn acquire(
        library: &'static GssLibrary,
        name: Option<&GssName>,
    ) -> Result<Self, GssFailure> {
        let mut credential = Self::empty(library);
        let mut minor = 0;
        // Without this set, every mechanism that is installed would look for credentials of its own.
        let mut oids = [Mechanism::Kerberos.oid()];
        let mut set = RawOidSet { count: oids.len(), elements: oids.as_mut_ptr() };
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: the name is null (any) or alive, the set outlives the call, unwanted results may be null.
        let major = unsafe {
            (library.acquire_cred)(
                &raw mut minor,
                handle_of(name),
                FOREVER,
                &raw mut set,
                INITIATE,
                &raw mut credential.handle,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        check(library, major, minor, Some(Mechanism::Kerberos)).map(|_| credential)
    }

    /// Acquires a credential from a cache or a keytab, without touching the environment.
    pub(super) fn acquire_from(
        library: &'static GssLibrary,
        name: Option<&GssName>,
        AcquireFrom(store): AcquireFrom<'_>,
    ) -> Result<Self, GssFailure> {
        let Some(acquire_cred_from) = library.acquire_cred_from else {
            return Err(GssFailure::unsupported("needs MIT Kerberos 1.11, Heimdal 8, or later"));
        };
        let text = |text: &str| {
            CString::new(text).map_err(|_| GssFailure::unsupported("a name has a NUL character"))
        };
        let texts = store.iter().map(|(key, value)| Ok((text(key)?, text(value)?)));
        let texts = texts.collect::<Result<Vec<_>, GssFailure>>()?;
        let raw = |(key, value): &(CString, CString)| RawKeyValue {
            key: key.as_ptr(),
            value: value.as_ptr(),
        };
        // `elements` points into `texts`, so both must outlive the call.
        let mut elements: Vec<_> = texts.iter().map(raw).collect();
        let count = u32::try_from(elements.len()).unwrap_or_default();
        let set = RawKeyValueSet { count, elements: elements.as_mut_ptr() };
        let mut oids = [Mechanism::Kerberos.oid()];
        let mut oid_set = RawOidSet { count: oids.len(), elements: oids.as_mut_ptr() };
        let mut credential = Self::empty(library);
        let mut minor = 0;
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: as in `acquire`; the store's texts end with NUL and outlive the call.
        let major = unsafe {
            acquire_cred_from(
                &raw mut minor,
                handle_of(name),
                FOREVER,
                &raw mut oid_set,
                INITIATE,
                &raw const set,
                &raw mut credential.handle,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        check(library, major, minor, Some(Mechanism::Kerberos)).map(|_| credential)
    }

    /// Gets a ticket with a password.
    pub(super) fn acquire_with_password(
        library: &'static GssLibrary,
        name: &GssName,
        password: &Password,
    ) -> Result<Self, GssFailure> {
        let Some(acquire_with_password) = library.acquire_cred_with_password else {
            return Err(GssFailure::unsupported("needs a newer MIT Kerberos or Heimdal"));
        };
        let secret = Zeroizing::new(password.expose().as_bytes().to_vec());
        let mut secret = RawBuffer::lend(&secret);
        let mut oids = [Mechanism::Kerberos.oid()];
        let mut set = RawOidSet { count: oids.len(), elements: oids.as_mut_ptr() };
        let mut credential = Self::empty(library);
        let mut minor = 0;
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: as in `acquire`; the password outlives the call.
        let major = unsafe {
            acquire_with_password(
                &raw mut minor,
                name.handle,
                &raw mut secret,
                FOREVER,
                &raw mut set,
                INITIATE,
                &raw mut credential.handle,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        check(library, major, minor, Some(Mechanism::Kerberos)).map(|_| credential)
    }
}

impl GssCredential {
    /// Returns its principal, and how long it is valid.
    ///
    /// # Errors
    /// The ticket has expired, or the library fails.
    pub(super) fn inquire(&self) -> Result<(GssName, Duration), GssFailure> {
        let mut name = GssName::of_handle(self.library, ptr::null_mut());
        let (mut minor, mut seconds) = (0, 0);
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: the handle is alive, the results outlive the call, unwanted ones may be null.
        let major = unsafe {
            (self.library.inquire_cred)(
                &raw mut minor,
                self.handle,
                &raw mut name.handle,
                &raw mut seconds,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        // MIT has no minor code for an expired ticket. It makes one up whose message is "Success", so the message of the major
        // code is used.
        let minor = if reason(major, 0) == Reason::TicketExpired { 0 } else { minor };
        check(self.library, major, minor, Some(Mechanism::Kerberos))?;
        Ok((name, Duration::from_secs(seconds.into())))
    }
}

impl Drop for GssCredential {
    fn drop(&mut self) {
        let mut minor = 0;
        if !self.handle.is_null() {
            #[expect(unsafe_code, reason = "a call of C")]
            // SAFETY: the handle is this library's and is released once.
            unsafe {
                (self.library.release_cred)(&raw mut minor, &raw mut self.handle);
            }
        }
    }
}

#[expect(unsafe_code, reason = "a handle is a pointer, which is not `Send` by itself")]
// SAFETY: MIT and Heimdal let any thread use a handle as long as only one does at a time; credentials are locked
// inside the libraries.
unsafe impl Send for GssCredential {}

fn handle_of(name: Option<&GssName>) -> Handle {
    name.map_or(ptr::null_mut(), |name| name.handle)
}

/// `GSS_C_INDEFINITE`.
const FOREVER: u32 = u32::MAX;
