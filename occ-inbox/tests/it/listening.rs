//! Inboxes that listen, without anybody between them: what can be received, and when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use occ_inbox::{Address, Inbox, InboxLimits, ListenError, Listening, Pid, Policy, SendError};
use occ_test_support::{LIMIT, takes, within};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::{assert_empty, drain};

const NOW: Duration = Duration::ZERO;
const UNIT: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Apple(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Pear(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Plum(u32);

/// An inbox at an address of its own.
pub(crate) fn anywhere() -> Inbox<Listening> {
    Inbox::listen_anywhere().unwrap()
}

/// A path that nothing is at, in a folder that goes with the test.
pub(crate) struct Folder(std::path::PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        let name = format!("occ-inbox-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir(&folder).unwrap();
        Folder(folder)
    }

    pub(crate) fn address(&self, name: &str) -> Address {
        Address::path(self.0.join(name))
            .unwrap()
            .seqpacket()
            .unwrap()
    }

    pub(crate) fn files(&self) -> usize {
        std::fs::read_dir(&self.0).unwrap().count()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sends from a thread, when the test is about to wait.
fn later<'s>(
    scope: &'s thread::Scope<'s, '_>,
    to: &Inbox<Listening>,
    send: impl FnOnce(&mut Inbox<Listening>, Pid) + Send + 's,
) -> ScopedJoinHandle<'s, ()> {
    let address = to.address();
    scope.spawn(move || {
        let mut inbox = anywhere();
        let to = inbox.pid_of(&address).unwrap();
        send(&mut inbox, to);
    })
}

/// IN-1
#[test]
fn what_is_sent_to_the_own_address_is_received() {
    let mut one = anywhere();
    let address = one.address();
    one.send_to(&address, &Apple(1)).unwrap();
    one.send(one.pid(), &Apple(2)).unwrap();
    let handle = one.handle().unwrap();
    handle.send_to(&address, &Apple(3)).unwrap();
    let from = one.receive_any().unwrap();
    assert_eq!((from.from, from.decode().unwrap()), (one.pid(), Apple(1)));
    assert_eq!(drain::<Apple, _>(&mut one), [Apple(2), Apple(3)]);
}

/// Neither looks into its inbox while the other sends.
#[test]
fn two_of_one_thread_send_first_to_each_other_and_back() {
    let folder = Folder::new("thread");
    let mut one = Inbox::listen(&folder.address("one")).unwrap();
    let mut two = anywhere();
    let long = vec![7_u8; 1 << 20];
    for round in 0..3 {
        one.send_to(&two.address(), &Apple(round)).unwrap();
        two.send_to(&one.address(), &Pear(round)).unwrap();
        one.try_send_to(&two.address(), &long).unwrap();
        two.send_to_timeout(&one.address(), &Plum(round), LIMIT)
            .unwrap();
        let message = two.receive_any().unwrap();
        assert_eq!(message.from, one.pid());
        assert_eq!(two.address_of(message.from), Some(one.address()));
        assert!(message.is::<Apple>() && !message.is::<Pear>());
        assert_eq!(message.decode::<Apple>().unwrap(), Apple(round));
        assert_eq!(two.receive::<Vec<u8>>().unwrap(), long);
        assert_eq!(one.receive::<Plum>().unwrap(), Plum(round));
        assert_eq!(one.receive::<Pear>().unwrap(), Pear(round));
    }
    assert_empty(&mut one);
    assert_empty(&mut two);
    let me = Some(std::process::id());
    assert_eq!(one.credentials_of(two.pid()).unwrap().os_pid, me);
    assert_eq!(two.credentials_of(one.pid()).unwrap().os_pid, me);
    assert!(two.credentials_of(two.pid()).is_none());
    drop((one, two));
    assert_eq!(folder.files(), 0);
}

/// IN-5, IN-6
#[test]
fn no_time_at_all_finds_what_is_here_and_no_more() {
    let (mut one, mut two) = (anywhere(), anywhere());
    assert_eq!(one.receive_timeout::<Apple>(NOW).unwrap(), None);
    assert!(one.receive_any_timeout(NOW).unwrap().is_none());
    // The connection itself is something that has not been looked at.
    two.send_to(&one.address(), &Apple(1)).unwrap();
    assert_eq!(one.receive_timeout(NOW).unwrap(), Some(Apple(1)));
    two.send_to(&one.address(), &Apple(2)).unwrap();
    assert_eq!(one.receive_timeout(NOW).unwrap(), Some(Apple(2)));
}

#[test]
fn no_time_at_all_finds_what_is_here_from_a_hundred_who_have_not_been_heard_of() {
    let mut one = anywhere();
    let mut others: Vec<_> = (0..100).map(|_| anywhere()).collect();
    for (number, other) in others.iter_mut().enumerate() {
        for round in 0..3 {
            other.send_to(&one.address(), &(number, round)).unwrap();
        }
    }
    assert_eq!(one.tick().unwrap(), 300);
    let late: Vec<_> = (0..100_u32)
        .map(|number| {
            let mut other = anywhere();
            other.send_to(&one.address(), &number).unwrap();
            other
        })
        .collect();
    assert_eq!(drain::<u32, _>(&mut one).len(), 100);
    assert_eq!(drain::<(usize, i32), _>(&mut one).len(), 300);
    drop(late);
}

/// IN-7
#[test]
fn a_message_that_comes_after_the_limit_is_received_by_the_next() {
    within(LIMIT, || {
        let mut one = anywhere();
        assert_eq!(
            takes(UNIT, || one.receive_timeout::<Apple>(UNIT)).unwrap(),
            None
        );
        thread::scope(|scope| {
            later(scope, &one, |two, to| two.send(to, &Apple(1)).unwrap());
            assert_eq!(one.receive::<Apple>().unwrap(), Apple(1));
        });
    });
}

/// IN-8
#[test]
fn without_a_limit_a_receive_waits_for_as_long_as_it_takes() {
    within(LIMIT, || {
        let mut one = anywhere();
        takes(UNIT, || {
            thread::scope(|scope| {
                later(scope, &one, |two, to| {
                    takes(UNIT, || two.receive_timeout::<()>(UNIT)).unwrap();
                    two.send(to, &Apple(1)).unwrap();
                });
                assert_eq!(one.receive::<Apple>().unwrap(), Apple(1));
            });
        });
    });
}

/// IN-9, IN-10
#[test]
fn what_has_come_is_read_at_once_or_thrown_away() {
    let (mut one, mut two) = (anywhere(), anywhere());
    for number in 0..3 {
        two.send_to(&one.address(), &Apple(number)).unwrap();
    }
    assert_eq!(drain::<Apple, _>(&mut one), [Apple(0), Apple(1), Apple(2)]);
    assert_eq!(drain::<Apple, _>(&mut one), []);
    two.send_to(&one.address(), &Apple(4)).unwrap();
    two.send_to(&one.address(), &Pear(5)).unwrap();
    assert_eq!(one.flush().unwrap(), 2);
    assert_empty(&mut one);
}

/// IN-11, IN-12
#[test]
fn a_matcher_takes_two_kinds_in_order_and_its_own_words_come_back() {
    let (mut one, mut two) = (anywhere(), anywhere());
    let words = |inbox: &mut Inbox<Listening>| {
        occ_inbox::receive! { inbox;
            Apple(number): Apple => format!("apple {number}"),
            Pear(number): Pear if number > 0 => format!("pear {number}"),
            after NOW => "nothing".to_string(),
        }
        .unwrap()
    };
    two.send_to(&one.address(), &Plum(1)).unwrap();
    two.send_to(&one.address(), &Pear(2)).unwrap();
    two.send_to(&one.address(), &Apple(3)).unwrap();
    let said = [words(&mut one), words(&mut one), words(&mut one)];
    assert_eq!(said, ["pear 2", "apple 3", "nothing"]);
    assert_eq!(one.receive::<Plum>().unwrap(), Plum(1));
    assert_eq!(words(&mut one), "nothing");
    assert_empty(&mut one);
}

/// IN-13, IN-15
#[test]
fn a_match_that_comes_late_is_taken_before_older_ones_that_do_not_match() {
    within(LIMIT, || {
        let (mut one, mut two) = (anywhere(), anywhere());
        two.send_to(&one.address(), &Apple(1)).unwrap();
        two.send_to(&one.address(), &Pear(2)).unwrap();
        assert_eq!(one.receive_timeout::<Plum>(NOW).unwrap(), None);
        thread::scope(|scope| {
            later(scope, &one, |three, to| three.send(to, &Plum(3)).unwrap());
            assert_eq!(one.receive::<Plum>().unwrap(), Plum(3));
        });
        assert_eq!(
            one.receive_where(|pear: &Pear| pear.0 == 2).unwrap(),
            Pear(2)
        );
        assert_eq!(
            one.receive_any().unwrap().decode::<Apple>().unwrap(),
            Apple(1)
        );
        assert_empty(&mut one);
    });
}

/// IN-14
#[test]
fn a_timeout_leaves_what_does_not_match() {
    within(LIMIT, || {
        let mut one = anywhere();
        thread::scope(|scope| {
            later(scope, &one, |two, to| two.send(to, &Apple(1)).unwrap());
            let none = takes(UNIT, || one.receive_timeout::<Pear>(UNIT)).unwrap();
            assert_eq!(none, None);
        });
        assert_eq!(
            one.receive_where_timeout(NOW, |apple: &Apple| apple.0 == 2)
                .unwrap(),
            None
        );
        assert_eq!(one.receive::<Apple>().unwrap(), Apple(1));
    });
}

/// IN-16
#[test]
fn messages_that_do_not_match_do_not_stretch_the_limit() {
    within(LIMIT, || {
        let mut one = anywhere();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            later(scope, &one, |two, to| {
                let mut number = 0;
                while !stop.load(Ordering::Relaxed) {
                    let sent = two.send_timeout(to, &Apple(number), UNIT);
                    number += u32::from(sent.is_ok());
                }
                two.send(to, &Pear(number)).unwrap();
            });
            // They do come while it waits.
            assert_eq!(one.receive::<Apple>().unwrap(), Apple(0));
            let none = takes(UNIT, || one.receive_timeout::<Pear>(UNIT));
            stop.store(true, Ordering::Relaxed);
            assert_eq!(none.unwrap(), None);
            let Pear(sent) = one.receive::<Pear>().unwrap();
            let apples: Vec<Apple> = drain(&mut one);
            assert!(apples.iter().copied().eq((1..sent).map(Apple)));
        });
    });
}

