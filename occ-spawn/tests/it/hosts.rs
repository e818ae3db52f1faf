//! Programs that are unusual hosts.

use std::io::Write;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use occ_spawn::{ExitReason, SpawnError, Spawner};
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, dead, isolated, role, test_path, tree};

use crate::{Echo, end_of, raw, run, value};

fn add(a: i32, b: i32) -> i32 {
    a + b
}

fn works(spawner: &Spawner) {
    let mut child = spawner.spawn(add, (2, 3)).unwrap();
    assert_eq!(value::<i32>(&end_of(&mut child)), 5);
}

#[test]
fn a_host_that_ignores_sigchld_is_told_by_name() {
    isolated!(|| {
        raw::set_ignored(libc::SIGCHLD, true);
        let error = Spawner::new().unwrap_err();
        assert!(matches!(error, SpawnError::SigchldIgnored), "{error:?}");
        raw::set_ignored(libc::SIGCHLD, false);
        works(&Spawner::new().unwrap());
    });
}

#[test]
fn role_plain_host() {
    if role::is(test_path!()) {
        works(&Spawner::new().unwrap());
    }
}

#[test]
fn a_host_without_standard_descriptors_works() {
    isolated!(|| {
        let mut command = role::command("hosts::role_plain_host");
        raw::without_standard_fds(&mut command);
        assert!(dead::how(&mut command.spawn().unwrap(), LIMIT).success());
    });
}

/// Closes them itself, after its start, so that nothing stands in for them.
#[test]
fn role_closing_host() {
    if role::is(test_path!()) {
        let say = Say::inherited("READY");
        (0..=2).for_each(raw::close);
        let spawner = Spawner::new().unwrap();
        for _ in 0..2 {
            let open = |_: ()| {
                let entries = std::fs::read_dir("/proc/self/fd").unwrap();
                let mut open: Vec<String> = entries
                    .map(|e| e.unwrap().file_name().into_string().unwrap())
                    .collect();
                open.sort();
                open
            };
            let mut child = spawner.spawn(open, ((),)).unwrap();
            say.line(value::<Vec<String>>(&end_of(&mut child)).join(" "));
        }
    }
}

#[test]
fn a_host_that_closes_its_standard_descriptors_works_and_its_processes_have_them() {
    isolated!(|| {
        let (ready, say) = Ready::new();
        let mut command = role::command("hosts::role_closing_host");
        say.pass("READY", &mut command);
        let mut host = command.spawn().unwrap();
        drop(say);
        for _ in 0..2 {
            // The fifth is the folder that is being read.
            assert_eq!(ready.line(LIMIT), "0 1 2 3 4");
        }
        dead::how(&mut host, LIMIT);
    });
}

#[test]
fn a_host_with_100_threads_that_allocate_works() {
    isolated!(|| {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for n in 0..100 {
                let done = &done;
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        std::hint::black_box(vec![n; 1000]);
                        std::thread::yield_now();
                    }
                });
            }
            for _ in 0..20 {
                let spawner = Spawner::new().unwrap();
                (0..5).for_each(|_| works(&spawner));
            }
            done.store(true, Ordering::Relaxed);
        });
    });
}

/// A number in kB from /proc/self/status.
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    line.trim_start_matches(':')
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap()
}

#[test]
fn a_host_with_1_gib_touched_works_and_its_processes_have_none_of_it() {
    fn resident() -> u64 {
        memory("VmRSS")
    }
    isolated!(|| {
        let touched = vec![1_u8; 1 << 30];
        assert!(memory("VmRSS") > 1 << 20);
        let kib = value::<u64>(&run(resident, ()));
        println!("a process has {kib} KiB resident");
        assert!(kib < 64 << 10, "{kib} KiB");
        drop(touched);
    });
}

