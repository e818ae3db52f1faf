//! Matchers: code of the user's that runs in the middle of a receive.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use occasional::{
    Down, Message, Pid, ReceiveError, SendError, SpawnError, SystemError, receive, receive_any,
    receive_map, receive_timeout, receive_where, receive_where_timeout, self_pid, send,
    spawn_monitor,
};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

fn send_numbers(to: Pid) -> anyhow::Result<()> {
    for number in 0..10_u32 {
        send(to, number)?;
    }
    Ok(())
}

/// Ten numbers from another process, all of them here.
fn ten_numbers() -> anyhow::Result<()> {
    spawn_monitor(send_numbers, (self_pid(),))?;
    receive::<Down>()?;
    Ok(())
}

fn panics_in_a_matcher() -> anyhow::Result<()> {
    ten_numbers()?;
    let panics: [&dyn Fn() -> Result<u32, ReceiveError>; 3] = [
        &|| {
            receive_where(|number: &u32| {
                if *number == 5 {
                    panic!("in a matcher")
                } else {
                    false
                }
            })
        },
        &|| {
            receive_map(|message: &Message| match message.decode::<u32>() {
                Ok(7) => panic!("in a matcher"),
                _ => None,
            })
        },
        // The first that is looked at, before anything was taken.
        &|| receive_where(|_: &u32| panic!("in a matcher")),
    ];
    for panics in panics {
        let payload = catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"in a matcher"));
    }
    for expected in 0..10 {
        assert_eq!(receive::<u32>()?, expected);
    }
    assert_eq!(receive_timeout::<u32>(Duration::ZERO)?, None);
    Ok(())
}

#[test]
fn a_matcher_that_panics_loses_nothing() {
    in_a_system!(panics_in_a_matcher);
}

fn send_one_by_one(to: Pid) -> anyhow::Result<()> {
    for number in 0..10_u32 {
        send(to, number)?;
        receive_timeout::<()>(Duration::from_millis(1))?;
    }
    Ok(())
}

fn panics_while_messages_arrive() -> anyhow::Result<()> {
    let (_, monitor) = spawn_monitor(send_one_by_one, (self_pid(),))?;
    let panics = || receive_where(|number: &u32| if *number == 4 { panic!() } else { false });
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    for expected in 0..10 {
        assert_eq!(receive::<u32>()?, expected);
    }
    assert_eq!(receive::<Down>()?.monitor, monitor);
    Ok(())
}

#[test]
fn a_matcher_that_panics_while_messages_arrive_loses_nothing() {
    in_a_system!(panics_while_messages_arrive);
}

fn calls_free_functions() -> anyhow::Result<()> {
    let me = self_pid();
    send(me, 1_u8)?;
    let mut called = 0;
    let number = receive_where(|number: &u8| {
        called += 1;
        assert_eq!(self_pid(), me);
        assert_eq!(occasional::try_self_pid().unwrap(), me);

        assert!(matches!(send(me, 2_u8), Err(SendError::Reentrant)));
        assert!(matches!(
            occasional::try_send(me, 2_u8),
            Err(SendError::Reentrant)
        ));
        let limit = Duration::ZERO;
        assert!(matches!(
            occasional::send_timeout(me, 2_u8, limit),
            Err(SendError::Reentrant)
        ));

        assert!(matches!(receive::<u8>(), Err(ReceiveError::Reentrant)));
        assert!(matches!(receive_any(), Err(ReceiveError::Reentrant)));
        assert!(matches!(
            receive_timeout::<u8>(limit),
            Err(ReceiveError::Reentrant)
        ));
        assert!(matches!(
            receive_map(|_| Some(())),
            Err(ReceiveError::Reentrant)
        ));
        assert!(matches!(occasional::flush(), Err(ReceiveError::Reentrant)));

        let spawned = occasional::spawn(send_numbers, (me,));
        assert!(matches!(spawned, Err(SpawnError::Reentrant)));
        let spawned = spawn_monitor(send_numbers, (me,));
        assert!(matches!(spawned, Err(SpawnError::Reentrant)));
        assert!(matches!(
            occasional::monitor(me),
            Err(SystemError::Reentrant)
        ));
        assert!(matches!(
            occasional::processes(),
            Err(SystemError::Reentrant)
        ));
        assert!(matches!(
            occasional::os_pid(me),
            Err(SystemError::Reentrant)
        ));
        assert!(matches!(occasional::kill(me), Err(SystemError::Reentrant)));
        *number == 1
    })?;
    assert_eq!((number, called), (1, 1));
    assert!(
        occasional::receive_any_timeout(Duration::ZERO)?.is_none(),
        "nothing was sent"
    );
    Ok(())
}

