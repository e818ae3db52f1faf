//! What a process is started with, where that differs from the ordinary.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;

use occ_spawn::options::MAX_GIVEN;
use occ_spawn::{Child, ExitReason, Limit, Options, SpawnError, Spawner, Stdio, Step};
use occ_test_support::dead::Watch;
use occ_test_support::stat::Stat;
use occ_test_support::{LIMIT, isolated, skipped, test_path};
use rustix::process::{Resource, Signal, getrlimit};

use crate::{end_of, send, signal, stay, value};

fn new() -> Options {
    Options::new()
}

#[track_caller]
fn not_begun(made: Result<Child, SpawnError>) -> (Step, String, i32) {
    match made {
        Err(SpawnError::NotBegun { step, what, source }) => {
            (step, what, source.raw_os_error().unwrap())
        }
        other => panic!("it is {other:?}"),
    }
}

fn file_with(text: &str) -> File {
    let file = rustix::fs::memfd_create("file", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
    let mut file = File::from(file);
    file.write_all(text.as_bytes()).unwrap();
    file.rewind().unwrap();
    file
}

fn contents(mut file: File) -> String {
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn where_am_i() -> String {
    std::env::current_dir().unwrap().display().to_string()
}

#[test]
fn a_process_has_the_directory_that_it_is_given() {
    let spawner = Spawner::new().unwrap();
    let options = new().cwd("/proc");
    let mut there = spawner.spawn_with(&options, where_am_i, ()).unwrap();
    let mut here = spawner.spawn(where_am_i, ()).unwrap();
    assert_eq!(value::<String>(&end_of(&mut there)), "/proc");
    // The control: without the option it is ours.
    assert_eq!(value::<String>(&end_of(&mut here)), where_am_i());
}

#[test]
fn what_cannot_be_had_is_an_error_of_the_spawn_and_leaves_nothing() {
    isolated(test_path!(), || {
        let spawner = Spawner::new().unwrap();
        let refused = |options: &Options| not_begun(spawner.spawn_with(options, where_am_i, ()));
        let absent = new().cwd("/no/such");
        let told = (
            Step::WorkingDirectory,
            "\"/no/such\"".to_owned(),
            libc::ENOENT,
        );
        assert_eq!(refused(&absent), told);
        let error = spawner.spawn_with(&absent, where_am_i, ()).unwrap_err();
        let text = "the process could not change to its working directory \"/no/such\"";
        assert_eq!(error.to_string(), text);

        let file = || OwnedFd::from(file_with(""));
        let (step, what, _) = refused(&new().fd(3, file()));
        assert_eq!(step, Step::Descriptors);
        assert!(
            what.contains("3: a function has its control socket there"),
            "{what}"
        );
        let (step, what, _) = refused(&new().fd(7, file()).fd(7, file()));
        assert_eq!(
            (step, what.as_str()),
            (Step::Descriptors, "(7: wanted twice)")
        );
        let (step, _, errno) = refused(&new().fd(-1, file()));
        assert_eq!((step, errno), (Step::Descriptors, libc::EBADF));
        let (step, _, _) = refused(&new().fd(i32::MAX - 1, file()));
        assert_eq!(step, Step::Descriptors);
        let (step, what, errno) = refused(&new().rlimit(Limit::OpenFiles, Some(10), Some(5)));
        assert_eq!((step, errno), (Step::Limit, libc::EINVAL));
        assert_eq!(what, "OpenFiles to 10 (soft) and 5 (hard)");
        let (step, what, errno) = refused(&new().env("A=B", "C"));
        assert_eq!((step, errno), (Step::Environment, libc::EINVAL));
        assert!(what.starts_with("\"A=B\" (a name has no `=`"), "{what}");

        // The spawner is as good as it was.
        let mut child = spawner.spawn(where_am_i, ()).unwrap();
        assert_eq!(value::<String>(&end_of(&mut child)), where_am_i());
    });
}

fn variables() -> Vec<(String, String)> {
    let mut all: Vec<_> = std::env::vars().collect();
    all.sort();
    all
}

#[test]
fn the_environment_is_changed_or_replaced() {
    let spawner = Spawner::new().unwrap();
    let of = |options: &Options| {
        let mut child = spawner.spawn_with(options, variables, ()).unwrap();
        value::<Vec<(String, String)>>(&end_of(&mut child))
    };
    let changed = of(&new().env("OCC_A", "1").env("OCC_A", "2").env_remove("PATH"));
    assert!(changed.contains(&("OCC_A".to_owned(), "2".to_owned())));
    assert!(!changed.iter().any(|(name, _)| name == "PATH"));
    let rest = variables().into_iter().filter(|(name, _)| name != "PATH");
    assert!(rest.into_iter().all(|pair| changed.contains(&pair)));

    let replaced = of(&new().env("OCC_A", "1").env_clear().env("OCC_B", "3"));
    assert_eq!(replaced, [("OCC_B".to_owned(), "3".to_owned())]);
    // The control.
    assert_eq!(of(&new()), variables());
}

fn copy_stdin() {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    print!("out {text}");
    eprint!("err {text}");
}

#[test]
fn standard_descriptors_come_from_files_pipes_and_nowhere() {
    let spawner = Spawner::new().unwrap();
    let (out, err) = (file_with(""), file_with(""));
    let (mut reader, writer) = std::io::pipe().unwrap();
    let options = new()
        .stdin(file_with("text"))
        .stdout(out.try_clone().unwrap())
        .stderr(writer);
    let mut child = spawner.spawn_with(&options, copy_stdin, ()).unwrap();
    value::<()>(&end_of(&mut child));
    drop(options);
    let mut said = String::new();
    reader.read_to_string(&mut said).unwrap();
    assert_eq!(
        (contents(out).as_str(), said.as_str()),
        ("out text", "err text")
    );

    // Without the option there is nothing to read, and /dev/null takes all.
    let out = file_with("");
    let options = new().stdout(out.try_clone().unwrap()).stderr(Stdio::Null);
    let mut child = spawner.spawn_with(&options, copy_stdin, ()).unwrap();
    value::<()>(&end_of(&mut child));
    drop((options, err));
    assert_eq!(contents(out), "out ");
}

#[test]
fn standard_input_can_be_that_of_the_host() {
    isolated(test_path!(), || {
        let before = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).unwrap();
        rustix::stdio::dup2_stdin(file_with("the host's")).unwrap();
        let spawner = Spawner::new().unwrap();
        let out = file_with("");
        let options = new()
            .stdin(Stdio::Inherit)
            .stdout(out.try_clone().unwrap())
            .stderr(Stdio::Null);
        let mut child = spawner.spawn_with(&options, copy_stdin, ()).unwrap();
        value::<()>(&end_of(&mut child));
        assert_eq!(contents(out), "out the host's");
        rustix::stdio::dup2_stdin(before).unwrap();
    });
}

fn inode_at(number: i32) -> Option<u64> {
    let file = std::fs::metadata(format!("/proc/self/fd/{number}"));
    file.ok().map(|file| file.ino())
}

fn open_numbers() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name());
    let mut all: Vec<i32> = names
        .map(|n| n.to_str().unwrap().parse().unwrap())
        .collect();
    all.sort_unstable();
    // The directory itself is the highest, or fills a gap.
    all.retain(|number| inode_at(*number).is_some());
    all
}

