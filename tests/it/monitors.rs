//! Monitors: who is told of an end, and how often.

use std::time::Duration;

use occasional::{
    Down, ExitReason, Pid, demonitor, kill, monitor, processes, receive, receive_any,
    receive_timeout, self_pid, send, spawn, spawn_monitor,
};
use rustix::process::{Signal, getpid, kill_process};

fn exit_with_code_0() {
    std::process::exit(0)
}

fn sees_code_0() -> anyhow::Result<()> {
    let child = spawn(wait_and_exit, ())?;
    let monitor = monitor(child)?;
    send(child, ())?;
    let down: Down = receive()?;
    assert_eq!((down.monitor, down.pid), (monitor, child));
    assert!(
        matches!(down.reason, ExitReason::Code(0)),
        "{:?}",
        down.reason
    );
    Ok(())
}

fn wait_and_exit() -> anyhow::Result<()> {
    receive::<()>()?;
    exit_with_code_0();
    Ok(())
}

/// OC-8
#[test]
fn a_monitored_process_that_exits_is_told_down_with_its_code() {
    in_a_system!(sees_code_0);
}

fn sees_code_0_at_once() -> anyhow::Result<()> {
    let (child, monitor) = spawn_monitor(exit_with_code_0, ())?;
    let down: Down = receive()?;
    assert_eq!((down.monitor, down.pid), (monitor, child));
    assert!(
        matches!(down.reason, ExitReason::Code(0)),
        "{:?}",
        down.reason
    );
    Ok(())
}

/// OC-27
#[test]
fn a_process_spawned_with_a_monitor_is_told_down_however_soon_it_ends() {
    in_a_system!(sees_code_0_at_once);
}

fn terminate() {
    kill_process(getpid(), Signal::TERM).unwrap();
}

fn sees_sigterm() -> anyhow::Result<()> {
    spawn_monitor(terminate, ())?;
    let down: Down = receive()?;
    let ExitReason::Signal(signal) = down.reason else {
        panic!("{:?}", down.reason)
    };
    assert_eq!(
        (signal.name(), signal.description()),
        (Some("SIGTERM"), Some("Terminated"))
    );
    Ok(())
}

/// OC-9
#[test]
fn a_monitored_process_that_a_signal_ends_is_told_down_with_the_signal() {
    in_a_system!(sees_sigterm);
}

fn value() -> (String, u8) {
    ("a value".to_owned(), 1)
}

fn sees_value() -> anyhow::Result<()> {
    spawn_monitor(value, ())?;
    let down: Down = receive()?;
    let ExitReason::Value(value) = down.reason else {
        panic!("{:?}", down.reason)
    };
    assert_eq!(value.get::<(String, u8)>()?, ("a value".to_owned(), 1));
    Ok(())
}

/// OC-10
#[test]
fn a_monitored_process_that_returns_is_told_down_with_the_value() {
    in_a_system!(sees_value);
}

fn fail_with_a_word() -> anyhow::Result<()> {
    anyhow::bail!("on purpose")
}

fn gives_what_it_received() -> anyhow::Result<String> {
    spawn_monitor(fail_with_a_word, ())?;
    let message = receive_any()?;
    Ok(message.decode::<Down>()?.reason.to_string())
}

/// OC-11
#[test]
fn a_monitored_process_that_fails_is_told_down_with_the_error() {
    bounded!(|| {
        let told: String = occasional::run(gives_what_it_received, ()).unwrap();
        assert_eq!(told, "failed: on purpose");
    });
}

fn answer_once() -> anyhow::Result<()> {
    let from: Pid = receive()?;
    send(from, "an answer".to_owned())?;
    Ok(())
}

fn sees_the_answer_first() -> anyhow::Result<()> {
    let (child, _) = spawn_monitor(answer_once, ())?;
    send(child, self_pid())?;
    let first = receive_any()?;
    assert_eq!(
        (first.from, first.decode::<String>()?),
        (child, "an answer".to_owned())
    );
    let second = receive_any()?;
    assert_eq!(second.from, child);
    assert!(matches!(
        second.decode::<Down>()?.reason,
        ExitReason::Value(_)
    ));
    Ok(())
}

/// OC-12
#[test]
fn an_answer_comes_before_the_down_of_the_process_that_gave_it() {
    in_a_system!(sees_the_answer_first);
}

fn watch_and_end(target: Pid, to: Pid) -> anyhow::Result<()> {
    monitor(target)?;
    // Answered after the monitor is known, because one socket carries both.
    processes()?;
    send(to, "watching".to_owned())?;
    Ok(())
}

fn say_farewell(to: Pid) -> anyhow::Result<()> {
    receive::<()>()?;
    send(to, "farewell".to_owned())?;
    Ok(())
}

fn outlives_the_watcher() -> anyhow::Result<()> {
    let me = self_pid();
    let watched = spawn(say_farewell, (me,))?;
    let (watcher, _) = spawn_monitor(watch_and_end, (watched, me))?;
    assert_eq!(receive::<String>()?, "watching");
    assert_eq!(receive::<Down>()?.pid, watcher);

    let monitor = monitor(watched)?;
    send(watched, ())?;
    assert_eq!(receive::<String>()?, "farewell");
    assert_eq!(receive::<Down>()?.monitor, monitor);
    assert_eq!(processes()?.len(), 1, "the coordinator has survived it");
    Ok(())
}

