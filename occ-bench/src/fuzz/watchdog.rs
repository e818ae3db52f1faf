//! Ends the program when it does not come any further: what hangs may be what would have to tell.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What the program is at; nothing when it is through.
struct Now {
    step: Option<String>,
    count: u64,
}

pub(crate) struct Watchdog {
    now: Mutex<Now>,
    moved: Condvar,
}

impl Watchdog {
    /// No step may take longer than `limit`.
    pub(crate) fn start(limit: Duration) -> io::Result<Arc<Watchdog>> {
        let now = Now {
            step: Some(String::new()),
            count: 0,
        };
        let watchdog = Arc::new(Watchdog {
            now: Mutex::new(now),
            moved: Condvar::new(),
        });
        let watch = Arc::clone(&watchdog);
        let thread = std::thread::Builder::new().name("watchdog".to_owned());
        thread.spawn(move || watch.watch(limit))?;
        Ok(watchdog)
    }

    /// The program has come to this.
    pub(crate) fn step(&self, step: &str) {
        self.set(Some(step.to_owned()));
    }

    /// The program has come to its end.
    pub(crate) fn end(&self) {
        self.set(None);
    }

    fn set(&self, step: Option<String>) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.step = step;
        now.count += 1;
        self.moved.notify_all();
    }

    fn watch(&self, limit: Duration) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(step) = now.step.clone() {
            let count = now.count;
            let waited = self
                .moved
                .wait_timeout_while(now, limit, |now| now.count == count);
            let (next, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() {
                let _ = writeln!(
                    io::stdout(),
                    "fuzz: FOUND in {step}: nothing has happened for {limit:?}"
                );
                end_program();
            }
            now = next;
        }
    }
}

#[expect(
    clippy::exit,
    reason = "the thread that would return is the one that hangs"
)]
fn end_program() -> ! {
    std::process::exit(1)
}
