//! Executables as processes of a system, and what a builder gives to a process.

use std::time::Duration;

use occ_core::{
    Builder, Cause, Confidence, Containment, Down, Evidence, ExitReason, Limit, MonitorRef, Pid,
    Process, SendError, SpawnError, Step, System,
};
use occ_spawn::options::MAX_GIVEN;
use occ_test_support::{
    LIMIT, Signal,
    dead::{Watch, gone},
    isolated,
    ready::{Ready, Say},
    test_path, tree, within,
};

use crate::{me, raw, stay, value};

fn sh(script: &str) -> Builder {
    Builder::new().args(["-c", script])
}

/// The end of a process that was made; and no other end has been told before it.
fn down_of(me: &mut Process, made: Result<(Pid, MonitorRef), SpawnError>) -> Down {
    let (pid, monitor) = made.unwrap();
    let down = within(LIMIT, || me.receive::<Down>().unwrap());
    assert_eq!((down.pid, down.monitor), (pid, monitor));
    down
}

/// SP-8, SP-9, SP-10, SP-11
#[test]
fn how_an_executable_ends_is_told_with_its_report() {
    let mut system = System::start().unwrap();
    let me = system.process();
    for code in [0, 1, 255] {
        let made = me.spawn_exe_monitor(&sh(&format!("exit {code}")), "sh");
        let down = down_of(me, made);
        assert!(
            matches!(down.reason, ExitReason::Code(n) if n == code),
            "{down}"
        );
        assert!(down.to_string().starts_with("sh <0."), "{down}");
        assert!(
            down.report.evidence.is_empty(),
            "{:?}",
            down.report.evidence
        );
    }
    for signal in [Signal::TERM, Signal::KILL, Signal::SEGV] {
        let builder = Builder::new().args(["-f", "/dev/null"]).label("follower");
        let (pid, monitor) = me.spawn_exe_monitor(&builder, "tail").unwrap();
        let os_pid = me.os_pid(pid).unwrap();
        let exe = std::fs::read_link(format!("/proc/{os_pid}/exe")).unwrap();
        assert_ne!(
            exe,
            std::env::current_exe().unwrap(),
            "it runs when the spawn returns"
        );
        Watch::of(os_pid.get()).signal(signal);
        let down = down_of(me, Ok((pid, monitor)));
        assert!(
            matches!(down.reason, ExitReason::Signal(s) if s.number() == signal.as_raw()),
            "{down}"
        );
        assert!(down.to_string().starts_with("follower <0."), "{down}");
        assert!(down.report.usage.is_some() && down.report.lived().is_some());
    }
    // By the system: that is known.
    let made = me.spawn_exe_monitor(&Builder::new().args(["-f", "/dev/null"]), "tail");
    let (pid, monitor) = made.unwrap();
    me.kill(pid).unwrap();
    let down = down_of(me, Ok((pid, monitor)));
    let verdict = down.report.verdict.unwrap();
    assert!(matches!(verdict.cause, Cause::Killed { .. }), "{verdict}");
    assert_eq!(verdict.confidence, Confidence::Certain);
    system.stop();
}

/// It knows nothing of our handlers; and the kernel has raised the soft limit by the time that one looks.
#[test]
fn an_executable_that_uses_up_its_processor_time_is_told_as_such() {
    let mut system = System::start().unwrap();
    let me = system.process();
    for hard in [1, 5] {
        let limited = sh("while :; do :; done").rlimit(Limit::Cpu, Some(1), Some(hard));
        let made = me.spawn_exe_monitor(&limited, "sh");
        let verdict = down_of(me, made).report.verdict.unwrap();
        assert_eq!(verdict.cause, Cause::CpuLimit, "{verdict}");
        assert_eq!(verdict.confidence, Confidence::Probable);
    }
    system.stop();
}

