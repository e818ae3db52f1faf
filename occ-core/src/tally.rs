//! How many messages have been sent to each process, and how many it has received: in memory that all of them share with the
//! coordinator, because what a process keeps for itself ends with it.
//!
//! The coordinator makes it, and gives each process a place in it when it gives it a name; whoever is connected with the process is
//! told the place. Senders count what they have sent, the process counts what it has received, and when it has ended the coordinator
//! reads both. It writes nothing there, and believes nothing of it but these two counts.
//!
//! Nobody can make the memory shorter, which would end all who look at it (SIGBUS, mmap(2)): it is sealed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use occ_inbox::Tallies;
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::process::{Resource, getrlimit};

use crate::sys::SharedWords;

/// A line of a processor's cache for each count, so that who counts one does not take another from those who count that.
const LINE: usize = 64;

/// The most places: 8 MiB, of which there is as much as has been used.
const MOST: usize = 1 << 16;

/// The memory, as one of those has it who share it.
#[derive(Debug)]
pub(crate) struct Tally {
    words: SharedWords,
    places: usize,
}

/// That of a zygote, and of the processes that it makes.
static INHERITED: OnceLock<Arc<Tally>> = OnceLock::new();

impl Tally {
    /// Memory for so many processes, or as many as there may be, and what others find it by.
    ///
    /// # Errors
    ///
    /// There is none to be had.
    pub(crate) fn create(places: usize) -> io::Result<(Tally, OwnedFd)> {
        let bytes = (2 * LINE * places.clamp(1, MOST)) as u64;
        // The kernel would end us for it (SIGXFSZ, setrlimit(2)).
        let most = getrlimit(Resource::Fsize).current;
        if most.is_some_and(|most| most < bytes) {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let fd = rustix::fs::memfd_create(c"occ-tally", flags)?;
        rustix::fs::ftruncate(&fd, bytes)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&fd, seals)?;
        Ok((Tally::of(fd.as_fd())?, fd))
    }

    /// The memory that a coordinator has made.
    ///
    /// # Errors
    ///
    /// It is something else, or cannot be mapped.
    pub(crate) fn of(fd: BorrowedFd<'_>) -> io::Result<Tally> {
        if !rustix::fs::fcntl_get_seals(fd)?.contains(SealFlags::SHRINK) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let bytes = usize::try_from(rustix::fs::fstat(fd)?.st_size).unwrap_or(0);
        Ok(Tally {
            words: SharedWords::map(fd, bytes)?,
            places: bytes / (2 * LINE),
        })
    }

    /// Lets all that this process makes have it, and this process too, from now on.
    pub(crate) fn pass_on(self) {
        let _ = INHERITED.set(Arc::new(self));
    }

    /// What whoever made this process has passed on.
    pub(crate) fn inherited() -> Option<Arc<Tally>> {
        INHERITED.get().cloned()
    }

    pub(crate) fn places(&self) -> usize {
        self.places
    }

    /// How many more have been sent to this one than it has received. Who is killed after it has sent, and before it has counted
    /// that, makes it less.
    pub(crate) fn unread(&self, index: u32) -> i64 {
        let [sent, received] = [self.sent_to(index), self.received_by(index)]
            .map(|count| count.map_or(0, |count| count.load(Ordering::Relaxed)));
        sent.wrapping_sub(received).cast_signed()
    }

    fn sent_to(&self, index: u32) -> Option<&AtomicU64> {
        self.count(index, 0)
    }

    fn received_by(&self, index: u32) -> Option<&AtomicU64> {
        self.count(index, self.places)
    }

    fn count(&self, index: u32, before: usize) -> Option<&AtomicU64> {
        let index = index as usize;
        let line = (index < self.places).then_some(before + index)?;
        self.words.get(line * (LINE / size_of::<u64>()))
    }
}

impl Tallies for Tally {
    fn sent(&self, index: u32) {
        if let Some(count) = self.sent_to(index) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn received(&self, index: u32, messages: u64) {
        if let Some(count) = self.received_by(index) {
            // Nobody else writes it.
            let before = count.load(Ordering::Relaxed);
            count.store(before.wrapping_add(messages), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn what_is_counted_in_one_mapping_is_read_in_another() {
        let (ours, fd) = Tally::create(3).unwrap();
        let theirs = Tally::of(fd.as_fd()).unwrap();
        assert_eq!(theirs.places(), 3);
        drop(fd);
        for _ in 0..5 {
            theirs.sent(2);
        }
        theirs.received(2, 3);
        assert_eq!([0, 1, 2].map(|index| ours.unread(index)), [0, 0, 2]);
        // More than was counted as sent, and then that.
        theirs.received(2, 3);
        assert_eq!(ours.unread(2), -1);
        theirs.sent(2);
        assert_eq!(ours.unread(2), 0);
    }

    #[test]
    fn a_place_that_does_not_exist_counts_nothing() {
        let (tally, _) = Tally::create(2).unwrap();
        // There is memory behind the first two: what the others have received.
        for index in [2, 3, 4, u32::MAX] {
            tally.sent(index);
            tally.received(index, 7);
            assert_eq!(tally.unread(index), 0, "{index}");
        }
        assert_eq!([0, 1].map(|index| tally.unread(index)), [0, 0]);
    }

    #[test]
    fn nobody_can_make_it_shorter_and_what_could_be_is_not_taken() {
        let (tally, fd) = Tally::create(1).unwrap();
        assert!(rustix::fs::ftruncate(&fd, 0).is_err());
        tally.sent(0);
        assert_eq!(tally.unread(0), 1);
        let open = rustix::fs::memfd_create(c"open", MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&open, 4096).unwrap();
        assert!(Tally::of(open.as_fd()).is_err());
        assert!(Tally::of(File::open("/dev/null").unwrap().as_fd()).is_err());
    }

    #[test]
    fn there_are_no_more_places_than_can_be_used() {
        let (tally, _) = Tally::create(usize::MAX).unwrap();
        assert_eq!(tally.places(), MOST);
        let (tally, _) = Tally::create(0).unwrap();
        assert_eq!(tally.places(), 1);
    }
}
