//! How much memory a piece of code asks for at once, so that a test can tell that a length was not believed.
#![expect(unsafe_code, reason = "an allocator that looks at each request")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Watching;

thread_local! {
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn note(size: usize) {
    // After the thread's own end there is nobody to ask.
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

// SAFETY: it does what the system's allocator does.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's own promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's own promise.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller's own promise.
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's own promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watching = Watching;

/// The largest piece of memory that `body` asked for on this thread, in bytes.
pub(crate) fn largest<T>(body: impl FnOnce() -> T) -> (T, usize) {
    LARGEST.set(0);
    let result = body();
    (result, LARGEST.get())
}

#[test]
fn the_largest_request_is_seen() {
    let (_, largest) = largest(|| (vec![0_u8; 10_000], vec![0_u8; 300]));
    assert_eq!(largest, 10_000);
}
