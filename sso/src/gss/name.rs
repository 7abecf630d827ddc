//! Names of services and users.

use std::ptr;

use super::{
    abi::{self, Handle, RawBuffer, RawOid},
    buffer::OwnedBuffer,
    failure::{GssFailure, check},
    library::GssLibrary,
};

/// A name, `gss_name_t`.
#[derive(Debug)]
pub(super) struct GssName {
    library: &'static GssLibrary,
    pub(super) handle: Handle,
}

impl GssName {
    /// Imports the name of a service such as `HTTP/host`, which GSS-API writes as `HTTP@host`. With a realm, it is imported as a
    /// principal.
    pub(super) fn service(library: &'static GssLibrary, spn: &str) -> Result<Self, GssFailure> {
        if spn.contains('@') {
            return Self::import(library, spn, abi::user_name());
        }
        Self::import(library, &spn.replacen('/', "@", 1), abi::host_based_service())
    }

    /// Imports the name of a user: `alice`, `alice@REALM` or `DOMAIN\alice`.
    pub(super) fn principal(library: &'static GssLibrary, text: &str) -> Result<Self, GssFailure> {
        // Kerberos has no domains, and a backslash would escape the character after it.
        let text = text.split_once('\\').map_or(text, |(_, user)| user);
        Self::import(library, text, abi::user_name())
    }

    /// Wraps a name that the library returned, or room for one.
    pub(super) fn of_handle(library: &'static GssLibrary, handle: Handle) -> Self {
        Self { library, handle }
    }

    /// Returns the name as the library writes it.
    pub(super) fn text(&self) -> Result<String, GssFailure> {
        let mut text = OwnedBuffer::empty(self.library);
        let mut minor = 0;
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: the handle is alive, the buffer outlives the call, and the type of the name may be null.
        let major = unsafe {
            (self.library.display_name)(
                &raw mut minor,
                self.handle,
                &raw mut text.raw,
                ptr::null_mut(),
            )
        };
        check(self.library, major, minor, None)?;
        Ok(String::from_utf8_lossy(text.bytes()).into_owned())
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

#[expect(unsafe_code, reason = "a handle is a pointer, which is not `Send` by itself")]
// SAFETY: MIT and Heimdal let any thread use a handle as long as only one does at a time; names are never changed
// once made.
unsafe impl Send for GssName {}
