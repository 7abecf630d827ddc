//! The library, found and loaded when it is first needed.

use std::sync::OnceLock;

use libloading::Library;

use super::{
    abi::{
        AcquireCred, AcquireCredFrom, AcquireCredWithPassword, DeleteContext, DisplayName,
        DisplayStatus, ImportName, InitContext, InquireCred, Release, ReleaseBuffer,
    },
    kerberos::KerberosLibrary,
};
use crate::{Reason, SsoError};

/// The functions of a loaded library. It stays loaded until the process ends.
#[derive(Debug)]
pub(super) struct GssLibrary {
    pub(super) import_name: ImportName,
    pub(super) release_name: Release,
    pub(super) release_cred: Release,
    pub(super) release_buffer: ReleaseBuffer,
    pub(super) delete_context: DeleteContext,
    pub(super) acquire_cred: AcquireCred,
    pub(super) acquire_cred_from: Option<AcquireCredFrom>,
    pub(super) acquire_cred_with_password: Option<AcquireCredWithPassword>,
    pub(super) inquire_cred: InquireCred,
    pub(super) init_context: InitContext,
    pub(super) display_name: DisplayName,
    pub(super) display_status: DisplayStatus,
    /// Functions of the Kerberos library that it is linked to.
    pub(super) kerberos: Option<KerberosLibrary>,
}

static LOADED: OnceLock<GssLibrary> = OnceLock::new();

impl GssLibrary {
    /// Returns the library, which the first call loads. If it is missing, the next call looks for it again, so that this
    /// program need not be restarted after the library is installed.
    pub(super) fn get() -> Result<&'static Self, SsoError> {
        if let Some(loaded) = LOADED.get() {
            return Ok(loaded);
        }
        let loaded = NAMES.iter().find_map(|name| Self::load(name));
        let loaded = loaded.ok_or_else(|| SsoError::new(Reason::LibraryMissing, INSTALL))?;
        Ok(LOADED.get_or_init(|| loaded))
    }

    fn load(name: &str) -> Option<Self> {
        #[expect(unsafe_code, reason = "a library's initialisers run when it is loaded")]
        // SAFETY: these are the system's GSS-API libraries, found in the system's search path. Their initialisers may run in any
        // program at any time.
        let library = unsafe { Library::new(name) }.ok()?;
        #[expect(unsafe_code, reason = "a symbol has no type")]
        // SAFETY: each function has the type that RFC 2744 and the libraries' headers give it (see `abi`).
        let functions = unsafe { Self::find(&library) }?;
        // The functions outlive every handle that they made, so the library is never unloaded.
        std::mem::forget(library);
        Some(functions)
    }

    #[expect(unsafe_code, reason = "a symbol has no type")]
    /// # Safety
    /// The library must be one of GSS-API.
    unsafe fn find(library: &Library) -> Option<Self> {
        // SAFETY: the caller grants that the library is one of GSS-API, and `abi` has the types of its functions.
        unsafe {
            Some(Self {
                import_name: *library.get(b"gss_import_name\0").ok()?,
                release_name: *library.get(b"gss_release_name\0").ok()?,
                release_cred: *library.get(b"gss_release_cred\0").ok()?,
                release_buffer: *library.get(b"gss_release_buffer\0").ok()?,
                delete_context: *library.get(b"gss_delete_sec_context\0").ok()?,
                acquire_cred: *library.get(b"gss_acquire_cred\0").ok()?,
                acquire_cred_from: library.get(b"gss_acquire_cred_from\0").ok().map(|found| *found),
                acquire_cred_with_password: library
                    .get(b"gss_acquire_cred_with_password\0")
                    .ok()
                    .map(|found| *found),
                inquire_cred: *library.get(b"gss_inquire_cred\0").ok()?,
                display_name: *library.get(b"gss_display_name\0").ok()?,
                init_context: *library.get(b"gss_init_sec_context\0").ok()?,
                display_status: *library.get(b"gss_display_status\0").ok()?,
                // The search for a symbol goes on in the libraries that this one needs.
                kerberos: KerberosLibrary::find(library),
            })
        }
    }
}

/// The library of MIT Kerberos, then the names of Heimdal's on the systems that ship it.
#[cfg(not(target_os = "macos"))]
const NAMES: [&str; 6] = [
    "libgssapi_krb5.so.2",
    "libgssapi.so.3",
    "libgssapi.so.4",
    "libgssapi.so.2",
    "libgssapi.so.1",
    "libgssapi.so",
];
#[cfg(target_os = "macos")]
const NAMES: [&str; 2] =
    ["/System/Library/Frameworks/GSS.framework/GSS", "libgssapi_krb5.2.2.dylib"];

const INSTALL: &str = "install GSS-API: libgssapi-krb5-2 on Debian and Ubuntu, krb5-libs on Fedora and Red Hat, \
    krb5 on Arch and Alpine; a statically linked build can't load it";
