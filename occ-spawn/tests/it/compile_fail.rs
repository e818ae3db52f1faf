//! Mistakes are compile errors that name the culprit and the remedy.
//!
//! A check of a size is made when a program is *built*, and neither `cargo check` nor a `compile_fail` doctest gets so
//! far. So small packages are built.

use occ_test_support::workshop;

/// A mistake: what it is, the program, and what the compiler must say.
struct Mistake {
    name: &'static str,
    program: &'static str,
    says: &'static [&'static str],
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        name: "a closure that captures a number",
        program: r#"
            fn main() {
                let n = std::env::args().count();
                Spawner::new().unwrap().spawn(move || n + 1, ()).unwrap();
            }"#,
        says: &[
            "{closure@src/main.rs:6:",
            "captures variables of its caller",
            "pass them as arguments",
        ],
    },
    Mistake {
        name: "a closure that captures a string",
        program: r#"
            fn main() {
                let name = String::from("foo");
                Spawner::new().unwrap().spawn(move || name.len(), ()).unwrap();
            }"#,
        says: &[
            "{closure@src/main.rs:6:",
            "a closure may capture nothing",
            "pass what it needs as arguments",
        ],
    },
    Mistake {
        name: "a closure that borrows",
        program: r#"
            fn main() {
                let name = String::from("foo");
                Spawner::new().unwrap().spawn(|| name.len(), ()).unwrap();
            }"#,
        says: &[
            "{closure@src/main.rs:6:",
            "captures variables of its caller",
            "pass them as arguments",
        ],
    },
    Mistake {
        name: "a text that is borrowed where one that is owned is received",
        program: r#"
            fn greet(_name: String) {}
            fn main() {
                Spawner::new().unwrap().spawn(greet, ("foo",)).unwrap();
            }"#,
        says: &["expected `String`, found `&str`", ".to_string()"],
    },
    Mistake {
        name: "a function that receives a borrowed text",
        program: r#"
            fn greet(_name: &str) {}
            fn main() {
                Spawner::new().unwrap().spawn(greet, ("foo",)).unwrap();
            }"#,
        says: &["`&str` must implement", "for any lifetime"],
    },
    Mistake {
        name: "an argument of another type",
        program: r#"
            fn square(_n: u64) {}
            fn main() {
                Spawner::new().unwrap().spawn(square, (String::new(),)).unwrap();
            }"#,
        says: &["expected `u64`, found `String`"],
    },
    Mistake {
        name: "too few arguments",
        program: r#"
            fn greet(_name: String, _times: u8) {}
            fn main() {
                Spawner::new().unwrap().spawn(greet, (String::new(),)).unwrap();
            }"#,
        says: &[
            "expected a tuple with 2 elements, found one with 1 element",
            "`(String, u8)`",
        ],
    },
    Mistake {
        name: "too many arguments",
        program: r#"
            fn greet(_name: String) {}
            fn main() {
                Spawner::new().unwrap().spawn(greet, (String::new(), 3_u8)).unwrap();
            }"#,
        says: &[
            "expected a tuple with 1 element, found one with 2 elements",
            "`(String,)`",
        ],
    },
    Mistake {
        name: "more arguments than are supported",
        program: r#"
            fn seven(_: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8) {}
            fn main() {
                Spawner::new().unwrap().spawn(seven, (1, 2, 3, 4, 5, 6, 7)).unwrap();
            }"#,
        says: &[
            "`(u8, u8, u8, u8, u8, u8, u8)` cannot be the arguments of a process",
            "not a tuple of up to six terms",
        ],
    },
    Mistake {
        name: "arguments that are no tuple",
        program: r#"
            fn greet(_name: String) {}
            fn main() {
                Spawner::new().unwrap().spawn(greet, String::new()).unwrap();
            }"#,
        says: &[
            "expected `(String,)`, found `String`",
            "use a trailing comma to create a tuple",
        ],
    },
    Mistake {
        name: "what is no function",
        program: r#"
            fn main() {
                Spawner::new().unwrap().spawn("greet", ()).unwrap();
            }"#,
        says: &[
            "`&str` cannot be run as a process",
            "not a function of exactly these arguments",
        ],
    },
    Mistake {
        name: "an argument that cannot be sent",
        program: r#"
            struct Secret;
            fn keep(_secret: Secret) {}
            fn main() {
                Spawner::new().unwrap().spawn(keep, (Secret,)).unwrap();
            }"#,
        says: &[
            "the trait bound `Secret: ",
            "consider adding `#[derive(serde::Serialize)]` to your `Secret`",
        ],
    },
    Mistake {
        name: "a result that cannot be sent",
        program: r#"
            struct Secret;
            fn make() -> Secret {
                Secret
            }
            fn main() {
                Spawner::new().unwrap().spawn(make, ()).unwrap();
            }"#,
        says: &[
            "`Secret` cannot be the result of a process",
            "derive `serde::Serialize`",
        ],
    },
    Mistake {
        name: "a `Result` of what cannot be sent",
        program: r#"
            struct Secret;
            fn make() -> Result<Secret, std::io::Error> {
                Ok(Secret)
            }
            fn main() {
                Spawner::new().unwrap().spawn(make, ()).unwrap();
            }"#,
        says: &[
            "the trait bound `Secret: ",
            "consider adding `#[derive(serde::Serialize)]` to your `Secret`",
        ],
    },
    Mistake {
        name: "an error that is none",
        program: r#"
            #[derive(Debug)]
            struct Oops;
            fn fail() -> Result<u8, Oops> {
                Err(Oops)
            }
            fn main() {
                Spawner::new().unwrap().spawn(fail, ()).unwrap();
            }"#,
        says: &[
            "`Oops` cannot be the error of a process",
            "implement `std::error::Error`",
        ],
    },
    Mistake {
        name: "an error that is none, and could be sent",
        program: r#"
            fn fail() -> Result<u8, String> {
                Err(String::new())
            }
            fn main() {
                Spawner::new().unwrap().spawn(fail, ()).unwrap();
            }"#,
        says: &["`Result<u8, String>: Sorted<_>`", "`AnyhowResultOrValue`"],
    },
];

/// The control: what the mistakes above should have been.
const RIGHT: &str = r#"
    #[derive(Debug)]
    struct Oops;
    impl std::fmt::Display for Oops {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("oops")
        }
    }
    impl std::error::Error for Oops {}
    fn greet(name: String, _times: u8) -> usize {
        name.len()
    }
    fn fail() -> Result<u8, Oops> {
        Err(Oops)
    }
    fn never() -> ! {
        std::process::exit(0)
    }
    fn main() {
        let spawner = Spawner::new().unwrap();
        spawner.spawn(greet, ("foo".to_string(), 3)).unwrap();
        spawner.spawn(|n: usize| n + 1, (3,)).unwrap();
        spawner.spawn(fail, ()).unwrap();
        spawner.spawn(never, ()).unwrap();
    }"#;

#[test]
fn mistakes_are_compile_errors_that_name_the_culprit_and_the_remedy() {
    let workshop = workshop!("compile-fail", "");
    let build = |program: &str| workshop.build(&format!("use occ_spawn::Spawner;\n\n{program}\n"));
    if let Err(text) = build(RIGHT) {
        panic!("what is right does not compile:\n{text}");
    }
    for Mistake {
        name,
        program,
        says,
    } in MISTAKES
    {
        let Err(text) = build(program) else {
            panic!("{name} compiles")
        };
        for expected in *says {
            assert!(
                text.contains(expected),
                "{name}: {expected:?} is not in\n{text}"
            );
        }
    }
    build(RIGHT).unwrap();
}
