//! A line of processes, each the parent of the next, that the test can hear, ping and see end.
//!
//! Member 0 is started by the test. Which members follow, and how each comes to be armed against the death of
//! the one before it, is a list of [`Arming`].

use std::env;
use std::fs;
use std::process::{Child, Command};

use occ_test_support::alive::{Heart, Pulse};
use occ_test_support::dead::Watch;
use occ_test_support::lifeline::{Hold, Lifeline};
use occ_test_support::no_cores;
use occ_test_support::ready::{Ready, Say};
use occ_test_support::{LIMIT, Signal, role, test_path};
use occ_yeshup::{CommandExt, Parent, arm, disarm};

/// How a member comes to be armed, if it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arming {
    /// It calls [`arm`] first.
    ByItself,
    /// Its parent called [`CommandExt::die_with_parent`].
    ByCommand,
    Not,
    /// [`arm`], then [`disarm`].
    Undone,
    /// It calls [`arm`] on a thread that has ended when the member is ready.
    OnAThread,
    /// It calls [`arm`] when the test says so, and tells what came of it.
    Late,
}

const ARMINGS: [Arming; 6] = {
    use Arming::*;
    [ByItself, ByCommand, Not, Undone, OnAThread, Late]
};

/// What the first member does when the test asks it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Return,
    Exit,
    Panic,
    Abort,
}

pub(crate) const ENDS: [End; 4] = [End::Return, End::Exit, End::Panic, End::Abort];

/// The test's line to one member.
pub(crate) struct Member {
    ready: Ready,
    pulse: Pulse,
    lifeline: Lifeline,
    watch: Watch,
}

/// Starts member 0 with a follower for each of `armings`, and waits until all are ready and answer.
pub(crate) fn start(end: Option<End>, armings: &[Arming]) -> (Child, Vec<Member>) {
    let (lines, far_ends): (Vec<_>, Vec<_>) = (0..=armings.len()).map(|_| line()).unzip();
    let mut first = member_command(0, armings, &far_ends);
    if let Some(end) = end {
        first.env("OCC_END", format!("{end:?}"));
    }
    let child = first.spawn().unwrap();
    drop(far_ends);

    let members = lines.into_iter().map(|(ready, pulse, lifeline)| {
        let watch = Watch::of(ready.pid(LIMIT));
        pulse.ping(LIMIT);
        assert!(watch.is_alive() && lifeline.is_alive());
        Member {
            ready,
            pulse,
            lifeline,
            watch,
        }
    });
    (child, members.collect())
}

impl Member {
    pub(crate) fn signal(&self, signal: Signal) {
        self.watch.signal(signal);
    }

    /// Asks the first member for its [`End`].
    pub(crate) fn ask_to_end(&self) {
        // An answer comes if the end takes its time, and none if it does not.
        let _answered = self.pulse.beats(LIMIT);
    }

    /// Has a member arm itself [`Late`](Arming::Late), and returns what it says came of it.
    pub(crate) fn arm_now(&self) -> String {
        self.pulse.ping(LIMIT);
        self.ready.line(LIMIT)
    }

    pub(crate) fn assert_dies(&self) {
        self.watch.wait_gone(LIMIT);
        self.lifeline.wait_dead(LIMIT);
        assert!(!self.pulse.beats(LIMIT));
    }

    /// Pings it, which is newer than whatever could have killed it; and ends it, for nobody else will.
    pub(crate) fn assert_survived(&self) {
        self.pulse.ping(LIMIT);
        assert!(self.watch.is_alive() && self.lifeline.is_alive());
        self.signal(Signal::KILL);
        self.assert_dies();
    }
}

/// A member's end of the line.
struct FarEnd {
    say: Say,
    heart: Heart,
    hold: Hold,
}

fn line() -> ((Ready, Pulse, Lifeline), FarEnd) {
    let (ready, say) = Ready::new();
    let (pulse, heart) = Pulse::new();
    let (lifeline, hold) = Lifeline::new();
    ((ready, pulse, lifeline), FarEnd { say, heart, hold })
}

