//! A hang becomes a failure.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

/// A limit that no healthy test comes near, also on a busy machine.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Runs `body` on this thread; if it takes longer than `limit`, says so on stderr and aborts the process.
///
/// Aborting is the only way to end a thread that hangs in a system call. Inside
/// [`isolated`](crate::isolated()) it ends the one test and nothing else.
///
/// ```
/// use std::time::Duration;
/// assert_eq!(occ_test_support::within(Duration::from_secs(30), || 1 + 1), 2);
/// ```
pub fn within<T>(limit: Duration, body: impl FnOnce() -> T) -> T {
    let test = thread::current().name().unwrap_or("a test").to_owned();
    let (finished, watched) = mpsc::channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if watched.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                say(&format!("\n{test}: not finished within {limit:?}\n"));
                std::process::abort();
            }
        });
        // Dropped when the body is done, also by a panic: the watcher sees the channel close.
        let _finished = finished;
        body()
    })
}

/// Writes to fd 2 itself: libtest would keep what goes through `eprintln!` and lose it in the abort.
pub(crate) fn say(text: &str) {
    let mut left = text.as_bytes();
    while let Ok(written @ 1..) = rustix::io::write(rustix::stdio::stderr(), left) {
        left = &left[written..];
    }
}
