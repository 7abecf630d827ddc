//! The types of the C interface (RFC 2744). They are written by hand, since there are only a dozen functions.

use std::{
    ffi::{c_char, c_void},
    ptr,
};

/// `OM_uint32`.
pub(super) type Status = u32;
/// `gss_name_t`, `gss_cred_id_t` and `gss_ctx_id_t`: pointers that only the library looks into.
pub(super) type Handle = *mut c_void;

/// `gss_buffer_desc`.
#[repr(C)]
pub(super) struct RawBuffer {
    pub(super) length: usize,
    pub(super) value: *mut c_void,
}

/// `gss_OID_desc`. On macOS the header packs it to 2 bytes.
#[cfg_attr(target_os = "macos", repr(C, packed(2)))]
#[cfg_attr(not(target_os = "macos"), repr(C))]
pub(super) struct RawOid {
    pub(super) length: u32,
    pub(super) elements: *mut c_void,
}

/// `gss_OID_set_desc`.
#[cfg_attr(target_os = "macos", repr(C, packed(2)))]
#[cfg_attr(not(target_os = "macos"), repr(C))]
pub(super) struct RawOidSet {
    pub(super) count: usize,
    pub(super) elements: *mut RawOid,
}

/// `gss_channel_bindings_struct`.
#[cfg_attr(target_os = "macos", repr(C, packed(2)))]
#[cfg_attr(not(target_os = "macos"), repr(C))]
pub(super) struct RawBindings {
    pub(super) initiator_type: u32,
    pub(super) initiator: RawBuffer,
    pub(super) acceptor_type: u32,
    pub(super) acceptor: RawBuffer,
    pub(super) application_data: RawBuffer,
}

/// `gss_key_value_element_desc`.
#[repr(C)]
pub(super) struct RawKeyValue {
    pub(super) key: *const c_char,
    pub(super) value: *const c_char,
}

/// `gss_key_value_set_desc`.
#[repr(C)]
pub(super) struct RawKeyValueSet {
    pub(super) count: u32,
    pub(super) elements: *mut RawKeyValue,
}

impl RawBuffer {
    pub(super) fn empty() -> Self {
        // `GSS_C_EMPTY_BUFFER`.
        Self { length: 0, value: ptr::null_mut() }
    }

    /// Lends bytes to the library, which only reads them during one call.
    pub(super) fn lend(bytes: &[u8]) -> Self {
        Self { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() }
    }
}

/// A mechanism.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mechanism {
    /// SPNEGO, 1.3.6.1.5.5.2.
    Spnego,
    /// Kerberos 5, 1.2.840.113554.1.2.2.
    Kerberos,
}

impl Mechanism {
    pub(super) fn oid(self) -> RawOid {
        // The value of the identifier in DER, without tag and length, as `gss_OID_desc` has it (RFC 2744 §3.3).
        oid(match self {
            Self::Spnego => &[0x2B, 0x06, 0x01, 0x05, 0x05, 0x02],
            Self::Kerberos => &[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x02],
        })
    }
}

/// `GSS_C_NT_HOSTBASED_SERVICE`, 1.2.840.113554.1.2.1.4.
pub(super) fn host_based_service() -> RawOid {
    oid(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x01, 0x04])
}

/// `GSS_C_NT_USER_NAME`, 1.2.840.113554.1.2.1.1.
pub(super) fn user_name() -> RawOid {
    oid(&[0x2A, 0x86, 0x48, 0x86, 0xF7, 0x12, 0x01, 0x02, 0x01, 0x01])
}

fn oid(encoded: &'static [u8]) -> RawOid {
    // The longest above has ten bytes.
    let length = u32::try_from(encoded.len()).unwrap_or_default();
    RawOid { length, elements: encoded.as_ptr().cast_mut().cast() }
}

/// `GSS_C_INITIATE`.
pub(super) const INITIATE: i32 = 1;
/// `GSS_C_GSS_CODE` and `GSS_C_MECH_CODE`.
pub(super) const MAJOR_CODE: i32 = 1;
pub(super) const MINOR_CODE: i32 = 2;
/// `GSS_S_CONTINUE_NEEDED`.
pub(super) const CONTINUE_NEEDED: Status = 1;
/// The bits of a major status that say that a call failed.
pub(super) const ERROR_BITS: Status = 0xFFFF_0000;