#[test]
fn an_executable_is_listed_has_no_inbox_and_is_gone_when_it_has_ended() {
    let mut system = System::start().unwrap();
    let me = system.process();
    let builder = Builder::new().args(["-f", "/dev/null"]).label("follower");
    let pid = me.spawn_exe(&builder, "tail").unwrap();
    let list = me.processes().unwrap();
    let info = list.iter().find(|info| info.pid == pid).unwrap();
    assert_eq!(
        (info.function.as_str(), info.label.as_deref()),
        ("tail", Some("follower"))
    );
    assert!(matches!(
        me.send(pid, &1_u8),
        Err(SendError::NoInbox { .. })
    ));
    let monitor = me.monitor(pid).unwrap();
    me.kill(pid).unwrap();
    down_of(me, Ok((pid, monitor)));
    assert!(matches!(
        me.send(pid, &1_u8),
        Err(SendError::NoProcess { .. })
    ));
    system.stop();
}

#[test]
fn what_cannot_be_begun_is_an_error_and_nobody_is_told_of_an_end() {
    isolated(test_path!(), || {
        let mut system = System::start().unwrap();
        let me = system.process();
        let refused = |made: Result<(Pid, MonitorRef), SpawnError>| match made {
            Err(SpawnError::NotBegun { step, source, .. }) => (step, source.raw_os_error()),
            other => panic!("it is {other:?}"),
        };
        let absent = me.spawn_exe_monitor(&Builder::new(), "/no/such/program");
        assert_eq!(refused(absent), (Step::Execute, Some(libc::ENOENT)));
        let nowhere = Builder::new().cwd("/no/such/directory");
        let absent = me.spawn_exe_monitor(&nowhere, "true");
        assert_eq!(
            refused(absent),
            (Step::WorkingDirectory, Some(libc::ENOENT))
        );
        let absent = me.spawn_monitor_with(&nowhere, stay, ());
        assert_eq!(
            refused(absent),
            (Step::WorkingDirectory, Some(libc::ENOENT))
        );
        assert_eq!(me.processes().unwrap().len(), 1);
        // The next word is the end of one that did begin: of the others there is none.
        let made = me.spawn_exe_monitor(&sh("exit 5"), "sh");
        assert!(matches!(down_of(me, made).reason, ExitReason::Code(5)));
        system.stop();
    });
}

/// Its arguments are so long that they come in a memory file.
fn has_come(_: Vec<u8>) {}

#[test]
fn more_descriptors_than_go_with_one_spawn_are_an_error_that_says_how_many_may() {
    isolated(test_path!(), || {
        let mut system = System::start().unwrap();
        let me = system.process();
        let with = |count: usize| {
            let null = || std::fs::File::open("/dev/null").unwrap();
            let numbers = (4..).take(count);
            numbers.fold(Builder::new(), |options, number| options.fd(number, null()))
        };
        // The control: as many as may, and the pipe of its standard error besides.
        let builder = with(MAX_GIVEN).capture_stderr();
        let made = me.spawn_monitor_with(&builder, has_come, (vec![0; 100_000],));
        assert!(matches!(down_of(me, made).reason, ExitReason::Value(_)));
        let made = me.spawn_exe_monitor(&builder, "true");
        assert!(matches!(down_of(me, made).reason, ExitReason::Code(0)));
        for count in [MAX_GIVEN + 1, 253, 300] {
            let builder = with(count);
            let function = me.spawn_monitor_with(&builder, stay, ());
            for refused in [function, me.spawn_exe_monitor(&builder, "true")] {
                let told = refused.unwrap_err().to_string();
                let text = "expected at most 245 descriptors for a process, and it is given ";
                assert_eq!(told, format!("{text}{count}"));
            }
        }
        assert_eq!(me.processes().unwrap().len(), 1);
        system.stop();
    });
}

/// However long what people call it and its arguments are, it is asked for by one datagram.
#[test]
fn the_longest_wish_for_a_process_is_one_datagram() {
    let mut system = System::start().unwrap();
    let me = system.process();
    let builder = Builder::new().label("x".repeat(5000));
    // Around the length at which they travel in a memory file, with the options before them.
    for length in (40_000..50_000).step_by(499) {
        let made = me.spawn_monitor_with(&builder, has_come, (vec![0; length],));
        assert!(matches!(down_of(me, made).reason, ExitReason::Value(_)));
    }
    system.stop();
}