#[test]
fn a_signal_that_the_host_ignores_stays_ignored() {
    fn raise(number: i32) -> String {
        raw::raise(number);
        "still here".to_owned()
    }
    isolated!(|| {
        for number in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
            raw::set_ignored(number, true);
            assert_eq!(value::<String>(&run(raise, (number,))), "still here");
            raw::set_ignored(number, false);
            // The control.
            assert_eq!(crate::signal(&run(raise, (number,))), number);
        }
    });
}

#[test]
fn the_hosts_signal_mask_is_neither_changed_nor_passed_on() {
    let mask = || {
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        status
            .lines()
            .find(|line| line.starts_with("SigBlk"))
            .unwrap()
            .to_owned()
    };
    isolated!(|| {
        raw::block(libc::SIGUSR1);
        let before = mask();
        assert!(before.ends_with("200"), "{before}");
        let spawner = Spawner::new().unwrap();
        works(&spawner);
        assert_eq!(mask(), before);
        // The spawner's own thread takes no signal of the host's.
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        // A thread of the test may end meanwhile.
        let own: Vec<String> = tasks
            .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("status")).ok())
            .filter(|text| text.starts_with("Name:\tocc-spawner\n"))
            .collect();
        assert_eq!(own.len(), 1);
        assert!(own[0].contains("SigBlk:\tfffffffe7ffbfeff"), "{}", own[0]);
    });
}

/// Says when it is there, waits until its file is another, and only then spawns.
#[test]
fn role_replaced_host() {
    if !role::is(test_path!()) {
        return;
    }
    let early = std::env::var_os("OCC_EARLY").map(|_| Spawner::new().unwrap());
    let heart = occ_test_support::alive::Heart::inherited("HEART");
    heart.beat_after(|| {
        let spawner = early.unwrap_or_else(|| Spawner::new().unwrap());
        works(&spawner);
        // A new zygote has to come from somewhere, too.
        let zygote = tree::children(std::process::id())[0];
        dead::Watch::of(zygote).signal(occ_test_support::Signal::KILL);
        dead::gone(zygote, LIMIT);
        works(&spawner);
        // The file that has the names is gone.
        fn panics() {
            raw::set_env("RUST_BACKTRACE", "1");
            panic!("as asked")
        }
        let exit = end_of(&mut spawner.spawn(panics, ()).unwrap());
        let ExitReason::Panic(panic) = exit.reason else {
            panic!("it {}", exit.reason)
        };
        let text = panic.backtrace.as_ref().unwrap().text();
        assert!(text.starts_with("   0: image+0x"), "{text}");
    });
}

#[test]
fn a_host_works_whose_binary_is_replaced_or_deleted_while_it_runs() {
    isolated!(|| {
        let folder =
            std::env::temp_dir().join(format!("occ-spawn-replaced-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        for (replace, early) in [(true, true), (true, false), (false, true), (false, false)] {
            let binary = folder.join("host");
            std::fs::copy("/proc/self/exe", &binary).unwrap();
            let host = role::command("hosts::role_replaced_host");
            let mut command = Command::new(&binary);
            command.args(host.get_args());
            let envs: Vec<_> = host
                .get_envs()
                .map(|(k, v)| (k.to_owned(), v.map(ToOwned::to_owned)))
                .collect();
            for (key, value) in envs {
                match value {
                    Some(value) => command.env(key, value),
                    None => command.env_remove(key),
                };
            }
            if early {
                command.env("OCC_EARLY", "1");
            }
            let (pulse, heart) = occ_test_support::alive::Pulse::new();
            heart.pass("HEART", &mut command);
            let mut child = command.spawn().unwrap();
            drop(heart);
            if replace {
                let other = folder.join("other");
                let mut file = std::fs::File::create(&other).unwrap();
                file.write_all(b"no program at all").unwrap();
                std::fs::rename(&other, &binary).unwrap();
            } else {
                std::fs::remove_file(&binary).unwrap();
            }
            pulse.ping(LIMIT);
            assert!(
                dead::how(&mut child, LIMIT).success(),
                "replace {replace}, early {early}"
            );
        }
        std::fs::remove_dir_all(&folder).unwrap();
    });
}

#[test]
fn a_fork_of_a_host_is_told_by_name_and_its_end_harms_nobody() {
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let mut echo = Echo::new(&spawner);
        match raw::fork() {
            None => {
                let named = matches!(spawner.spawn(add, (1, 2)), Err(SpawnError::Forked));
                drop((spawner, echo));
                raw::exit_now(if named { 17 } else { 1 });
            }
            Some(pid) => assert_eq!(raw::wait_for(pid), 17 << 8),
        }
        echo.ping();
        works(&spawner);
    });
}

