//! The queue: messages in the order in which they arrived, taken from anywhere in it.

use std::any::Any;
use std::collections::VecDeque;

use occ_sck::DecodeError;

use crate::error::{Cause, ReceiveError};
use crate::message::{Message, Receive};
use crate::pid::Pid;

/// A message, and its value once somebody has looked at it.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) message: Message,
    value: Option<Box<dyn Any>>,
}

impl Held {
    /// The value, decoded once however often it is looked at.
    pub(crate) fn value<T: Receive>(&mut self) -> Result<&T, DecodeError> {
        if !self.value.as_ref().is_some_and(|value| value.is::<T>()) {
            self.value = Some(Box::new(self.message.decode::<T>()?));
        }
        match self.value.as_ref().and_then(|value| value.downcast_ref()) {
            Some(value) => Ok(value),
            // Just put there, as a T.
            None => unreachable!("the value is a {}", std::any::type_name::<T>()),
        }
    }

    /// The message, and the value if it has been decoded.
    pub(crate) fn open<T: 'static>(self) -> (Message, Option<T>) {
        let value = self.value.and_then(|value| value.downcast::<T>().ok());
        (self.message, value.map(|value| *value))
    }
}

/// Something that was sent and is not to be had. It stands in the queue in the place of what is lost, so that
/// it is told once, and in order.
#[derive(Debug)]
pub(crate) enum Loss {
    Message { from: Option<Pid> },
    Connection { from: Pid, cause: Cause },
}

impl From<Loss> for ReceiveError {
    fn from(loss: Loss) -> ReceiveError {
        match loss {
            Loss::Message { from } => ReceiveError::NoDescriptor { from },
            Loss::Connection { from, cause } => ReceiveError::Broken {
                from,
                source: cause,
            },
        }
    }
}

#[derive(Debug)]
enum Entry {
    Held(Held),
    Lost(Loss),
}

/// What was looked for and found; it has left the queue.
pub(crate) enum Found<R> {
    Message(Held, R),
    Loss(Loss),
}

#[derive(Debug, Default)]
pub(crate) struct Queue {
    entries: VecDeque<Entry>,
}

impl Queue {
    pub(crate) fn push(&mut self, message: Message) {
        let value = None;
        self.entries.push_back(Entry::Held(Held { message, value }));
    }

    pub(crate) fn push_loss(&mut self, loss: Loss) {
        self.entries.push_back(Entry::Lost(loss));
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Looks at every message from `start` on, the oldest first, until `look` says something, and takes that one
    /// out. A loss on the way is found by everybody: the message could have been the one.
    ///
    /// Nothing leaves the queue before `look` has returned, so a panic in it changes nothing.
    pub(crate) fn take<R>(
        &mut self,
        start: usize,
        mut look: impl FnMut(&mut Held) -> Option<R>,
    ) -> Option<Found<R>> {
        let entries = self
            .entries
            .range_mut(start.min(self.entries.len())..)
            .enumerate();
        let (index, found) = { entries }.find_map(|(index, entry)| match entry {
            Entry::Held(held) => look(held).map(|found| (index, Some(found))),
            Entry::Lost(_) => Some((index, None)),
        })?;
        match (self.entries.remove(start + index)?, found) {
            (Entry::Held(held), Some(found)) => Some(Found::Message(held, found)),
            (Entry::Lost(loss), None) => Some(Found::Loss(loss)),
            // What was found is what is taken.
            (Entry::Held(_), None) | (Entry::Lost(_), Some(_)) => unreachable!("another entry"),
        }
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Message) -> bool) {
        self.entries.retain(|entry| match entry {
            Entry::Held(held) => keep(&held.message),
            Entry::Lost(_) => true,
        });
    }

    /// Forgets everything; says how many messages that was, lost ones included.
    pub(crate) fn clear(&mut self) -> usize {
        let entries = self.entries.len();
        self.entries.clear();
        entries
    }
}

#[cfg(test)]
mod tests {
    use occ_sck::Packet;
    use proptest::prelude::*;

    use super::*;

    const FROM: Pid = Pid {
        node: 0,
        incarnation: 0,
        serial: 1,
    };

    fn message(number: u32) -> Message {
        Message::sent(FROM, Packet::of(0, &number).unwrap().into_envelope())
    }

    fn number(held: &mut Held) -> u32 {
        *held.value::<u32>().unwrap()
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push,
        Lose,
        /// Takes the oldest, from a place on, of those that leave this rest when they are divided by 4.
        Take(usize, u32),
        /// Throws away those that leave this rest.
        Without(u32),
        Clear,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            20 => Just(Step::Push),
            2 => Just(Step::Lose),
            15 => (0..10_usize, 0..4_u32).prop_map(|(start, rest)| {
                Step::Take(start.saturating_sub(7), rest)
            }),
            1 => (0..4_u32).prop_map(Step::Without),
            1 => Just(Step::Clear),
        ]
    }

    /// What stands in the queue: a number, or a loss.
    type Model = Vec<Option<u32>>;

    /// What the queue ought to give.
    fn take_from(model: &mut Model, start: usize, rest: u32) -> Option<Option<u32>> {
        let wanted = |entry: &Option<u32>| entry.is_none_or(|number| number % 4 == rest);
        let start = start.min(model.len());
        let index = start + model[start..].iter().position(wanted)?;
        Some(model.remove(index))
    }

    proptest! {
        #[test]
        fn any_order_of_pushes_and_takes_keeps_the_order_and_loses_nothing(
            steps in proptest::collection::vec(step(), 0..200),
        ) {
            let mut queue = Queue::default();
            let mut model = Model::new();
            let mut pushed = 0;
            for step in steps {
                match step {
                    Step::Push => {
                        queue.push(message(pushed));
                        model.push(Some(pushed));
                        pushed += 1;
                    }
                    Step::Lose => {
                        queue.push_loss(Loss::Message { from: Some(FROM) });
                        model.push(None);
                    }
                    Step::Take(start, rest) => {
                        let mut offered = Vec::new();
                        let found = queue.take(start, |held| {
                            let number = number(held);
                            offered.push(number);
                            (number % 4 == rest).then_some(number)
                        });
                        prop_assert!(offered.is_sorted());
                        let found = found.map(|found| match found {
                            Found::Message(held, found) => {
                                let (_, value) = held.open::<u32>();
                                assert_eq!(value, Some(found));
                                Some(found)
                            }
                            Found::Loss(_) => None,
                        });
                        prop_assert_eq!(found, take_from(&mut model, start, rest));
                    }
                    Step::Without(rest) => {
                        queue.retain(|message| message.decode::<u32>().unwrap() % 4 != rest);
                        model.retain(|entry| entry.is_none_or(|number| number % 4 != rest));
                    }
                    Step::Clear => {
                        prop_assert_eq!(queue.clear(), model.len());
                        model.clear();
                    }
                }
                prop_assert_eq!(queue.len(), model.len());
            }
        }
    }

    #[test]
    fn a_message_is_decoded_once_however_often_it_is_looked_at() {
        let mut queue = Queue::default();
        queue.push(message(7));
        let mut at = Vec::new();
        for _ in 0..3 {
            queue.take(0, |held| {
                at.push(std::ptr::from_ref(held.value::<u32>().unwrap()));
                None::<()>
            });
        }
        assert_eq!(at[0], at[1]);
        assert_eq!(at[1], at[2]);
    }
}
