//! How the connections of an inbox are held: by one thread alone, or, once there is a handle, by several with a lock.

use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::connector::Connector;
use crate::core::Core;
use crate::home::Home;

#[derive(Debug)]
pub(crate) enum Hold<C> {
    Alone(Option<Box<Core<C>>>),
    Shared(Shared<C>),
}

/// With a lock, which nobody holds while waiting, nor while anything runs that a user has written.
#[derive(Debug)]
pub(crate) struct Shared<C>(Arc<Inner<C>>);

#[derive(Debug)]
struct Inner<C> {
    core: Mutex<Core<C>>,
    /// To wait for without the lock.
    connector: OwnedFd,
    home: Home,
}

impl<C> Clone for Shared<C> {
    fn clone(&self) -> Shared<C> {
        Shared(Arc::clone(&self.0))
    }
}

impl<C> Shared<C> {
    /// `connector` is a duplicate of the connector's descriptor.
    fn new(core: Core<C>, connector: OwnedFd, home: Home) -> Shared<C> {
        Shared(Arc::new(Inner {
            core: Mutex::new(core),
            connector,
            home,
        }))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core<C>> {
        // Nothing panics half-way through a change but for want of memory.
        self.0.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// False in a plain fork, where a thread that is not there may have the lock, and others talk on the connections.
    #[inline]
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.0.home.is_here()
    }

    pub(crate) fn connector(&self) -> BorrowedFd<'_> {
        self.0.connector.as_fd()
    }
}

impl<C: Connector> Hold<C> {
    /// Lets others hold it, too.
    ///
    /// # Errors
    ///
    /// No room for a file descriptor, or for a page of memory.
    pub(crate) fn share(&mut self) -> io::Result<Shared<C>> {
        let shared = match self {
            Hold::Shared(shared) => return Ok(shared.clone()),
            Hold::Alone(core) => {
                let connector = Hold::there(core).connector.as_fd();
                let connector = connector.try_clone_to_owned()?;
                let home = Home::here()?;
                // Nothing can fail from here on.
                let core = core.take().map(|core| *core);
                Shared::new(core.unwrap_or_else(|| taken()), connector, home)
            }
        };
        *self = Hold::Shared(shared.clone());
        Ok(shared)
    }
}

/// What is held alone is taken from there only to be shared at once.
fn taken() -> ! {
    unreachable!("the connections of an inbox have been taken from it")
}

impl<C> Hold<C> {
    pub(crate) fn alone(core: Core<C>) -> Hold<C> {
        Hold::Alone(Some(Box::new(core)))
    }

    #[inline]
    fn there(core: &mut Option<Box<Core<C>>>) -> &mut Core<C> {
        core.as_mut().unwrap_or_else(|| taken())
    }

    /// Looks at the connections.
    pub(crate) fn with<R>(&self, look: impl FnOnce(&Core<C>) -> R) -> R {
        match self {
            Hold::Alone(core) => look(core.as_ref().unwrap_or_else(|| taken())),
            Hold::Shared(shared) => look(&shared.lock()),
        }
    }

    /// Whether this is a copy in a plain fork, as far as that matters: where several threads had it.
    #[inline]
    pub(crate) fn is_of_a_fork(&self) -> bool {
        matches!(self, Hold::Shared(shared) if !shared.is_of_this_process())
    }

    /// The connections, if no other thread has them.
    #[inline]
    pub(crate) fn alone_mut(&mut self) -> Option<&mut Core<C>> {
        match self {
            Hold::Alone(core) => core.as_deref_mut(),
            Hold::Shared(_) => None,
        }
    }

    #[inline]
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Hold::Shared(_))
    }

    #[inline]
    pub(crate) fn core(&mut self) -> CoreGuard<'_, C> {
        match self {
            Hold::Alone(core) => CoreGuard::Alone(Hold::there(core)),
            Hold::Shared(shared) => CoreGuard::Locked(shared.lock()),
        }
    }
}

/// The connections, for as long as this is held.
#[derive(Debug)]
pub(crate) enum CoreGuard<'a, C> {
    Alone(&'a mut Core<C>),
    Locked(MutexGuard<'a, Core<C>>),
}

impl<C> Deref for CoreGuard<'_, C> {
    type Target = Core<C>;

    #[inline]
    fn deref(&self) -> &Core<C> {
        match self {
            CoreGuard::Alone(core) => core,
            CoreGuard::Locked(core) => core,
        }
    }
}

impl<C> DerefMut for CoreGuard<'_, C> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Core<C> {
        match self {
            CoreGuard::Alone(core) => core,
            CoreGuard::Locked(core) => core,
        }
    }
}

/// The connector of an inbox, for as long as this is held: no other thread uses it meanwhile.
pub struct ConnectorGuard<'a, C>(pub(crate) CoreGuard<'a, C>);

impl<C> Deref for ConnectorGuard<'_, C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.0.connector
    }
}

impl<C> DerefMut for ConnectorGuard<'_, C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.0.connector
    }
}

impl<C: fmt::Debug> fmt::Debug for ConnectorGuard<'_, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        C::fmt(self, f)
    }
}
