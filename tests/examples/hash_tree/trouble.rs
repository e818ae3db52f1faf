//! Files that cannot be read, and files that kill who reads them: they are named, and the rest is done.

use std::fs::File;
use std::io;
use std::path::Path;

use occ_test_support::{LIMIT, isolated, stress, within};
use occasional::{Pid, kill, processes, spawn};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use rustix::process::{Signal, getpid, kill_process};

use super::parts::boss::{self, Plan};
use super::parts::summary::{End, Summary};
use super::parts::walk;
use super::parts::worker::{Digest, serve, work};
use super::{closing_line, hash_tree, trees};
use crate::program::sha256sum;
use crate::scratch::Scratch;

/// The boss, as a process: what it printed, and its summary.
fn hash(
    files: Vec<Vec<u8>>,
    workers: usize,
    chaos: Option<u64>,
) -> anyhow::Result<(Vec<u8>, Summary)> {
    let mut out = Vec::new();
    let summary = boss::hash_all(files, Plan { workers, chaos }, work, &mut out)?;
    Ok((out, summary))
}

/// The same with workers that die of certain files.
fn hash_deadly(files: Vec<Vec<u8>>) -> anyhow::Result<(Vec<u8>, Summary)> {
    let mut out = Vec::new();
    let plan = Plan {
        workers: 3,
        chaos: None,
    };
    let summary = boss::hash_all(files, plan, mortal, &mut out)?;
    Ok((out, summary))
}

/// A worker that dies as the name of the file says. Its digests are none.
fn mortal(boss: Pid) -> anyhow::Result<u64> {
    serve(boss, |path| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        match name {
            "panic" => panic!("of what it read"),
            "kill" => die(),
            "exit" => occasional::exit(7),
            "fail" => occasional::fail("as it read".to_owned()),
            "kill once" if first_time(path)? => die(),
            _ => Ok(Digest::default()),
        }
    })
}

/// The boss, with somebody about who kills so many workers at whatever moment.
fn hash_hunted(files: Vec<Vec<u8>>, kills: usize) -> anyhow::Result<(Vec<u8>, Summary)> {
    spawn(hunt, (kills,))?;
    hash(files, 3, None)
}

fn hunt(kills: usize) -> anyhow::Result<()> {
    let mut killed = 0;
    while killed < kills {
        for process in processes()? {
            if process.function.ends_with("worker::work") && kill(process.pid).is_ok() {
                killed += 1;
            }
        }
    }
    Ok(())
}

fn die() -> ! {
    kill_process(getpid(), Signal::KILL).unwrap();
    unreachable!("killed");
}

