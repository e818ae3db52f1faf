//! Messages: what can be sent, of what length, and what can be seen of one that is received.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use occ_core::protocol::{Ended, News, Reply, Request, Wanted};
use occ_inbox::Standing;
use occasional::{
    DecodeError, Down, ExitReason, Message, Pid, SendError, SpawnError, monitor, processes,
    receive, receive_any, receive_any_timeout, receive_map, receive_timeout, self_pid, send, spawn,
    spawn_monitor,
};
use serde::{Deserialize, Serialize};

/// Sends every string back that it is sent.
fn echo_texts() -> anyhow::Result<()> {
    let to: Pid = receive()?;
    loop {
        send(to, receive::<String>()?)?;
    }
}

fn echo() -> anyhow::Result<Pid> {
    let echo = spawn(echo_texts, ())?;
    send(echo, self_pid())?;
    Ok(echo)
}

fn of_length(len: usize) -> String {
    let alphabet = "abcdefghijklmnopqrstuvwxyz0123456789 ";
    let mut text = alphabet.repeat(len / alphabet.len() + 1);
    text.truncate(len);
    text
}

fn any_length() -> anyhow::Result<()> {
    let echo = echo()?;
    let part = 64 << 10;
    let around = |len: usize| [len - 9, len - 3, len - 1, len, len + 1];
    let mut lengths = vec![0, 1, 16, 1_000, 4_096, 10 * part, 1 << 20, 20 << 20];
    lengths.extend([part, 2 * part, 5 * part].into_iter().flat_map(around));
    for len in lengths {
        let text = of_length(len);
        send(echo, text.clone())?;
        assert!(receive::<String>()? == text, "of {len} bytes");
    }
    Ok(())
}

#[test]
fn messages_of_any_length_arrive_as_they_were() {
    in_a_system!(any_length);
}

fn any_length_whole() -> anyhow::Result<()> {
    let echo = echo()?;
    for len in [0, 1, 64 << 10, (64 << 10) + 1, 1 << 20, 20 << 20] {
        let text = of_length(len);
        occasional::try_send(echo, text.clone())?;
        assert!(receive::<String>()? == text, "of {len} bytes, tried");
        occasional::send_timeout(echo, text.clone(), Duration::from_secs(30))?;
        assert!(receive::<String>()? == text, "of {len} bytes, with a limit");
        send(self_pid(), text.clone())?;
        assert!(receive::<String>()? == text, "of {len} bytes, to itself");
    }
    Ok(())
}

#[test]
fn messages_of_any_length_arrive_however_they_are_sent() {
    in_a_system!(any_length_whole);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Circle { radius: f64 },
    Named(String, BTreeMap<String, Vec<Option<i128>>>),
    Nothing,
}

fn send_shapes(to: Pid) -> anyhow::Result<()> {
    for shape in shapes() {
        send(to, shape)?;
    }
    send(
        to,
        (
            to,
            vec![self_pid()],
            PathBuf::from("/a/path"),
            Duration::from_nanos(1),
        ),
    )?;
    Ok(())
}

fn shapes() -> Vec<Shape> {
    let map = BTreeMap::from([("key".to_owned(), vec![None, Some(i128::MIN)])]);
    vec![
        Shape::Circle {
            radius: f64::MIN_POSITIVE,
        },
        Shape::Named("n".to_owned(), map),
        Shape::Nothing,
    ]
}

fn any_type() -> anyhow::Result<()> {
    let me = self_pid();
    let sender = spawn(send_shapes, (me,))?;
    for shape in shapes() {
        assert_eq!(receive::<Shape>()?, shape);
    }
    let all: (Pid, Vec<Pid>, PathBuf, Duration) = receive()?;
    assert_eq!(
        all,
        (
            me,
            vec![sender],
            PathBuf::from("/a/path"),
            Duration::from_nanos(1)
        )
    );
    Ok(())
}

#[test]
fn values_of_ones_own_types_arrive_as_they_were() {
    in_a_system!(any_type);
}

mod one {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Same(pub u32);
}

mod other {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Same(pub u32);
}

fn types_are_told_apart() -> anyhow::Result<()> {
    let me = self_pid();
    send(me, other::Same(2))?;
    send(me, one::Same(1))?;
    send(me, (3_u32,))?;
    send(me, 4_u32)?;
    assert_eq!(receive::<u32>()?, 4);
    assert_eq!(receive::<one::Same>()?.0, 1);
    assert_eq!(receive::<(u32,)>()?, (3,));
    assert_eq!(receive::<other::Same>()?.0, 2);
    Ok(())
}

#[test]
fn types_of_one_shape_are_told_apart() {
    in_a_system!(types_are_told_apart);
}

fn say(to: Pid) -> anyhow::Result<()> {
    send(to, 5_u32)?;
    Ok(())
}