#[test]
fn only_what_has_come_since_a_mark_is_looked_at() {
    let (mut one, mut two) = (anywhere(), anywhere());
    // More than is walked past.
    for number in 0..100 {
        two.send_to(&one.address(), &Pear(number)).unwrap();
    }
    two.send_to(&one.address(), &Apple(0)).unwrap();
    one.tick().unwrap();
    let mark = one.make_ref();
    two.send_to(&one.address(), &Apple(1)).unwrap();
    assert_eq!(one.since(mark).receive::<Apple>().unwrap(), Apple(1));
    assert_eq!(one.since(mark).receive_timeout::<Apple>(NOW).unwrap(), None);
    assert_eq!(one.receive::<Apple>().unwrap(), Apple(0));
    assert_eq!(one.len(), 100);
}

#[test]
fn where_nobody_listens_there_is_no_process() {
    let folder = Folder::new("nobody");
    let address = folder.address("x");
    let mut one = anywhere();
    let no_process = |sent| matches!(sent, Err(SendError::NoProcess { .. }));
    assert!(no_process(one.send_to(&address, &1)));
    assert!(no_process(one.try_send_to(&address, &1)));
    assert!(no_process(
        one.send_to(&"seqpacket:@nobody at all".parse().unwrap(), &1)
    ));
    // A name without an address says nothing.
    assert!(no_process(one.send(crate::pid(3), &1)));
    let two = Inbox::listen(&address).unwrap();
    one.send_to(&address, &1).unwrap();
    assert!(matches!(
        Inbox::listen(&address),
        Err(ListenError::Listen(occ_sck::ListenError::AddrInUse { .. }))
    ));
    drop(two);
    assert!(no_process(one.send_to(&address, &1)));
    assert!(no_process(one.send_to(&address, &1)));
}

