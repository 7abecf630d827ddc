//! Safe handles around the library's calls. Each handle is released by the library that made it.

use std::{
    ffi::CString,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    ptr,
};

use zeroize::Zeroizing;

use super::{
    abi::{
        self, CONTINUE_NEEDED, ERROR_BITS, Handle, INITIATE, MAJOR_CODE, MINOR_CODE, Mechanism,
        RawBindings, RawBuffer, RawKeyValue, RawKeyValueSet, RawOid, RawOidSet, Status,
    },
    buffer::OwnedBuffer,
    library::GssLibrary,
    reason::reason,
};
use crate::{Password, Reason, SsoError};

/// A call that failed.
#[derive(Debug)]
pub(super) struct GssFailure {
    reason: Reason,
    words: String,
}

impl GssFailure {
    fn new(
        library: &'static GssLibrary,
        major: Status,
        minor: Status,
        mechanism: Option<Mechanism>,
    ) -> Self {
        let mut words = describe(library, minor, MINOR_CODE, mechanism);
        if words.is_empty() {
            words = describe(library, major, MAJOR_CODE, None);
        }
        Self { reason: reason(major, minor), words }
    }

    fn unsupported(words: &str) -> Self {
        Self { reason: Reason::Unsupported, words: words.to_owned() }
    }

    /// The proxy answered a complete token with another challenge.
    pub(super) fn refused() -> Self {
        Self { reason: Reason::Refused, words: "the proxy did not accept the ticket".into() }
    }

    pub(super) fn reason(&self) -> Reason {
        self.reason
    }

    pub(super) fn into_error(self, place: &str) -> SsoError {
        SsoError::new(self.reason, format!("{}; {place}", self.words))
    }
}

/// Returns the library's words for a code, as one printable line.
fn describe(
    library: &'static GssLibrary,
    code: Status,
    kind: i32,
    mechanism: Option<Mechanism>,
) -> String {
    let mut oid = mechanism.map(Mechanism::oid);
    let oid = oid.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
    let mut text = OwnedBuffer::empty(library);
    let (mut minor, mut more) = (0, 0);
    #[expect(unsafe_code, reason = "a call of C")]
    // SAFETY: all pointers are to values that outlive the call, and the mechanism may be null.
    let major = unsafe {
        (library.display_status)(&raw mut minor, code, kind, oid, &raw mut more, &raw mut text.raw)
    };
    if major & ERROR_BITS != 0 || code == 0 {
        return String::new();
    }
    let words = String::from_utf8_lossy(text.bytes());
    words.chars().take(WORDS_MAX).map(|one| if one.is_control() { ' ' } else { one }).collect()
}

/// A name, `gss_name_t`.
#[derive(Debug)]
pub(super) struct GssName {
    library: &'static GssLibrary,
    handle: Handle,
}

impl GssName {
    /// A service on a host, `HTTP@host`.
    pub(super) fn service(library: &'static GssLibrary, text: &str) -> Result<Self, GssFailure> {
        Self::import(library, text, abi::host_based_service())
    }

    /// A user.
    pub(super) fn principal(library: &'static GssLibrary, text: &str) -> Result<Self, GssFailure> {
        Self::import(library, text, abi::user_name())
    }

    fn import(
        library: &'static GssLibrary,
        text: &str,
        mut kind: RawOid,
    ) -> Result<Self, GssFailure> {
        let mut name = Self { library, handle: ptr::null_mut() };
        let mut text = RawBuffer::lend(text.as_bytes());
        let mut minor = 0;
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: the text and its type are read during the call only; the handle is null before it.
        let major = unsafe {
            (library.import_name)(
                &raw mut minor,
                &raw mut text,
                &raw mut kind,
                &raw mut name.handle,
            )
        };
        check(library, major, minor, None).map(|_| name)
    }
}

impl Drop for GssName {
    fn drop(&mut self) {
        let mut minor = 0;
        if !self.handle.is_null() {
            #[expect(unsafe_code, reason = "a call of C")]
            // SAFETY: the handle is this library's and is released once.
            unsafe {
                (self.library.release_name)(&raw mut minor, &raw mut self.handle);
            }
        }
    }
}

/// A credential, `gss_cred_id_t`.
#[derive(Debug)]
pub(super) struct GssCredential {
    library: &'static GssLibrary,
    handle: Handle,
}

/// Where to acquire a credential from: keys and values of MIT's credential store extensions.
#[derive(Clone, Copy, Debug)]
pub(super) struct AcquireFrom<'a>(pub(super) &'a [(&'static str, &'a str)]);

