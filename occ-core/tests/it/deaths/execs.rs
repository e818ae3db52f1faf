//! Ends of a process that has executed a program, or could not.

use super::*;

#[test]
fn execs_are_told_as_what_they_came_to() {
    fn becomes(program: String, script: String) -> anyhow::Result<()> {
        Err(Command::new(program).args(["-c", &script]).exec().into())
    }
    fn script(process: &mut Process, script: &str) -> Down {
        end_of(process, becomes, ("/bin/sh".to_owned(), script.to_owned()))
    }
    fn broken(process: &mut Process, mode: u32, content: &str) -> Down {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("occ-broken-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let name = path.to_string_lossy().into_owned();
        let down = end_of(process, becomes, (name, String::new()));
        std::fs::remove_file(path).unwrap();
        down
    }
    let rows: Vec<Row> = vec![
        (
            "of an absent file",
            |process| {
                end_of(
                    process,
                    becomes,
                    ("/no/such/file".to_owned(), String::new()),
                )
            },
            Told {
                reason: |reason| matches!(reason, ExitReason::Error(_)),
                cause: itself,
                confidence: Certain,
                line: ") failed: No such file or directory",
            },
        ),
        (
            "of a file that is not executable",
            |process| broken(process, 0o644, "#!/bin/sh\n"),
            Told {
                reason: |reason| matches!(reason, ExitReason::Error(_)),
                cause: itself,
                confidence: Certain,
                line: ") failed: Permission denied",
            },
        ),
        (
            // The C library gives what the kernel does not know to a shell, which does not know it either.
            "of a broken file",
            |process| broken(process, 0o755, "\u{7f}ELF and no more"),
            Told {
                reason: |reason| is_code(reason, 127),
                cause: itself,
                confidence: Certain,
                line: ") exited with code 127 after",
            },
        ),
        (
            "of a program that exits",
            |process| script(process, "exit 7"),
            Told {
                reason: |reason| is_code(reason, 7),
                cause: itself,
                confidence: Certain,
                line: ") exited with code 7 after",
            },
        ),
        (
            // It has not our handlers, which is no evidence of anything.
            "of a program that faults",
            |process| {
                let down = script(process, "kill -SEGV $$");
                let executed = Evidence::Executed {
                    exe: "sh".to_owned(),
                };
                assert!(
                    down.report.evidence.contains(&executed),
                    "{:?}",
                    down.report
                );
                down
            },
            Told {
                reason: |reason| is_signal(reason, libc::SIGSEGV),
                cause: |cause| matches!(cause, Cause::BadAddress { address: None }),
                confidence: Probable,
                line: ") touched a bad address [probable: the signal]",
            },
        ),
        (
            "of a program that is terminated",
            |process| script(process, "kill $$"),
            Told {
                reason: |reason| is_signal(reason, libc::SIGTERM),
                cause: |cause| matches!(cause, Cause::SenderUnknown { .. }),
                confidence: Certain,
                line: ") killed by SIGTERM, sender unknown [certain: kernel status] after",
            },
        ),
    ];
    isolated!(|| rows.into_iter().for_each(check));
}
