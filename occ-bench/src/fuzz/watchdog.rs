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
    fn new() -> Watchdog {
        let now = Now {
            step: Some(String::new()),
            count: 0,
        };
        Watchdog {
            now: Mutex::new(now),
            moved: Condvar::new(),
        }
    }

    /// No step may take longer than `limit`.
    pub(crate) fn start(limit: Duration) -> io::Result<Arc<Watchdog>> {
        let watchdog = Arc::new(Watchdog::new());
        let watch = Arc::clone(&watchdog);
        let thread = std::thread::Builder::new().name("watchdog".to_owned());
        thread.spawn(move || {
            if let Some(step) = watch.until_it_hangs(limit) {
                let _ = writeln!(
                    io::stdout(),
                    "fuzz: FOUND in {step}: nothing has happened for {limit:?}"
                );
                end_program();
            }
        })?;
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

    /// Gives the step that takes longer than `limit`; nothing if the program comes to its end.
    fn until_it_hangs(&self, limit: Duration) -> Option<String> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(step) = now.step.clone() {
            let count = now.count;
            let waited = self
                .moved
                .wait_timeout_while(now, limit, |now| now.count == count);
            let (next, waited) = waited.unwrap_or_else(PoisonError::into_inner);
            if waited.timed_out() {
                return Some(step);
            }
            now = next;
        }
        None
    }
}

#[expect(
    clippy::exit,
    reason = "the thread that would return is the one that hangs"
)]
fn end_program() -> ! {
    std::process::exit(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_step_that_takes_too_long_is_named() {
        let watchdog = Watchdog::new();
        watchdog.step("one");
        watchdog.step("two");
        let hung = watchdog.until_it_hangs(Duration::from_millis(1));
        assert_eq!(hung.as_deref(), Some("two"));
    }

    #[test]
    fn a_program_that_goes_on_to_its_end_does_not_hang() {
        let watchdog = Arc::new(Watchdog::new());
        let watch = Arc::clone(&watchdog);
        let thread = std::thread::spawn(move || watch.until_it_hangs(LONG));
        for _ in 0..100 {
            watchdog.step("another");
        }
        watchdog.end();
        assert_eq!(thread.join().unwrap(), None);
    }
}
