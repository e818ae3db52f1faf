//! A thread that can open no file, while all others can.
#![expect(unsafe_code, reason = "prctl(2) with a filter")]

use std::io;

use super::with_signals_blocked;

// Instructions of the classic BPF, as seccomp(2) takes them.
const LOAD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// Runs `body` on a thread of its own, for which no file can be opened; `None` where that cannot be had.
///
/// The kernel keeps a filter for as long as the thread lives, and it changes what an exec does. So it is not for the calling thread.
pub(crate) fn without_files<T: Send>(body: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let filtered = || forbid_files().is_ok().then(body);
        // No handler of the program's is to run there and find no files.
        let thread =
            with_signals_blocked(|| std::thread::Builder::new().spawn_scoped(scope, filtered));
        thread.ok()?.join().ok()?
    })
}

/// Lets the calling thread open no file from here on.
#[doc(alias = "seccomp")]
fn forbid_files() -> io::Result<()> {
    let calls = [
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open,
        libc::SYS_openat,
        libc::SYS_openat2,
    ];
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    // The number of the call is the first word of what a filter sees. It is that of the native ABI, the only one in use
    // on a thread of ours.
    let mut program = vec![step(LOAD, 0, 0, 0)];
    for (behind, call) in (1..).zip(calls.iter().rev()) {
        // To the last line, over those of the other calls, or on.
        program.insert(1, step(JUMP_IF_EQUAL, behind, 0, *call as u32));
    }
    program.push(step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EMFILE.unsigned_abs();
    program.push(step(RETURN, 0, 0, refuse));
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: it takes numbers. It is about the calling thread, and what that executes.
    check(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })?;
    // SAFETY: the filter points at so many instructions, which the kernel copies.
    check(unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn no_file_can_be_opened_there_and_any_here() {
        let open = || File::open("/dev/null").map_err(|error| error.raw_os_error());
        let there = without_files(|| {
            let opened = open();
            // The control: other calls are as they were.
            let directory = std::env::current_dir().map(drop).map_err(|_| ());
            (opened.map(drop), directory)
        });
        let Some((opened, directory)) = there else {
            return;
        };
        assert_eq!(opened, Err(Some(libc::EMFILE)));
        assert_eq!(directory, Ok(()));
        assert!(open().is_ok());
    }
}
