//! `run`: what it gives for what process zero returns, and for the other ways in which it can end.

use occasional::{ExitReason, Pid, RunError, exit, processes, receive, run, self_pid, send, spawn};
use rustix::process::{Signal, getpid, kill_process};

use crate::sys;

/// Why process zero ended, where `run` has no value to give.
fn reason<T: std::fmt::Debug>(result: Result<T, RunError>) -> ExitReason {
    match result {
        Err(RunError::Ended { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

fn nothing() {}

/// OC-1
#[test]
fn a_function_that_returns_nothing_gives_nothing() {
    bounded!(|| {
        let () = run(nothing, ()).unwrap();
    });
}

fn text() -> String {
    "some text".to_owned()
}

/// OC-2
#[test]
fn a_function_that_returns_a_string_gives_it() {
    bounded!(|| assert_eq!(run(text, ()).unwrap(), "some text"));
}

fn fallible(well: bool) -> anyhow::Result<u8> {
    anyhow::ensure!(well, "not well");
    Ok(5)
}

#[test]
fn a_result_gives_what_is_in_its_ok() {
    bounded!(|| {
        let well: u8 = run(fallible, (true,)).unwrap();
        assert_eq!(well, 5);
        let ill: Result<u8, _> = run(fallible, (false,));
        assert!(matches!(reason(ill), ExitReason::Error(error) if error.chain() == ["not well"]));
    });
}

fn never() -> ! {
    exit(7_u8)
}

#[test]
fn a_function_that_never_returns_gives_what_it_exits_with() {
    bounded!(|| assert_eq!(run::<_, _, _, u8>(never, ()).unwrap(), 7));
}

fn six(a: u8, b: u16, c: String, d: Vec<u8>, e: (), f: Option<char>) -> String {
    format!("{a} {b} {c} {d:?} {e:?} {f:?}")
}

#[test]
fn up_to_six_arguments_arrive() {
    bounded!(|| {
        let given = run(six, (1, 2, "three".to_owned(), vec![4], (), Some('6'))).unwrap();
        assert_eq!(given, "1 2 three [4] () Some('6')");
        assert_eq!(
            run(|x: u8| x + 1, (1,)).unwrap(),
            2,
            "a closure that captures nothing"
        );
    });
}

fn leave(code: i32) {
    std::process::exit(code)
}

/// OC-3, OC-16
#[test]
fn an_exit_without_a_value_is_a_code() {
    bounded!(|| {
        assert!(matches!(reason(run(leave, (0,))), ExitReason::Code(0)));
        assert!(matches!(reason(run(leave, (3,))), ExitReason::Code(3)));
    });
}

fn leave_at_once() {
    sys::exit(1)
}

/// OC-16
#[test]
fn an_exit_past_everything_is_a_code_too() {
    bounded!(|| {
        let error = run(leave_at_once, ()).unwrap_err();
        assert_eq!(error.to_string(), "the process exited with code 1");
        assert!(matches!(reason::<()>(Err(error)), ExitReason::Code(1)));
    });
}

fn terminate() {
    kill_process(getpid(), Signal::TERM).unwrap();
    panic!("it is dead");
}

/// OC-17
#[test]
fn a_signal_is_told_by_its_name() {
    bounded!(|| {
        let error = run(terminate, ()).unwrap_err();
        // And by whom.
        let told = "the process was killed by SIGTERM: ended itself by SIGTERM [certain: told to its handler]";
        assert_eq!(error.to_string(), told);
    });
}

fn inner(to: Pid) -> String {
    // So that the two values are on their way at about the same time.
    send(to, ()).unwrap();
    "inner exit".to_owned()
}

fn outer() -> anyhow::Result<String> {
    spawn(inner, (self_pid(),))?;
    receive::<()>()?;
    Ok("outer exit".to_owned())
}

/// OC-7
#[test]
fn a_child_that_ends_with_a_value_of_its_own_does_not_change_that_of_process_zero() {
    bounded!(|| {
        for _ in 0..20 {
            assert_eq!(run(outer, ()).unwrap(), "outer exit");
        }
    });
}

fn echo() -> anyhow::Result<()> {
    let (from, text): (Pid, String) = receive()?;
    send(from, ("return".to_owned(), text))?;
    Ok(())
}

/// Spawns, asks and is answered, with the free functions alone.
pub(crate) fn ask_echo() -> anyhow::Result<()> {
    let echo = spawn(echo, ())?;
    send(echo, (self_pid(), "text".to_owned()))?;
    let answer: (String, String) = receive()?;
    anyhow::ensure!(
        answer == ("return".to_owned(), "text".to_owned()),
        "{answer:?}"
    );
    Ok(())
}

/// OC-5
#[test]
fn a_request_is_answered() {
    in_a_system!(ask_echo);
}

fn ask_coordinator() -> anyhow::Result<()> {
    let me = self_pid();
    let alone = processes()?;
    assert_eq!(
        alone.iter().map(|process| process.pid).collect::<Vec<_>>(),
        [me]
    );
    assert_eq!(alone[0].os_pid, Some(occasional::os_pid(me)?));
    assert_eq!(
        alone[0].os_pid.map(occasional::OsPid::get),
        Some(std::process::id())
    );
    assert!(
        alone[0].function.ends_with("run::ask_coordinator"),
        "{alone:?}"
    );

    let echo = spawn(echo, ())?;
    let both = processes()?;
    assert_eq!(
        both.iter().map(|process| process.pid).collect::<Vec<_>>(),
        [me, echo]
    );
    assert!(both[1].function.ends_with("run::echo"), "{both:?}");
    Ok(())
}

/// OC-4
#[test]
fn the_coordinator_answers_with_the_processes_there_are() {
    in_a_system!(ask_coordinator);
}

fn implicit() -> anyhow::Result<()> {
    processes()?;
    ask_echo()
}

/// OC-25
#[test]
fn the_free_functions_act_on_the_process_that_runs() {
    in_a_system!(implicit);
}

/// OC-26
#[test]
fn the_free_functions_act_on_the_program_that_started_a_system() {
    bounded!(|| {
        let system = occasional::start().unwrap();
        assert_eq!(system.pid(), Some(self_pid()));
        let listed = processes().unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].pid, self_pid());
        assert_eq!(
            listed[0].os_pid.map(occasional::OsPid::get),
            Some(std::process::id())
        );
        ask_echo().unwrap();
        system.stop();
    });
}

fn other_type() -> String {
    exit(5_u32)
}

fn other_type_in_a_result() -> anyhow::Result<String> {
    exit(5_u32)
}

#[test]
fn a_value_of_another_type_than_the_function_returns_is_an_error() {
    bounded!(|| {
        for result in [run(other_type, ()), run(other_type_in_a_result, ())] {
            let error = result.unwrap_err();
            assert!(matches!(error, RunError::WrongType(_)), "{error:?}");
            let text = format!("{error:?}");
            assert!(text.contains("u32") && text.contains("String"), "{text}");
        }
    });
}
