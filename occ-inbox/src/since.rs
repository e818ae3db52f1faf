//! Receiving what has arrived since a mark, and nothing that was there before.

use std::time::Duration;

use occ_sck::Deadline;

use crate::connector::Connector;
use crate::error::ReceiveError;
use crate::inbox::Inbox;
use crate::message::Receive;
use crate::receive::Scan;
use crate::reference::{Mark, Ref};

/// The messages of an inbox that have arrived since a mark: see [`Inbox::since`].
#[derive(Debug)]
pub struct Since<'a, C> {
    inbox: &'a mut Inbox<C>,
    from: u64,
}

impl<C: Connector> Inbox<C> {
    /// A new reference, and a mark at this moment.
    pub fn make_ref(&mut self) -> Ref {
        Ref::new(self.me, self.pass())
    }

    /// A number that this inbox gives once: a mark at this moment, for who names things by numbers.
    pub fn pass(&mut self) -> u64 {
        self.collect();
        self.queue.pass()
    }

    /// Receives from what has arrived since `mark` alone. What was there before is not looked at, however much that is.
    ///
    /// A reference that another process made says nothing about this inbox: then everything is looked at.
    pub fn since(&mut self, mark: impl Into<Mark>) -> Since<'_, C> {
        let from = mark.into().place_for(self.me);
        Since { inbox: self, from }
    }
}

impl<C: Connector> Since<'_, C> {
    /// As [`Inbox::receive`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive<T: Receive>(&mut self) -> Result<T, ReceiveError> {
        self.inbox.one(self.scan(Deadline::Never)).and_then(there)
    }

    /// As [`Inbox::receive_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive_timeout<T: Receive>(
        &mut self,
        limit: Duration,
    ) -> Result<Option<T>, ReceiveError> {
        self.inbox.one(self.scan(Deadline::after(limit)))
    }

    /// As [`Inbox::receive_where`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive_where<T: Receive>(
        &mut self,
        accept: impl FnMut(&T) -> bool,
    ) -> Result<T, ReceiveError> {
        let scan = self.scan(Deadline::Never);
        self.inbox.one_where(scan, accept).and_then(there)
    }

    /// As [`Inbox::receive_where_timeout`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn receive_where_timeout<T: Receive>(
        &mut self,
        limit: Duration,
        accept: impl FnMut(&T) -> bool,
    ) -> Result<Option<T>, ReceiveError> {
        let scan = self.scan(Deadline::after(limit));
        self.inbox.one_where(scan, accept)
    }

    /// Throws away those from the system in memory that are a `T` and that `unwanted` says yes to.
    pub fn forget<T: 'static>(&mut self, unwanted: impl Fn(&T) -> bool) {
        self.inbox.collect();
        self.inbox.queue.forget(self.from, unwanted);
    }

    fn scan(&self, deadline: Deadline) -> Scan {
        let from = self.from;
        Scan { from, deadline }
    }
}

/// There is no limit, so there is one, unless none can come.
fn there<T>(found: Option<T>) -> Result<T, ReceiveError> {
    found.ok_or(ReceiveError::SystemDown)
}
