//! Telling a process from a plain fork of it, without a system call.
//!
//! A fork has a copy of everything: of a lock that a thread has which is not there, and of connections that two would send on
//! then. There is one page of which it has none (`MADV_WIPEONFORK`, madvise(2)): a number stands in it that is another one in
//! each process.
#![expect(unsafe_code, reason = "a page that forks find empty")]

use std::io;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};

/// The process that something was made in.
#[derive(Debug)]
pub(crate) struct Home(u32);

static PAGE: OnceLock<&'static AtomicU32> = OnceLock::new();

/// The last number that this process, or one that it is a fork of, has had.
static LAST: AtomicU32 = AtomicU32::new(0);

impl Home {
    /// This process.
    ///
    /// # Errors
    ///
    /// There is no memory for a page.
    pub(crate) fn here() -> io::Result<Home> {
        let page = match PAGE.get() {
            Some(page) => page,
            None => {
                let fresh = map()?;
                PAGE.get_or_init(|| fresh)
            }
        };
        let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        let number = match page.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => next,
            Err(number) => number,
        };
        Ok(Home(number))
    }

    /// Whether this is that process, and no fork of it.
    #[inline]
    pub(crate) fn is_here(&self) -> bool {
        let number = PAGE.get().map(|page| page.load(Ordering::Relaxed));
        number == Some(self.0)
    }
}

fn map() -> io::Result<&'static AtomicU32> {
    let size = rustix::param::page_size();
    let (prot, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
    // SAFETY: a fresh mapping touches nothing that exists.
    let page = unsafe { mmap_anonymous(ptr::null_mut(), size, prot, flags) }?;
    // SAFETY: the range is the mapping just made, and nobody has a reference to it.
    unsafe { madvise(page, size, Advice::LinuxWipeOnFork) }?;
    // SAFETY: it is mapped for ever, zeroed, aligned as a page is, and used as this type alone.
    Ok(unsafe { AtomicU32::from_ptr(page.cast()) })
}
