//! Every signal that can be caught.

use super::*;

/// Every signal that can be caught and ends a process: sent to itself, and from outside.
#[test]
fn each_signal_that_can_be_caught_is_told_with_its_sender() {
    isolated!(|| isolated_row(|process| {
        let standard = (1..32).filter(|number| {
            let others = [
                libc::SIGKILL,
                libc::SIGSTOP,
                libc::SIGPIPE,
                libc::SIGCHLD,
                libc::SIGCONT,
                libc::SIGTSTP,
                libc::SIGTTIN,
                libc::SIGTTOU,
                libc::SIGURG,
                libc::SIGWINCH,
            ];
            !others.contains(number)
        });
        let real_time = [libc::SIGRTMIN(), libc::SIGRTMIN() + 5, libc::SIGRTMAX()];
        let (host, user) = (OsPid::own(), rustix::process::getuid().as_raw());
        for number in standard.chain(real_time) {
            let inside = end_of(process, raw::raise, (number,));
            assert!(is_signal(&inside.reason, number), "{number}: {inside}");
            let cause = &inside.report.verdict.as_ref().unwrap().cause;
            let own = match cause {
                Cause::OwnSignal { signal } => signal.number() == number,
                Cause::Aborted => number == libc::SIGABRT,
                Cause::FileSizeLimit => number == libc::SIGXFSZ,
                _ => false,
            };
            assert!(own, "{number}: {inside}");
            assert_eq!(inside.report.fault().unwrap().signal, number);

            let outside = end_after(process, ready_and_stay, |process, pid| {
                let pid = process.os_pid(pid).unwrap().get().cast_signed();
                raw::kill(pid, number);
            });
            assert!(is_signal(&outside.reason, number), "{number}: {outside}");
            let verdict = outside.report.verdict.as_ref().unwrap();
            let from_us = matches!(&verdict.cause, Cause::SentBy { sender, user: Some(of), .. }
                if *sender == host && *of == user);
            assert!(
                from_us && verdict.confidence == Certain,
                "{number}: {outside}"
            );
            let line = format!(
                ") killed by {} from process {host} of user {user} [certain: ",
                match &verdict.cause {
                    Cause::SentBy { signal, .. } => signal.to_string(),
                    _ => String::new(),
                }
            );
            assert!(outside.to_string().contains(&line), "{outside}");
        }
    }));
}