fn given(numbers: Vec<i32>) -> (Vec<Option<u64>>, Vec<i32>) {
    (numbers.into_iter().map(inode_at).collect(), open_numbers())
}

#[test]
fn descriptors_are_put_where_they_are_wanted_and_nothing_else_is_open() {
    let spawner = Spawner::new().unwrap();
    // Numbers that those on their way have as well, in an order that would overwrite some.
    let numbers = [6, 5, 4, 900, 11];
    let files: Vec<File> = numbers.iter().map(|_| file_with("x")).collect();
    let inodes: Vec<_> = files
        .iter()
        .map(|f| Some(f.metadata().unwrap().ino()))
        .collect();
    let mut options = new();
    for (number, file) in numbers.iter().zip(&files) {
        options = options.fd(*number, file.try_clone().unwrap());
    }
    let mut child = spawner
        .spawn_with(&options, given, (numbers.to_vec(),))
        .unwrap();
    let (found, open) = value::<(Vec<Option<u64>>, Vec<i32>)>(&end_of(&mut child));
    assert_eq!(found, inodes);
    assert_eq!(open, [0, 1, 2, 3, 4, 5, 6, 11, 900]);
    // The options serve again.
    let mut child = spawner
        .spawn_with(&options, given, (numbers.to_vec(),))
        .unwrap();
    assert_eq!(
        value::<(Vec<Option<u64>>, Vec<i32>)>(&end_of(&mut child)).0,
        inodes
    );
}

