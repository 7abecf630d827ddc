//! Names of services and users.

use std::ptr;

use super::{
    abi::{self, Handle, RawBuffer, RawOid},
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

#[expect(unsafe_code, reason = "a handle is a pointer, which is not `Send` by itself")]
// SAFETY: MIT and Heimdal let any thread use a handle as long as only one does at a time; names are never changed once made.
unsafe impl Send for GssName {}