#[test]
fn the_last_that_is_written_to_standard_error_is_in_the_report() {
    let mut system = System::start().unwrap();
    let me = system.process();
    let script = "for i in $(seq 1 5000); do echo line $i >&2; done; kill -9 $$";
    let made = me.spawn_exe_monitor(&sh(script).capture_stderr(), "sh");
    let down = down_of(me, made);
    let tail = down.report.stderr.unwrap();
    let lines = tail.lines();
    assert_eq!(lines.last().unwrap(), "line 5000");
    assert!(
        lines.iter().all(|line| line.starts_with("line ")),
        "{lines:?}"
    );
    assert!(tail.lost() > 40_000, "{}", tail.lost());

    fn complains() -> anyhow::Result<()> {
        eprintln!("it hurts");
        anyhow::bail!("no more")
    }
    let made = me.spawn_monitor_with(&Builder::new().capture_stderr(), complains, ());
    assert_eq!(
        down_of(me, made).report.stderr.unwrap().lines(),
        ["it hurts"]
    );
    // What holds the pipe after it keeps nobody waiting.
    let made = me.spawn_exe_monitor(&sh("sleep 1000 & echo bye >&2").capture_stderr(), "sh");
    assert_eq!(down_of(me, made).report.stderr.unwrap().lines(), ["bye"]);
    // The control.
    let made = me.spawn_exe_monitor(&sh("exit 0"), "sh");
    assert_eq!(down_of(me, made).report.stderr, None);
    system.stop();
}

#[test]
fn one_that_floods_its_standard_error_keeps_nobody_from_being_served() {
    let mut system = System::start().unwrap();
    let me = system.process();
    let flood = Builder::new().capture_stderr().args(["-c", "exec yes >&2"]);
    let (pid, monitor) = me.spawn_exe_monitor(&flood, "sh").unwrap();
    for _ in 0..20 {
        let made = me.spawn_exe_monitor(&sh("exit 5"), "sh");
        assert!(matches!(down_of(me, made).reason, ExitReason::Code(5)));
    }
    me.kill(pid).unwrap();
    let down = down_of(me, Ok((pid, monitor)));
    assert_eq!(down.report.stderr.unwrap().lines().last().unwrap(), "y");
    system.stop();
}

pub(crate) fn ignores_sigterm(ready: String) {
    raw::ignore(libc::SIGTERM);
    Say::open(&ready).ready();
    stay()
}

#[test]
fn terminate_asks_first_and_kills_when_the_grace_period_is_over() {
    isolated(test_path!(), || {
        let mut system = System::start().unwrap();
        let me = system.process();
        let patient = Builder::new().grace(LIMIT);
        // One that listens ends by the first signal, and it is told who sent it.
        let (pid, monitor) = me.spawn_monitor_with(&patient, stay, ()).unwrap();
        me.terminate(pid).unwrap();
        let down = down_of(me, Ok((pid, monitor)));
        assert!(matches!(down.reason, ExitReason::Signal(s) if s.number() == libc::SIGTERM));
        let verdict = down.report.verdict.unwrap();
        assert!(matches!(verdict.cause, Cause::Killed { .. }), "{verdict}");
        assert_eq!(verdict.confidence, Confidence::Certain);

        // One that does not is killed.
        let grace = Duration::from_millis(200);
        let (ready, say) = Ready::new();
        let made = me.spawn_monitor_with(
            &Builder::new().grace(grace),
            ignores_sigterm,
            (say.address(),),
        );
        ready.wait(LIMIT);
        let asked = std::time::Instant::now();
        me.terminate(made.as_ref().unwrap().0).unwrap();
        let down = down_of(me, made);
        assert!(asked.elapsed() >= grace);
        assert!(matches!(down.reason, ExitReason::Signal(s) if s.number() == libc::SIGKILL));
        let line = down.to_string();
        assert!(
            line.contains("its grace period was over [certain: we sent it]"),
            "{line}"
        );
        let sent = down
            .report
            .evidence
            .iter()
            .filter(|e| matches!(e, Evidence::Sent(_)));
        assert_eq!(sent.count(), 2, "{:?}", down.report.evidence);

        // Without a grace period it is killed at once.
        let (pid, monitor) = me.spawn_monitor(stay, ()).unwrap();
        me.terminate(pid).unwrap();
        let down = down_of(me, Ok((pid, monitor)));
        assert!(matches!(down.reason, ExitReason::Signal(s) if s.number() == libc::SIGKILL));
        system.stop();
    });
}