/// Unlike a process of a coordinator, whose name is never another's.
#[test]
fn who_listens_next_at_an_address_has_its_name_and_can_be_sent_to() {
    let folder = Folder::new("again");
    let address = folder.address("x");
    let mut one = anywhere();
    let to = one.pid_of(&address).unwrap();
    for round in 0..20_u32 {
        let mut two = Inbox::listen(&address).unwrap();
        assert_eq!(two.pid(), to);
        one.send(to, &round).unwrap();
        one.send_to(&address, &(round + 1)).unwrap();
        assert_eq!(two.receive::<u32>().unwrap(), round);
        two.send(one.pid(), &Apple(round)).unwrap();
        assert_eq!(two.receive::<u32>().unwrap(), round + 1);
    }
    let apples: Vec<Apple> = drain(&mut one);
    assert!(apples.into_iter().eq((0..20).map(Apple)));
}

/// A server that runs for long does not keep everybody who ever asked.
#[test]
fn the_addresses_of_those_who_have_gone_are_kept_for_a_while() {
    let (mut one, mut two) = (anywhere(), anywhere());
    two.send_to(&one.address(), &0_u32).unwrap();
    assert_eq!(one.receive::<u32>().unwrap(), 0);
    let mut gone = Vec::new();
    for number in 1..=1100_u32 {
        let mut client = anywhere();
        client.send_to(&one.address(), &number).unwrap();
        assert_eq!(one.receive::<u32>().unwrap(), number);
        one.send_to(&client.address(), &number).unwrap();
        gone.push((client.pid(), client.address()));
    }
    one.tick().unwrap();
    assert_eq!(one.info().unwrap().peers.len(), 1);
    assert_eq!(one.address_of(gone[0].0), None);
    let (pid, address) = gone.last().unwrap();
    assert_eq!(one.address_of(*pid).as_ref(), Some(address));
    one.send(two.pid(), &1_u32).unwrap();
    assert_eq!(two.receive::<u32>().unwrap(), 1);
}

