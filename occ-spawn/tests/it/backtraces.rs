//! Backtraces: what a process that ends has to do for them, and what is made of it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use occ_spawn::{Backtrace, Exit, ExitReason, Spawner};
use occ_test_support::fds::without_room;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, isolated, tree};
use rustix::process::Signal;

use crate::{end_of, initialisers, raw, run};

/// The line of the panic, and of the error.
const PANICS_AT: u32 = line!() + 4;
fn panics(how: Option<String>) {
    ask_for(how);
    // Not the first line of its function.
    panic!("here");
}

const FAILS_AT: u32 = line!() + 3;
fn fails(how: Option<String>) -> anyhow::Result<()> {
    ask_for(how);
    Err(anyhow::anyhow!("here"))
}

/// Asks for backtraces in the calling process, or does not.
fn ask_for(how: Option<String>) {
    raw::remove_env("RUST_LIB_BACKTRACE");
    match how {
        Some(how) => raw::set_env("RUST_BACKTRACE", &how),
        None => raw::remove_env("RUST_BACKTRACE"),
    }
}

fn short() -> (Option<String>,) {
    (Some("1".to_owned()),)
}

#[track_caller]
fn backtrace(exit: &Exit) -> &Backtrace {
    let backtrace = match &exit.reason {
        ExitReason::Panic(panic) => panic.backtrace.as_ref(),
        ExitReason::Error(failure) => failure.backtrace(),
        other => panic!("it {other}"),
    };
    backtrace.expect("a backtrace")
}

fn is_without_names(backtrace: &Backtrace) -> bool {
    backtrace.text().starts_with("   0: image+0x") && !backtrace.text().contains("backtraces")
}

/// How often the program's own file is mapped in this process: once for each of its segments, and once more by whoever
/// reads names from it.
fn mappings() -> usize {
    let exe = std::env::current_exe().unwrap();
    let exe = exe.to_str().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.ends_with(exe)).count()
}

/// The control of all that says that nobody has looked for names.
fn look_for_names() {
    std::hint::black_box(std::backtrace::Backtrace::force_capture().to_string());
}

#[test]
fn of_a_panic_it_has_the_function_and_the_line_and_begins_and_ends_with_what_is_the_users() {
    let exit = run(panics, short());
    let text = backtrace(&exit).text();
    let at = format!("backtraces.rs:{PANICS_AT}:");
    assert!(
        text.contains("it::backtraces::panics\n") && text.contains(&at),
        "{text}"
    );
    assert!(text.starts_with("   0: "), "{text}");
    for not in [
        "occ_spawn::panic",
        "occ_spawn::zygote",
        "short_backtrace",
        "panic_with_hook",
    ] {
        assert!(!text.contains(not), "{not} is in it:\n{text}");
    }
}

#[test]
fn of_an_error_it_has_the_function_and_the_line() {
    let exit = run(fails, short());
    let text = backtrace(&exit).text();
    let at = format!("backtraces.rs:{FAILS_AT}:");
    assert!(
        text.contains("it::backtraces::fails\n") && text.contains(&at),
        "{text}"
    );
    assert!(text.starts_with("   0: anyhow::"), "{text}");
    assert!(!text.contains("occ_spawn::zygote"), "{text}");
}

#[test]
fn where_all_of_it_is_asked_for_it_has_all_and_the_places() {
    let full = || (Some("full".to_owned()),);
    let panic = run(panics, full());
    let text = backtrace(&panic).text();
    for part in [
        "occ_spawn::panic",
        "occ_spawn::zygote",
        "short_backtrace",
        " - it::backtraces::panics",
        ": 0x",
    ] {
        let bare: String = text
            .split_inclusive('\n')
            .map(|line| line.replace("     ", ""))
            .collect();
        assert!(
            text.contains(part) || bare.contains(part),
            "no {part} in it:\n{text}"
        );
    }
    let error = run(fails, full());
    let text = backtrace(&error).text();
    assert!(
        text.contains("occ_spawn::zygote") && text.contains(" - it::backtraces::fails"),
        "{text}"
    );
}

#[test]
fn without_being_asked_for_there_is_none() {
    for not in [None, Some("0".to_owned())] {
        let ExitReason::Panic(panic) = run(panics, (not.clone(),)).reason else {
            panic!("no panic")
        };
        assert!(panic.backtrace.is_none(), "{panic:?}");
        let ExitReason::Error(failure) = run(fails, (not,)).reason else {
            panic!("no error")
        };
        assert!(failure.backtrace().is_none(), "{failure:?}");
    }
}

#[test]
fn panics_and_errors_are_asked_for_as_in_std() {
    fn of_errors_alone(panics: bool) -> anyhow::Result<()> {
        raw::remove_env("RUST_BACKTRACE");
        raw::set_env("RUST_LIB_BACKTRACE", "1");
        assert!(!panics, "as asked");
        Err(anyhow::anyhow!("as asked"))
    }
    let ExitReason::Error(failure) = run(of_errors_alone, (false,)).reason else {
        panic!("no error")
    };
    assert!(failure.backtrace().is_some());
    let ExitReason::Panic(panic) = run(of_errors_alone, (true,)).reason else {
        panic!("no panic")
    };
    assert!(panic.backtrace.is_none());
}

/// Addresses differ from zygote to zygote.
#[test]
fn it_is_the_same_from_another_zygote_and_for_another_reader() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let text_of = || {
            let exit = end_of(&mut spawner.spawn(panics, short()).unwrap());
            backtrace(&exit).text().to_owned()
        };
        let first = text_of();
        assert!(first.contains("it::backtraces::panics\n"), "{first}");
        let zygotes = tree::children(std::process::id());
        assert_eq!(zygotes.len(), 1);
        let watch = occ_test_support::dead::Watch::of(zygotes[0]);
        watch.signal(Signal::KILL);
        watch.wait_gone(LIMIT);
        assert_eq!(text_of(), first);
    });
}

