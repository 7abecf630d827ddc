//! Functions of the Kerberos library that GSS-API is linked to.

use std::{
    ffi::{CStr, CString},
    ptr,
};

use libloading::Library;

use super::abi::{
    DefaultCacheName, DefaultKeytab, EndCache, FreePrincipal, FreeString, FullCacheName, Handle,
    KerberosFree, KerberosInit, NameOfService, NameThreadCache, ParseName, ResolveCache,
    SERVICE_AND_HOST, SelectCache,
};

/// The functions that find caches of tickets.
#[derive(Clone, Copy, Debug)]
pub(super) struct KerberosLibrary {
    init: KerberosInit,
    free: KerberosFree,
    default_cache_name: DefaultCacheName,
    resolve_cache: ResolveCache,
    destroy_cache: EndCache,
    /// If the library is that of MIT Kerberos.
    mit: Option<MitFunctions>,
}

/// Functions that only MIT Kerberos has.
#[derive(Clone, Copy, Debug)]
struct MitFunctions {
    name_of_service: NameOfService,
    parse_name: ParseName,
    free_principal: FreePrincipal,
    select_cache: SelectCache,
    full_cache_name: FullCacheName,
    close_cache: EndCache,
    free_string: FreeString,
    default_keytab: DefaultKeytab,
    has_keys: EndCache,
    close_keytab: EndCache,
    name_thread_cache: NameThreadCache,
}

/// A context of the Kerberos library, `krb5_context`. One thread uses it.
struct KerberosContext {
    free: KerberosFree,
    handle: Handle,
}

/// The name of the default cache for the calls of this thread, until it is dropped.
///
/// Without a name, MIT Kerberos 1.20 first looks through all caches of the user, and crashes at one that has no principal: a file
/// that is empty, cut, of another user, or being written at this moment. It opens a cache with a name as any other, and reports
/// what is wrong with it.
#[derive(Debug)]
pub(super) struct ThreadCache(NameThreadCache);

impl KerberosLibrary {
    #[expect(unsafe_code, reason = "a symbol has no type")]
    /// # Safety
    /// The library must be one of GSS-API.
    pub(super) unsafe fn find(library: &Library) -> Option<Self> {
        // SAFETY: the caller grants that the library is one of GSS-API, which needs that of Kerberos, and `abi` has the
        // types of its functions.
        unsafe {
            Some(Self {
                init: *library.get(b"krb5_init_context\0").ok()?,
                free: *library.get(b"krb5_free_context\0").ok()?,
                default_cache_name: *library.get(b"krb5_cc_default_name\0").ok()?,
                resolve_cache: *library.get(b"krb5_cc_resolve\0").ok()?,
                destroy_cache: *library.get(b"krb5_cc_destroy\0").ok()?,
                mit: MitFunctions::find(library),
            })
        }
    }

    /// Returns whether the library is that of MIT Kerberos.
    pub(super) fn is_mit(&self) -> bool {
        self.mit.is_some()
    }

    /// Returns the name of the default cache.
    pub(super) fn default_cache_name(&self) -> Option<String> {
        let context = self.context()?;
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: the context is alive. The name belongs to it, ends with NUL, and is copied before the context ends.
        unsafe {
            let name = (self.default_cache_name)(context.handle);
            (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned())
        }
    }

    /// Returns the name of the one cache that the library chooses for `service`, if it has rules for that: the user's file
    /// `.k5identity`, or the realm of the service.
    pub(super) fn selected_cache_name(&self, service: &str) -> Option<String> {
        let (mit, context) = (self.mit.as_ref()?, self.context()?);
        let principal = mit.principal(&context, service)?;
        let (mut cache, mut user) = (ptr::null_mut(), ptr::null_mut());
        #[expect(unsafe_code, reason = "calls of C")]
        // SAFETY: the context and the principal are alive, and all that is returned is freed once. The library returns
        // null for what it has not found.
        unsafe {
            let failed =
                (mit.select_cache)(context.handle, principal, &raw mut cache, &raw mut user) != 0;
            (mit.free_principal)(context.handle, principal);
            if !user.is_null() {
                (mit.free_principal)(context.handle, user);
            }
            if failed || cache.is_null() {
                return None;
            }
            let mut text = ptr::null_mut();
            let is_named = (mit.full_cache_name)(context.handle, cache, &raw mut text) == 0;
            (mit.close_cache)(context.handle, cache);
            if !is_named || text.is_null() {
                return None;
            }
            let name = CStr::from_ptr(text).to_string_lossy().into_owned();
            (mit.free_string)(context.handle, text);
            Some(name)
        }
    }

