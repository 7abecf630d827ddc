//! Security contexts, which make tokens.

use std::ptr;

use super::{
    abi::{CONTINUE_NEEDED, Handle, Mechanism, RawBindings, RawBuffer},
    buffer::OwnedBuffer,
    credential::GssCredential,
    failure::{GssFailure, check},
    library::GssLibrary,
    name::GssName,
};

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

    /// Makes the next token. Also returns whether the context is complete.
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
        // Only SPNEGO ever asks to continue: Kerberos is complete with one token, because mutual authentication is off.
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

fn raw_bindings(application_data: &[u8]) -> RawBindings {
    RawBindings {
        initiator_type: 0,
        initiator: RawBuffer::empty(),
        acceptor_type: 0,
        acceptor: RawBuffer::empty(),
        application_data: RawBuffer::lend(application_data),
    }
}
