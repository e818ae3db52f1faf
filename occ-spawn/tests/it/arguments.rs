//! How functions and arguments get into a process.

use std::io::{PipeWriter, Read, Write};
use std::os::fd::AsRawFd;

use occ_sck::{Bytes, Channel, Fd, Limits, Socket};
use occ_spawn::{Options, Spawner};
use occ_test_support::{LIMIT, isolated, memory, within};

use crate::{run, value};

#[test]
fn a_function_takes_0_to_6_arguments() {
    let s = Spawner::new().unwrap();
    let of = |mut child: occ_spawn::Child| value::<i64>(&crate::end_of(&mut child));
    assert_eq!(of(s.spawn(|| 0_i64, ()).unwrap()), 0);
    assert_eq!(of(s.spawn(|a: i64| a, (1_i64,)).unwrap()), 1);
    assert_eq!(of(s.spawn(|a: i64, b: i64| a + b, (1, 2)).unwrap()), 3);
    assert_eq!(
        of(s.spawn(|a: i64, b: i64, c: i64| a + b + c, (1, 2, 3))
            .unwrap()),
        6
    );
    let four = |a: i64, b: i64, c: i64, d: i64| a + b + c + d;
    assert_eq!(of(s.spawn(four, (1, 2, 3, 4)).unwrap()), 10);
    let five = |a: i64, b: i64, c: i64, d: i64, e: i64| a + b + c + d + e;
    assert_eq!(of(s.spawn(five, (1, 2, 3, 4, 5)).unwrap()), 15);
    let six = |a: i64, b: i64, c: i64, d: i64, e: i64, f: i64| a + b + c + d + e + f;
    assert_eq!(of(s.spawn(six, (1, 2, 3, 4, 5, 6)).unwrap()), 21);
}

#[test]
fn a_socket_comes_before_0_to_6_arguments() {
    fn told(socket: Socket, n: i64) {
        Channel::new(socket, Limits::default()).send(&n).unwrap();
    }
    let s = Spawner::new().unwrap();
    let of = |(child, socket): (occ_spawn::Child, Socket)| {
        let mut channel = Channel::new(socket, Limits::default());
        let n = channel.receive_timeout::<i64>(LIMIT).unwrap().unwrap();
        drop(child);
        n
    };
    assert_eq!(
        of(s.spawn_with_socket(|socket: Socket| told(socket, 0), ())
            .unwrap()),
        0
    );
    assert_eq!(
        of(
            s.spawn_with_socket(|socket: Socket, a: i64| told(socket, a), (1_i64,))
                .unwrap()
        ),
        1
    );
    let six =
        |s: Socket, a: i64, b: i64, c: i64, d: i64, e: i64, f: i64| told(s, a + b + c + d + e + f);
    assert_eq!(
        of(s.spawn_with_socket(six, (1, 2, 3, 4, 5, 6)).unwrap()),
        21
    );
}

#[test]
fn arguments_of_8_mib_arrive() {
    fn sum(bytes: String, more: Vec<u32>) -> (usize, u32) {
        (bytes.len(), more.iter().sum())
    }
    let exit = run(sum, ("x".repeat(8 << 20), vec![1, 2, 3]));
    assert_eq!(value::<(usize, u32)>(&exit), (8 << 20, 6));
}

/// Those that still fit the request and those that no longer do.
#[test]
fn arguments_of_every_length_around_the_limit_arrive() {
    let spawner = Spawner::new().unwrap();
    for len in [
        0, 1, 49_140, 49_150, 49_151, 49_152, 49_153, 65_000, 65_536, 65_537, 70_000,
    ] {
        for with_socket in [false, true] {
            let text = "y".repeat(len);
            let mut child = if with_socket {
                spawner
                    .spawn_with_socket(|_: Socket, text: String| text.len(), (text,))
                    .unwrap()
                    .0
            } else {
                spawner.spawn(|text: String| text.len(), (text,)).unwrap()
            };
            assert_eq!(value::<usize>(&crate::end_of(&mut child)), len);
        }
    }
}

