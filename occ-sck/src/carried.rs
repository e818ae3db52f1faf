//! The descriptors of the value that is being encoded or decoded on this thread.
//!
//! A type's `Serialize` meets a serializer that it knows nothing of, and often not even ours: one that wraps another, or a
//! format within the format. So an [`Fd`](crate::Fd) finds the message that it belongs to by the thread. Whoever encodes or
//! decodes a message opens a scope, and scopes are nested as the calls are: a value whose `Serialize` sends another
//! message does not mix their descriptors.
//!
//! What fails is noted in the scope too, because the code in between may swallow the error and go on.

use std::cell::{Cell, RefCell};
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::error::FdError;
use crate::socket::MAX_FDS;
use crate::sys;

thread_local! {
    // Without a destructor, so that a value without descriptors pays for no more than two words.
    static TAKING: Cell<Taking> = const { Cell::new(Taking::begun(Mode::Nothing)) };
    /// What all open scopes have taken, those of the innermost last.
    static TAKEN: RefCell<Vec<OwnedFd>> = const { RefCell::new(Vec::new()) };
    static GIVING: RefCell<Option<Giving>> = const { RefCell::new(None) };
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// No message is being encoded.
    Nothing,
    /// Each descriptor is duplicated.
    Duplicating,
    /// They have been already, and the value is encoded once more.
    Counting,
}

#[derive(Clone, Copy)]
struct Taking {
    mode: Mode,
    /// Descriptors in the value so far.
    count: u32,
    /// As many of the last in `TAKEN` are of this scope.
    kept: u32,
    /// What the kernel said when one could not be duplicated, else 0.
    errno: i32,
}

impl Taking {
    const fn begun(mode: Mode) -> Taking {
        Taking {
            mode,
            count: 0,
            kept: 0,
            errno: 0,
        }
    }
}

/// The number of `fd` in the message that is being encoded on this thread.
pub(crate) fn take(fd: BorrowedFd<'_>) -> Result<u32, FdError> {
    let mut now = TAKING.get();
    let index = now.count;
    now.count = index.saturating_add(1);
    match now.mode {
        Mode::Nothing => return Err(FdError::Outside),
        // There are too many; how many is for the error to say.
        Mode::Duplicating if index as usize >= MAX_FDS => {}
        Mode::Duplicating => {
            let duplicate = fd.try_clone_to_owned().map_err(|source| {
                now.errno = source.raw_os_error().unwrap_or(libc::EBADF);
                TAKING.set(now);
                FdError::Duplicate { source }
            })?;
            // The thread is about to end, and its list is gone: no message is made there either.
            TAKEN
                .try_with(|taken| taken.borrow_mut().push(duplicate))
                .map_err(|_| FdError::Outside)?;
            now.kept += 1;
        }
        Mode::Counting => {}
    }
    TAKING.set(now);
    Ok(index)
}

/// A message is being encoded on this thread.
pub(crate) struct Encoding {
    outer: Taking,
}

impl Encoding {
    /// Takes duplicates of the descriptors in it.
    #[inline]
    pub(crate) fn duplicating() -> Encoding {
        let outer = TAKING.replace(Taking::begun(Mode::Duplicating));
        Encoding { outer }
    }

    /// They have been taken when it was encoded for the first time, and have the same numbers again.
    pub(crate) fn counting() -> Encoding {
        let outer = TAKING.replace(Taking::begun(Mode::Counting));
        Encoding { outer }
    }

    /// How many there were so far in the value that is being encoded.
    pub(crate) fn count() -> usize {
        TAKING.get().count as usize
    }

    /// There was none so far in the value that is being encoded, as in most.
    #[inline]
    pub(crate) fn found_none() -> bool {
        let now = TAKING.get();
        (now.count, now.errno) == (0, 0)
    }

    /// What was taken.
    pub(crate) fn end(self) -> Result<Vec<OwnedFd>, FdError> {
        let now = TAKING.get();
        if now.errno != 0 {
            let source = std::io::Error::from_raw_os_error(now.errno);
            return Err(FdError::Duplicate { source });
        }
        let given = now.count as usize;
        if given > MAX_FDS {
            return Err(FdError::TooMany {
                given,
                limit: MAX_FDS,
            });
        }
        TAKING.set(Taking { kept: 0, ..now });
        Ok(last_taken(now.kept))
    }
}

