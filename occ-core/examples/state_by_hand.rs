//! The coordinator's state machine without a single process: what happens is told to it, and what is to be done
//! about it is printed.
#![expect(clippy::print_stdout, reason = "an example talks to people")]

use occ_core::protocol::{End, Request, Wanted};
use occ_core::state::{Effect, Event, State};
use occ_core::{Moment, OsPid, OsStatus, Usage};

fn main() {
    let host = OsPid::own();
    let mut state = State::new(1, host, true, 100);
    let by = state.host();

    // The host wants a process, and to be told of its end.
    let spawn = Request::Spawn {
        id: 1,
        monitor: Some(1),
        wanted: Box::new(Wanted {
            name: "work".to_owned(),
            ..Wanted::default()
        }),
    };
    let at = Moment::now();
    let end = End {
        status: OsStatus {
            si_code: 2,
            si_status: 9,
        },
        usage: Usage::NONE,
        evidence: Vec::new(),
        stderr: None,
        at,
    };
    let events = [
        Event::Asked {
            by,
            request: spawn,
            blob: None,
            given: Vec::new(),
        },
        // Its control socket has closed before its first word …
        Event::HungUp { process: 2 },
        // … but the zygote says that it was made, and the kernel, how it ended.
        Event::Began {
            process: 2,
            os_pid: OsPid::new(4711),
            at,
        },
        Event::Ended { process: 2, end },
        Event::Stop,
    ];
    let mut last = None;
    for event in events {
        println!("{event:?}");
        let mut effects = Vec::new();
        state.handle(event, &mut effects);
        for effect in effects {
            println!("    {effect:?}");
            last = Some(effect);
        }
    }
    assert!(matches!(last, Some(Effect::Finish)));
}
