//! Each way to end, a row: what is known of it, and the line that it amounts to.

use super::*;
use crate::evidence::Sent;
use crate::kernel_log::OomKill;

const SIGTERM: i32 = Raw::TERM.as_raw();
/// tgkill(2), by whomever.
const SI_TKILL: i32 = -6;

fn killed(signal: i32) -> OsStatus {
    let si_code = 2;
    OsStatus {
        si_code,
        si_status: signal,
    }
}

fn sent(signal: i32) -> Evidence {
    let (by, why) = ("<0.1>".to_owned(), "asked".to_owned());
    Evidence::Sent(Sent::new(signal, by, why))
}

fn sent_through(signal: i32, through: u32) -> Evidence {
    let Evidence::Sent(mut sent) = sent(signal) else {
        unreachable!()
    };
    sent.through = Some(OsPid::new(through));
    Evidence::Sent(sent)
}

fn logged(by_number: bool) -> Evidence {
    let kill = OomKill {
        os_pid: OsPid::new(5),
        name: "f".into(),
        in_cgroup: true,
        at: Duration::ZERO,
    };
    Evidence::LoggedOomKill { kill, by_number }
}

fn told(signal: i32, code: i32, change: impl Fn(&mut SignalInfo)) -> Evidence {
    let mut info = SignalInfo::new(signal, code, "main".to_owned());
    info.on_main_thread = true;
    change(&mut info);
    Evidence::Told(info)
}

fn cpu(soft: u64, hard: u64, used: u64) -> Evidence {
    let [soft, hard, used] = [soft, hard, used].map(Duration::from_secs);
    Evidence::CpuLimit { soft, hard, used }
}

fn oom(in_cgroup: bool, count: u64) -> Evidence {
    Evidence::OomKills { in_cgroup, count }
}

