//! What a process prints, and how often.

use std::io::{Read, Write};
use std::process::Stdio;

use occ_spawn::Spawner;
use occ_test_support::{isolated, role, test_path, within};

use crate::{end_of, value};

fn partial(name: String) -> u8 {
    print!("[{name}]");
    7
}

/// Leaves text in its own buffer, and then has processes made.
#[test]
fn role_printer() {
    if !role::is(test_path!()) {
        return;
    }
    print!("[host]");
    let spawner = Spawner::new().unwrap();
    for name in ["a", "b"] {
        let mut child = spawner.spawn(partial, (name.to_owned(),)).unwrap();
        assert_eq!(value::<u8>(&end_of(&mut child)), 7);
    }
    fn by_exit() {
        print!("[exit]");
        occ_spawn::exit(7_u8);
    }
    let mut child = spawner.spawn(by_exit, ()).unwrap();
    assert_eq!(value::<u8>(&end_of(&mut child)), 7);
    fn by_error() -> anyhow::Result<()> {
        print!("[error]");
        anyhow::bail!("as asked")
    }
    end_of(&mut spawner.spawn(by_error, ()).unwrap());
    fn by_panic() {
        print!("[panic]");
        panic!("as asked");
    }
    end_of(&mut spawner.spawn(by_panic, ()).unwrap());
    fn with_threads() {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            tell.send(()).unwrap();
            crate::raw::stay()
        });
        told.recv().unwrap();
        print!("[threads]");
    }
    end_of(&mut spawner.spawn(with_threads, ()).unwrap());
    fn with_fork() {
        print!("[fork]");
        match crate::raw::fork() {
            None => occ_spawn::exit(0_u8),
            Some(pid) => drop(crate::raw::wait_for(pid)),
        }
    }
    end_of(&mut spawner.spawn(with_fork, ()).unwrap());
}

#[test]
fn text_without_a_newline_is_printed_once_by_whoever_wrote_it() {
    isolated!(|| {
        let mut host = role::command("output::role_printer")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut text = String::new();
        host.stdout
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        let mut errors = String::new();
        host.stderr
            .take()
            .unwrap()
            .read_to_string(&mut errors)
            .unwrap();
        assert!(host.wait().unwrap().success(), "{text}\n{errors}");
        for name in [
            "host", "a", "b", "exit", "error", "panic", "threads", "fork",
        ] {
            assert_eq!(
                text.matches(&format!("[{name}]")).count(),
                1,
                "{name}: {text}"
            );
        }
        // The panic of the function is told as the reason of its exit, and not a second time.
        assert!(!errors.contains("as asked"), "{errors}");
    });
}

/// Prints on another thread, and panics there.
#[test]
fn role_survivor() {
    if !role::is(test_path!()) {
        return;
    }
    fn survive() {
        let _ = std::thread::spawn(|| panic!("only a thread")).join();
    }
    value::<()>(&crate::run(survive, ()));
}

#[test]
fn the_panic_of_a_thread_that_is_survived_is_said_where_std_says_it() {
    isolated!(|| {
        let output = role::command("output::role_survivor").output().unwrap();
        assert!(output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("only a thread"));
    });
}

#[test]
fn a_thread_that_holds_stdout_for_ever_does_not_keep_the_process() {
    fn hold() -> u8 {
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _held = std::io::stdout().lock();
            tell.send(()).unwrap();
            crate::raw::stay()
        });
        told.recv().unwrap();
        7
    }
    let spawner = Spawner::new().unwrap();
    let mut child = spawner.spawn(hold, ()).unwrap();
    let exit = within(occ_test_support::LIMIT, || child.wait().unwrap());
    assert_eq!(value::<u8>(&exit), 7);
}

#[test]
fn what_a_function_prints_goes_where_its_host_prints() {
    fn where_to() -> String {
        std::io::stdout().flush().unwrap();
        std::fs::read_link("/proc/self/fd/1")
            .unwrap()
            .display()
            .to_string()
    }
    assert_eq!(value::<String>(&crate::run(where_to, ())), where_to());
}