/// Whether it is; there is a file that remembers it.
fn first_time(path: &Path) -> io::Result<bool> {
    match File::create_new(path.with_extension("seen")) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Paths that end with these names.
fn named(names: &[&str]) -> Vec<Vec<u8>> {
    names
        .iter()
        .map(|name| format!("nowhere/{name}").into_bytes())
        .collect()
}

fn end(summary: &Summary, end: End) -> usize {
    summary.ends.get(&end).copied().unwrap_or(0)
}

#[test]
fn a_file_that_vanished_after_it_was_listed_is_named_and_the_rest_is_done() {
    isolated!(|| {
        let scratch = trees::of(30);
        let dir = scratch.join("tree").into_os_string().into_encoded_bytes();
        let listed = walk::list(&dir).unwrap().files;
        assert_eq!(listed.len(), 30);
        let gone = listed[7].clone();
        std::fs::remove_file(scratch.join("tree/15")).unwrap();
        assert!(
            gone.ends_with(b"tree/15"),
            "{:?}",
            String::from_utf8_lossy(&gone)
        );
        let expected = sha256sum(scratch.path(), scratch.join("tree"));

        for (workers, chaos) in [(1, None), (3, None), (2, Some(1)), (2, Some(2))] {
            let run = || occasional::run(hash, (listed.clone(), workers, chaos));
            let (printed, summary) = within(LIMIT, run).unwrap();
            assert_eq!(printed, expected);
            assert!(!summary.is_complete());
            let lines = summary.lines();
            assert_eq!(lines.len(), 2);
            let reason = b": No such file or directory (os error 2)".as_slice();
            assert_eq!(lines[0], [&gone, reason].concat());
            let kills = end(&summary, End::Signal("SIGKILL".to_owned()));
            assert_eq!(kills, if chaos.is_some() { 10 } else { 0 });
        }
    });
}

#[test]
fn what_has_become_something_else_after_it_was_listed_is_named_and_nobody_waits_for_it() {
    isolated!(|| {
        let scratch = Scratch::new();
        let file = scratch.file("file", "");
        mknodat(CWD, scratch.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let path = |name| scratch.join(name).into_os_string().into_encoded_bytes();
        let files = vec![
            path("fifo"),
            file,
            scratch.path().as_os_str().as_encoded_bytes().to_vec(),
        ];
        let run = || occasional::run(hash, (files.clone(), 1, None::<u64>));
        let (printed, summary) = within(LIMIT, run).unwrap();
        let expected = sha256sum(scratch.path(), scratch.join("file"));
        assert_eq!(printed, expected);
        let named: Vec<_> = summary
            .unreadable
            .iter()
            .map(|unreadable| &unreadable.path)
            .collect();
        assert_eq!(named, [&files[0], &files[2]]);
        for unreadable in summary.unreadable {
            assert_eq!(unreadable.reason, "it is no longer a regular file");
        }
    });
}

#[test]
fn a_file_that_kills_every_worker_is_named_with_the_last_reason() {
    isolated!(|| {
        let files = named(&["a", "panic", "b", "kill", "c", "exit", "d", "fail", "e"]);
        let run = || occasional::run(hash_deadly, (files,));
        let (printed, summary) = within(LIMIT, run).unwrap();
        let printed = String::from_utf8_lossy(&printed);
        let done: Vec<_> = printed.lines().map(|line| &line[66..]).collect();
        assert_eq!(
            done,
            [
                "nowhere/a",
                "nowhere/b",
                "nowhere/c",
                "nowhere/d",
                "nowhere/e"
            ]
        );

        let expected = [
            ("nowhere/panic", "panicked: of what it read at "),
            ("nowhere/kill", "was killed by SIGKILL"),
            ("nowhere/exit", "returned a value of type i32"),
            (
                "nowhere/fail",
                "failed: failed with a value of type `alloc::string::String`",
            ),
        ];
        assert_eq!(summary.unreadable.len(), expected.len());
        for (unreadable, (path, why)) in summary.unreadable.iter().zip(expected) {
            assert_eq!(unreadable.path, path.as_bytes());
            let reason = format!("3 workers ended over it, and the last one {why}");
            assert!(unreadable.reason.starts_with(&reason), "{unreadable:?}");
        }
        assert_eq!(end(&summary, End::Panic), 3);
        assert_eq!(end(&summary, End::Signal("SIGKILL".to_owned())), 3);
        assert_eq!(end(&summary, End::Error), 3);
        // Those that exited, and those that were told to stop, if any were left.
        assert!(end(&summary, End::Value) >= 3, "{summary:?}");
    });
}

/// The control of the above: with files of other names the same workers live.
#[test]
fn workers_that_could_die_do_not_die_of_other_files() {
    isolated!(|| {
        let run = || occasional::run(hash_deadly, (named(&["a", "b", "c", "d"]),));
        let (_, summary) = within(LIMIT, run).unwrap();
        assert!(summary.is_complete());
        assert_eq!(summary.lines(), [b"4 files; 3 workers ended: 3 by value"]);
    });
}

#[test]
fn what_a_dead_worker_held_is_done_by_another() {
    isolated!(|| {
        let scratch = Scratch::new();
        let files: Vec<_> = ["1", "2", "3"]
            .into_iter()
            .flat_map(|dir| {
                std::fs::create_dir(scratch.join(dir)).unwrap();
                ["kill once", "other"].map(|name| scratch.file(Path::new(dir).join(name), ""))
            })
            .collect();
        let run = || occasional::run(hash_deadly, (files,));
        let (printed, summary) = within(LIMIT, run).unwrap();
        assert!(summary.is_complete(), "{summary:?}");
        assert_eq!(String::from_utf8_lossy(&printed).lines().count(), 6);
        assert_eq!(end(&summary, End::Signal("SIGKILL".to_owned())), 3);
    });
}

#[test]
fn every_file_is_printed_or_named_whoever_kills_workers_at_whatever_moment() {
    isolated!(|| {
        let scratch = trees::of(200);
        let dir = scratch.join("tree").into_os_string().into_encoded_bytes();
        let files = walk::list(&dir).unwrap().files;
        let expected = sha256sum(scratch.path(), scratch.join("tree"));
        let expected = String::from_utf8_lossy(&expected);
        let mut killed = 0;
        for _ in 0..stress::times(5) {
            let run = || occasional::run(hash_hunted, (files.clone(), 40_usize));
            let (printed, summary) = within(LIMIT, run).unwrap();
            let printed = String::from_utf8_lossy(&printed);
            let mut printed = printed.lines();
            let mut named = summary.unreadable.iter();
            for (file, line) in files.iter().zip(expected.lines()) {
                // A file of which three workers happened to die is named. It is printed or named, and not both.
                if summary
                    .unreadable
                    .iter()
                    .any(|unreadable| &unreadable.path == file)
                {
                    assert_eq!(&named.next().unwrap().path, file);
                } else {
                    assert_eq!(printed.next(), Some(line));
                }
            }
            assert_eq!((printed.next(), named.next()), (None, None));
            killed += end(&summary, End::Signal("SIGKILL".to_owned()));
        }
        assert!(killed > 0);
    });
}

#[test]
fn a_dir_that_is_not_there_is_an_error_and_nothing_is_printed() {
    isolated!(|| {
        let scratch = trees::of(1);
        let cases = [
            (
                "nowhere",
                "hash_tree: nowhere: No such file or directory (os error 2)\n",
            ),
            ("", "hash_tree: : No such file or directory (os error 2)\n"),
            (
                "tree/0/",
                "hash_tree: tree/0/: Not a directory (os error 20)\n",
            ),
            (
                "no\nwhere",
                "hash_tree: no\\nwhere: No such file or directory (os error 2)\n",
            ),
        ];
        for (dir, said) in cases {
            let ran = hash_tree(scratch.path(), [dir]);
            assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), said), "{dir}");
            assert_eq!(ran.stdout, sha256sum(scratch.path(), dir), "{dir}");
            assert_eq!(ran.stdout, b"", "{dir}");
        }
    });
}

#[test]
fn a_directory_that_cannot_be_read_is_named_and_the_rest_is_done() {
    isolated!(|| {
        let scratch = trees::too_deep();
        let expected = sha256sum(scratch.path(), "tree");
        assert_eq!(expected.iter().filter(|byte| **byte == b'\n').count(), 3);
        let ran = hash_tree(scratch.path(), ["tree"]);
        assert_eq!(ran.stdout, expected);
        assert_eq!(ran.code, Some(1));
        let lines: Vec<_> = ran.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "{ran:?}");
        assert!(lines[0].starts_with("hash_tree: tree/ddd"), "{ran:?}");
        assert!(
            lines[0].ends_with("ddd: File name too long (os error 36)"),
            "{ran:?}"
        );
        assert_eq!(closing_line(&ran).0, 3);
    });
}
