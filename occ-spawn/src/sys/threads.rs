//! Whether there are other threads.
#![expect(unsafe_code, reason = "unshare(2), and a variable of the C library")]

use std::ffi::c_char;
use std::io;
use std::ptr;
use std::sync::OnceLock;

/// True when the calling thread is the only one; false also if that cannot be seen.
#[doc(alias = "unshare")]
pub(crate) fn is_single_threaded() -> bool {
    // To leave a thread group that one is alone in is nothing, and with others it is not allowed (unshare(2)). Where
    // a filter does not let us ask, /proc is slower.
    // SAFETY: changes nothing, whatever the answer.
    if unsafe { libc::unshare(libc::CLONE_THREAD) } == 0 {
        return true;
    }
    if io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        return false;
    }
    // A directory has two links, and this one has one more for each thread.
    rustix::fs::stat("/proc/self/task").is_ok_and(|tasks| tasks.st_nlink == 3)
}

/// True when there has never been another thread, as glibc knows since 2.32; false also if nobody knows.
///
/// It makes no system call once it has been asked, in this process or in the one that it was forked from. To look
/// into /proc costs a new process a tenth of its life.
pub(crate) fn was_single_threaded() -> bool {
    static FLAG: OnceLock<Option<usize>> = OnceLock::new();
    let flag = FLAG.get_or_init(|| {
        // SAFETY: the name is a C string; the default scope needs no handle.
        let flag = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
        (!flag.is_null()).then(|| flag.expose_provenance())
    });
    // SAFETY: glibc's variable of that name is a `char` that is always there; it is written by the thread that
    // starts the second one, which is the caller if there is no other.
    flag.is_some_and(
        |at| unsafe { ptr::with_exposed_provenance::<c_char>(at).read_volatile() } != 0,
    )
}
