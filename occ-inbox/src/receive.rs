//! Receiving: which message is taken, and what becomes of it. What is not taken stays, in order.

use std::time::Duration;

use occ_sck::{Deadline, DecodeError, TypeKey};

use crate::connector::Connector;
use crate::error::ReceiveError;
use crate::inbox::Inbox;
use crate::message::{Message, Receive};
use crate::queue::{Found, Held, Wanted};

/// What is looked at, and for how long.
#[derive(Clone, Copy)]
pub(crate) struct Scan {
    /// The first place.
    pub(crate) from: u64,
    pub(crate) deadline: Deadline,
}

impl From<Deadline> for Scan {
    /// Everything.
    fn from(deadline: Deadline) -> Scan {
        Scan { from: 0, deadline }
    }
}

impl<C: Connector> Inbox<C> {
    /// Receives the oldest `T`; waits for one.
    ///
    /// # Errors
    ///
    /// A `T` that cannot be decoded is consumed, and the next can be received. [`ReceiveError::SystemDown`] when
    /// none is there and none will come.
    pub fn receive<T: Receive>(&mut self) -> Result<T, ReceiveError> {
        self.one(Deadline::Never.into())
            .and_then(|found| found.ok_or(ReceiveError::SystemDown))
    }

    /// Receives the oldest `T`, if there is one within `limit`; zero takes what is here already.
    ///
    /// # Errors
    ///
    /// As [`Inbox::receive`].
    pub fn receive_timeout<T: Receive>(
        &mut self,
        limit: Duration,
    ) -> Result<Option<T>, ReceiveError> {
        self.one(Deadline::after(limit).into())
    }

    pub(crate) fn one<T: Receive>(&mut self, scan: Scan) -> Result<Option<T>, ReceiveError> {
        let keys = keys_of::<C, T>();
        let keys = &keys[..kinds_of_key::<C>()];
        if let Some(message) = self.first_to_come(scan.deadline, keys)? {
            return self.decode(message).map(Some);
        }
        let found = self.wait_for(scan, Wanted::OneOf(keys), |_| Some(()))?;
        found.map(|(held, ())| self.value_of(held)).transpose()
    }

    /// The first message to come, where nothing waits and it is what is asked for. So it is mostly, and then it need not go through
    /// the queue. Waits for it, if there is no limit.
    #[inline]
    fn first_to_come(
        &mut self,
        deadline: Deadline,
        keys: &[TypeKey],
    ) -> Result<Option<Message>, ReceiveError> {
        let mut looked = false;
        while self.queue.len() == 0
            && let Some(core) = self.hold.alone_mut()
            && !core.flow.is_over()
        {
            if let Some(message) = core.arrivals.take_first(keys) {
                core.release(&message);
                return Ok(Some(message));
            }
            if looked || !core.arrivals.is_empty() || deadline != Deadline::Never {
                break;
            }
            looked = true;
            self.bring_in(deadline)?;
            self.streaming = true;
        }
        Ok(None)
    }

    /// Receives the oldest `T` that `accept` says yes to; waits for one. A panic in `accept` loses
    /// nothing, and each message is offered once.
    ///
    /// # Errors
    ///
    /// As [`Inbox::receive`].
    pub fn receive_where<T: Receive>(
        &mut self,
        accept: impl FnMut(&T) -> bool,
    ) -> Result<T, ReceiveError> {
        self.one_where(Deadline::Never.into(), accept)
            .and_then(|found| found.ok_or(ReceiveError::SystemDown))
    }

    /// As [`Inbox::receive_where`], within `limit`.
    ///
    /// # Errors
    ///
    /// As [`Inbox::receive`].
    pub fn receive_where_timeout<T: Receive>(
        &mut self,
        limit: Duration,
        accept: impl FnMut(&T) -> bool,
    ) -> Result<Option<T>, ReceiveError> {
        self.one_where(Deadline::after(limit).into(), accept)
    }

    pub(crate) fn one_where<T: Receive>(
        &mut self,
        scan: Scan,
        mut accept: impl FnMut(&T) -> bool,
    ) -> Result<Option<T>, ReceiveError> {
        let keys = keys_of::<C, T>();
        let wanted = Wanted::OneOf(&keys[..kinds_of_key::<C>()]);
        let found = self.wait_for(scan, wanted, |held| match held.value::<T>() {
            Ok(value) if accept(value) => Some(Ok(())),
            Ok(_) => {
                held.refused();
                None
            }
            Err(error) => Some(Err(error)),
        })?;
        match found {
            None => Ok(None),
            Some((held, Ok(()))) => self.value_of(held).map(Some),
            Some((held, Err(error))) => Err(undecodable(&held.message, error)),
        }
    }

    /// Receives the oldest message of any type; waits for one.
    ///
    /// # Errors
    ///
    /// As [`Inbox::receive`]; decoding is up to the caller.
    pub fn receive_any(&mut self) -> Result<Message, ReceiveError> {
        self.any(Deadline::Never)
            .and_then(|found| found.ok_or(ReceiveError::SystemDown))
    }

    /// As [`Inbox::receive_any`], within `limit`.
    ///
    /// # Errors
    ///
    /// As [`Inbox::receive`].
    pub fn receive_any_timeout(
        &mut self,
        limit: Duration,
    ) -> Result<Option<Message>, ReceiveError> {
        self.any(Deadline::after(limit))
    }