#[test]
fn other_kinds_of_address_are_told_which_can_be_used() {
    let mut one = anywhere();
    for text in ["unix:/tmp/x", "unix:@x", "tcp:127.0.0.1:0"] {
        let address: Address = text.parse().unwrap();
        let error = Inbox::listen(&address).unwrap_err().to_string();
        assert!(
            error.contains("seqpacket:") && error.contains(text),
            "{error}"
        );
        let error = one.send_to(&address, &1).unwrap_err();
        let source = std::error::Error::source(&error).unwrap().to_string();
        assert!(source.contains("seqpacket:"), "{source}");
    }
}

/// What is there has byte streams, or may not be connected with.
#[test]
fn who_is_no_inbox_is_told_from_who_is_not_there() {
    let folder = Folder::new("other");
    let address = folder.address("x");
    let path = address.as_path().unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(path).unwrap();
    let mut one = anywhere();
    let sent = one.send_to(&address, &1);
    assert!(matches!(sent, Err(SendError::NoInbox { .. })), "{sent:?}");
    let long = format!("seqpacket:/proc/self/status/{}", "x");
    let sent = one.send_to(&long.parse().unwrap(), &1);
    assert!(matches!(sent, Err(SendError::NoProcess { .. })), "{sent:?}");
    // A path that leads round and round.
    let round = folder.address("round");
    std::os::unix::fs::symlink("round", round.as_path().unwrap()).unwrap();
    let sent = one.send_to(&round, &1);
    assert!(
        matches!(sent, Err(SendError::Io { op: "connect", .. })),
        "{sent:?}"
    );
}

#[test]
fn limits_are_kept_and_who_wants_none_to_wait_says_so() {
    within(LIMIT, || {
        let (mut one, mut two) = (anywhere(), anywhere());
        one.set_limits(InboxLimits {
            messages: 10,
            policy: Policy::Reject,
            ..InboxLimits::default()
        });
        two.send_to(&one.address(), &0_u32).unwrap();
        // Where it says so.
        assert_eq!(one.tick().unwrap(), 1);
        two.tick().unwrap();
        let mut sent = 1;
        let full = loop {
            match two.send_to(&one.address(), &sent) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
            assert!(one.tick().unwrap() <= 10);
        };
        assert!(matches!(full, SendError::Full { .. }));
        let mut got = 0;
        while let Some(number) = one.receive_timeout::<u32>(NOW).unwrap() {
            assert_eq!(number, got);
            got += 1;
        }
        assert_eq!(got, sent);
    });
}

#[test]
fn threads_with_handles_have_one_connection_and_their_order() {
    within(LIMIT, || {
        let (mut one, mut two) = (anywhere(), anywhere());
        let (handle, to) = (two.handle().unwrap(), one.address());
        thread::scope(|scope| {
            for thread in 0..8_u32 {
                let (handle, to) = (&handle, &to);
                scope.spawn(move || {
                    for number in 0..200_u32 {
                        handle.send_to(to, &(thread, number)).unwrap();
                    }
                });
            }
            let mut next = [0; 8];
            for _ in 0..8 * 200 {
                let (thread, number): (u32, u32) = one.receive().unwrap();
                assert_eq!(number, next[thread as usize]);
                next[thread as usize] += 1;
            }
        });
        assert_eq!(one.info().unwrap().peers.len(), 1);
        assert!(two.receive_timeout::<()>(NOW).unwrap().is_none());
        drop(two);
        // Nobody listens where only a handle is left.
        let sent = one.send_to(&handle_address(&handle, &one), &1);
        assert!(matches!(sent, Err(SendError::NoProcess { .. })), "{sent:?}");
        assert!(matches!(
            handle.send_to(&to, &1),
            Err(SendError::SystemDown)
        ));
    });
}

fn handle_address(handle: &occ_inbox::Handle<Listening>, peer: &Inbox<Listening>) -> Address {
    peer.address_of(handle.pid()).unwrap()
}

#[test]
fn it_is_readable_when_something_has_come_and_not_after_a_tick() {
    within(LIMIT, || {
        let (mut one, mut two) = (anywhere(), anywhere());
        let readable = |inbox: &Inbox<Listening>, wait: Option<&Timespec>| {
            poll(&mut [PollFd::new(inbox, PollFlags::IN)], wait).unwrap() == 1
        };
        let now = Some(Timespec::default());
        one.tick().unwrap();
        assert!(!readable(&one, now.as_ref()));
        for round in 1..=3_u32 {
            two.send_to(&one.address(), &round).unwrap();
            assert!(readable(&one, None));
            assert_eq!(one.tick().unwrap(), 1);
            assert!(!readable(&one, now.as_ref()), "in round {round}");
            assert_eq!(one.receive_timeout(NOW).unwrap(), Some(round));
        }
    });
}