/// `krb5_init_context`, `krb5_free_context`, `krb5_cc_default_name`, `krb5_cc_resolve` and `krb5_cc_destroy` of the Kerberos
/// library. Their types are the same in MIT Kerberos and Heimdal.
pub(super) type KerberosInit = unsafe extern "C" fn(*mut Handle) -> i32;
pub(super) type KerberosFree = unsafe extern "C" fn(Handle);
pub(super) type DefaultCacheName = unsafe extern "C" fn(Handle) -> *const c_char;
pub(super) type ResolveCache = unsafe extern "C" fn(Handle, *const c_char, *mut Handle) -> i32;
pub(super) type EndCache = unsafe extern "C" fn(Handle, Handle) -> i32;

/// Functions of MIT Kerberos: `krb5_sname_to_principal`, `krb5_parse_name`, `krb5_free_principal`, `krb5_cc_select`,
/// `krb5_cc_get_full_name`, `krb5_free_string`, `krb5_kt_client_default` and `gss_krb5_ccache_name`. `krb5_cc_close`,
/// `krb5_kt_have_content` and `krb5_kt_close` have the type of [`EndCache`].
pub(super) type NameOfService =
    unsafe extern "C" fn(Handle, *const c_char, *const c_char, i32, *mut Handle) -> i32;
pub(super) type ParseName = unsafe extern "C" fn(Handle, *const c_char, *mut Handle) -> i32;
pub(super) type FreePrincipal = unsafe extern "C" fn(Handle, Handle);
pub(super) type SelectCache = unsafe extern "C" fn(Handle, Handle, *mut Handle, *mut Handle) -> i32;
pub(super) type FullCacheName = unsafe extern "C" fn(Handle, Handle, *mut *mut c_char) -> i32;
pub(super) type FreeString = unsafe extern "C" fn(Handle, *mut c_char);
pub(super) type DefaultKeytab = unsafe extern "C" fn(Handle, *mut Handle) -> i32;
pub(super) type NameThreadCache =
    unsafe extern "C" fn(*mut Status, *const c_char, *mut *const c_char) -> Status;
/// `KRB5_NT_SRV_HST`.
pub(super) const SERVICE_AND_HOST: i32 = 3;

/// The functions, with the types of RFC 2744 and of MIT's extensions.
pub(super) type ImportName =
    unsafe extern "C" fn(*mut Status, *mut RawBuffer, *mut RawOid, *mut Handle) -> Status;
pub(super) type Release = unsafe extern "C" fn(*mut Status, *mut Handle) -> Status;
pub(super) type ReleaseBuffer = unsafe extern "C" fn(*mut Status, *mut RawBuffer) -> Status;
pub(super) type DeleteContext =
    unsafe extern "C" fn(*mut Status, *mut Handle, *mut RawBuffer) -> Status;
pub(super) type AcquireCred = unsafe extern "C" fn(
    // In: the name, the lifetime, the mechanisms, the usage. Out: the credential, its mechanisms, its lifetime.
    *mut Status,
    Handle,
    u32,
    *mut RawOidSet,
    i32,
    *mut Handle,
    *mut *mut RawOidSet,
    *mut u32,
) -> Status;
pub(super) type InquireCred = unsafe extern "C" fn(
    // In: the credential. Out: its name, its lifetime, its usage, its mechanisms.
    *mut Status,
    Handle,
    *mut Handle,
    *mut u32,
    *mut i32,
    *mut *mut RawOidSet,
) -> Status;
pub(super) type DisplayName =
    unsafe extern "C" fn(*mut Status, Handle, *mut RawBuffer, *mut *mut RawOid) -> Status;
pub(super) type AcquireCredFrom = unsafe extern "C" fn(
    // As `AcquireCred`, with the store after the usage.
    *mut Status,
    Handle,
    u32,
    *mut RawOidSet,
    i32,
    *const RawKeyValueSet,
    *mut Handle,
    *mut *mut RawOidSet,
    *mut u32,
) -> Status;
pub(super) type AcquireCredWithPassword = unsafe extern "C" fn(
    // As `AcquireCred`, with the password after the name.
    *mut Status,
    Handle,
    *mut RawBuffer,
    u32,
    *mut RawOidSet,
    i32,
    *mut Handle,
    *mut *mut RawOidSet,
    *mut u32,
) -> Status;
pub(super) type InitContext = unsafe extern "C" fn(
    // In: the credential, the context (also out), the target, the mechanism, flags, a lifetime, the bindings, the
    // proxy's token. Out: the mechanism, the token, flags, the lifetime.
    *mut Status,
    Handle,
    *mut Handle,
    Handle,
    *mut RawOid,
    u32,
    u32,
    *mut RawBindings,
    *mut RawBuffer,
    *mut *mut RawOid,
    *mut RawBuffer,
    *mut u32,
    *mut u32,
) -> Status;
pub(super) type DisplayStatus =
    unsafe extern "C" fn(*mut Status, Status, i32, *mut RawOid, *mut u32, *mut RawBuffer) -> Status;
