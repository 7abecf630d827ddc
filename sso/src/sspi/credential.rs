//! Credentials: the logged-in user's, or those of a password.

use std::{ffi::c_void, ptr};

use windows_sys::Win32::{
    Foundation::SEC_E_OK,
    Security::{
        Authentication::Identity::{
            AcquireCredentialsHandleW, FreeCredentialsHandle, SECPKG_CRED_OUTBOUND,
        },
        Credentials::SecHandle,
    },
    System::Rpc::{SEC_WINNT_AUTH_IDENTITY_UNICODE, SEC_WINNT_AUTH_IDENTITY_W},
};
use zeroize::Zeroizing;

use super::{EMPTY_HANDLE, wide};
use crate::Password;

/// A credentials handle.
pub(crate) struct Credential(pub(super) SecHandle);

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Credential(hidden)")
    }
}

impl Credential {
    /// Acquires the credentials of an identity, or of the logged-in user.
    pub(super) fn acquire(identity: Option<&mut RawIdentity>) -> Result<Self, i32> {
        let package: Vec<u16> = wide("Negotiate").into_iter().chain([0]).collect();
        // A null identity stands for the logged-in user.
        let mut raw = identity.map(RawIdentity::raw);
        let raw = raw
            .as_mut()
            .map_or(ptr::null(), |raw| ptr::from_mut(raw).cast::<c_void>().cast_const());
        let mut handle = EMPTY_HANDLE;
        let mut expiry = 0;
        #[expect(unsafe_code, reason = "a call of Windows")]
        // SAFETY: the package's name ends with NUL; the identity is null or outlives the call, which copies it.
        let status = unsafe {
            AcquireCredentialsHandleW(
                ptr::null(),
                package.as_ptr(),
                SECPKG_CRED_OUTBOUND,
                ptr::null(),
                raw,
                None,
                ptr::null(),
                &raw mut handle,
                &raw mut expiry,
            )
        };
        if status == SEC_E_OK { Ok(Self(handle)) } else { Err(status) }
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "a call of Windows")]
        // SAFETY: the handle was acquired and is freed once.
        unsafe {
            FreeCredentialsHandle(&raw const self.0);
        }
    }
}

/// A user, a domain and a password in UTF-16.
pub(super) struct RawIdentity {
    user: Vec<u16>,
    domain: Vec<u16>,
    password: Zeroizing<Vec<u16>>,
}

impl RawIdentity {
    pub(super) fn new(username: &str, password: &Password) -> Self {
        // `user@realm` is not split: Windows takes that form as the user, with an empty domain.
        let (domain, user) = username.split_once('\\').unwrap_or(("", username));
        Self {
            user: wide(user),
            domain: wide(domain),
            password: Zeroizing::new(wide(password.expose())),
        }
    }

    /// Returns a description whose pointers are valid as long as `self`.
    fn raw(&mut self) -> SEC_WINNT_AUTH_IDENTITY_W {
        let length = |part: &[u16]| u32::try_from(part.len()).unwrap_or(u32::MAX);
        SEC_WINNT_AUTH_IDENTITY_W {
            UserLength: length(&self.user),
            User: self.user.as_mut_ptr(),
            DomainLength: length(&self.domain),
            Domain: self.domain.as_mut_ptr(),
            PasswordLength: length(&self.password),
            Password: self.password.as_mut_ptr(),
            Flags: SEC_WINNT_AUTH_IDENTITY_UNICODE,
        }
    }
}
