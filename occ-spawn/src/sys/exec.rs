//! Starting ourselves again, and becoming another program.
#![expect(unsafe_code, reason = "posix_spawn(3), execve(2)")]

use std::ffi::{CStr, CString, c_char, c_int};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::ptr;

use rustix::io::Errno;

/// Starts /proc/self/exe with `socket` as its fd 3 and every signal blocked.
///
/// This is posix_spawn(3), which shares the caller's memory until the exec: its cost does not grow with
/// the caller, and other threads may do as they like meanwhile.
pub(crate) fn exec_self(
    argv: &[CString],
    envp: &[CString],
    socket: BorrowedFd<'_>,
    socket_at: RawFd,
) -> io::Result<u32> {
    let mut actions = MaybeUninit::<libc::posix_spawn_file_actions_t>::uninit();
    // SAFETY: init writes the object it is given.
    check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
    // SAFETY: initialised above; both numbers are plain file descriptors. A dup2 onto the same number
    // clears close-on-exec (glibc 2.29).
    let dup = check(unsafe {
        libc::posix_spawn_file_actions_adddup2(actions.as_mut_ptr(), socket.as_raw_fd(), socket_at)
    });
    let result = dup.and_then(|()| exec_with(actions.as_ptr(), argv, envp));
    // SAFETY: initialised above, and not used after this.
    unsafe { libc::posix_spawn_file_actions_destroy(actions.as_mut_ptr()) };
    result
}

fn exec_with(
    actions: *const libc::posix_spawn_file_actions_t,
    argv: &[CString],
    envp: &[CString],
) -> io::Result<u32> {
    let mut attributes = MaybeUninit::<libc::posix_spawnattr_t>::uninit();
    // SAFETY: init writes the object it is given.
    check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;

    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigfillset writes the set it is given.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: both are initialised. A ctrl-c between the exec and our own handlers must not kill.
    unsafe { libc::posix_spawnattr_setsigmask(attributes.as_mut_ptr(), all.as_ptr()) };
    // SAFETY: initialised above.
    unsafe {
        libc::posix_spawnattr_setflags(
            attributes.as_mut_ptr(),
            libc::POSIX_SPAWN_SETSIGMASK as libc::c_short,
        )
    };

    let argv = pointers(argv);
    let envp = pointers(envp);
    let mut pid: libc::pid_t = 0;
    // SAFETY: the path is a C string; actions and attributes are initialised; argv and envp are arrays
    // of C strings that outlive the call, each ended by a null.
    let result = check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            c"/proc/self/exe".as_ptr(),
            actions,
            attributes.as_ptr(),
            argv.as_ptr(),
            envp.as_ptr(),
        )
    });
    // SAFETY: initialised above, and not used after this.
    unsafe { libc::posix_spawnattr_destroy(attributes.as_mut_ptr()) };
    result.map(|()| pid.unsigned_abs())
}

/// Becomes the program at `path`; what comes back is why not.
#[doc(alias = "execve")]
pub(crate) fn execute(path: &CStr, argv: &[CString], envp: &[CString]) -> Errno {
    let (argv, envp) = (pointers(argv), pointers(envp));
    // SAFETY: a C string, and two arrays of C strings that outlive the call, each ended by a null.
    unsafe { libc::execve(path.as_ptr(), argv.as_ptr().cast(), envp.as_ptr().cast()) };
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

fn pointers(strings: &[CString]) -> Vec<*mut c_char> {
    strings
        .iter()
        .map(|s| s.as_ptr().cast_mut())
        .chain([ptr::null_mut()])
        .collect()
}

/// The posix_spawn family returns its error instead of setting errno.
fn check(error: c_int) -> io::Result<()> {
    if error == 0 {
        Ok(())
    } else {
        Err(io::Error::from_raw_os_error(error))
    }
}
