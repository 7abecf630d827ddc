//! Memory that the library hands out.

use super::{abi::RawBuffer, library::GssLibrary};

/// A buffer that the library filled and releases.
pub(super) struct OwnedBuffer {
    library: &'static GssLibrary,
    pub(super) raw: RawBuffer,
}

impl OwnedBuffer {
    pub(super) fn empty(library: &'static GssLibrary) -> Self {
        Self { library, raw: RawBuffer::empty() }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        if self.raw.value.is_null() || self.raw.length == 0 {
            return &[];
        }
        #[expect(unsafe_code, reason = "the bytes are behind a pointer of C")]
        // SAFETY: the library set both, to memory that stays until it is released by `drop`.
        unsafe {
            std::slice::from_raw_parts(self.raw.value.cast(), self.raw.length)
        }
    }
}

impl Drop for OwnedBuffer {
    fn drop(&mut self) {
        let mut minor = 0;
        #[expect(unsafe_code, reason = "the library releases what it allocated")]
        // SAFETY: the buffer is empty or was filled by this library, and is released once.
        unsafe {
            (self.library.release_buffer)(&raw mut minor, &raw mut self.raw);
        }
    }
}
