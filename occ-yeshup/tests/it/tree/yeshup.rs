//! The program `yeshup`: what it says, and what it ends with.

use std::io::Write;
use std::process::{Output, Stdio};

use occ_test_support::alive::alive;
use occ_test_support::cgroup::Cgroup;
use occ_test_support::dead::how;
use occ_test_support::{LIMIT, isolated, skipped, within};

use super::strays::yeshup;

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let Output {
        status,
        stdout,
        stderr,
    } = yeshup()
        .args(arguments)
        // A folder that may not be looked into would be another reason.
        .env("PATH", "/usr/bin:/bin")
        .output()
        .unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn it_ends_as_the_program_did_or_says_why_there_was_none() {
    isolated!(|| {
        for (arguments, code, says) in [
            (&["true"][..], 0, ""),
            (&["sh", "-c", "exit 3"], 3, ""),
            (&["--", "sh", "-c", "kill -KILL $$"], 128 + 9, ""),
            (&["sh", "-c", "kill -TERM $$"], 128 + 15, ""),
            (
                &["/nowhere/x"],
                127,
                "cannot run \"/nowhere/x\": No such file or directory",
            ),
            (
                &["occ-no-such-program"],
                127,
                "cannot run \"occ-no-such-program\"",
            ),
            (
                &["/etc/passwd"],
                126,
                "cannot run \"/etc/passwd\": Permission denied",
            ),
            (
                &["--report", "/etc/passwd"],
                126,
                "cannot run \"/etc/passwd\"",
            ),
            (&[], 125, "which command?"),
            (&["--unknown", "true"], 125, "unknown option \"--unknown\""),
            (&["--grace", "5", "true"], 125, "and this is \"5\""),
        ] {
            let (told, stdout, stderr) = run(arguments);
            assert_eq!(told, Some(code), "{arguments:?}: {stderr}");
            assert_eq!(stdout, "");
            assert!(stderr.contains(says), "{arguments:?}: {stderr}");
            assert_eq!(
                stderr.is_empty(),
                says.is_empty(),
                "{arguments:?}: {stderr}"
            );
            assert!(says.is_empty() || stderr.starts_with("yeshup: "));
        }
    });
}

#[test]
fn it_says_how_it_is_used_and_which_it_is() {
    isolated!(|| {
        let (code, help, stderr) = run(&["--help"]);
        assert_eq!((code, stderr.as_str()), (Some(0), ""));
        assert!(help.starts_with("Usage: yeshup [--grace TIME] [--report] [--] COMMAND"));
        let (code, version, _) = run(&["--version"]);
        assert_eq!((code, version.as_str()), (Some(0), "yeshup 0.1.0\n"));
    });
}

#[test]
fn a_report_is_a_line_that_tells_the_end_and_what_was_left() {
    isolated!(|| {
        let script = "sleep 1000 & echo $!; exit 3";
        let (code, stdout, stderr) = run(&["--report", "sh", "-c", script]);
        let left: u32 = stdout.trim().parse().unwrap();
        assert!(!alive(left));
        assert_eq!(code, Some(3));
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        for part in [
            "yeshup: sh (pid ",
            ") exited with code 3 after 0.",
            ", cpu 0.",
            ", peak ",
            " MiB; left 1: ",
        ] {
            assert!(stderr.contains(part), "{part}: {stderr}");
        }
        assert!(stderr.ends_with(&format!(" (pid {left})\n")), "{stderr}");
        // Without being asked it says nothing, and nothing is left of it either.
        let (_, stdout, stderr) = run(&["sh", "-c", script]);
        assert_eq!(stderr, "");
        assert!(!alive(stdout.trim().parse().unwrap()));
    });
}

/// What the machine counts of those that were killed for want of memory.
fn oom_kills() -> Option<String> {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap();
    let line = text.lines().find(|line| line.starts_with("oom_kill "));
    line.map(str::to_owned)
}

