//! A page that forks lose: in it stands what a process is, and what a fork of it is not.
#![expect(unsafe_code, reason = "maps memory")]

use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// What a process knows of itself. All zero, and so nothing, in a fork that it makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Own {
    pub(crate) os_pid: u32,
    /// Device and inode of its control socket, which no other open file has.
    pub(crate) socket: (u64, u64),
}

struct Record {
    /// 0 when there is none.
    os_pid: AtomicU32,
    device: AtomicU64,
    inode: AtomicU64,
    /// The thread that ends the process, by the kernel's number; 0 while none does.
    ending: AtomicU32,
}

static PAGE: AtomicPtr<Record> = AtomicPtr::new(ptr::null_mut());

/// Maps the page, in a zygote, for all processes that it makes.
#[doc(alias = "MADV_WIPEONFORK")]
pub(crate) fn map_own_record() -> io::Result<()> {
    let size = rustix::param::page_size();
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let prot = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a fresh anonymous mapping touches nothing that exists.
    let page = unsafe { libc::mmap(ptr::null_mut(), size, prot, flags, -1, 0) };
    if page == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range is the mapping just made.
    if unsafe { libc::madvise(page, size, libc::MADV_WIPEONFORK) } != 0 {
        return Err(io::Error::last_os_error());
    }
    PAGE.store(page.cast(), Ordering::Relaxed);
    Ok(())
}

fn record() -> Option<&'static Record> {
    let page = ptr::NonNull::new(PAGE.load(Ordering::Relaxed))?;
    // SAFETY: the page is mapped for ever, aligned and longer than a record, zeroed at first, and accessed as this type
    // alone.
    Some(unsafe { page.as_ref() })
}

/// Says which process this is, once, before anything of it can ask.
pub(crate) fn set_own(own: Own) {
    if let Some(record) = record() {
        record.device.store(own.socket.0, Ordering::Relaxed);
        record.inode.store(own.socket.1, Ordering::Relaxed);
        record.os_pid.store(own.os_pid, Ordering::Release);
    }
}

/// What this process knows of itself; `None` in one that no zygote made, and in a fork.
pub(crate) fn own() -> Option<Own> {
    let record = record()?;
    let os_pid = record.os_pid.load(Ordering::Acquire);
    (os_pid != 0).then(|| Own {
        os_pid,
        socket: (
            record.device.load(Ordering::Relaxed),
            record.inode.load(Ordering::Relaxed),
        ),
    })
}

/// True if no other thread has begun to end this process.
pub(crate) fn is_first_to_end() -> bool {
    let me = rustix::thread::gettid()
        .as_raw_nonzero()
        .get()
        .unsigned_abs();
    record().is_none_or(|record| {
        let first = record
            .ending
            .compare_exchange(0, me, Ordering::Relaxed, Ordering::Relaxed);
        first.is_ok() || first == Err(me)
    })
}

/// Whether this is a plain fork of a process that a zygote made, and not that process; `None` if neither is.
pub fn is_fork() -> Option<bool> {
    let record = record()?;
    Some(record.os_pid.load(Ordering::Relaxed) == 0)
}
