//! With a handle everything goes through the queue; without one, most messages do not. Nobody can tell.

use std::fmt::Write;
use std::fs::File;
use std::time::Duration;

use occ_inbox::{
    Event, Fd, Inbox, InboxLimits, Mark, Message, Policy, Receive, ReceiveError, Socket,
};
use occ_test_support::{LIMIT, within};

use crate::script::Script;
use crate::switchboard::Ended;
use crate::tallies::Counts;
use crate::{pid, put};

const NOW: Duration = Duration::ZERO;

/// The numbers of splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

/// What came of a receive, in words.
fn said<T>(log: &mut String, result: Result<Option<T>, ReceiveError>, word: impl Fn(T) -> String) {
    match result {
        Ok(value) => writeln!(log, "{:?}", value.map(word)),
        Err(error) => writeln!(log, "{error}"),
    }
    .unwrap();
}

fn receive<T: Receive>(
    one: &mut Inbox<Script>,
    log: &mut String,
    waits: bool,
    word: impl Fn(T) -> String,
) {
    let result = match waits {
        true => one.receive::<T>().map(Some),
        false => one.receive_timeout::<T>(NOW),
    };
    said(log, result, word);
}

/// All that an inbox says in one life, that is the same for the same seed.
fn life(seed: u64, with_handle: bool, limits: InboxLimits) -> String {
    let mut random = Random(seed);
    let mut log = String::new();
    let counts = std::sync::Arc::new(Counts::default());
    let mut script = Script::new();
    script.tallies = Some((std::sync::Arc::clone(&counts), 1));
    let mut one = Inbox::new(pid(1), script).unwrap();
    let mut two: Socket = one.connector().connect(2);
    one.tick().unwrap();
    one.set_limits(limits);
    let _handle = with_handle.then(|| one.handle().unwrap());
    let null = File::open("/dev/null").unwrap();
    let mut mark = Mark::numbered(one.pass());
    for number in 0..300_u32 {
        // With a limit, what is waited for may be one that is not read.
        let waits = random.below(4) > 0 && limits == InboxLimits::default();
        match random.below(22) {
            0..4 => put(&two, &(number as u8)),
            4..6 => put(&two, &number),
            6 => put(&two, &"x".repeat(random.below(2000) as usize)),
            7 => put(&two, &Fd(null.try_clone().unwrap())),
            8 => one.send(pid(1), &(number as u8)).unwrap(),
            9 => {
                let peer = (random.below(2) > 0).then(|| pid(9));
                one.connector().say(Event::NoDescriptor { peer });
                one.tick().unwrap();
            }
            10 => {
                let end = Message::about_end(pid(9), Ended(pid(9)));
                one.connector().say(Event::Message(end));
                one.tick().unwrap();
            }
            11..14 => {
                if waits {
                    put(&two, &(number as u8));
                }
                receive(&mut one, &mut log, waits, |value: u8| value.to_string());
            }
            14 => {
                if waits {
                    put(&two, &number);
                }
                receive(&mut one, &mut log, waits, |value: u32| value.to_string());
            }
            15 => receive(&mut one, &mut log, false, |text: String| {
                text.len().to_string()
            }),
            16 => receive(&mut one, &mut log, false, |_: Fd<File>| "a file".to_owned()),
            17 => said(
                &mut log,
                one.receive_where_timeout(NOW, |value: &u8| value.is_multiple_of(2)),
                |value| value.to_string(),
            ),
            18 => {
                receive(&mut one, &mut log, false, |end: Ended| format!("{end:?}"));
                mark = Mark::numbered(one.pass());
            }
            19 => said(
                &mut log,
                one.since(mark).receive_timeout::<u8>(NOW),
                |value| value.to_string(),
            ),
            20 if random.below(8) == 0 => writeln!(log, "{:?}", one.flush()).unwrap(),
            20 => said(&mut log, one.receive_any_timeout(NOW), |message| {
                message.type_name().to_owned()
            }),
            21 if random.below(4) == 0 => {
                two = one.connector().connect(2);
                one.tick().unwrap();
            }
            _ => writeln!(log, "{}", one.tick().unwrap()).unwrap(),
        }
        writeln!(log, "{number}: {:?}", counts).unwrap();
    }
    log
}

#[test]
fn with_a_handle_and_without_one_the_same_is_received() {
    within(LIMIT, || {
        let few = |policy| InboxLimits {
            messages: 4,
            policy,
            ..InboxLimits::default()
        };
        for limits in [
            InboxLimits::default(),
            few(Policy::Block),
            few(Policy::Reject),
            few(Policy::End),
        ] {
            for seed in 0..50 {
                let [alone, shared] = [false, true].map(|handle| life(seed, handle, limits));
                for (at, (one, other)) in alone.lines().zip(shared.lines()).enumerate() {
                    assert_eq!(one, other, "{limits:?}, seed {seed}, line {at}");
                }
                assert_eq!(alone.lines().count(), shared.lines().count());
            }
        }
    });
}