    fn any(&mut self, deadline: Deadline) -> Result<Option<Message>, ReceiveError> {
        let found = self.wait_for(deadline.into(), Wanted::Any, |_| Some(()))?;
        Ok(found.map(|(held, ())| held.message))
    }

    /// Receives the oldest message that `pick` makes something of; waits for one. A panic in `pick`
    /// loses nothing, and each message is offered once.
    ///
    /// # Errors
    ///
    /// As [`Inbox::receive`].
    pub fn receive_map<R>(
        &mut self,
        pick: impl FnMut(&Message) -> Option<R>,
    ) -> Result<R, ReceiveError> {
        self.map(Deadline::Never, pick)
            .and_then(|found| found.ok_or(ReceiveError::SystemDown))
    }

    /// As [`Inbox::receive_map`], within `limit`.
    ///
    /// # Errors
    ///
    /// As [`Inbox::receive`].
    pub fn receive_map_timeout<R>(
        &mut self,
        limit: Duration,
        pick: impl FnMut(&Message) -> Option<R>,
    ) -> Result<Option<R>, ReceiveError> {
        self.map(Deadline::after(limit), pick)
    }

    fn map<R>(
        &mut self,
        deadline: Deadline,
        mut pick: impl FnMut(&Message) -> Option<R>,
    ) -> Result<Option<R>, ReceiveError> {
        let found = self.wait_for(deadline.into(), Wanted::Any, |held| pick(&held.message))?;
        Ok(found.map(|(_, picked)| picked))
    }

    /// Throws away everything that has arrived, and says how many messages that was.
    ///
    /// # Errors
    ///
    /// As [`Inbox::receive`], if there was nothing.
    pub fn flush(&mut self) -> Result<usize, ReceiveError> {
        if self.hold.is_of_a_fork() {
            return Err(ReceiveError::Forked);
        }
        let swept = self.sweep();
        let sent = self.queue.sent();
        let thrown = self.queue.clear();
        let mut core = self.hold.core();
        core.tally.received(sent);
        core.recount(&self.queue);
        drop(core);
        match thrown {
            0 => swept.map(|()| 0),
            thrown => Ok(thrown),
        }
    }

    /// The heart of every receive: what is in memory first, then what arrives, each message looked at once.
    pub(crate) fn wait_for<R>(
        &mut self,
        Scan { from, deadline }: Scan,
        wanted: Wanted<'_>,
        mut look: impl FnMut(&mut Held) -> Option<R>,
    ) -> Result<Option<(Held, R)>, ReceiveError> {
        if self.hold.is_of_a_fork() {
            return Err(ReceiveError::Forked);
        }
        self.collect();
        let mut seen = from;
        let mut swept = None;
        loop {
            self.check_limits()?;
            match self.queue.take(seen, wanted, &mut look) {
                Some(Found::Message(held, found)) => {
                    self.hold.core().release(&held.message);
                    return Ok(Some((held, found)));
                }
                Some(Found::Loss(loss)) => {
                    if loss.is_of_one_sent() {
                        self.hold.core().tally.received(1);
                    }
                    return Err(loss.into());
                }
                None => {
                    self.queue.stamp();
                    seen = seen.max(self.queue.end());
                }
            }
            if let Some(swept) = swept {
                return Result::map(swept, |()| None);
            }
            // What does not match must not stretch the wait; but all that is here at its end counts.
            if deadline.passed() {
                swept = Some(self.sweep());
            } else {
                self.pump(deadline)?;
            }
            self.streaming = true;
        }
    }

    fn check_limits(&mut self) -> Result<(), ReceiveError> {
        let mut core = self.hold.core();
        core.tell_over();
        let over = core.flow.take_over();
        over.map_or(Ok(()), |(messages, bytes)| {
            Err(ReceiveError::OverLimit { messages, bytes })
        })
    }

    fn value_of<T: Receive>(&mut self, held: Held) -> Result<T, ReceiveError> {
        let (message, value) = held.open();
        let Some(value) = value else {
            return self.decode(message);
        };
        self.give_back(message);
        Ok(value)
    }

    fn decode<T: Receive>(&mut self, message: Message) -> Result<T, ReceiveError> {
        if message.is_sent() {
            let value = message
                .decode()
                .map_err(|error| undecodable(&message, error))?;
            self.give_back(message);
            return Ok(value);
        }
        let (from, type_name) = (message.from, message.type_name().to_owned());
        message
            .into_value()
            .map_err(|source| ReceiveError::Undecodable {
                from,
                type_name,
                source,
            })
    }

    /// The memory of a long message is used again.
    #[inline]
    fn give_back(&mut self, message: Message) {
        if let Some(sent) = message.into_large() {
            self.hold.core().intake.give_back(sent);
        }
    }
}

/// The keys that messages of a type may have: so many of these are looked for as [`kinds_of_key`] says.
#[inline]
fn keys_of<C: Connector, T: 'static>() -> [TypeKey; 2] {
    let key = TypeKey::of::<T>();
    match C::BY_ADDRESS {
        true => [key, key.name_alone()],
        false => [key, key],
    }
}

const fn kinds_of_key<C: Connector>() -> usize {
    if C::BY_ADDRESS { 2 } else { 1 }
}

pub(crate) fn undecodable(message: &Message, source: DecodeError) -> ReceiveError {
    ReceiveError::Undecodable {
        from: message.from,
        type_name: message.type_name().to_owned(),
        source,
    }
}
