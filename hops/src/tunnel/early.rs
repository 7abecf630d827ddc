//! The bytes of a tunnel that were read too far, and are read again first.

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::ReadBuf;

/// Bytes that were read ahead of their reader.
///
/// Boxed, since few tunnels have any, and each open one would keep room for them. The box is never empty.
#[derive(Default)]
pub(super) struct Early(Option<Box<Bytes>>);

impl Early {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |bytes| bytes.len())
    }

    /// Puts `bytes` in front. If others are left, these were read before them.
    pub(super) fn put_back(&mut self, bytes: Bytes) {
        if bytes.is_empty() {
            return;
        }
        let all = match self.0.take() {
            None => bytes,
            Some(rest) => {
                let mut joined = BytesMut::with_capacity(bytes.len() + rest.len());
                joined.extend_from_slice(&bytes);
                joined.extend_from_slice(&rest);
                joined.freeze()
            }
        };
        self.0 = Some(Box::new(all));
    }

    /// Fills `buf` from the front. Returns `false` if there are no bytes.
    pub(super) fn read(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let Some(bytes) = &mut self.0 else { return false };
        // A reader with little room gets a part, and the rest stays in front of the stream.
        let count = bytes.len().min(buf.remaining());
        buf.put_slice(&bytes[..count]);
        bytes.advance(count);
        if bytes.is_empty() {
            // An empty slice would still hold the buffer that it was cut from.
            self.0 = None;
        }
        true
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.0.map_or_else(Bytes::new, |bytes| *bytes)
    }
}
