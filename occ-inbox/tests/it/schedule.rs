//! Any order of events, against a model: each sender's messages in order, none lost, none twice, and the end of
//! a sender after all of them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use occ_inbox::{Bytes, Deadline, Event, Inbox, Message, Pid, Socket};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use crate::script::Script;
use crate::switchboard::Ended;
use crate::{assert_empty, pid, put, put_whole};

const NOW: Duration = Duration::ZERO;

#[derive(Clone, Debug)]
enum Step {
    Connect(u64),
    /// A message of this kind; long ones in parts or in a memory file.
    Send(u64, u8, Length),
    ToOneself(u8),
    /// Sent by the inbox, and thrown away by the peer.
    Reply(u64),
    Close(u64),
    Gone(u64),
    End(u64),
    Receive,
    ReceiveKind(u8),
    /// A matcher that finds nothing: everything is brought in and looked at.
    Look,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Length {
    Short,
    Parts,
    Whole,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Note {
    number: u32,
    kind: u8,
    filler: Bytes,
}

#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Note(Note),
    End,
}

fn step() -> impl Strategy<Value = Step> {
    let peer = || 2..6_u64;
    let kind = || 0..3_u8;
    let length =
        prop_oneof![20 => Just(Length::Short), 1 => Just(Length::Parts), 1 => Just(Length::Whole)];
    prop_oneof![
        3 => peer().prop_map(Step::Connect),
        20 => (peer(), kind(), length).prop_map(|(peer, kind, length)| Step::Send(peer, kind, length)),
        2 => kind().prop_map(Step::ToOneself),
        2 => peer().prop_map(Step::Reply),
        1 => peer().prop_map(Step::Close),
        1 => peer().prop_map(Step::Gone),
        1 => peer().prop_map(Step::End),
        8 => Just(Step::Receive),
        8 => kind().prop_map(Step::ReceiveKind),
        2 => Just(Step::Look),
    ]
}

struct Model {
    one: Inbox<Script>,
    ends: BTreeMap<u64, Socket>,
    /// What each sender has sent and has not been received, oldest first.
    expected: BTreeMap<Pid, VecDeque<Expected>>,
    sent: u32,
}

impl Model {
    fn new() -> Model {
        Model {
            one: Script::inbox(1),
            ends: BTreeMap::new(),
            expected: BTreeMap::new(),
            sent: 0,
        }
    }

    fn expect(&mut self, from: u64, expected: Expected) {
        self.expected
            .entry(pid(from))
            .or_default()
            .push_back(expected);
    }

    fn note(&mut self, kind: u8, length: Length) -> Note {
        self.sent += 1;
        let filler = match length {
            Length::Short => 0,
            Length::Parts | Length::Whole => 150_000,
        };
        Note {
            number: self.sent,
            kind,
            filler: Bytes(vec![kind; filler]),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Connect(peer) => {
                let end = self.one.connector().connect(peer);
                self.attend();
                // What was sent on the old one, if there is one, comes first; nothing can be sent on it any more.
                self.ends.insert(peer, end);
            }
            Step::Send(peer, kind, length) => {
                let note = self.note(kind, length);
                let Some(end) = self.ends.get(&peer) else {
                    return;
                };
                match length {
                    Length::Whole => put_whole(end, &note),
                    Length::Short | Length::Parts => put(end, &note),
                }
                self.expect(peer, Expected::Note(note));
            }
            Step::ToOneself(kind) => {
                let note = self.note(kind, Length::Short);
                self.one.send(pid(1), &note).unwrap();
                self.expect(1, Expected::Note(note));
            }
            Step::Reply(peer) => {
                let sent = self.one.try_send(pid(peer), &1_u8);
                assert!(sent.is_ok() || !self.ends.contains_key(&peer), "{sent:?}");
                if let Some(end) = self.ends.get(&peer) {
                    let mut buffer = [0; 1000];
                    end.receive(&mut buffer, &mut Vec::new(), Deadline::Now)
                        .unwrap();
                }
            }
            Step::Close(peer) => drop(self.ends.remove(&peer)),
            Step::Gone(peer) => {
                self.one.connector().say(Event::Gone { peer: pid(peer) });
                self.attend();
                self.ends.remove(&peer);
            }
            Step::End(peer) => {
                let message = Message::about_end(pid(peer), Ended(pid(peer)));
                self.one.connector().say(Event::Message(message));
                self.attend();
                self.ends.remove(&peer);
                self.expect(peer, Expected::End);
            }
            Step::Receive => {
                let message = self.one.receive_any_timeout(NOW).unwrap();
                match message {
                    Some(message) => self.check(&message, |_| true),
                    None => assert!(self.expected.values().all(VecDeque::is_empty)),
                }
            }
            Step::ReceiveKind(kind) => {
                let wanted = move |expected: &Expected| matches!(expected, Expected::Note(note) if note.kind == kind);
                let found = self.one.receive_map_timeout(NOW, |message| {
                    let note = message.decode::<Note>().ok()?;
                    (note.kind == kind).then_some((message.from, note))
                });
                match found.unwrap() {
                    Some((from, note)) => self.check_value(from, &Expected::Note(note), wanted),
                    None => assert!(!self.expected.values().flatten().any(wanted)),
                }
            }
            Step::Look => {
                let none = self
                    .one
                    .receive_where_timeout(NOW, |_: &Note| false)
                    .unwrap();
                assert_eq!(none, None);
                let expected: usize = self.expected.values().map(VecDeque::len).sum();
                assert_eq!(self.one.len(), expected);
            }
        }
    }

    fn attend(&mut self) {
        while self.one.attend(Deadline::Now).unwrap() {}
    }

    fn check(&mut self, message: &Message, wanted: impl Fn(&Expected) -> bool) {
        let value = match message.decode::<Note>() {
            Ok(note) => Expected::Note(note),
            Err(_) => {
                assert_eq!(message.decode::<Ended>().unwrap(), Ended(message.from));
                Expected::End
            }
        };
        self.check_value(message.from, &value, wanted);
    }

    /// It is the oldest of its sender's that was wanted.
    fn check_value(&mut self, from: Pid, value: &Expected, wanted: impl Fn(&Expected) -> bool) {
        let queue = self.expected.entry(from).or_default();
        let at = queue.iter().position(wanted).expect("nothing was sent");
        assert_eq!(queue.remove(at).as_ref(), Some(value));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: occ_test_support::stress::times(300) as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_schedule_loses_nothing_and_keeps_the_order(
        steps in proptest::collection::vec(step(), 1..150),
    ) {
        let mut model = Model::new();
        for step in &steps {
            model.take(step);
        }
        while model.expected.values().any(|queue| !queue.is_empty()) {
            model.take(&Step::Receive);
        }
        assert_empty(&mut model.one);
    }
}
