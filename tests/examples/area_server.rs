//! The area server: as a library of its test, and as a program.

use anyhow::{bail, ensure};
use occ_test_support::{LIMIT, isolated, within};
use occasional::{Down, ExitReason, Pid, RunError, receive, self_pid, send, spawn_monitor};

use crate::program;

#[path = "../../examples/area_server.rs"]
#[expect(
    dead_code,
    reason = "main, and the client that prints, are run as a program"
)]
mod example;

use example::{Answer, Request, Shape, area_server, rpc};

/// AS-1
#[test]
fn the_area_server_answers_and_ends_when_it_is_told_to() {
    isolated!(|| within(LIMIT, || occasional::run(ask_everything, ()).unwrap()));
}

/// AS-1, between start and stop.
#[test]
fn the_area_server_answers_the_thread_that_started_the_system() {
    isolated!(|| within(LIMIT, || {
        let system = occasional::start().unwrap();
        ask_everything().unwrap();
        system.stop();
    }));
}

fn ask_everything() -> anyhow::Result<()> {
    let (server, monitor) = spawn_monitor(area_server, ())?;
    let area = |shape| match rpc(server, Request::Area(shape))? {
        Answer::Area(area) => Ok(area),
        other => bail!("no area: {other:?}"),
    };
    ensure!(area(Shape::Rectangle(3.0, 4.0))? == 12.0);
    ensure!((area(Shape::Circle(5.0))? - 78.53975).abs() < 0.001);

    let unknown = Request::Area(Shape::Triangle(3.0, 4.0, 5.0));
    ensure!(rpc(server, unknown.clone())? == Answer::Unknown(unknown));
    // The control: the server has survived that.
    ensure!(area(Shape::Rectangle(1.0, 1.0))? == 1.0);

    ensure!(rpc(server, Request::Stop)? == Answer::Stopping);
    let down: Down = receive()?;
    ensure!((down.pid, down.monitor) == (server, monitor));
    ensure!(
        matches!(down.reason, ExitReason::Value(_)),
        "it {}",
        down.reason
    );
    ensure!(down.report.status.and_then(|status| status.code()) == Some(0));
    Ok(())
}

/// AS-1: the answer is known by who gives it, not by being the first to come.
#[test]
fn an_answer_from_another_process_is_not_taken_for_the_servers() {
    isolated!(|| within(LIMIT, || occasional::run(be_told_lies, ()).unwrap()));
}

fn be_told_lies() -> anyhow::Result<()> {
    let (liar, _) = spawn_monitor(lie, (self_pid(),))?;
    let down: Down = receive()?;
    ensure!(
        down.pid == liar && !down.reason.is_abnormal(),
        "it {}",
        down.reason
    );
    // The lie is in the inbox now.
    let (server, _) = spawn_monitor(area_server, ())?;
    ensure!(rpc(server, Request::Area(Shape::Rectangle(3.0, 4.0)))? == Answer::Area(12.0));
    let (from, lie): (Pid, Answer) = receive()?;
    ensure!((from, lie) == (liar, Answer::Area(-1.0)));
    Ok(())
}

fn lie(to: Pid) -> anyhow::Result<()> {
    send(to, (self_pid(), Answer::Area(-1.0)))?;
    Ok(())
}

/// AS-1: the control of all these. What the asserting process returns is what `run` gives.
#[test]
fn a_client_that_is_wrong_about_an_area_fails() {
    fn wrong() -> anyhow::Result<()> {
        let (server, _) = spawn_monitor(area_server, ())?;
        let answer = rpc(server, Request::Area(Shape::Rectangle(3.0, 4.0)))?;
        ensure!(answer == Answer::Area(13.0), "it is not 13");
        Ok(())
    }
    isolated!(|| {
        let result = within(LIMIT, || occasional::run(wrong, ()));
        let Err(RunError::Ended {
            reason: ExitReason::Error(failure),
            ..
        }) = result
        else {
            panic!("expected an error, got {result:?}");
        };
        assert_eq!(failure.chain(), ["it is not 13"]);
    });
}

#[test]
fn the_program_prints_each_area_in_both_its_ways() {
    isolated!(|| {
        let ran = program::run(&mut program::example("area_server"));
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
        let once = "\
Rectangle(3.0, 4.0) has area 12
Circle(5.0) has area 78.53981633974483
Triangle(3.0, 4.0, 5.0): Unknown(Area(Triangle(3.0, 4.0, 5.0)))
the server returned
";
        assert_eq!(String::from_utf8_lossy(&ran.stdout), once.repeat(2));
    });
}
