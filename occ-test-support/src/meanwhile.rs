//! Something that somebody does all the while.

use std::sync::atomic::{AtomicBool, Ordering};

/// Does `act` over and over on another thread for as long as `body` takes.
pub fn meanwhile<T>(act: impl Fn() + Sync, body: impl FnOnce() -> T) -> T {
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                act();
            }
        });
        // Also if it panics: else the other would go on for ever.
        let _done = Done(&done);
        body()
    })
}