impl FarEnd {
    fn pass(&self, number: usize, command: &mut Command) {
        self.say.pass(&format!("OCC_READY_{number}"), command);
        self.heart.pass(&format!("OCC_HEART_{number}"), command);
        self.hold.pass(&format!("OCC_HOLD_{number}"), command);
    }

    fn inherited(number: usize) -> FarEnd {
        FarEnd {
            say: Say::inherited(&format!("OCC_READY_{number}")),
            heart: Heart::inherited(&format!("OCC_HEART_{number}")),
            hold: Hold::inherited(&format!("OCC_HOLD_{number}")),
        }
    }
}

/// A member, with the ends of its own line and of those that follow.
fn member_command(number: usize, armings: &[Arming], far_ends: &[FarEnd]) -> Command {
    let mut command = role::command("family::role_member");
    command.env("OCC_NUMBER", number.to_string());
    command.env(
        "OCC_ARMINGS",
        armings
            .iter()
            .map(|arming| format!("{arming:?} "))
            .collect::<String>(),
    );
    command.env("OCC_PARENT", Parent::current().os_pid().to_string());
    for (number, end) in (number..).zip(far_ends) {
        end.pass(number, &mut command);
    }
    command
}

#[test]
#[expect(
    clippy::zombie_processes,
    reason = "a parent that ends before its child cannot wait for it"
)]
fn role_member() {
    if !role::is(test_path!()) {
        return;
    }
    no_cores();

    let number: usize = env::var("OCC_NUMBER").unwrap().parse().unwrap();
    let parent = Parent::from_os_pid(env::var("OCC_PARENT").unwrap().parse().unwrap()).unwrap();
    let armings = env::var("OCC_ARMINGS").unwrap();
    let named = |name: &str| {
        *ARMINGS
            .iter()
            .find(|arming| format!("{arming:?}") == name)
            .unwrap()
    };
    let armings: Vec<_> = armings.split_whitespace().map(named).collect();

    let own_arming = if number == 0 {
        Arming::Not
    } else {
        armings[number - 1]
    };
    match own_arming {
        Arming::Not | Arming::ByCommand | Arming::Late => {}
        Arming::ByItself => arm(parent).unwrap(),
        Arming::Undone => {
            arm(parent).unwrap();
            disarm().unwrap();
        }
        Arming::OnAThread => arm_on_a_thread(parent),
    }

    let mut far_ends: Vec<_> = (number..=armings.len()).map(FarEnd::inherited).collect();
    let FarEnd { say, heart, hold } = far_ends.remove(0);
    if let Some(next) = armings.get(number) {
        let mut command = member_command(number + 1, &armings, &far_ends);
        if *next == Arming::ByCommand {
            command.die_with_parent();
        }
        command.env_remove("OCC_END").spawn().unwrap();
    }
    // From here on each holds its own ends only.
    drop(far_ends);

    say.line(std::process::id());
    heart.beat_after(|| {});
    if own_arming == Arming::Late {
        heart.beat_after(|| {
            say.line(format!(
                "{:?}",
                arm(parent).map_err(|error| error.raw_os_error())
            ))
        });
    }
    if let Ok(end) = env::var("OCC_END") {
        let end = *ENDS
            .iter()
            .find(|known| format!("{known:?}") == end)
            .unwrap();
        heart.beat_after(|| come_to(end));
    } else {
        heart.beat();
    }
    drop(hold);
}

#[expect(clippy::exit, reason = "one of the ways in which a parent ends")]
fn come_to(end: End) {
    match end {
        End::Return => {}
        End::Exit => std::process::exit(3),
        End::Panic => panic!("as asked"),
        End::Abort => std::process::abort(),
    }
}

fn arm_on_a_thread(parent: Parent) {
    let armer = std::thread::spawn(move || {
        arm(parent).unwrap();
        rustix::thread::gettid().as_raw_pid()
    });
    let thread = armer.join().unwrap();
    // Joined means that it has left its memory, not yet that the kernel has forgotten it.
    while fs::exists(format!("/proc/self/task/{thread}")).unwrap() {
        std::thread::yield_now();
    }
}