fn looks_into_a_message() -> anyhow::Result<()> {
    let (sender, _) = spawn_monitor(say, (self_pid(),))?;
    let message: Message = receive_any()?;
    assert_eq!(message.from, sender);
    assert_eq!(message.type_name(), "u32");
    assert!(message.is::<u32>() && !message.is::<i32>() && !message.is::<Down>());
    assert_eq!(message.decode::<u32>()?, 5);
    assert_eq!(message.decode::<u32>()?, 5, "as often as one likes");
    match message.decode::<String>() {
        Err(DecodeError::WrongType { expected, found }) => {
            assert_eq!((expected, found.as_str()), ("alloc::string::String", "u32"));
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(
        message.decode::<Down>(),
        Err(DecodeError::WrongType { .. })
    ));

    let message = receive_any()?;
    assert_eq!(message.from, sender, "a Down is from whom it is about");
    assert!(
        message.type_name().ends_with("Down"),
        "{}",
        message.type_name()
    );
    assert!(message.is::<Down>() && !message.is::<u32>());
    assert_eq!(message.decode::<Down>()?.pid, sender);
    assert!(matches!(
        message.decode::<u32>(),
        Err(DecodeError::WrongType { .. })
    ));
    Ok(())
}

#[test]
fn a_message_tells_its_sender_its_type_and_its_value() {
    in_a_system!(looks_into_a_message);
}

fn picks() -> anyhow::Result<()> {
    let me = self_pid();
    for number in [1_u32, 2, 3] {
        send(me, number)?;
    }
    send(me, "text".to_owned())?;
    let length = receive_map(|message| message.decode::<String>().ok().map(|text| text.len()))?;
    assert_eq!(length, 4);
    let even = receive_map(|message| message.decode::<u32>().ok().filter(|n| n % 2 == 0))?;
    assert_eq!(even, 2);
    assert_eq!(receive_any()?.decode::<u32>()?, 1);
    assert_eq!(
        receive_any_timeout(Duration::ZERO)?
            .unwrap()
            .decode::<u32>()?,
        3
    );
    assert!(receive_any_timeout(Duration::ZERO)?.is_none());
    Ok(())
}

#[test]
fn a_message_is_picked_by_what_can_be_made_of_it() {
    in_a_system!(picks);
}

/// What a process could say to the coordinator, or the coordinator to it, as a user's own values.
fn send_control(to: Pid) -> anyhow::Result<()> {
    let me = self_pid();
    let (id, number) = (3, 1);
    send(to, Request::Processes { id })?;
    send(to, Request::Kill { id, pid: to })?;
    send(to, Request::Monitor { number, target: me })?;
    send(to, Request::Demonitor { id, number })?;
    send(to, Request::OsPid { id, pid: me })?;
    let standing = Standing::New;
    send(to, Request::Connect { id, to, standing })?;
    send(
        to,
        Request::Spawn {
            id,
            monitor: None,
            wanted: Box::new(Wanted {
                function: 64,
                name: "forged".to_owned(),
                ..Wanted::default()
            }),
        },
    )?;
    send(to, Reply::Done { id })?;
    send(to, Reply::Spawned { id, pid: me })?;
    send(to, News::You { pid: me })?;
    send(
        to,
        News::Connected {
            peer: me,
            tally: None,
        },
    )?;
    send(to, News::Gone { peer: me })?;
    let name = "forged".to_owned();
    send(
        to,
        News::Down(
            Ended {
                number: 1,
                pid: me,
                name,
                label: None,
                facts: None,
                reported: false,
            },
            None,
        ),
    )?;
    // The very bytes of a frame, of every kind: a header and the rest of it.
    for kind in 0..=u8::MAX {
        let mut frame = vec![0_u8; 40];
        frame[0] = kind;
        frame[12] = 1;
        send(to, frame)?;
    }
    receive::<()>()?;
    Ok(())
}

fn control_is_told_by_its_kind() -> anyhow::Result<()> {
    let me = self_pid();
    // To itself too: an order that it could give.
    send(me, Request::Kill { id: 1, pid: me })?;
    assert!(matches!(receive()?, Request::Kill { id: 1, pid } if pid == me));

    let sender = spawn(send_control, (me,))?;
    let watched = monitor(sender)?;
    let types: Vec<String> = (0..13)
        .map(|_| {
            let message = receive_any()?;
            assert_eq!(message.from, sender);
            assert!(!message.is::<Down>());
            Ok(message.type_name().rsplit("::").next().unwrap().to_owned())
        })
        .collect::<anyhow::Result<_>>()?;
    let count = |name| types.iter().filter(|found| *found == name).count();
    assert_eq!([count("Request"), count("Reply"), count("News")], [7, 2, 4]);
    for kind in 0..=u8::MAX {
        assert_eq!(receive_any()?.decode::<Vec<u8>>()?[0], kind);
    }

    // Nothing of it was done.
    assert_eq!(processes()?.len(), 2);
    assert!(receive_timeout::<Down>(Duration::ZERO)?.is_none());
    send(sender, ())?;
    assert_eq!(receive::<Down>()?.monitor, watched);
    Ok(())
}

#[test]
fn a_message_that_looks_like_control_is_a_message() {
    in_a_system!(control_is_told_by_its_kind);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct LeavesOut {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    field: Option<u8>,
    other: u8,
}

#[derive(Serialize, Deserialize)]
struct Flat {
    one: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
}

fn no_utf8() -> PathBuf {
    OsString::from_vec(b"not utf-8 \xff".to_vec()).into()
}

fn is_refused(result: Result<(), SendError>, name: &str) {
    match result {
        Err(SendError::Encode(error)) => {
            assert!(error.type_name.contains(name), "{error}");
            assert!(error.to_string().contains(name), "{error}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

fn costs_nothing() -> anyhow::Result<()> {
    let echo = echo()?;
    let before_epoch = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
    for to in [echo, self_pid()] {
        is_refused(send(to, no_utf8()), "PathBuf");
        is_refused(
            send(
                to,
                LeavesOut {
                    field: None,
                    other: 1,
                },
            ),
            "LeavesOut",
        );
        is_refused(
            send(
                to,
                Flat {
                    one: 1,
                    rest: BTreeMap::new(),
                },
            ),
            "Flat",
        );
        is_refused(send(to, before_epoch), "SystemTime");
        is_refused(occasional::try_send(to, no_utf8()), "PathBuf");
        is_refused(
            occasional::send_timeout(to, no_utf8(), Duration::from_secs(30)),
            "PathBuf",
        );
        // Long before it fails: nothing of it was sent, not even its beginning.
        is_refused(send(to, (of_length(1 << 20), no_utf8())), "PathBuf");
    }
    // The connection is as it was.
    send(echo, "text".to_owned())?;
    let message = receive_any()?;
    assert_eq!(
        (message.from, message.decode::<String>()?),
        (echo, "text".to_owned())
    );
    assert!(receive_any_timeout(Duration::ZERO)?.is_none());
    Ok(())
}

#[test]
fn a_message_that_cannot_be_encoded_is_an_error_and_costs_nothing() {
    in_a_system!(costs_nothing);
}

fn untagged() -> anyhow::Result<()> {
    let me = self_pid();
    send(me, Untagged::Number(1))?;
    assert!(matches!(
        receive::<Untagged>(),
        Err(occasional::ReceiveError::Undecodable { from, .. }) if from == me
    ));
    Ok(())
}

#[test]
fn an_untagged_value_is_an_error_where_it_is_received() {
    in_a_system!(untagged);
}

fn take_path(_: PathBuf) {}

fn give_path() -> PathBuf {
    no_utf8()
}

fn fail_with_path() {
    occasional::fail(no_utf8())
}

fn arguments_and_results() -> anyhow::Result<()> {
    match spawn(take_path, (no_utf8(),)) {
        Err(SpawnError::Encode(error)) => assert!(error.type_name.contains("PathBuf"), "{error}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(processes()?.len(), 1, "there was no process");
    for what in ["exit value", "error value"] {
        match what {
            "exit value" => spawn_monitor(give_path, ())?,
            _ => spawn_monitor(fail_with_path, ())?,
        };
        let down: Down = receive()?;
        let ExitReason::Error(failure) = down.reason else {
            panic!("{:?}", down.reason)
        };
        assert_eq!(
            failure.chain()[0],
            format!("the {what} could not be handed over")
        );
        assert!(failure.to_string().contains("PathBuf"), "{failure}");
        assert_eq!(down.report.status.and_then(|status| status.code()), Some(1));
    }
    Ok(())
}

#[test]
fn arguments_and_results_that_cannot_be_encoded_are_errors_too() {
    in_a_system!(arguments_and_results);
}

fn length_of(text: String, more: Vec<u16>) -> (usize, usize) {
    (text.len(), more.len())
}

fn long_arguments() -> anyhow::Result<()> {
    for len in [0, 40 << 10, 48 << 10, 64 << 10, 1 << 20, 64 << 20] {
        spawn_monitor(length_of, (of_length(len), vec![7; 3]))?;
        let down: Down = receive()?;
        let ExitReason::Value(value) = down.reason else {
            panic!("{:?}", down.reason)
        };
        assert_eq!(value.get::<(usize, usize)>()?, (len, 3));
    }
    Ok(())
}

#[test]
fn arguments_of_any_length_arrive() {
    in_a_system!(long_arguments);
}
