//! What a process is like from inside.

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::os::fd::AsFd;
use std::process::Command;

use occ_sck::Socket;
use occ_spawn::Spawner;
use occ_test_support::stat::Stat;
use occ_test_support::{isolated, tree};

use crate::{end_of, raw, run, value};

/// What the calling process has open, as /proc tells it.
fn open_fds() -> BTreeMap<i32, String> {
    let entries = std::fs::read_dir("/proc/self/fd").unwrap();
    let names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    // The folder that was being read is closed by now.
    names
        .iter()
        .filter_map(|name| {
            let target = std::fs::read_link(format!("/proc/self/fd/{name}")).ok()?;
            Some((name.parse().unwrap(), target.display().to_string()))
        })
        .collect()
}

#[test]
fn a_process_has_the_standard_descriptors_and_its_control_socket_and_nothing_else() {
    fn with_socket(socket: Socket) -> BTreeMap<i32, String> {
        let open = open_fds();
        drop(socket);
        open
    }
    isolated!(|| {
        let before = Spawner::new().unwrap();
        // Files of the host, without close-on-exec, at low and high numbers.
        let file = std::fs::File::open("/dev/zero").unwrap();
        let files: Vec<_> = (0..50)
            .map(|n| {
                let copy = rustix::io::fcntl_dupfd_cloexec(&file, 5 * n).unwrap();
                rustix::io::fcntl_setfd(&copy, rustix::io::FdFlags::empty()).unwrap();
                copy
            })
            .collect();
        let after = Spawner::new().unwrap();
        let other = after.spawn(crate::stay, ()).unwrap();
        for spawner in [&before, &after] {
            let open: BTreeMap<i32, String> =
                value(&end_of(&mut spawner.spawn(open_fds, ()).unwrap()));
            assert_eq!(
                open.keys().copied().collect::<Vec<_>>(),
                [0, 1, 2, 3],
                "{open:?}"
            );
            assert_eq!(open[&0], "/dev/null");
            assert!(open[&3].starts_with("socket:"), "{open:?}");
            for fd in [1, 2] {
                let host = std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
                assert_eq!(open[&fd], host.to_str().unwrap());
            }

            let (mut child, _socket) = spawner.spawn_with_socket(with_socket, ()).unwrap();
            let open: BTreeMap<i32, String> = value(&end_of(&mut child));
            assert_eq!(
                open.keys().copied().collect::<Vec<_>>(),
                [0, 1, 2, 3, 4],
                "{open:?}"
            );

            let long = "x".repeat(100_000);
            let mut child = spawner.spawn(|_: String| open_fds(), (long,)).unwrap();
            let open: BTreeMap<i32, String> = value(&end_of(&mut child));
            assert_eq!(open.len(), 4, "{open:?}");
        }
        // Nor does the zygote hold a file of the host's open.
        for zygote in tree::children(std::process::id()) {
            let fds = std::fs::read_dir(format!("/proc/{zygote}/fd")).unwrap();
            let targets: Vec<_> = fds
                .filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok())
                .collect();
            assert!(
                !targets.iter().any(|path| path.ends_with("zero")),
                "{targets:?}"
            );
            assert!(targets.len() <= 6, "{targets:?}");
        }
        drop((file, files, other));
    });
}

#[test]
fn what_a_process_starts_inherits_no_control_socket() {
    fn exe() -> Vec<String> {
        let output = Command::new("ls").arg("/proc/self/fd").output().unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }
    // 3 is the folder that ls reads.
    assert_eq!(value::<Vec<String>>(&run(exe, ())), ["0", "1", "2", "3"]);
}

#[test]
fn standard_input_is_empty() {
    fn read() -> usize {
        std::io::Read::read(&mut std::io::stdin(), &mut [0; 8]).unwrap()
    }
    assert_eq!(value::<usize>(&run(read, ())), 0);
}

/// A line of /proc/self/status, a set of signals.
///
/// Without the two of the C library's own, which its posix_spawn(3) leaves ignored in whatever it starts.
fn set(status: &str, name: &str) -> u64 {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .unwrap();
    let all = u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap();
    all & !bits(&[32, 33])
}

fn bits(signals: &[i32]) -> u64 {
    signals.iter().map(|signal| 1_u64 << (signal - 1)).sum()
}

fn status() -> String {
    std::fs::read_to_string("/proc/self/status").unwrap()
}

#[test]
fn no_signal_is_blocked_and_only_the_documented_ones_are_handled() {
    let host = status();
    // The host of this test may block whatever it likes.
    let status: String = value(&run(status, ()));
    assert_eq!(set(&status, "SigBlk"), 0);
    let reset = bits(&[libc::SIGCHLD, libc::SIGPIPE]);
    assert_eq!(set(&status, "SigIgn"), set(&host, "SigIgn") & !reset);
    // All whose default is the end, so that it is told where they came from; but SIGKILL, which nobody can handle.
    let left = [
        libc::SIGKILL,
        libc::SIGCHLD,
        libc::SIGCONT,
        libc::SIGSTOP,
        libc::SIGTSTP,
        libc::SIGTTIN,
        libc::SIGTTOU,
        libc::SIGURG,
        libc::SIGWINCH,
    ];
    let ours = |signal: &i32| *signal < 32 || *signal >= libc::SIGRTMIN();
    let all: Vec<i32> = (1..=libc::SIGRTMAX()).filter(ours).collect();
    let expected = bits(&all) & !bits(&left) & !set(&status, "SigIgn");
    assert_eq!(set(&status, "SigCgt"), expected);
}