#[test]
fn a_process_that_panics_does_not_look_for_names() {
    fn looks() -> (usize, usize, usize) {
        raw::set_env("RUST_BACKTRACE", "1");
        let before = mappings();
        let _ = std::panic::catch_unwind(|| panic!("caught"));
        let after = mappings();
        look_for_names();
        (before, after, mappings())
    }
    let (before, after, control) = crate::value::<(usize, usize, usize)>(&run(looks, ()));
    assert_eq!(before, after);
    assert!(control > after, "{control}");
}

static OPENED: AtomicU64 = AtomicU64::new(0);
static REFUSED: AtomicU64 = AtomicU64::new(0);

/// What another thread does all the while.
fn open_files() {
    loop {
        match std::fs::File::open("/dev/null") {
            Ok(_) => OPENED.fetch_add(1, Relaxed),
            Err(_) => REFUSED.fetch_add(1, Relaxed),
        };
    }
}

/// Tells how often the file is mapped when it is dropped: after all has been done that its backtrace needs.
#[derive(Debug)]
struct TellsLate {
    say: Say,
    before: usize,
}

impl fmt::Display for TellsLate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("told late")
    }
}

impl std::error::Error for TellsLate {}

impl Drop for TellsLate {
    fn drop(&mut self) {
        // That this can be read shows that files can be opened again.
        let after = mappings();
        look_for_names();
        let control = mappings();
        let (before, refused) = (self.before, REFUSED.load(Relaxed));
        self.say
            .line(format!("{before} {after} {control} {refused}"));
    }
}

fn tells_late(say: String, threads: bool) -> anyhow::Result<()> {
    raw::set_env("RUST_BACKTRACE", "1");
    if threads {
        std::thread::spawn(open_files);
        while OPENED.load(Relaxed) == 0 {}
    }
    let say = Say::open(&say);
    let before = mappings();
    Err(TellsLate { say, before }.into())
}

fn told_late(threads: bool) -> (Exit, [u64; 4]) {
    let (ready, say) = Ready::new();
    let spawner = Spawner::new().unwrap();
    let mut child = spawner.spawn(tells_late, (say.address(), threads)).unwrap();
    let line = ready.line(LIMIT);
    let numbers: Vec<u64> = line.split(' ').map(|n| n.parse().unwrap()).collect();
    (end_of(&mut child), numbers.try_into().unwrap())
}

#[test]
fn a_process_that_fails_does_not_look_for_names_and_can_open_files_afterwards() {
    let (exit, [before, after, control, _]) = told_late(false);
    assert_eq!(before, after);
    assert!(control > after, "{control}");
    let text = backtrace(&exit).text();
    assert!(text.contains("backtraces::tells_late\n"), "{text}");
}

#[test]
fn one_with_threads_does_not_either_and_those_can_open_files_all_the_while() {
    let (exit, [before, after, control, refused]) = told_late(true);
    assert_eq!((before, refused), (after, 0));
    assert!(control > after, "{control}");
    let text = backtrace(&exit).text();
    assert!(text.contains("backtraces::tells_late\n"), "{text}");
}

#[test]
fn whoever_reads_it_keeps_nothing_of_what_is_read_for_it() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let exit = end_of(&mut spawner.spawn(panics, short()).unwrap());
        let before = mappings();
        let copy = exit.clone();
        assert!(backtrace(&exit).text().contains("backtraces::panics"));
        assert_eq!(mappings(), before);
        // Once for all copies.
        assert!(std::ptr::eq(
            backtrace(&exit).text(),
            backtrace(&copy).text()
        ));
        look_for_names();
        assert!(mappings() > before);
    });
}

#[test]
fn a_reader_without_descriptors_has_the_addresses() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let mut ends = [(), ()].map(|()| end_of(&mut spawner.spawn(panics, short()).unwrap()));
        let text = without_room(|| backtrace(&ends[0]).text().to_owned());
        assert!(is_without_names(backtrace(&ends[0])), "{text}");
        // The control.
        assert!(!is_without_names(backtrace(&ends[1])));
        ends.reverse();
    });
}

#[test]
fn a_reader_whose_helper_ends_has_the_addresses() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let ends = [(), ()].map(|()| end_of(&mut spawner.spawn(panics, short()).unwrap()));
        raw::set_env(initialisers::KEY, "end");
        assert!(is_without_names(backtrace(&ends[0])), "{}", ends[0].reason);
        raw::remove_env(initialisers::KEY);
        assert!(!is_without_names(backtrace(&ends[1])));
    });
}

#[test]
fn a_reader_whose_helper_is_stuck_has_the_addresses_after_ten_seconds() {
    isolated!(|| {
        let exit = run(panics, short());
        raw::set_env(initialisers::KEY, "stay");
        let asked = Instant::now();
        assert!(is_without_names(backtrace(&exit)));
        let took = asked.elapsed().as_secs();
        assert!((10..100).contains(&took), "{took} s");
        raw::remove_env(initialisers::KEY);
    });
}

#[test]
fn of_a_recursion_it_has_the_innermost() {
    fn descend(depth: u32) -> u32 {
        assert!(depth > 0, "at the bottom");
        std::hint::black_box(descend(depth - 1)) + 1
    }
    fn descends() -> u32 {
        raw::set_env("RUST_BACKTRACE", "1");
        descend(10_000)
    }
    let exit = run(descends, ());
    let text = backtrace(&exit).text();
    assert!(text.contains("descend"), "{text}");
    assert!(
        text.ends_with("[... and those that called it ...]\n"),
        "{text}"
    );
}
