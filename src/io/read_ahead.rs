//! Reads as many bytes as have arrived, into memory that is held only once they are there.

use std::{
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// Appends the bytes that have arrived to `seen`, at most about `most` of them. Returns how many; zero is the end.
///
/// Dropping the future loses nothing.
///
/// # Errors
/// The reader's error.
pub(crate) async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
    seen: &mut BytesMut,
    most: usize,
) -> io::Result<usize> {
    poll_fn(|cx| poll_read(cx, reader, seen, most)).await
}

/// Like [`read`], for hand-written futures.
///
/// # Errors
/// The reader's error.
pub(crate) fn poll_read<R: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    reader: &mut R,
    seen: &mut BytesMut,
    most: usize,
) -> Poll<io::Result<usize>> {
    if most > FEW_BYTES {
        // The bytes of a large body are read in place, since copying them would cost more than the
        // room for them does.
        seen.reserve(most);
        let read = pin!(reader.read_buf(seen)).poll(cx);
        // A stream of events may be silent for hours after a burst. It must not hold the room of a
        // download for that long.
        if read.is_pending() && seen.is_empty() {
            *seen = BytesMut::new();
        }
        return read;
    }
    // A small read goes through the stack. Most heads are far smaller than the room for them, so only their own size is
    // kept, and a connection that waits for its next request holds nothing.
    let mut space = [const { MaybeUninit::uninit() }; FEW_BYTES];
    let mut read = ReadBuf::uninit(&mut space[..most]);
    Pin::new(reader).poll_read(cx, &mut read).map_ok(|()| {
        seen.extend_from_slice(read.filled());
        read.filled().len()
    })
}

/// The number of bytes that are read by way of the stack.
const FEW_BYTES: usize = 8 * 1024;

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncWriteExt, duplex},
        select,
    };

    use super::*;

    #[tokio::test]
    async fn nothing_is_held_while_nothing_comes_and_no_more_than_needed_after() {
        for most in [10, FEW_BYTES, 8 * FEW_BYTES] {
            let (mut reader, mut writer) = duplex(FEW_BYTES);
            let mut seen = BytesMut::new();
            select! {
                biased;
                read = read(&mut reader, &mut seen, most) => panic!("{read:?}"),
                () = std::future::ready(()) => {}
            }
            assert_eq!(seen.capacity(), 0, "{most}");
            writer.write_all(b"some").await.unwrap();
            assert_eq!(read(&mut reader, &mut seen, most).await.unwrap(), 4);
            writer.write_all(b"thing").await.unwrap();
            assert_eq!(read(&mut reader, &mut seen, most).await.unwrap(), 5);
            let room = if most > FEW_BYTES { 2 * most } else { 64 };
            assert!(seen == "something" && seen.capacity() <= room, "{most}");
            drop(writer);
            assert_eq!(read(&mut reader, &mut seen, most).await.unwrap(), 0);
        }
    }

    #[tokio::test]
    async fn no_more_is_read_than_was_asked_for_where_that_is_little() {
        let (mut reader, mut writer) = duplex(64);
        writer.write_all(b"something").await.unwrap();
        let mut seen = BytesMut::new();
        assert_eq!(read(&mut reader, &mut seen, 4).await.unwrap(), 4);
        assert_eq!(seen, "some");
    }
}