#[test]
fn an_exe_started_from_a_process_has_default_dispositions() {
    fn exe() -> String {
        let output = Command::new("cat")
            .arg("/proc/self/status")
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
    let host = status();
    let status: String = value(&run(exe, ()));
    assert_eq!(set(&status, "SigBlk"), 0);
    assert_eq!(set(&status, "SigCgt"), 0);
    let reset = bits(&[libc::SIGCHLD, libc::SIGPIPE]);
    assert_eq!(set(&status, "SigIgn"), set(&host, "SigIgn") & !reset);
}

#[test]
fn arguments_environment_and_folder_are_the_hosts() {
    fn seen() -> (Vec<String>, Option<String>, String) {
        let cwd = std::env::current_dir().unwrap().display().to_string();
        (
            std::env::args().collect(),
            std::env::var("OCC_TEST_SEEN").ok(),
            cwd,
        )
    }
    isolated!(|| {
        raw::set_env("OCC_TEST_SEEN", "as it was");
        std::env::set_current_dir("/proc").unwrap();
        let (args, var, cwd): (Vec<String>, Option<String>, String) = value(&run(seen, ()));
        assert_eq!(args, std::env::args().collect::<Vec<_>>());
        assert_eq!(var.as_deref(), Some("as it was"));
        assert_eq!(cwd, "/proc");
    });
}

/// A child that pins itself by the thread id that the C library remembers pins itself, and nobody else.
#[test]
fn the_c_library_knows_the_thread_id_of_a_process() {
    fn pinned() -> (i32, u32, usize) {
        raw::pin_to(0);
        let own = rustix::thread::sched_getaffinity(None).unwrap();
        (raw::cached_tid(), std::process::id(), own.count() as usize)
    }
    isolated!(|| {
        let all = rustix::thread::sched_getaffinity(None).unwrap().count();
        let spawner = Spawner::new().unwrap();
        let (tid, pid, own): (i32, u32, usize) =
            value(&end_of(&mut spawner.spawn(pinned, ()).unwrap()));
        assert_eq!((tid.unsigned_abs(), own), (pid, 1));
        for zygote in tree::children(std::process::id()) {
            let zygote = rustix::process::Pid::from_raw(i32::try_from(zygote).unwrap());
            assert_eq!(
                rustix::thread::sched_getaffinity(zygote).unwrap().count(),
                all
            );
        }
        assert_eq!(
            rustix::thread::sched_getaffinity(None).unwrap().count(),
            all
        );
    });
}

#[test]
fn two_processes_have_different_hash_seeds() {
    fn seed() -> u64 {
        std::hash::RandomState::new().hash_one("the same")
    }
    let spawner = Spawner::new().unwrap();
    let of = || value::<u64>(&end_of(&mut spawner.spawn(seed, ()).unwrap()));
    assert_ne!(of(), of());
}

#[test]
fn a_process_can_start_threads_and_exes_and_allocate() {
    fn busy() -> usize {
        let threads: Vec<_> = (0..20)
            .map(|n| std::thread::spawn(move || vec![n; 100_000].len()))
            .collect();
        let sum: usize = threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum();
        assert!(Command::new("true").status().unwrap().success());
        sum
    }
    assert_eq!(value::<usize>(&run(busy, ())), 2_000_000);
}

#[test]
fn a_process_is_in_the_group_and_session_of_its_host() {
    fn group() -> (u32, u32) {
        let own = Stat::own();
        (own.group, own.session)
    }
    assert_eq!(value::<(u32, u32)>(&run(group, ())), group());
}

#[test]
fn a_function_that_is_given_a_socket_owns_it() {
    fn own(socket: Socket) -> bool {
        rustix::io::fcntl_getfd(socket.as_fd())
            .unwrap()
            .contains(rustix::io::FdFlags::CLOEXEC)
    }
    let spawner = Spawner::new().unwrap();
    let (mut child, _socket) = spawner.spawn_with_socket(own, ()).unwrap();
    assert!(value::<bool>(&end_of(&mut child)));
}

/// What ps(1) and the kernel's log call it; and what its program was called is still there.
#[test]
fn a_process_is_named_after_its_function() {
    fn name_and_command() -> (String, Vec<u8>) {
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        (name, std::fs::read("/proc/self/cmdline").unwrap())
    }
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let [zygote] = tree::children(std::process::id())[..] else {
            panic!("expected the zygote alone");
        };
        let comm = |pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        // Its first answer comes after it has named itself.
        let mut child = spawner.spawn(name_and_command, ()).unwrap();
        assert_eq!(comm(zygote), "occ-zygote\n");
        let (name, command): (String, Vec<u8>) = value(&end_of(&mut child));
        assert_eq!(name, "name_and_comman\n", "15 bytes of it");
        let mut expected = b"occasional-proc\0".to_vec();
        expected.extend(std::fs::read("/proc/self/cmdline").unwrap());
        assert_eq!(
            String::from_utf8_lossy(&command),
            String::from_utf8_lossy(&expected)
        );
    });
}
