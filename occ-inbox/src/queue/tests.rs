use occ_sck::Packet;
use proptest::prelude::*;
use serde::Serialize;

use super::*;

const FROM: Pid = Pid {
    node: 0,
    incarnation: 0,
    serial: 1,
};

fn message<T: Serialize + 'static>(value: &T) -> Message {
    Message::sent(FROM, Packet::of(0, value).unwrap().into_envelope())
}

/// A number, as one of three types that are sent, or as what the system says.
fn numbered(number: u32) -> Message {
    match kind_of(number) {
        0 => message(&number),
        1 => message(&u64::from(number)),
        2 => message(&i64::from(number)),
        _ => Message::about_end(FROM, Told(number)),
    }
}

fn kind_of(number: u32) -> u32 {
    // Each with every rest of a division by 4.
    number % 7 / 2
}

fn key_of(kind: u32) -> TypeKey {
    match kind {
        0 => TypeKey::of::<u32>(),
        1 => TypeKey::of::<u64>(),
        2 => TypeKey::of::<i64>(),
        _ => TypeKey::of::<Told>(),
    }
}

fn number(held: &mut Held) -> u32 {
    if let Ok(number) = held.value::<u32>() {
        return *number;
    }
    if let Ok(number) = held.value::<u64>() {
        return u32::try_from(*number).unwrap();
    }
    if let Ok(number) = held.value::<i64>() {
        return u32::try_from(*number).unwrap();
    }
    held.value::<Told>().unwrap().0
}

#[derive(Clone, Debug)]
enum Step {
    Push(u32),
    Lose,
    /// Passes over a place.
    Pass,
    /// Takes the oldest, from so many places before the end on, of those that leave this rest when they are divided by 4;
    /// only of these types, if some are given.
    Take(u64, u32, Vec<u32>),
    /// Takes the oldest of this type.
    First(u32),
    /// Forgets of what the system says, from so many places before the end on, what leaves this rest.
    Forget(u64, u32),
    /// Throws away those that leave this rest.
    Without(u32),
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => (1..100_u32).prop_map(Step::Push),
        1 => Just(Step::Lose),
        2 => Just(Step::Pass),
        20 => (0..300_u64, 0..4_u32, proptest::collection::vec(0..4_u32, 0..3))
            .prop_map(|(back, rest, kinds)| Step::Take(back, rest, kinds)),
        20 => (0..4_u32).prop_map(Step::First),
        10 => (0..300_u64, 0..4_u32).prop_map(|(back, rest)| Step::Forget(back, rest)),
        1 => (0..4_u32).prop_map(Step::Without),
        1 => Just(Step::Clear),
    ]
}

/// What the system says: a number.
#[derive(Clone, Debug)]
struct Told(u32);

impl Receive for Told {
    fn from_message(message: &Message) -> Result<Told, DecodeError> {
        message.decode_system()
    }
}

/// What stands in the queue, and its place: a number, or a loss.
type Model = Vec<(u64, Option<u32>)>;

fn take_from(model: &mut Model, from: u64, wanted: impl Fn(u32) -> bool) -> Option<Option<u32>> {
    let found = model
        .iter()
        .position(|(place, entry)| *place >= from && entry.is_none_or(&wanted))?;
    Some(model.remove(found).1)
}

