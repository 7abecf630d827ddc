//! SSPI, the counterpart of GSS-API on Windows.

mod credential;
mod reason;

use std::{ptr, sync::Arc};

use windows_sys::Win32::{
    Foundation::{
        SEC_E_OK, SEC_I_COMPLETE_AND_CONTINUE, SEC_I_COMPLETE_NEEDED, SEC_I_CONTINUE_NEEDED,
    },
    Security::{
        Authentication::Identity::{
            CompleteAuthToken, DeleteSecurityContext, FreeContextBuffer,
            InitializeSecurityContextW, QuerySecurityPackageInfoW, SEC_CHANNEL_BINDINGS,
            SECBUFFER_CHANNEL_BINDINGS, SECBUFFER_TOKEN, SECBUFFER_VERSION, SECURITY_NATIVE_DREP,
            SecBuffer, SecBufferDesc, SecPkgInfoW,
        },
        Credentials::SecHandle,
    },
};
use zeroize::Zeroizing;

pub(crate) use self::credential::Credential as SystemCredential;
use self::{
    credential::{Credential, RawIdentity},
    reason::reason,
};
use crate::{Credentials, Identity, Reason, SsoError, Step, Ticket, Words};

/// An authentication by the package Negotiate.
#[derive(Debug)]
pub(crate) struct SystemContext {
    identity: Arc<Identity>,
    /// The logged-in user's credential. `None` with a password, whose credential is shared.
    credential: Option<Credential>,
    conversation: Conversation,
}

/// The state of the exchange of tokens.
#[derive(Debug)]
struct Conversation {
    context: Option<SecurityContext>,
    /// The name of the service in UTF-16. It ends with NUL.
    target: Vec<u16>,
    bindings: Option<Vec<u8>>,
    token_bytes_max: u32,
    place: Vec<Words>,
}

pub(crate) fn check_available() -> Result<(), SsoError> {
    token_bytes_max().map(drop)
}

/// Nothing: Windows has no keytabs.
#[derive(Debug, Default)]
pub(crate) struct SystemMemory;

impl SystemMemory {
    #[expect(clippy::unused_self, reason = "as on Unix")]
    pub(crate) fn replace(&self) {}
}

/// Fails, because Windows keeps the tickets of a user to itself.
pub(crate) fn ticket(_: &Identity) -> Result<Ticket, SsoError> {
    Err(SsoError::new(Reason::Unsupported, "Windows does not show tickets"))
}

impl SystemContext {
    pub(crate) fn new(
        spn: &str,
        identity: &Arc<Identity>,
        bindings: Option<&[u8]>,
    ) -> Result<Self, SsoError> {
        let (credential, place) = match identity.credentials() {
            Credentials::LoggedIn { principal: None } => {
                let place = vec![Words::Ours("as the logged-in user")];
                let acquired = Credential::acquire(None);
                (Some(acquired.map_err(|status| failure(status, &place))?), place)
            }
            Credentials::Password { username, .. } => (None, of_password(username)),
            _ => {
                let words = "Windows has no credential caches or keytabs; leave out `kerberos:`";
                return Err(SsoError::new(Reason::Unsupported, words));
            }
        };
        let conversation = Conversation {
            context: None,
            target: wide(spn).into_iter().chain([0]).collect(),
            bindings: bindings.map(channel_bindings),
            token_bytes_max: token_bytes_max()?,
            place,
        };
        Ok(Self { identity: Arc::clone(identity), credential, conversation })
    }

    pub(crate) fn step(&mut self, token: Option<&[u8]>) -> Result<Step, SsoError> {
        let Self { identity, credential, conversation } = self;
        match (credential, identity.credentials()) {
            (None, Credentials::Password { username, password }) => {
                let acquire = || {
                    let mut user = RawIdentity::new(username, password);
                    let acquired = Credential::acquire(Some(&mut user));
                    let place = of_password(username);
                    acquired.map_err(|status| failure(status, &place))
                };
                let step = |credential: &Credential| conversation.step(credential, token);
                identity.kept.with_credential(acquire, step)
            }
            (Some(credential), _) => conversation.step(credential, token),
            (None, _) => Err(SsoError::new(Reason::Unsupported, "")),
        }
    }
}