/// OC-13
#[test]
fn the_coordinator_survives_a_watcher_that_ends_before_the_watched() {
    in_a_system!(outlives_the_watcher);
}

fn waits_for_ever() {
    let _ = receive::<()>();
}

fn monitors_twice() -> anyhow::Result<()> {
    let child = spawn(waits_for_ever, ())?;
    let first = monitor(child)?;
    let second = monitor(child)?;
    assert_ne!(first, second);
    kill(child)?;
    let mut told = [receive::<Down>()?.monitor, receive::<Down>()?.monitor];
    told.sort();
    assert_eq!(told, [first, second]);
    processes()?;
    assert!(
        receive_timeout::<Down>(Duration::ZERO)?.is_none(),
        "one for each monitor"
    );
    Ok(())
}

#[test]
fn each_monitor_is_answered_by_one_down() {
    in_a_system!(monitors_twice);
}

fn monitors_nobody() -> anyhow::Result<()> {
    let nobody = Pid {
        serial: 4_242,
        ..self_pid()
    };
    let monitor = monitor(nobody)?;
    let down: Down = receive()?;
    assert_eq!((down.monitor, down.pid), (monitor, nobody));
    assert!(matches!(down.reason, ExitReason::NoProcess));
    assert!(down.report.os_pid.is_none() && down.report.status.is_none());
    Ok(())
}

#[test]
fn a_monitor_of_nobody_is_told_down_at_once() {
    in_a_system!(monitors_nobody);
}

fn monitors_a_dead_process() -> anyhow::Result<()> {
    let (child, _) = spawn_monitor(exit_with_code_0, ())?;
    receive::<Down>()?;
    monitor(child)?;
    assert!(matches!(receive::<Down>()?.reason, ExitReason::NoProcess));
    Ok(())
}

#[test]
fn a_monitor_of_a_process_that_has_ended_is_told_that_there_is_none() {
    in_a_system!(monitors_a_dead_process);
}

fn takes_back() -> anyhow::Result<()> {
    // One that lives, and one whose Down is in the inbox already.
    let (alive, first) = spawn_monitor(waits_for_ever, ())?;
    let (_, second) = spawn_monitor(exit_with_code_0, ())?;
    let kept = monitor(alive)?;
    let down = occasional::receive_where::<Down>(|down| down.monitor == second)?;
    assert!(matches!(down.reason, ExitReason::Code(0)));

    let (dead, queued) = spawn_monitor(exit_with_code_0, ())?;
    let later = monitor(dead)?;
    // Told after `queued`, to which it is next in number.
    occasional::receive_where::<Down>(|down| down.monitor == later)?;
    demonitor(queued)?;
    demonitor(first)?;
    kill(alive)?;
    let down: Down = receive()?;
    assert_eq!(down.monitor, kept, "the others were taken back");
    processes()?;
    assert!(receive_timeout::<Down>(Duration::ZERO)?.is_none());
    // To take back what is no more is no mistake.
    demonitor(kept)?;
    demonitor(queued)?;
    Ok(())
}

#[test]
fn a_monitor_that_is_taken_back_tells_nothing_any_more() {
    in_a_system!(takes_back);
}

fn knows_its_own() -> anyhow::Result<()> {
    let (child, _) = spawn_monitor(answer_once, ())?;
    let os_pid = occasional::os_pid(child)?;
    let before = std::time::SystemTime::now();
    send(child, self_pid())?;
    let report = receive::<Down>()?.report;
    assert_eq!(report.os_pid, Some(os_pid));
    assert_eq!(report.status.and_then(|status| status.code()), Some(0));
    assert!(report.started.is_some_and(|started| started.wall <= before));
    assert!(report.ended.is_some_and(|ended| ended.wall >= before));
    Ok(())
}

#[test]
fn the_report_holds_the_os_pid_the_kernels_answer_and_the_times() {
    in_a_system!(knows_its_own);
}

fn kills() -> anyhow::Result<()> {
    let (child, _) = spawn_monitor(waits_for_ever, ())?;
    kill(child)?;
    let down: Down = receive()?;
    assert!(matches!(down.reason, ExitReason::Signal(signal) if signal.name() == Some("SIGKILL")));
    let error = kill(child).unwrap_err();
    assert!(matches!(error, occasional::SystemError::NoProcess { pid } if pid == child));
    let error = occasional::os_pid(child).unwrap_err();
    assert!(matches!(error, occasional::SystemError::NoProcess { pid } if pid == child));
    Ok(())
}

#[test]
fn a_process_can_be_killed_once() {
    in_a_system!(kills);
}

#[test]
fn the_program_that_started_the_system_cannot_be_killed() {
    bounded!(|| {
        let system = occasional::start().unwrap();
        let me = self_pid();
        let error = kill(me).unwrap_err();
        assert!(matches!(error, occasional::SystemError::IsHost { pid } if pid == me));
        system.stop();
    });
}