#[test]
fn a_generic_function_a_method_and_a_closure_can_be_run() {
    struct Circle;
    impl Circle {
        fn area(r: f64) -> f64 {
            r * r * 3.0
        }
    }
    fn twice<T: std::ops::Add<Output = T> + Copy>(t: T) -> T {
        t + t
    }
    let spawner = Spawner::new().unwrap();
    let mut area = spawner.spawn(Circle::area, (2.0,)).unwrap();
    let mut int = spawner.spawn(twice::<i32>, (2,)).unwrap();
    let mut float = spawner.spawn(twice::<f64>, (1.5,)).unwrap();
    assert_eq!(value::<f64>(&crate::end_of(&mut area)), 12.0);
    assert_eq!(value::<i32>(&crate::end_of(&mut int)), 4);
    assert_eq!(value::<f64>(&crate::end_of(&mut float)), 3.0);
}

/// Two instances of one generic function have one name and two descriptors, also where the compiler merges
/// their code.
#[test]
fn functions_with_the_same_code_are_told_apart_by_their_types() {
    fn size<T: 'static>() -> String {
        std::any::type_name::<T>().to_owned()
    }
    let spawner = Spawner::new().unwrap();
    let mut a = spawner.spawn(size::<u8>, ()).unwrap();
    let mut b = spawner.spawn(size::<i8>, ()).unwrap();
    assert_eq!(value::<String>(&crate::end_of(&mut a)), "u8");
    assert_eq!(value::<String>(&crate::end_of(&mut b)), "i8");
}

#[test]
fn a_process_can_have_a_spawner_of_its_own() {
    fn outer() -> anyhow::Result<u32> {
        let spawner = Spawner::new()?;
        let mut child = spawner.spawn(|a: u32| a + 1, (40,))?;
        let occ_spawn::ExitReason::Value(inner) = child.wait()?.reason else {
            anyhow::bail!("the inner process did not return");
        };
        Ok(inner.get::<u32>()? + 1)
    }
    occ_test_support::isolated!(|| assert_eq!(value::<u32>(&run(outer, ())), 42));
}

/// They are written to their memory file piece by piece, and read from it so, with and without options before them.
#[test]
fn long_arguments_need_no_second_copy_on_either_side() {
    const LONG: usize = 256 << 20;
    const BESIDES: usize = 64 << 20;
    fn last(text: String, bytes: Bytes, fds: Vec<Fd<PipeWriter>>) -> (String, usize, Vec<i32>) {
        assert!(bytes.iter().rev().take(1000).all(|byte| *byte == 7));
        for fd in &fds {
            (&**fd).write_all(b"x").unwrap();
        }
        let places = fds.iter().map(|fd| fd.as_raw_fd());
        (text, bytes.len(), places.collect())
    }
    isolated!(|| {
        let spawner = Spawner::new().unwrap();
        let long_option = "v".repeat(100_000);
        let (_reader, given) = std::io::pipe().unwrap();
        let with_fds = (4..12).fold(Options::new(), |options, number| {
            options.fd(number, given.try_clone().unwrap())
        });
        let all = [
            Options::new(),
            Options::new().label("short").env("LONG", &long_option),
            with_fds.env("LONG", &long_option),
        ];
        for options in all {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let args = ("first".to_owned(), Bytes(vec![7; LONG]), vec![Fd(writer)]);
            let mut child = spawner.spawn_with(&options, last, args).unwrap();
            let exit = crate::end_of(&mut child);
            let (text, len, places): (String, usize, Vec<i32>) = value(&exit);
            assert_eq!((text.as_str(), len), ("first", LONG));
            assert!(places.iter().all(|place| *place > 3), "{places:?}");
            let peak = exit.report.usage.unwrap().peak_rss.unwrap() as usize;
            assert!((LONG..LONG + BESIDES).contains(&peak), "theirs: {peak}");
            let mut said = Vec::new();
            within(LIMIT, || reader.read_to_end(&mut said).unwrap());
            assert_eq!(said, b"x");
        }
        let peak = memory::peak(std::process::id());
        assert!((LONG..LONG + BESIDES).contains(&peak), "ours: {peak}");
    });
}