#[test]
fn a_fork_of_a_host_at_the_wrong_moment_hangs_nobody() {
    // The fork holds both ends of whatever socket was open when it was made. Forks are made all the time
    // while processes are killed before they can say a word.
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let zygote = tree::children(std::process::id())[0];
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let forks = scope.spawn(|| {
                let mut forks = Vec::new();
                while !done.load(Ordering::Relaxed) && forks.len() < 200 {
                    match raw::fork() {
                        None => raw::stay(),
                        Some(pid) => forks.push(pid),
                    }
                }
                forks
            });
            for round in 0..20 {
                if round == 10 {
                    dead::Watch::of(zygote).signal(occ_test_support::Signal::KILL);
                }
                occ_test_support::within(LIMIT, || match spawner.spawn(add, (1, 2)) {
                    Ok(mut child) => assert_eq!(value::<i32>(&end_of(&mut child)), 3),
                    Err(error) => assert!(matches!(error, SpawnError::ZygoteDied), "{error:?}"),
                });
            }
            done.store(true, Ordering::Relaxed);
            for pid in forks.join().unwrap() {
                dead::Watch::of(pid).signal(occ_test_support::Signal::KILL);
                raw::wait_for(pid);
            }
        });
        works(&spawner);
    });
}

/// Says why it has no spawner.
#[test]
fn role_refused_host() {
    if role::is(test_path!()) {
        let error = Spawner::new().map(drop).unwrap_err();
        println!("SAID {:#}", anyhow::Error::from(error));
    }
}

/// What the host says that `command`, with a path and arguments added, starts.
fn refused(mut command: Command) -> Option<String> {
    let host = role::command("hosts::role_refused_host");
    command
        .arg(std::env::current_exe().unwrap())
        .args(host.get_args());
    for (key, value) in host.get_envs() {
        match value {
            Some(value) => command.env(key, value),
            None => command.env_remove(key),
        };
    }
    let output = command.output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let said = text
        .lines()
        .find_map(|line| line.split_once("SAID "))
        .map(|(_, said)| said.to_owned());
    if said.is_none() {
        occ_test_support::skipped(&format!(
            "not allowed, or it failed to start: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    said
}

#[test]
fn a_host_that_is_not_what_the_kernel_started_is_told_by_name() {
    isolated!(|| {
        let loader = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
        let Some(loader) = loader
            .into_iter()
            .find(|path| std::path::Path::new(path).exists())
        else {
            occ_test_support::skipped("the dynamic loader is not in its usual place");
            return;
        };
        let said = refused(Command::new(loader)).unwrap();
        assert!(
            said.contains("is not the image that this code is part of"),
            "{said}"
        );
        assert!(said.contains("ld-linux"), "{said}");
    });
}

#[test]
fn a_host_without_proc_is_told_by_name() {
    isolated!(|| {
        let mut command = Command::new("unshare");
        command.args([
            "--mount",
            "sh",
            "-c",
            "mount -t tmpfs none /proc && exec \"$0\" \"$@\"",
        ]);
        if let Some(said) = refused(command) {
            assert!(said.contains("/proc/self is not to be had"), "{said}");
        }
    });
}
