//! Exit values: of any size, from any process, and whether or not anybody looks at once.

use occasional::{Down, ExitReason, Pid, receive, receive_any, run, self_pid, send, spawn_monitor};

const LONG: usize = 64 << 20;

fn long() -> String {
    "0123456789abcdef".repeat(LONG / 16)
}

fn is_long(text: &str) -> bool {
    text.len() == LONG
        && text
            .as_bytes()
            .chunks(16)
            .all(|chunk| chunk == b"0123456789abcdef")
}

fn exit_long() -> anyhow::Result<String> {
    occasional::exit(long())
}

#[test]
fn process_zero_ends_with_64_mib() {
    bounded!(|| {
        assert!(is_long(&run(long, ()).unwrap()));
        assert!(is_long(&run::<_, _, _, String>(exit_long, ()).unwrap()));
    });
}

fn child_ends_with_64_mib() -> anyhow::Result<()> {
    let (child, _) = spawn_monitor(long, ())?;
    let down: Down = receive()?;
    assert_eq!(down.pid, child);
    let ExitReason::Value(value) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    assert!(value.is::<String>() && value.encoded_len() > LONG as u64);
    assert!(is_long(&value.get::<String>()?));
    assert!(is_long(&value.get::<String>()?), "as often as one likes");
    Ok(())
}

#[test]
fn a_child_ends_with_64_mib() {
    in_a_system!(child_ends_with_64_mib);
}

fn fail_long() {
    occasional::fail(long())
}

fn child_fails_with_64_mib() -> anyhow::Result<()> {
    spawn_monitor(fail_long, ())?;
    let down: Down = receive()?;
    let ExitReason::Error(failure) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    assert!(is_long(
        &failure.value().expect("there is one").get::<String>()?
    ));
    Ok(())
}

#[test]
fn a_child_fails_with_64_mib() {
    in_a_system!(child_fails_with_64_mib);
}

fn greet_and_end_long(to: Pid) -> anyhow::Result<String> {
    send(to, ())?;
    Ok(long())
}

fn looks_late() -> anyhow::Result<()> {
    // Three ends that nobody fetches, and whose processes are gone all the same.
    let monitored: Vec<Pid> = (0..3)
        .map(|_| Ok(spawn_monitor(greet_and_end_long, (self_pid(),))?.0))
        .collect::<anyhow::Result<_>>()?;
    for _ in &monitored {
        receive::<()>()?;
    }
    while occasional::processes()?.len() > 1 {}
    for _ in &monitored {
        let down: Down = receive_any()?.decode()?;
        let ExitReason::Value(value) = down.reason else {
            anyhow::bail!("{}", down.reason)
        };
        assert_eq!(value.get::<String>()?.len(), LONG);
    }
    Ok(())
}

#[test]
fn a_long_exit_value_that_nobody_fetches_holds_nobody_up() {
    in_a_system!(looks_late);
}

fn three_watch() -> anyhow::Result<()> {
    let (child, first) = spawn_monitor(when_told, ())?;
    let second = occasional::monitor(child)?;
    let (other, _) = spawn_monitor(watch, (child, self_pid()))?;
    receive::<()>()?;
    send(child, ())?;
    for monitor in [first, second] {
        let down = occasional::receive_where::<Down>(|down| down.monitor == monitor)?;
        let ExitReason::Value(value) = down.reason else {
            anyhow::bail!("{}", down.reason)
        };
        assert!(is_long(&value.get::<String>()?));
    }
    let down = occasional::receive_where::<Down>(|down| down.pid == other)?;
    let ExitReason::Value(value) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    assert!(value.get::<bool>()?);
    Ok(())
}

fn when_told() -> anyhow::Result<String> {
    receive::<()>()?;
    Ok(long())
}

fn watch(target: Pid, to: Pid) -> anyhow::Result<bool> {
    occasional::monitor(target)?;
    occasional::processes()?;
    send(to, ())?;
    let down: Down = receive()?;
    let ExitReason::Value(value) = down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    Ok(is_long(&value.get::<String>()?))
}

#[test]
fn every_watcher_gets_the_whole_value() {
    in_a_system!(three_watch);
}

#[derive(serde::Serialize)]
struct CannotBeRead;

impl<'de> serde::Deserialize<'de> for CannotBeRead {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<CannotBeRead, D::Error> {
        Err(serde::de::Error::custom("not with this one"))
    }
}

fn cannot_be_read() -> CannotBeRead {
    CannotBeRead
}

fn is_an_exit_all_the_same() -> anyhow::Result<()> {
    spawn_monitor(cannot_be_read, ())?;
    let down: Down = receive()?;
    let ExitReason::Value(value) = &down.reason else {
        anyhow::bail!("{}", down.reason)
    };
    assert!(value.type_name().ends_with("CannotBeRead") && value.is::<CannotBeRead>());
    assert!(value.get::<CannotBeRead>().is_err());
    assert!(
        value.get::<String>().is_err(),
        "and of another type it is not"
    );
    assert_eq!(down.report.status.and_then(|status| status.code()), Some(0));
    Ok(())
}

#[test]
fn a_value_that_cannot_be_read_is_an_exit_all_the_same() {
    in_a_system!(is_an_exit_all_the_same);
}

/// Lengths about each limit at which a report begins to travel in another way: in the news of the end, beside it, in a
/// memory file.
const LENGTHS: [usize; 12] = [
    0, 1, 4092, 4093, 4094, 4095, 4096, 4097, 65_000, 65_536, 65_600, 70_000,
];

fn value_of(length: usize) -> String {
    "v".repeat(length)
}

fn fail_with(length: usize) {
    occasional::fail("f".repeat(length))
}

fn error_of(length: usize) -> anyhow::Result<()> {
    anyhow::bail!("e".repeat(length))
}

fn panic_with(length: usize) {
    // It would print all that.
    std::panic::set_hook(Box::new(|_| ()));
    panic!("{}", "p".repeat(length))
}

/// All at once, so that each report has those of others before and after it.
fn every_length() -> anyhow::Result<()> {
    for length in LENGTHS {
        let value = spawn_monitor(value_of, (length,))?.1;
        let failure = spawn_monitor(fail_with, (length,))?.1;
        let error = spawn_monitor(error_of, (length,))?.1;
        let panic = spawn_monitor(panic_with, (length,))?.1;
        for monitor in [value, failure, error, panic] {
            let down = occasional::receive_where::<Down>(|down| down.monitor == monitor)?;
            let told = match &down.reason {
                ExitReason::Value(told) if monitor == value => told.get::<String>()?,
                ExitReason::Error(told) if monitor == failure => {
                    told.value().expect("it is one").get::<String>()?
                }
                ExitReason::Error(told) if monitor == error => told.chain()[0].clone(),
                ExitReason::Panic(told) if monitor == panic => told.message.clone(),
                other => anyhow::bail!("{length}: {other}"),
            };
            assert!(told.bytes().all(|byte| byte == told.as_bytes()[0]));
            if monitor == panic && length > 4096 {
                assert!(told.len() >= 4096, "{length}: {}", told.len());
            } else {
                assert_eq!(told.len(), length);
            }
        }
    }
    Ok(())
}

#[test]
fn a_report_is_told_whole_whatever_its_length() {
    in_a_system!(every_length);
}
