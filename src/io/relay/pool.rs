//! Buffers that wait, for each thread, until bytes are there to be moved.

use std::cell::RefCell;

/// The memory that bytes pass through.
pub(super) type Buffer = Box<[u8; BUFFER_BYTES]>;

/// Returns a buffer with arbitrary contents.
pub(super) fn take() -> Buffer {
    let pooled = POOL.try_with(|pool| pool.borrow_mut().pop()).ok().flatten();
    pooled.unwrap_or_else(zeroed)
}

/// Returns a buffer to the pool, or to the allocator if the pool is full.
pub(super) fn give_back(buffer: Buffer) {
    // The pool is gone when its thread ends; so is the buffer then.
    let _ = POOL.try_with(|pool| {
        let mut pool = pool.borrow_mut();
        if pool.len() < POOLED_MAX {
            pool.push(buffer);
        }
    });
}

fn zeroed() -> Buffer {
    // Through a `Vec`, so that it never passes the stack; the length is right, so the conversion can't fail.
    let bytes = vec![0; BUFFER_BYTES].into_boxed_slice();
    bytes.try_into().unwrap_or_else(|_| Box::new([0; BUFFER_BYTES]))
}

thread_local! {
    static POOL: RefCell<Vec<Buffer>> = const { RefCell::new(Vec::new()) };
}

const BUFFER_BYTES: usize = 64 * 1024;
/// A task that runs holds at most one for each direction. More are in flight only if receivers are slow.
const POOLED_MAX: usize = 4;