impl Drop for Encoding {
    /// An error, or a panic: what was taken is closed.
    #[inline]
    fn drop(&mut self) {
        let now = TAKING.replace(self.outer);
        if now.kept > 0 {
            drop(last_taken(now.kept));
        }
    }
}

fn last_taken(count: u32) -> Vec<OwnedFd> {
    TAKEN
        .try_with(|taken| {
            let mut taken = taken.borrow_mut();
            let from = taken.len().saturating_sub(count as usize);
            taken.split_off(from)
        })
        .unwrap_or_default()
}

/// The descriptors of a message that is being decoded, each until it has been used.
struct Giving {
    stock: Stock,
    failed: Option<FdError>,
}

enum Stock {
    /// The message keeps them. They are open for as long as the scope is: it borrows them.
    Lent(Vec<Option<RawFd>>),
    Given(Vec<Option<OwnedFd>>),
}

impl Giving {
    fn give(&mut self, index: u32) -> Result<OwnedFd, FdError> {
        let given = match &mut self.stock {
            Stock::Lent(fds) => used_once(fds, index).and_then(|fd| {
                sys::duplicate(fd).map_err(|source| FdError::Duplicate {
                    source: source.into(),
                })
            }),
            Stock::Given(fds) => used_once(fds, index),
        };
        given.inspect_err(|error| self.failed = Some(error.again()))
    }
}

fn used_once<T>(fds: &mut [Option<T>], index: u32) -> Result<T, FdError> {
    let came = fds.len();
    let place = fds
        .get_mut(index as usize)
        .ok_or(FdError::Missing { index, came })?;
    place.take().ok_or(FdError::Twice { index })
}

/// The descriptor of this number in the message that is being decoded on this thread.
pub(crate) fn give(index: u32) -> Result<OwnedFd, FdError> {
    GIVING
        .try_with(|giving| match &mut *giving.borrow_mut() {
            Some(giving) => giving.give(index),
            None => Err(FdError::Outside),
        })
        .unwrap_or(Err(FdError::Outside))
}

/// A message is being decoded on this thread.
pub(crate) struct Decoding<'a> {
    outer: Option<Giving>,
    lent: PhantomData<&'a [OwnedFd]>,
}

impl<'a> Decoding<'a> {
    /// The value gets duplicates.
    pub(crate) fn lending(fds: &'a [OwnedFd]) -> Decoding<'a> {
        Decoding::begin(Stock::Lent(
            fds.iter().map(|fd| Some(fd.as_raw_fd())).collect(),
        ))
    }

    /// The value gets the descriptors themselves.
    pub(crate) fn giving(fds: Vec<OwnedFd>) -> Decoding<'static> {
        Decoding::begin(Stock::Given(fds.into_iter().map(Some).collect()))
    }

    fn begin<'b>(stock: Stock) -> Decoding<'b> {
        let giving = Giving {
            stock,
            failed: None,
        };
        // Without a place for them on this thread, which is about to end, they are closed, and none is found.
        let outer = GIVING
            .try_with(|place| place.borrow_mut().replace(giving))
            .unwrap_or_default();
        Decoding {
            outer,
            lent: PhantomData,
        }
    }

    /// What the value did not ask for, in order; nothing of what was lent.
    pub(crate) fn end(self) -> Result<Vec<OwnedFd>, FdError> {
        let giving = GIVING
            .try_with(|place| place.borrow_mut().take())
            .unwrap_or_default();
        match giving {
            Some(Giving {
                failed: Some(error),
                ..
            }) => Err(error),
            Some(Giving {
                stock: Stock::Given(fds),
                ..
            }) => Ok(fds.into_iter().flatten().collect()),
            _ => Ok(Vec::new()),
        }
    }
}

impl Drop for Decoding<'_> {
    fn drop(&mut self) {
        let outer = self.outer.take();
        let ended = GIVING.try_with(|place| std::mem::replace(&mut *place.borrow_mut(), outer));
        drop(ended);
    }
}