fn take(
    queue: &mut Queue,
    from: u64,
    kinds: &[u32],
    rest: Option<u32>,
) -> (Option<Option<u32>>, Vec<u32>) {
    let keys: Vec<_> = kinds.iter().map(|kind| key_of(*kind)).collect();
    let wanted = if kinds.is_empty() {
        Wanted::Any
    } else {
        Wanted::OneOf(&keys)
    };
    let mut offered = Vec::new();
    let found = queue.take(from, wanted, |held| {
        let number = number(held);
        offered.push(number);
        rest.is_none_or(|rest| number % 4 == rest).then_some(number)
    });
    let found = found.map(|found| match found {
        Found::Message(mut held, found) => {
            assert_eq!(number(&mut held), found);
            Some(found)
        }
        Found::Loss(_) => None,
    });
    (found, offered)
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
                Step::Push(count) => {
                    for _ in 0..count {
                        model.push((queue.end(), Some(pushed)));
                        queue.push(numbered(pushed));
                        pushed += 1;
                    }
                }
                Step::Lose => {
                    model.push((queue.end(), None));
                    queue.push_loss(Loss::Message { from: FROM });
                }
                Step::Pass => {
                    let end = queue.end();
                    prop_assert_eq!(queue.pass(), end);
                    prop_assert_eq!(queue.end(), end + 1);
                }
                Step::Take(back, rest, kinds) => {
                    let from = queue.end().saturating_sub(back);
                    let (found, offered) = take(&mut queue, from, &kinds, Some(rest));
                    prop_assert!(offered.is_sorted_by(|a, b| a < b), "{:?}", offered);
                    let of_kind = |number| kinds.is_empty() || kinds.contains(&kind_of(number));
                    prop_assert!(offered.iter().copied().all(of_kind));
                    let expected = take_from(&mut model, from, |number| {
                        of_kind(number) && number % 4 == rest
                    });
                    prop_assert_eq!(found, expected);
                }
                Step::First(kind) => {
                    let (found, _) = take(&mut queue, 0, &[kind], None);
                    let expected = take_from(&mut model, 0, |number| kind_of(number) == kind);
                    prop_assert_eq!(found, expected);
                }
                Step::Without(rest) => {
                    queue.retain(|message| {
                        let number = message.decode::<u32>().ok();
                        let number = number.or_else(|| Some(message.decode::<u64>().ok()? as u32));
                        let number = number.or_else(|| Some(message.decode::<i64>().ok()? as u32));
                        let number = number.or_else(|| Some(message.system::<Told>()?.0));
                        number.unwrap() % 4 != rest
                    });
                    model.retain(|(_, entry)| entry.is_none_or(|number| number % 4 != rest));
                }
                Step::Forget(back, rest) => {
                    let from = queue.end().saturating_sub(back);
                    queue.forget(from, |Told(number)| number % 4 == rest);
                    model.retain(|(place, entry)| {
                        *place < from
                            || entry.is_none_or(|number| kind_of(number) != 3 || number % 4 != rest)
                    });
                }
                Step::Clear => {
                    prop_assert_eq!(queue.clear(), model.len());
                    model.clear();
                }
            }
            prop_assert_eq!(queue.len(), model.len());
        }
        // And what is left is all there, in order.
        while let (Some(found), _) = take(&mut queue, 0, &[], None) {
            prop_assert_eq!(found, model.remove(0).1);
        }
        prop_assert!(model.is_empty());
    }
}

#[test]
fn a_message_is_decoded_once_however_often_it_is_looked_at() {
    let mut queue = Queue::default();
    queue.push(message(&7_u32));
    let mut at = Vec::new();
    for _ in 0..3 {
        queue.take(0, Wanted::Any, |held| {
            at.push(std::ptr::from_ref(held.value::<u32>().unwrap()));
            None::<()>
        });
    }
    assert_eq!(at[0], at[1]);
    assert_eq!(at[1], at[2]);
}

/// How many messages `look` is offered in a queue of so many others.
fn offered(others: u32, from: impl Fn(&mut Queue) -> u64, kind: u32) -> usize {
    let mut queue = Queue::default();
    for number in 0..others {
        queue.push(message(&u64::from(number)));
    }
    let from = from(&mut queue);
    queue.push(message(&1_u32));
    take(&mut queue, from, &[kind], Some(1)).1.len()
}

#[test]
fn who_wants_one_type_is_not_offered_the_others_and_who_looks_from_a_place_on_not_what_is_before() {
    for others in [0, 10, 100_000] {
        assert_eq!(offered(others, |_| 0, 0), 1);
        assert_eq!(offered(others, Queue::pass, 0), 1);
        // The control: those of the wanted type are offered, each once.
        assert_eq!(offered(others, |_| 0, 1), others.min(2) as usize);
    }
}

/// One that nobody takes stands before all that come and go.
#[test]
fn a_queue_takes_room_for_what_is_in_it_and_not_for_what_was() {
    let mut queue = Queue::default();
    queue.push(message(&"nobody takes this".to_owned()));
    for round in 0..1_000_u32 {
        for number in 0..100 {
            queue.push(numbered(round * 100 + number));
        }
        for number in 0..100 {
            let (found, _) = take(&mut queue, 0, &[kind_of(round * 100 + number)], None);
            assert_eq!(found, Some(Some(round * 100 + number)));
        }
    }
    assert_eq!(queue.len(), 1);
    assert!(queue.slots.capacity() < 1_000, "{}", queue.slots.capacity());
    assert!(queue.index.len() < 1_000, "{}", queue.index.len());
}