fn how_many_are_open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

#[test]
fn more_descriptors_than_go_with_one_spawn_are_an_error_that_says_how_many_may() {
    isolated(test_path!(), || {
        let spawner = Spawner::new().unwrap();
        let with = |count: usize| {
            let numbers = (4..).take(count - 1);
            let options = new().stdin(OwnedFd::from(file_with("")));
            numbers.fold(options, |options, number| options.fd(number, file_with("")))
        };
        // The control: as many as may.
        let options = with(MAX_GIVEN);
        let args = (vec![0_u8; 100_000],);
        let mut child = spawner.spawn_with(&options, told_to, args).unwrap();
        assert_eq!(value::<usize>(&end_of(&mut child)), MAX_GIVEN - 1 + 4);
        let mut child = spawner.spawn_exe(&options, "true").unwrap();
        assert!(matches!(end_of(&mut child).reason, ExitReason::Code(0)));
        for count in [MAX_GIVEN + 1, 253, 300] {
            let options = with(count);
            let function = spawner.spawn_with(&options, how_many_are_open, ());
            for refused in [function, spawner.spawn_exe(&options, "true")] {
                let told = refused.unwrap_err().to_string();
                let text = "expected at most 245 descriptors for a process, and it is given ";
                assert_eq!(told, format!("{text}{count}"));
            }
        }
        let mut child = spawner.spawn(how_many_are_open, ()).unwrap();
        assert_eq!(value::<usize>(&end_of(&mut child)), 4);
    });
}

/// Its arguments are so long that they come in a memory file.
fn told_to(_: Vec<u8>) -> usize {
    how_many_are_open()
}

fn limits() -> (Option<u64>, Option<u64>) {
    let limit = getrlimit(Resource::Core);
    (limit.current, limit.maximum)
}

#[test]
fn limits_are_those_that_were_asked_for() {
    let spawner = Spawner::new().unwrap();
    let options = new().rlimit(Limit::Core, Some(0), Some(4096));
    let mut child = spawner.spawn_with(&options, limits, ()).unwrap();
    let told: (Option<u64>, Option<u64>) = value(&end_of(&mut child));
    assert_eq!(told, (Some(0), Some(4096)));
    assert_ne!(limits(), told, "the control");
}

fn niceness() -> i32 {
    rustix::process::getpriority_process(None).unwrap()
}

#[test]
fn a_nice_process_is_nicer() {
    let spawner = Spawner::new().unwrap();
    let mut child = spawner.spawn_with(&new().nice(3), niceness, ()).unwrap();
    assert_eq!(value::<i32>(&end_of(&mut child)), (niceness() + 3).min(19));
}

fn who() -> (u32, u32, usize, u32, u32) {
    let group = Stat::of(std::process::id()).unwrap().group;
    (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
        rustix::process::getgroups().unwrap().len(),
        u32::from(rustix::thread::no_new_privs().unwrap()),
        group,
    )
}

