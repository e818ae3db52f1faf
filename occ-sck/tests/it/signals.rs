//! A signal that interrupts a wait neither ends it nor stretches it.
#![expect(
    unsafe_code,
    reason = "a handler that does not restart what it interrupts"
)]

use std::os::unix::thread::JoinHandleExt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use occ_sck::{Bytes, Channel, ChannelError, Limits, Socket};
use occ_test_support::{LIMIT, isolated, within};

static HANDLED: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    HANDLED.fetch_add(1, Ordering::Relaxed);
}

/// Without SA_RESTART, so that a system call that waits fails with EINTR.
fn handle() {
    // SAFETY: all zero is a valid sigaction, with no flags and an empty mask.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as usize;
    // SAFETY: the handler does nothing but count.
    let done = unsafe { libc::sigaction(libc::SIGUSR1, &action, std::ptr::null_mut()) };
    assert_eq!(done, 0);
}

/// Runs `wait` on a thread that is interrupted without pause, at least `least` times, and until `stop`.
pub(crate) fn interrupted<T: Send + 'static>(
    least: usize,
    wait: impl FnOnce() -> T + Send + 'static,
    stop: impl FnOnce(),
) -> T {
    handle();
    let waiting = std::thread::spawn(wait);
    let thread = waiting.as_pthread_t();
    let interrupt = || {
        let before = HANDLED.load(Ordering::Relaxed);
        // SAFETY: the thread has not been joined, so its name is still its own.
        let sent = unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
        // Each is waited for, because two that are pending are one.
        while sent == 0 && HANDLED.load(Ordering::Relaxed) == before && !waiting.is_finished() {
            std::thread::yield_now();
        }
    };
    for _ in 0..least {
        interrupt();
    }
    stop();
    while !waiting.is_finished() {
        interrupt();
    }
    waiting.join().unwrap()
}

#[test]
fn a_wait_without_limit_goes_on_after_signals() {
    isolated!(|| {
        within(LIMIT, || {
            let (mut a, mut b) = Channel::pair().unwrap();
            let received = interrupted(
                1000,
                move || b.receive::<String>().unwrap(),
                || a.send(&"at last".to_string()).unwrap(),
            );
            assert_eq!(received.unwrap(), "at last");

            let (a, b) = Socket::pair().unwrap();
            let sent = crate::fill(&a, 1000);
            let mut a = Channel::new(a, Limits::default());
            let mut b = Channel::new(b, Limits::default());
            interrupted(
                1000,
                move || a.send(&Bytes(vec![1; 1000])).unwrap(),
                || {
                    for _ in 0..sent {
                        b.receive::<Bytes>().unwrap();
                    }
                },
            );
            assert!(HANDLED.load(Ordering::Relaxed) >= 2000);
        });
    });
}

#[test]
fn signals_neither_shorten_nor_stretch_a_limit() {
    isolated!(|| {
        within(LIMIT, || {
            let limit = Duration::from_millis(250);
            let (_a, mut b) = Channel::pair().unwrap();
            let begun = Instant::now();
            let error = interrupted(0, move || b.receive_timeout::<u8>(limit), || {});
            let took = begun.elapsed();
            assert!(matches!(error, Err(ChannelError::TimedOut)), "{error:?}");
            assert!(limit <= took && took < limit * 10, "{took:?}");
            assert!(HANDLED.load(Ordering::Relaxed) > 0);
        });
    });
}