impl Conversation {
    fn step(&mut self, credential: &Credential, token: Option<&[u8]>) -> Result<Step, SsoError> {
        // The bindings belong to every call, even the first one, which has no token from the proxy.
        let mut inputs = Vec::with_capacity(2);
        if let Some(token) = token {
            inputs.push(lend(SECBUFFER_TOKEN, token));
        }
        if let Some(bindings) = &self.bindings {
            inputs.push(lend(SECBUFFER_CHANNEL_BINDINGS, bindings));
        }
        let input = description(&mut inputs);
        // With `ISC_REQ_ALLOCATE_MEMORY`, Windows would allocate the buffer, but Wine fails to do so for Kerberos.
        let mut made = Zeroizing::new(vec![0_u8; self.token_bytes_max as usize]);
        let mut outputs = [SecBuffer {
            cbBuffer: self.token_bytes_max,
            BufferType: SECBUFFER_TOKEN,
            pvBuffer: made.as_mut_ptr().cast(),
        }];
        let mut output = description(&mut outputs);
        let mut handle = EMPTY_HANDLE;
        let (mut attributes, mut expiry) = (0, 0);
        let previous = self.context.as_ref().map_or(ptr::null(), |context| &raw const context.0);
        #[expect(unsafe_code, reason = "a call of Windows")]
        // SAFETY: the handles are alive or null (a new context), and every buffer outlives the call with the length
        // that its description says.
        let status = unsafe {
            InitializeSecurityContextW(
                &raw const credential.0,
                previous,
                self.target.as_ptr(),
                0,
                0,
                SECURITY_NATIVE_DREP,
                if inputs.is_empty() { ptr::null() } else { &raw const input },
                0,
                &raw mut handle,
                &raw mut output,
                &raw mut attributes,
                &raw mut expiry,
            )
        };
        if status < 0 {
            return Err(failure(status, &self.place));
        }
        // A later call returns the same handle again.
        if self.context.is_none() {
            self.context = Some(SecurityContext(handle));
        }
        if matches!(status, SEC_I_COMPLETE_NEEDED | SEC_I_COMPLETE_AND_CONTINUE) {
            #[expect(unsafe_code, reason = "a call of Windows")]
            // SAFETY: the context is alive and the description is the one that was just filled.
            let completed = unsafe { CompleteAuthToken(&raw const handle, &raw const output) };
            if completed < 0 {
                return Err(failure(completed, &self.place));
            }
        }
        let length = (outputs[0].cbBuffer as usize).min(made.len());
        let continues = matches!(status, SEC_I_CONTINUE_NEEDED | SEC_I_COMPLETE_AND_CONTINUE);
        Ok(Step::new(made[..length].to_vec(), !continues))
    }
}

/// A security context's handle.
struct SecurityContext(SecHandle);

impl std::fmt::Debug for SecurityContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecurityContext(hidden)")
    }
}

impl Drop for SecurityContext {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "a call of Windows")]
        // SAFETY: the handle was made by `InitializeSecurityContextW` and is deleted once.
        unsafe {
            DeleteSecurityContext(&raw const self.0);
        }
    }
}

/// Returns the length of the longest token of the package.
fn token_bytes_max() -> Result<u32, SsoError> {
    let package: Vec<u16> = wide("Negotiate").into_iter().chain([0]).collect();
    let mut found: *mut SecPkgInfoW = ptr::null_mut();
    #[expect(unsafe_code, reason = "calls of Windows")]
    // SAFETY: the name ends with NUL; on success the call returns a description that is freed once it was read.
    unsafe {
        let status = QuerySecurityPackageInfoW(package.as_ptr(), &raw mut found);
        if status != SEC_E_OK || found.is_null() {
            return Err(failure(status, &[Words::Ours("the package Negotiate")]));
        }
        let length = (*found).cbMaxToken;
        FreeContextBuffer(found.cast());
        Ok(length)
    }
}

/// Returns the application data after the header that Windows expects.
fn channel_bindings(application_data: &[u8]) -> Vec<u8> {
    let header_bytes = size_of::<SEC_CHANNEL_BINDINGS>();
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX).to_ne_bytes();
    // Eight numbers of 32 bits: type, length and offset of both sides, then length and offset of the data.
    let mut bytes = vec![0; 24];
    bytes.extend_from_slice(&number(application_data.len()));
    bytes.extend_from_slice(&number(header_bytes));
    bytes.extend_from_slice(application_data);
    bytes
}

fn lend(kind: u32, bytes: &[u8]) -> SecBuffer {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    SecBuffer { cbBuffer: length, BufferType: kind, pvBuffer: bytes.as_ptr().cast_mut().cast() }
}

fn description(buffers: &mut [SecBuffer]) -> SecBufferDesc {
    let count = u32::try_from(buffers.len()).unwrap_or_default();
    SecBufferDesc { ulVersion: SECBUFFER_VERSION, cBuffers: count, pBuffers: buffers.as_mut_ptr() }
}

fn wide(text: &str) -> Vec<u16> {
    // The exact capacity, so that growing leaves no copy of a password behind.
    let mut wide = Vec::with_capacity(text.len());
    wide.extend(text.encode_utf16());
    wide
}

fn failure(status: i32, place: &[Words]) -> SsoError {
    let code = u32::from_ne_bytes(status.to_ne_bytes());
    let mut details = vec![Words::Foreign(format!("SSPI error {code:#010x}")), Words::Ours("; ")];
    details.extend_from_slice(place);
    SsoError { reason: reason(code), details }
}

fn of_password(username: &str) -> Vec<Words> {
    vec![Words::Ours("with the password of "), Words::Foreign(username.to_owned())]
}

const EMPTY_HANDLE: SecHandle = SecHandle { dwLower: 0, dwUpper: 0 };