    /// Returns whether the library logs the user on with a keytab of its own settings if there is no ticket.
    pub(super) fn has_default_keytab(&self) -> bool {
        let (Some(mit), Some(context)) = (self.mit.as_ref(), self.context()) else { return false };
        let mut keytab = ptr::null_mut();
        #[expect(unsafe_code, reason = "calls of C")]
        // SAFETY: the context is alive, and the keytab is closed once.
        unsafe {
            if (mit.default_keytab)(context.handle, &raw mut keytab) != 0 {
                return false;
            }
            let has_keys = (mit.has_keys)(context.handle, keytab) == 0;
            (mit.close_keytab)(context.handle, keytab);
            has_keys
        }
    }

    /// Makes a cache the default one of this thread, if the library needs that.
    pub(super) fn name_thread_cache(&self, name: &str) -> Option<ThreadCache> {
        let (mit, name) = (self.mit.as_ref()?, CString::new(name).ok()?);
        let mut minor = 0;
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: the name ends with NUL and is copied during the call. The name before it is not wanted.
        let major =
            unsafe { (mit.name_thread_cache)(&raw mut minor, name.as_ptr(), ptr::null_mut()) };
        (major == 0).then_some(ThreadCache(mit.name_thread_cache))
    }

    /// Removes caches, as far as there are any of these names. Nothing may be using them.
    pub(super) fn destroy_caches(&self, names: impl Iterator<Item = String>) {
        let Some(context) = self.context() else { return };
        for name in names.filter_map(|name| CString::new(name).ok()) {
            let mut cache = ptr::null_mut();
            #[expect(unsafe_code, reason = "calls of C")]
            // SAFETY: the context is alive, the name ends with NUL, and the cache is not used after it is destroyed.
            unsafe {
                if (self.resolve_cache)(context.handle, name.as_ptr(), &raw mut cache) == 0 {
                    (self.destroy_cache)(context.handle, cache);
                }
            }
        }
    }

    fn context(&self) -> Option<KerberosContext> {
        let mut handle = ptr::null_mut();
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: the handle is null before the call.
        let code = unsafe { (self.init)(&raw mut handle) };
        (code == 0).then_some(KerberosContext { free: self.free, handle })
    }
}

impl MitFunctions {
    #[expect(unsafe_code, reason = "a symbol has no type")]
    /// # Safety
    /// The library must be one of GSS-API.
    unsafe fn find(library: &Library) -> Option<Self> {
        // SAFETY: as in `KerberosLibrary::find`.
        unsafe {
            Some(Self {
                name_of_service: *library.get(b"krb5_sname_to_principal\0").ok()?,
                parse_name: *library.get(b"krb5_parse_name\0").ok()?,
                free_principal: *library.get(b"krb5_free_principal\0").ok()?,
                // Heimdal has neither this function nor the one for names of caches of a thread.
                select_cache: *library.get(b"krb5_cc_select\0").ok()?,
                full_cache_name: *library.get(b"krb5_cc_get_full_name\0").ok()?,
                close_cache: *library.get(b"krb5_cc_close\0").ok()?,
                free_string: *library.get(b"krb5_free_string\0").ok()?,
                default_keytab: *library.get(b"krb5_kt_client_default\0").ok()?,
                has_keys: *library.get(b"krb5_kt_have_content\0").ok()?,
                close_keytab: *library.get(b"krb5_kt_close\0").ok()?,
                name_thread_cache: *library.get(b"gss_krb5_ccache_name\0").ok()?,
            })
        }
    }

    /// Returns the principal of a service such as `HTTP/host`, which the caller frees.
    fn principal(&self, context: &KerberosContext, service: &str) -> Option<Handle> {
        let mut principal = ptr::null_mut();
        let code = if service.contains('@') {
            let text = CString::new(service).ok()?;
            #[expect(unsafe_code, reason = "a call of C")]
            // SAFETY: the context is alive, and the text ends with NUL.
            unsafe {
                (self.parse_name)(context.handle, text.as_ptr(), &raw mut principal)
            }
        } else {
            let (service, host) = service.split_once('/')?;
            let (service, host) = (CString::new(service).ok()?, CString::new(host).ok()?);
            let (service, host, kind) = (service.as_ptr(), host.as_ptr(), SERVICE_AND_HOST);
            #[expect(unsafe_code, reason = "a call of C")]
            // SAFETY: the context is alive, and the texts end with NUL and outlive the call.
            unsafe {
                (self.name_of_service)(context.handle, host, service, kind, &raw mut principal)
            }
        };
        (code == 0 && !principal.is_null()).then_some(principal)
    }
}

impl Drop for KerberosContext {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: the context was made by this library and is freed once.
        unsafe {
            (self.free)(self.handle);
        }
    }
}

impl Drop for ThreadCache {
    fn drop(&mut self) {
        let mut minor = 0;
        #[expect(unsafe_code, reason = "a call of C")]
        // SAFETY: null takes the name back.
        unsafe {
            (self.0)(&raw mut minor, ptr::null(), ptr::null_mut());
        }
    }
}