fn says_when_it_ends(file: String, ready: String) {
    raw::block(libc::SIGTERM);
    Say::open(&ready).ready();
    raw::wait_signal(libc::SIGTERM);
    std::fs::write(file, "ended").unwrap();
}

#[test]
fn a_stop_gives_those_their_grace_that_have_one() {
    isolated(test_path!(), || {
        let file = std::env::temp_dir().join(format!("occ-core-grace-{}", std::process::id()));
        let path = file.to_str().unwrap().to_owned();
        let mut system = System::start().unwrap();
        let me = system.process();
        let (ready, say) = Ready::new();
        let patient = Builder::new().grace(LIMIT);
        me.spawn_with(&patient, says_when_it_ends, (path, say.address()))
            .unwrap();
        ready.wait(LIMIT);
        let other = me.spawn(stay, ()).unwrap();
        let other = me.os_pid(other).unwrap();
        system.stop();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "ended");
        gone(other.get(), LIMIT);
        std::fs::remove_file(file).unwrap();
    });
}

#[test]
fn an_executable_and_what_it_starts_end_with_the_system() {
    isolated(test_path!(), || {
        let mut system = System::start().unwrap();
        let me = system.process();
        let (ready, say) = Ready::new();
        let script = format!("setsid sleep 1000 & echo $! > {}; wait", say.address());
        let pid = me.spawn_exe(&sh(&script), "sh").unwrap();
        let grandchild = ready.pid(LIMIT);
        let os_pid = me.os_pid(pid).unwrap();
        system.stop();
        gone(os_pid.get(), LIMIT);
        gone(grandchild, LIMIT);
    });
}

#[test]
fn what_an_executable_leaves_ends_with_it_and_is_told_of() {
    isolated(test_path!(), || {
        let mut system = System::start().unwrap();
        let me = system.process();
        let (ready, say) = Ready::new();
        let script = format!("setsid sleep 1000 & echo $! > {}; exit 3", say.address());
        let made = me.spawn_exe_monitor(&sh(&script), "sh");
        let down = down_of(me, made);
        let grandchild = ready.pid(LIMIT);
        gone(grandchild, LIMIT);
        let left = down.report.evidence.iter().any(
            |piece| matches!(piece, Evidence::LeftBehind { os_pid, .. } if os_pid.get() == grandchild),
        );
        assert!(left, "{:?}", down.report.evidence);
        system.stop();
    });
}

#[test]
fn when_the_zygote_dies_no_executable_runs_twice() {
    isolated(test_path!(), || {
        let file = std::env::temp_dir().join(format!("occ-core-twice-{}", std::process::id()));
        let mut system = System::start().unwrap();
        let coordinator = system.coordinator().get();
        let me = system.process();
        let script = format!("echo x >> {}", file.display());
        let mut made = 0;
        for _ in 0..50 {
            // All that there is, between one process and the next.
            for zygote in tree::children(coordinator) {
                crate::try_kill(zygote);
            }
            let down = me.spawn_exe_monitor(&sh(&script), "sh");
            match down {
                Ok(_) => {
                    down_of(me, down);
                    made += 1;
                }
                Err(SpawnError::ZygoteDied | SpawnError::NoZygote { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(made > 0);
        let ran = std::fs::read_to_string(&file).unwrap().lines().count();
        assert_eq!(ran, made);
        std::fs::remove_file(file).unwrap();
        system.stop();
    });
}

#[test]
fn a_builder_acts_on_the_process_that_the_thread_is() {
    fn inner() -> anyhow::Result<i32> {
        let builder = sh("exit 6").containment(Containment::Sweep);
        let (pid, _) = builder.spawn_exe_monitor("sh")?;
        let down: Down = me(Process::receive)?;
        anyhow::ensure!(down.pid == pid);
        match down.reason {
            ExitReason::Code(code) => Ok(code),
            other => anyhow::bail!("it {other}"),
        }
    }
    let mut system = System::start().unwrap();
    let me = system.process();
    let made = me.spawn_monitor(inner, ());
    assert_eq!(value::<i32>(&down_of(me, made).reason), 6);
    system.stop();
    assert!(matches!(
        Builder::new().spawn(stay, ()),
        Err(SpawnError::NotStarted)
    ));
}