impl GssCredential {
    fn empty(library: &'static GssLibrary) -> Self {
        Self { library, handle: ptr::null_mut() }
    }

    /// Acquires the user's credential of a name.
    pub(super) fn acquire(
        library: &'static GssLibrary,
        name: Option<&GssName>,
    ) -> Result<Self, GssFailure> {
        let mut credential = Self::empty(library);
        let mut minor = 0;
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

/// A security context, `gss_ctx_id_t`.
#[derive(Debug)]
pub(super) struct GssContext {
    library: &'static GssLibrary,
    handle: Handle,
}

impl GssContext {
    pub(super) fn new(library: &'static GssLibrary) -> Self {
        Self { library, handle: ptr::null_mut() }
    }

    /// Makes the next token, and tells whether the context is complete.
    pub(super) fn step(
        &mut self,
        target: &GssName,
        credential: Option<&GssCredential>,
        mechanism: Mechanism,
        bindings: Option<&[u8]>,
        token: Option<&[u8]>,
    ) -> Result<(Vec<u8>, bool), GssFailure> {
        let mut oid = mechanism.oid();
        let mut bindings = bindings.map(raw_bindings);
        let mut token = token.map(RawBuffer::lend);
        let mut made = OwnedBuffer::empty(self.library);
        let mut minor = 0;
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: the handles are alive or null (the default credential, a new context), everything lent outlives the
        // call, and unwanted results may be null. No flags: neither mutual authentication nor delegation.
        let major = unsafe {
            (self.library.init_context)(
                &raw mut minor,
                credential.map_or(ptr::null_mut(), |credential| credential.handle),
                &raw mut self.handle,
                target.handle,
                &raw mut oid,
                0,
                0,
                bindings.as_mut().map_or(ptr::null_mut(), ptr::from_mut),
                token.as_mut().map_or(ptr::null_mut(), ptr::from_mut),
                ptr::null_mut(),
                &raw mut made.raw,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        let major = check(self.library, major, minor, Some(mechanism))?;
        Ok((made.bytes().to_vec(), major & CONTINUE_NEEDED == 0))
    }
}

impl Drop for GssContext {
    fn drop(&mut self) {
        let mut minor = 0;
        if !self.handle.is_null() {
            #[expect(unsafe_code, reason = "a call of C")]
            // SAFETY: the handle is this library's and is deleted once; no token is wanted.
            unsafe {
                (self.library.delete_context)(
                    &raw mut minor,
                    &raw mut self.handle,
                    ptr::null_mut(),
                );
            }
        }
    }
}

#[expect(unsafe_code, reason = "a handle is a pointer, which is not `Send` by itself")]
// SAFETY: MIT and Heimdal let any thread use a handle as long as only one does at a time, which `&mut` and ownership
// grant: no method takes a shared reference to a context.
unsafe impl Send for GssContext {}
#[expect(unsafe_code, reason = "as above")]
// SAFETY: as above; names are never changed once made.
unsafe impl Send for GssName {}
#[expect(unsafe_code, reason = "as above")]
// SAFETY: as above; credentials are locked inside the libraries.
unsafe impl Send for GssCredential {}

fn check(
    library: &'static GssLibrary,
    major: Status,
    minor: Status,
    mechanism: Option<Mechanism>,
) -> Result<Status, GssFailure> {
    if major & ERROR_BITS == 0 {
        Ok(major)
    } else {
        Err(GssFailure::new(library, major, minor, mechanism))
    }
}

fn handle_of(name: Option<&GssName>) -> Handle {
    name.map_or(ptr::null_mut(), |name| name.handle)
}

fn raw_bindings(application_data: &[u8]) -> RawBindings {
    RawBindings {
        initiator_type: 0,
        initiator: RawBuffer::empty(),
        acceptor_type: 0,
        acceptor: RawBuffer::empty(),
        application_data: RawBuffer::lend(application_data),
    }
}

/// Names a cache in memory for one keytab and principal, so that later contexts use the tickets again.
pub(super) fn memory_cache(keytab: &str, principal: &str) -> String {
    let mut hasher = DefaultHasher::new();
    (keytab, principal).hash(&mut hasher);
    format!("MEMORY:mooltiroute-{:016x}", hasher.finish())
}

/// `GSS_C_INDEFINITE`.
const FOREVER: u32 = u32::MAX;
/// Words of the library are one short line.
const WORDS_MAX: usize = 300;