#[test]
fn each_end_is_told_as_what_it_was_and_no_more_surely_than_that() {
    let plain = |_: &mut SignalInfo| ();
    let own = |info: &mut SignalInfo| info.from_itself = true;
    let from_7 = |info: &mut SignalInfo| {
        info.sender = Some(OsPid::new(7));
        info.user = Some(0);
    };
    let full = Evidence::Memory {
        limit: 100,
        peak: 99,
    };
    let rows: Vec<(i32, Vec<Evidence>, &str)> = vec![
        // Sent by us, as its handler was told; and by another, though we had sent one as well.
        (
            SIGTERM,
            vec![told(SIGTERM, 0, from_7), sent_through(SIGTERM, 7)],
            "killed by SIGTERM from <0.1>: asked [certain: we sent it]",
        ),
        (
            SIGTERM,
            vec![told(SIGTERM, 0, from_7), sent_through(SIGTERM, 8)],
            "killed by SIGTERM from process 7 of user 0 [certain: told to its handler]",
        ),
        // Out of memory, and what must not be taken for it.
        (
            SIGKILL,
            vec![logged(true), oom(true, 1)],
            "killed by the out-of-memory killer [certain: kernel log]",
        ),
        (
            SIGKILL,
            vec![logged(true), sent(SIGKILL)],
            "killed by the out-of-memory killer [certain: kernel log]",
        ),
        (
            SIGKILL,
            vec![logged(false)],
            "killed by the out-of-memory killer [probable: kernel log, by name]",
        ),
        (
            SIGKILL,
            vec![oom(true, 1)],
            "killed by the out-of-memory killer [probable: its control group counts such kills]",
        ),
        (
            SIGKILL,
            vec![oom(false, 1)],
            "killed by the out-of-memory killer [guess: the machine counts such kills]",
        ),
        (
            SIGKILL,
            vec![full.clone()],
            "killed by the out-of-memory killer [guess: its control group was at its limit]",
        ),
        (
            SIGKILL,
            vec![full.clone(), Evidence::NoOomKill],
            "killed by SIGKILL, sender unknown [certain: kernel status]",
        ),
        (
            SIGKILL,
            vec![sent(SIGKILL), oom(true, 1), full],
            "killed by <0.1>: asked [certain: we sent it]",
        ),
        (
            SIGKILL,
            vec![cpu(1, 2, 2), oom(true, 1)],
            "used up its processor time [probable: its processor time had reached the hard limit]",
        ),
        // SIGKILL otherwise.
        (
            SIGKILL,
            vec![],
            "killed by SIGKILL, sender unknown [certain: kernel status]",
        ),
        (
            SIGKILL,
            vec![cpu(1, 3, 1)],
            "killed by SIGKILL, sender unknown [certain: kernel status]",
        ),
        (
            SIGKILL,
            vec![sent(SIGTERM)],
            "killed by SIGKILL, sender unknown [certain: kernel status]",
        ),
        // Signals that come with a word.
        (
            SIGTERM,
            vec![told(SIGTERM, 0, from_7)],
            "killed by SIGTERM from process 7 of user 0 [certain: told to its handler]",
        ),
        (
            SIGTERM,
            vec![told(SIGTERM, SI_TKILL, own)],
            "ended itself by SIGTERM [certain: told to its handler]",
        ),
        (
            SIGTERM,
            vec![told(SIGTERM, SI_TKILL, from_7)],
            "killed by SIGTERM from process 7 of user 0 [certain: told to its handler]",
        ),
        (
            // A timer has no sender.
            SIGTERM,
            vec![told(SIGTERM, -2, plain)],
            "killed by SIGTERM, sender unknown [certain: kernel status]",
        ),
        (
            SIGTERM,
            vec![sent(SIGTERM)],
            "killed by SIGTERM from <0.1>: asked [certain: we sent it]",
        ),
        (
            SIGTERM,
            vec![],
            "killed by SIGTERM, sender unknown [certain: kernel status]",
        ),
        // Of another signal than the one that ended it.
        (
            SIGTERM,
            vec![told(SIGSEGV, 1, plain)],
            "killed by SIGTERM, sender unknown [certain: kernel status]",
        ),
        // Faults.
        (
            SIGSEGV,
            vec![told(SIGSEGV, 1, |i| i.address = Some(0))],
            "touched address 0, by a null pointer [certain: told to its handler]",
        ),
        (
            SIGSEGV,
            vec![told(SIGSEGV, 2, |i| i.address = Some(0xabc))],
            "touched the bad address 0xabc [certain: told to its handler]",
        ),
        (
            SIGSEGV,
            vec![told(SIGSEGV, 0, from_7)],
            "killed by SIGSEGV from process 7 of user 0 [certain: told to its handler]",
        ),
        (
            SIGABRT,
            vec![told(SIGSEGV, 1, |i| i.stack_overflow = true)],
            "overflowed its stack [certain: told to its handler]",
        ),
        (
            SIGSEGV,
            vec![Evidence::HandlerSilent],
            "overflowed its stack [probable: its handler had no stack to run on]",
        ),
        (
            SIGSEGV,
            vec![],
            "touched a bad address [probable: the signal]",
        ),
        (
            SIGABRT,
            vec![told(SIGABRT, SI_TKILL, own)],
            "aborted [certain: told to its handler]",
        ),
        (
            SIGABRT,
            vec![told(SIGABRT, 0, from_7)],
            "killed by SIGABRT from process 7 of user 0 [certain: told to its handler]",
        ),
        (SIGABRT, vec![], "aborted [probable: the signal]"),
        (
            SIGFPE,
            vec![told(SIGFPE, 1, plain)],
            "divided by zero, or the like [certain: told to its handler]",
        ),
        (
            SIGILL,
            vec![told(SIGILL, 2, plain)],
            "came upon a bad instruction [certain: told to its handler]",
        ),
        (
            SIGSYS,
            vec![told(SIGSYS, SYS_SECCOMP, |i| i.call = Some(39))],
            "made the forbidden system call 39 [certain: told to its handler]",
        ),
        (
            SIGSYS,
            vec![],
            "made a forbidden system call [probable: the signal]",
        ),
        // Limits.
        (
            SIGXCPU,
            vec![told(SIGXCPU, 0x80, plain)],
            "used up its processor time [certain: told to its handler]",
        ),
        (
            SIGXCPU,
            vec![cpu(1, 2, 1)],
            "used up its processor time [probable: its processor time had reached the limit]",
        ),
        // The kernel has raised the soft limit by a second when it is looked at.
        (
            SIGXCPU,
            vec![cpu(2, 5, 1)],
            "used up its processor time [probable: its processor time had reached the limit]",
        ),
        (
            SIGXCPU,
            vec![cpu(5, 6, 1)],
            "killed by SIGXCPU, sender unknown [certain: kernel status]",
        ),
        (
            SIGXFSZ,
            vec![told(SIGXFSZ, 0, |i| i.from_itself = true)],
            "wrote a file beyond the limit [probable: told to its handler]",
        ),
    ];
    for (signal, evidence, line) in rows {
        let verdict = Verdict::new(killed(signal), &evidence);
        assert_eq!(verdict.to_string(), line, "{signal} {evidence:?}");
    }
}

#[test]
fn who_ended_itself_did_so_whatever_was_sent() {
    let status = OsStatus {
        si_code: 1,
        si_status: 3,
    };
    for evidence in [vec![], vec![sent(SIGKILL)], vec![oom(true, 5)]] {
        let verdict = Verdict::new(status, &evidence);
        assert_eq!(
            (verdict.cause, verdict.confidence),
            (Cause::Itself, Confidence::Certain)
        );
    }
}

#[test]
fn a_group_that_has_counted_no_kill_excludes_it_whatever_happened_elsewhere() {
    let kills = |in_cgroup, count| Some(Evidence::OomKills { in_cgroup, count });
    for (in_its_group, anywhere, expected) in [
        (Some(2), Some(3), kills(true, 2)),
        (Some(2), None, kills(true, 2)),
        (Some(0), Some(3), Some(Evidence::NoOomKill)),
        (Some(0), None, Some(Evidence::NoOomKill)),
        (None, Some(3), kills(false, 3)),
        (None, Some(0), Some(Evidence::NoOomKill)),
        (None, None, None),
    ] {
        assert_eq!(Evidence::of_oom_kills(in_its_group, anywhere), expected);
    }
}