#[test]
fn a_process_group_and_no_new_privileges_are_had_if_asked_for() {
    let spawner = Spawner::new().unwrap();
    let mut child = spawner
        .spawn_with(&new().foreground(false).no_new_privs(), who, ())
        .unwrap();
    let os_pid = child.os_pid().get();
    let (_, _, _, no_new, group): (u32, u32, usize, u32, u32) = value(&end_of(&mut child));
    assert_eq!((no_new, group), (1, os_pid));
    let mut plain = spawner.spawn(who, ()).unwrap();
    assert_eq!(
        value::<(u32, u32, usize, u32, u32)>(&end_of(&mut plain)),
        who()
    );
}

#[test]
fn a_user_is_changed_with_its_groups() {
    let spawner = Spawner::new().unwrap();
    let options = new().user(65_534).group(65_533);
    if !rustix::process::geteuid().is_root() {
        let (step, _, errno) = not_begun(spawner.spawn_with(&options, who, ()));
        assert_eq!((step, errno), (Step::Group, libc::EPERM));
        return skipped("changing the user needs root; that it is refused was seen");
    }
    let mut child = spawner.spawn_with(&options, who, ()).unwrap();
    let (user, group, groups, ..) = value::<(u32, u32, usize, u32, u32)>(&end_of(&mut child));
    assert_eq!((user, group, groups), (65_534, 65_533, 0));
    let options = options.groups([1, 2, 3]);
    let mut child = spawner.spawn_with(&options, who, ()).unwrap();
    assert_eq!(
        value::<(u32, u32, usize, u32, u32)>(&end_of(&mut child)).2,
        3
    );
}

#[test]
fn after_a_change_of_user_a_process_still_dies_with_its_parent() {
    if !rustix::process::geteuid().is_root() {
        return skipped("changing the user needs root");
    }
    let spawner = Spawner::new().unwrap();
    let child = spawner.spawn_with(&new().user(65_534), stay, ()).unwrap();
    let watch = Watch::of(child.os_pid().get());
    assert!(watch.is_alive());
    // Its parent is the spawner's thread.
    drop((child, spawner));
    watch.wait_gone(LIMIT);
}

fn own_name() -> String {
    let name = std::fs::read_to_string("/proc/self/comm").unwrap();
    name.trim_end().to_owned()
}

#[test]
fn a_label_is_told_by_ps_and_by_the_report() {
    let spawner = Spawner::new().unwrap();
    let options = new().label("worker-7 of the large pool");
    let mut child = spawner.spawn_with(&options, own_name, ()).unwrap();
    let exit = end_of(&mut child);
    assert_eq!(value::<String>(&exit), "worker-7 of the");
    let line = exit.report.to_string();
    assert!(
        line.starts_with("worker-7 of the large pool (pid "),
        "{line}"
    );
    let exit = end_of(&mut spawner.spawn(own_name, ()).unwrap());
    assert!(
        exit.report.to_string().contains("own_name (pid "),
        "the control"
    );
}

fn length(text: String) -> u64 {
    text.len() as u64
}

#[test]
fn long_arguments_and_long_options_go_together() {
    let spawner = Spawner::new().unwrap();
    let long = "x".repeat(3 << 20);
    let options = new().env("OCC_LONG", &long[..100_000]).cwd("/");
    let mut child = spawner
        .spawn_with(&options, length, (long.clone(),))
        .unwrap();
    assert_eq!(value::<u64>(&end_of(&mut child)), long.len() as u64);
}

#[test]
fn a_process_with_options_is_killed_as_any() {
    let spawner = Spawner::new().unwrap();
    let mut child = spawner.spawn_with(&new().cwd("/"), stay, ()).unwrap();
    send(child.os_pid(), Signal::KILL);
    assert_eq!(signal(&end_of(&mut child)), libc::SIGKILL);
}
