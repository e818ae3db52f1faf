//! Numbers that are reserved for spares.

use super::*;
use crate::containment::Containment;

fn ready(system: &mut System) -> Serial {
    let number = system.0.reserve();
    assert_eq!(
        system.handle(Event::SpareReady { process: number }),
        [""; 0]
    );
    number
}

#[test]
fn a_spawn_takes_the_number_of_the_spare_that_has_waited_longest() {
    let mut system = System::new();
    let being_made = system.0.reserve();
    let (first, second) = (ready(&mut system), ready(&mut system));
    assert_eq!((being_made, first, second), (2, 3, 4));
    for number in [first, second, 5] {
        assert_eq!(
            system.ask(HOST, spawn(0, None)),
            [format!("launch {number}")]
        );
    }
    // Told twice, it is there once; and who has become a process is no spare any more.
    system.handle(Event::SpareReady {
        process: being_made,
    });
    system.handle(Event::SpareReady {
        process: being_made,
    });
    system.handle(Event::SpareReady { process: first });
    for number in [being_made, 6, 7] {
        assert_eq!(
            system.ask(HOST, spawn(0, None)),
            [format!("launch {number}")]
        );
    }
}

#[test]
fn one_that_is_gone_is_not_used_and_its_number_not_given_again() {
    let mut system = System::new();
    let (first, second) = (ready(&mut system), ready(&mut system));
    system.handle(Event::SpareGone { process: first });
    system.handle(Event::SpareReady { process: first });
    assert_eq!(
        system.ask(HOST, spawn(0, None)),
        [format!("launch {second}")]
    );
    assert_eq!(system.ask(HOST, spawn(0, None)), ["launch 4"]);
}

/// Its mark is in the world: what carries it is not to be taken for what a dead process has left.
#[test]
fn a_spare_is_alive_and_nobody_that_can_be_named() {
    let mut system = System::new();
    let number = system.0.reserve();
    assert!(system.0.is_alive(number));
    assert_eq!(
        system.monitor(HOST, 1, number),
        [format!("{HOST}: down 1, 2 no process")]
    );
    system.handle(Event::SpareReady { process: number });
    assert!(system.0.is_alive(number));
    assert_eq!(
        system.kill(HOST, 7, number),
        [format!("{HOST} #7 no process")]
    );
    system.handle(Event::SpareGone { process: number });
    assert!(!system.0.is_alive(number));
}

#[test]
fn what_a_spare_cannot_be_has_a_number_of_its_own() {
    let care = |care: Care| Wanted {
        care,
        ..Wanted::default()
    };
    let kept = |by: Serial| Wanted {
        keep_stdin: by == HOST,
        ..Wanted::default()
    };
    let unsuited = [
        Wanted {
            plan: 1,
            ..Wanted::default()
        },
        Wanted {
            given: 1,
            ..Wanted::default()
        },
        kept(HOST),
        care(Care {
            executes: true,
            ..Care::default()
        }),
        care(Care {
            containment: Containment::ProcessGroup,
            ..Care::default()
        }),
        care(Care {
            stderr_at: Some(0),
            ..Care::default()
        }),
        care(Care {
            memory: Some(1),
            ..Care::default()
        }),
        care(Care {
            cpu: Some(1),
            ..Care::default()
        }),
    ];
    let mut system = System::new();
    let number = ready(&mut system);
    for (next, wanted) in (3..).zip(unsuited) {
        let launched = system.ask(HOST, wish(0, None, wanted.clone()));
        assert!(
            launched[0].starts_with(&format!("launch {next}")),
            "{wanted:?}: {launched:?}"
        );
    }
    // The control: one that suits.
    let label = care(Care {
        grace: Duration::from_secs(1),
        ..Care::default()
    });
    assert_eq!(
        system.ask(HOST, wish(0, None, label)),
        [format!("launch {number}")]
    );
}
