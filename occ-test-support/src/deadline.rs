//! A hang becomes a failure.

use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

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

/// Does something that waits for as long as `limit`: never less, and ten times as much only if it is not kept to.
///
/// What this thread had to wait for a processor does not count: on a busy machine one that looks all the while has to give its own
/// away as often as others want it.
///
/// ```
/// use std::time::Duration;
///
/// let limit = Duration::from_millis(20);
/// occ_test_support::takes(limit, || std::thread::park_timeout(limit));
/// ```
///
/// # Panics
///
/// If it took less, or far more.
#[track_caller]
pub fn takes<T>(limit: Duration, act: impl FnOnce() -> T) -> T {
    let (start, waited) = (Instant::now(), waited_for_a_processor());
    let result = act();
    let took = start.elapsed();
    let waited = waited_for_a_processor().saturating_sub(waited);
    assert!(took >= limit, "{took:?} is early: the limit is {limit:?}");
    assert!(
        took.saturating_sub(waited) < limit * 10,
        "{took:?}, {waited:?} of it without a processor, is late: the limit is {limit:?}"
    );
    result
}

/// How long the calling thread has been ready to run and did not; nothing where the kernel does not count that.
fn waited_for_a_processor() -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanos = told.split_whitespace().nth(1);
    Duration::from_nanos(nanos.and_then(|nanos| nanos.parse().ok()).unwrap_or(0))
}

/// Writes to fd 2 itself: libtest would keep what goes through `eprintln!` and lose it in the abort.
pub(crate) fn say(text: &str) {
    let mut left = text.as_bytes();
    while let Ok(written @ 1..) = rustix::io::write(rustix::stdio::stderr(), left) {
        left = &left[written..];
    }
}