#[test]
fn a_report_says_who_killed_the_program() {
    isolated!(|| {
        let script = "kill -KILL $$";
        let says = "killed by SIGKILL, sender unknown [certain: kernel status] after";
        within(LIMIT, || {
            loop {
                let before = oom_kills();
                let (_, _, stderr) = run(&["--report", "sh", "-c", script]);
                if stderr.contains(says) {
                    break;
                }
                // Where the kernel's log has others' numbers, its count is a hint; and somebody else may have been killed just then.
                assert_ne!(oom_kills(), before, "{stderr}");
            }
        });

        let script =
            "trap '' TERM; kill -TERM $PPID; kill -TERM $(ps -o ppid= -p $PPID); read line";
        let mut command = yeshup();
        let script = ["--grace", "0s", "--report", "sh", "-c", script];
        command.args(script).stdin(Stdio::piped());
        let child = command.stderr(Stdio::piped()).spawn().unwrap();
        let output = within(LIMIT, || {
            // Not wait_with_output, which would close stdin first.
            let mut child = child;
            let stdin = child.stdin.take();
            let output = child.wait_with_output().unwrap();
            drop(stdin);
            output
        });
        assert_eq!(output.status.code(), Some(128 + 9));
        let stderr = String::from_utf8(output.stderr).unwrap();
        let says = "killed by yeshup: it had no time to end after SIGTERM [certain: we sent it]";
        assert!(stderr.contains(says), "{stderr}");
    });
}

#[test]
fn a_report_names_the_out_of_memory_killer() {
    isolated!(|| {
        let Some(group) = Cgroup::of_memory(24 << 20) else {
            return skipped("this user may not limit the memory of a control group of version 1");
        };
        // It keeps in memory what has no end of a line. The program joins the group, and who reports of it does not.
        let script = format!("echo $$ > {}; exec tail /dev/zero", group.entrance());
        let (code, _, stderr) = run(&["--report", "sh", "-c", &script]);
        assert_eq!(code, Some(128 + 9), "{stderr}");
        let says = "killed by the out-of-memory killer [";
        assert!(stderr.contains(says), "{stderr}");
    });
}

#[test]
fn what_comes_in_and_goes_out_is_the_programs() {
    isolated!(|| {
        let mut command = yeshup();
        command.args(["tr", "a-z", "A-Z"]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(b"through").unwrap();
        let output = within(LIMIT, || child.wait_with_output()).unwrap();
        assert_eq!(output.stdout, b"THROUGH");
    });
}

/// The program finds them closed as well, and not a file in their place.
#[test]
fn standard_descriptors_that_are_closed_stay_so() {
    isolated!(|| {
        for (closed, left) in [(">&-", "0\n2\n3\n"), ("<&-", "1\n2\n3\n")] {
            // The folder that is listed gets the lowest free number, so it is listed by another program.
            let script = format!(
                "{{ \"$0\" --report sh -c 'for fd in 0 1 2 3; do [ -e /proc/$$/fd/$fd ] && \
                 echo $fd >&2; done; :' 2>&4 {closed}; }} 4>&1 2>/dev/null"
            );
            let mut shell = std::process::Command::new("sh");
            shell
                .args(["-c", &script])
                .arg(env!("CARGO_BIN_EXE_yeshup"));
            let output = shell.stdin(Stdio::null()).output().unwrap();
            let said = String::from_utf8(output.stdout).unwrap();
            let numbers: String = said
                .lines()
                .filter(|line| line.len() == 1)
                .map(|line| format!("{line}\n"))
                .collect();
            assert_eq!(numbers, left.replace("3\n", ""), "{closed}: {said}");
            assert!(said.contains("exited with code 0"), "{said}");
        }
    });
}

#[test]
fn it_waits_for_a_program_that_takes_its_time() {
    isolated!(|| {
        let mut command = yeshup();
        command.args(["sh", "-c", "read line; exit 8"]);
        let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
        assert!(child.try_wait().unwrap().is_none());
        drop(child.stdin.take());
        assert_eq!(how(&mut child, LIMIT).code(), Some(8));
    });
}