#[test]
fn a_matcher_that_calls_back_is_told_that_it_cannot() {
    in_a_system!(calls_free_functions);
}

fn is_offered_once() -> anyhow::Result<()> {
    ten_numbers()?;
    let me = self_pid();
    let mut offered = Vec::new();
    let nothing = receive_where_timeout(Duration::from_millis(20), |number: &u32| {
        offered.push(*number);
        false
    })?;
    assert_eq!(nothing, None);
    assert_eq!(offered, (0..10).collect::<Vec<_>>());

    // A receive of its own is offered them anew.
    send(me, 100_u32)?;
    let mut offered = Vec::new();
    let found = receive_where(|number: &u32| {
        offered.push(*number);
        *number == 100
    })?;
    assert_eq!((found, offered.len()), (100, 11));
    Ok(())
}

#[test]
fn each_message_is_offered_to_a_matcher_once() {
    in_a_system!(is_offered_once);
}

/// A value that cannot be read back, if it is odd.
#[derive(Debug, PartialEq, Serialize)]
struct Even(u8);

impl<'de> Deserialize<'de> for Even {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Even, D::Error> {
        let number = u8::deserialize(deserializer)?;
        if number % 2 == 0 {
            Ok(Even(number))
        } else {
            Err(D::Error::custom("it is odd"))
        }
    }
}

fn send_odd(to: Pid) -> anyhow::Result<()> {
    send(to, Even(1))?;
    send(to, Even(2))?;
    Ok(())
}

type Try = fn() -> Result<Even, ReceiveError>;

fn cannot_be_decoded() -> anyhow::Result<()> {
    let ways: [Try; 4] = [
        receive,
        || receive_where(|_| true),
        || receive_timeout(Duration::from_secs(30)).map(|found| found.expect("in time")),
        || {
            receive_where_timeout(Duration::from_secs(30), |_| true)
                .map(|found| found.expect("in time"))
        },
    ];
    for receive_one in ways {
        let (sender, _) = spawn_monitor(send_odd, (self_pid(),))?;
        receive::<Down>()?;
        match receive_one() {
            Err(ReceiveError::Undecodable {
                from,
                type_name,
                source,
            }) => {
                assert_eq!(from, sender);
                assert!(type_name.ends_with("matchers::Even"), "{type_name}");
                assert!(source.to_string().contains("Even"), "{source}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(
            receive_one()?,
            Even(2),
            "told once, and then comes the next"
        );
        assert!(occasional::receive_any_timeout(Duration::ZERO)?.is_none());
    }
    Ok(())
}

#[test]
fn a_message_that_cannot_be_decoded_is_an_error_once() {
    in_a_system!(cannot_be_decoded);
}

fn is_in_nobodys_way() -> anyhow::Result<()> {
    let me = self_pid();
    send(me, Even(1))?;
    send(me, "text".to_owned())?;
    assert_eq!(receive::<String>()?, "text", "of another type");
    let picked = receive_map(|message| message.decode::<Even>().err().map(|_| message.from))?;
    assert_eq!(
        picked, me,
        "whoever decodes for himself gets the error for himself"
    );
    assert!(occasional::receive_any_timeout(Duration::ZERO)?.is_none());
    Ok(())
}

#[test]
fn a_message_that_cannot_be_decoded_is_in_nobodys_way() {
    in_a_system!(is_in_nobodys_way);
}

fn sends_in_a_destructor() -> anyhow::Result<()> {
    let me = self_pid();
    // Dropped by `send` once it is sent, and once more after it was received.
    send(me, Letter(7))?;
    assert_eq!(receive_timeout::<u8>(Duration::ZERO)?, Some(7));
    drop(receive_where::<Letter>(|letter| letter.0 == 7)?);
    assert_eq!(receive_timeout::<u8>(Duration::ZERO)?, Some(7));
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Letter(u8);

impl Drop for Letter {
    fn drop(&mut self) {
        let _ = send(self_pid(), self.0);
    }
}

#[test]
fn a_value_that_sends_when_it_is_dropped_can_be_received() {
    in_a_system!(sends_in_a_destructor);
}
