//! What a watcher was told of an end, short enough to be passed on, and what the plan says it should be.

use occasional::{Cause, Confidence, Down, ExitReason};
use serde::{Deserialize, Serialize};

use super::plan::{Act, Way};
use super::subject::Long;

/// How it ended.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Fate {
    Value(u64),
    Long(u64, usize),
    Error(Vec<String>),
    Failed(u64),
    Panic(String),
    Code(i32),
    Signal(i32),
    NoProcess,
    /// Nothing that is planned for anybody.
    Odd(String),
}

/// Why, by the verdict.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Why {
    Itself,
    OwnSignal,
    Aborted,
    StackOverflow,
    /// By the system: who asked for it.
    Asked(String),
    SentBy(u32),
    SenderUnknown,
    Odd(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    pub(crate) fate: Fate,
    /// `None` of one that was no process.
    pub(crate) why: Option<Why>,
    pub(crate) certain: bool,
}

impl Told {
    pub(crate) fn of(down: &Down) -> Told {
        let verdict = down.report.verdict.as_ref();
        Told {
            fate: fate(&down.reason),
            why: verdict.map(|verdict| why(&verdict.cause)),
            certain: verdict.is_some_and(|verdict| verdict.confidence == Confidence::Certain),
        }
    }

    /// Whether it is what the plan says.
    pub(crate) fn is_right(&self, expected: &Told, may_be_late: bool) -> bool {
        if self.fate == Fate::NoProcess {
            return may_be_late;
        }
        // Of a SIGKILL whose sender is unknown there may be a guess: elsewhere on the machine somebody ran out of memory.
        let guess = !self.certain && expected.why == Some(Why::SenderUnknown);
        self.fate == expected.fate && (guess || (self.certain && self.why == expected.why))
    }
}

fn fate(reason: &ExitReason) -> Fate {
    match reason {
        ExitReason::Value(value) if value.is::<Long>() => match value.get::<Long>() {
            Ok(long) if long.is_whole() => Fate::Long(long.index, long.length()),
            Ok(long) => Fate::Odd(format!("a long value of {}, broken", long.index)),
            Err(error) => Fate::Odd(error.to_string()),
        },
        ExitReason::Value(value) => match value.get() {
            Ok(value) => Fate::Value(value),
            Err(error) => Fate::Odd(error.to_string()),
        },
        // None is asked for.
        ExitReason::Error(failure) if failure.backtrace().is_some() => {
            Fate::Odd("an error with a backtrace".to_owned())
        }
        ExitReason::Error(failure) => match failure.value().map(|value| value.get()) {
            None => Fate::Error(failure.chain().to_vec()),
            Some(Ok(value)) => Fate::Failed(value),
            Some(Err(error)) => Fate::Odd(error.to_string()),
        },
        ExitReason::Panic(panic) => Fate::Panic(panic.message.clone()),
        ExitReason::Code(code) => Fate::Code(*code),
        ExitReason::Signal(signal) => Fate::Signal(signal.number()),
        ExitReason::NoProcess => Fate::NoProcess,
    }
}

fn why(cause: &Cause) -> Why {
    match cause {
        Cause::Itself => Why::Itself,
        Cause::OwnSignal { .. } => Why::OwnSignal,
        Cause::Aborted => Why::Aborted,
        Cause::StackOverflow { .. } => Why::StackOverflow,
        Cause::Killed { by, .. } => Why::Asked(by.clone()),
        Cause::SentBy { sender, .. } => Why::SentBy(sender.get()),
        Cause::SenderUnknown { .. } => Why::SenderUnknown,
        other => Why::Odd(other.to_string()),
    }
}

/// What everybody is to be told of a process; `judge` is who kills, as the system calls it.
pub(crate) fn expected(act: &Act, judge: &str) -> Told {
    let Act { index, number, .. } = *act;
    let (fate, why) = match act.way {
        Way::Value | Way::Exit | Way::LeaveFork => (Fate::Value(index), Why::Itself),
        Way::LongValue => (Fate::Long(index, number as usize), Why::Itself),
        Way::Error => {
            let chain = vec![format!("process {index}"), "inner".to_owned()];
            (Fate::Error(chain), Why::Itself)
        }
        Way::Fail => (Fate::Failed(index), Why::Itself),
        Way::Panic => (Fate::Panic(format!("process {index}")), Why::Itself),
        Way::Code | Way::RawCode | Way::CloseAll => (Fate::Code(number), Why::Itself),
        Way::OwnSignal if number == libc::SIGKILL => (Fate::Signal(number), Why::SenderUnknown),
        Way::OwnSignal => (Fate::Signal(number), Why::OwnSignal),
        Way::Abort => (Fate::Signal(libc::SIGABRT), Why::Aborted),
        Way::StackOverflow => (Fate::Signal(libc::SIGABRT), Why::StackOverflow),
        Way::Exec => (Fate::Code(0), Why::Itself),
        Way::KilledBySystem => (Fate::Signal(libc::SIGKILL), Why::Asked(judge.to_owned())),
        Way::KilledFromOutside | Way::Stopped => (Fate::Signal(libc::SIGKILL), Why::SenderUnknown),
        Way::Terminated => (Fate::Signal(libc::SIGTERM), Why::SentBy(std::process::id())),
    };
    Told {
        fate,
        why: Some(why),
        certain: true,
    }
}
