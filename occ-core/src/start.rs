//! The first lines of a process of a system: from the descriptor that names its function to the function.

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;

use occ_inbox::Pid;
use occ_sck::{Socket, Term};
use occ_spawn::entry::{Context, Descriptor, End, Run, descriptor};
use occ_spawn::{Arguments, Function, Outcome};

use crate::addr::Inbox;
use crate::current;
use crate::process::Process;
use crate::protocol::Me;
use crate::tally::Tally;

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
        Entry::from(descriptor::<Start<K>, F, A>(function))
    }

    /// One that has an inbox before these arguments.
    pub(crate) fn with_inbox<F, A, M, K>(function: &F) -> Entry
    where
        A: AfterInbox<M>,
        F: Function<A::WithInbox>,
        F::Output: Outcome<K>,
    {
        Entry::from(descriptor::<StartWithInbox<K, M, A>, F, A::WithInbox>(
            function,
        ))
    }
}

impl From<&'static Descriptor> for Entry {
    fn from(descriptor: &'static Descriptor) -> Entry {
        Entry {
            function: descriptor.offset(),
            name: descriptor.name(),
        }
    }
}

/// A tuple of arguments that an inbox can stand before.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of a process after its inbox",
    label = "not a tuple of up to six terms",
    note = "pass the arguments as one tuple of owned values: `()`, `(x,)`, `(x, y)`; the inbox is not among them"
)]
pub trait AfterInbox<M>: Arguments {
    /// The same tuple with the inbox before it.
    type WithInbox;

    /// Puts the inbox before the others.
    #[doc(hidden)]
    fn with_inbox(self, inbox: Inbox<M>) -> Self::WithInbox;
}

macro_rules! after_inbox {
    ($($name:ident)*) => {
        impl<Msg, $($name: Term),*> AfterInbox<Msg> for ($($name,)*) {
            type WithInbox = (Inbox<Msg>, $($name,)*);

            #[allow(non_snake_case, reason = "each value is named as its type; none in the empty tuple")]
            fn with_inbox(self, inbox: Inbox<Msg>) -> Self::WithInbox {
                let ($($name,)*) = self;
                (inbox, $($name,)*)
            }
        }
    };
}

after_inbox!();
after_inbox!(A);
after_inbox!(A B);
after_inbox!(A B C);
after_inbox!(A B C D);
after_inbox!(A B C D E);
after_inbox!(A B C D E F);

/// The way in which a function runs here that has an inbox before its arguments.
struct StartWithInbox<K, M, A>(PhantomData<(K, M, A)>);

impl<F, A, K, M> Run<F, A::WithInbox> for StartWithInbox<K, M, A>
where
    A: AfterInbox<M>,
    F: Function<A::WithInbox>,
    F::Output: Outcome<K>,
{
    fn run(function: fn(A::WithInbox) -> F::Output, context: Context) -> End {
        match begin::<A>(context) {
            Ok(args) => function(args.with_inbox(Inbox::new())).into_end(),
            Err(end) => end,
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
        match begin::<A>(context) {
            Ok(args) => function(args).into_end(),
            Err(end) => end,
        }
    }
}

/// Makes this process one of its system, and gives the arguments of its function.
fn begin<A: Arguments>(mut context: Context) -> Result<A, End> {
    let args = context
        .take_args::<A>()
        .map_err(|error| failed("the arguments could not be decoded", &error))?;
    // One that was a spare is what it is already.
    if !(context.preface.is_empty() && current::is_set()) {
        let me = occ_sck::decode(&context.preface)
            .map_err(|error| failed("the name of the process could not be decoded", &error))?;
        become_process(me, context.control)
            .map_err(|error| failed("there is no memory for the process", &error))?;
    }
    Ok(args)
}

/// Makes this process the one of that name.
fn become_process(me: Me, control: &'static Socket) -> io::Result<()> {
    current::set(Process::new(me, control)?);
    Ok(())
}

/// What a zygote runs before it makes processes, and a spare before it waits: what comes before a function, and after it, for a process
/// that is none. And then a spare runs it with its name, and has become that process.
///
/// A zygote has the memory in which messages are counted from whoever made it, and all that it makes have it from the zygote.
pub(crate) const REHEARSAL: &Descriptor = &Descriptor::new(|| "occ-spare", rehearse);

fn rehearse(context: Context) -> End {
    if let Ok(me) = occ_sck::decode(&context.preface) {
        let _ = become_process(me, context.control);
        return ().into_end();
    }
    if let Some(tally) = context
        .fds
        .first()
        .and_then(|fd| Tally::of(fd.as_fd()).ok())
    {
        tally.pass_on();
    }
    let pid = Pid {
        node: 0,
        incarnation: 0,
        serial: 0,
    };
    let nobody = Me { pid, tally: None };
    let mut preface = Vec::new();
    let told = occ_sck::encode_into(&nobody, &mut preface).is_ok();
    if let Ok(me) = occ_sck::decode::<Me>(&preface)
        && let Ok(mut process) = Process::new(me, context.control)
        && told
    {
        process.rehearse();
        current::set_and_unset(process);
    }
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
