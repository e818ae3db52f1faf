//! The first lines of a process of a system: from the descriptor that names its function to the function.

use std::io;
use std::marker::PhantomData;

use occ_inbox::Pid;
use occ_sck::Socket;
use occ_spawn::entry::{Context, Descriptor, End, Run, descriptor};
use occ_spawn::{Arguments, Function, Outcome};

use crate::current;
use crate::process::Process;

/// A function, as it is named to the coordinator.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    /// Where its descriptor is in the image.
    pub(crate) function: u64,
    /// What people call it.
    pub(crate) name: &'static str,
}

impl Entry {
    pub(crate) fn of<F, A, K>(function: &F) -> Entry
    where
        F: Function<A>,
        A: Arguments,
        F::Output: Outcome<K>,
    {
        let entry = descriptor::<Start<K>, F, A>(function);
        Entry {
            function: entry.offset(),
            name: entry.name(),
        }
    }
}

/// The way in which a function runs here: as a process that has an inbox.
struct Start<K>(PhantomData<K>);

impl<F, A, K> Run<F, A> for Start<K>
where
    F: Function<A>,
    A: Arguments,
    F::Output: Outcome<K>,
{
    fn run(function: fn(A) -> F::Output, context: Context) -> End {
        let args = match occ_sck::decode_with_fds::<A>(&context.args, context.with_args) {
            Ok(args) => args,
            Err(error) => return failed("the arguments could not be decoded", &error),
        };
        // One that was a spare is what it is already.
        if !(context.preface.is_empty() && current::is_set()) {
            let me = match occ_sck::decode(&context.preface) {
                Ok(me) => me,
                Err(error) => {
                    return failed("the name of the process could not be decoded", &error);
                }
            };
            if let Err(error) = become_process(me, context.control) {
                return failed("there is no memory for the process", &error);
            }
        }
        function(args).into_end()
    }
}

/// Makes this process the one of that name.
fn become_process(me: Pid, control: &'static Socket) -> io::Result<()> {
    current::set(Process::new(me, control)?);
    occ_spawn::entry::counted_by(unread);
    Ok(())
}

/// How many messages the process has not received, if this is its thread and it is not about to receive one.
fn unread() -> Option<u64> {
    current::with(|process| process.unread()).ok()?
}

/// What a zygote runs before it makes processes, and a spare before it waits: what comes before a function, and after it, for a process
/// that is none. And then a spare runs it with its name, and has become that process.
pub(crate) const REHEARSAL: &Descriptor = &Descriptor::new(|| "occ-spare", rehearse);

fn rehearse(context: Context) -> End {
    if let Ok(me) = occ_sck::decode(&context.preface) {
        let _ = become_process(me, context.control);
        return ().into_end();
    }
    let nobody = Pid {
        node: 0,
        incarnation: 0,
        serial: 0,
    };
    let mut preface = Vec::new();
    let told = occ_sck::encode_into(&nobody, &mut preface).is_ok();
    if let Ok(me) = occ_sck::decode::<Pid>(&preface)
        && let Ok(mut process) = Process::new(me, context.control)
        && told
    {
        process.rehearse();
        current::set_and_unset(process);
    }
    occ_spawn::entry::counted_by(unread);
    ().into_end()
}

fn failed(what: &str, error: &dyn std::error::Error) -> End {
    let causes = std::iter::successors(Some(error), |error| error.source());
    End::chain(
        std::iter::once(what.to_owned())
            .chain(causes.map(ToString::to_string))
            .collect(),
    )
}
