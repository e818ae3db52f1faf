//! What can be run as a process: a function without captures, its arguments, its result.
//!
//! The traits stand in layers, so that a compile error names the true culprit: [`Function`] asks only
//! whether the arguments fit, [`Arguments`] whether each of them can be sent, [`Outcome`] whether the
//! result can.

use std::marker::PhantomData;

use occ_sck::{Socket, Term};

use crate::descriptor::{Context, Descriptor};
use crate::outcome::End;
use crate::sys;

/// A function that can be called with the arguments in the tuple `Args`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be run as a process with the arguments `{Args}`",
    label = "not a function of exactly these arguments that captures nothing",
    note = "the arguments are one tuple of owned values: `()`, `(x,)`, `(x, y)`; a `&str` is passed as a `String`",
    note = "a closure may capture nothing: pass what it needs as arguments"
)]
pub trait Function<Args>: Copy {
    /// What it returns.
    type Output;

    /// Calls it.
    fn call(self, args: Args) -> Self::Output;
}

/// A tuple of up to six values that can be sent.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the arguments of a process",
    label = "not a tuple of up to six terms",
    note = "pass the arguments as one tuple of owned values: `()`, `(x,)`, `(x, y)`"
)]
pub trait Arguments: Term {
    /// The same tuple with a socket before it.
    type WithSocket;

    /// Puts a socket before the others.
    fn with_socket(self, socket: Socket) -> Self::WithSocket;
}

macro_rules! tuples {
    ($($name:ident)*) => {
        // Without this the compiler would stop at the first bound below that fails, `Copy` for a closure that
        // captures a string, and say nothing of what to do.
        #[diagnostic::do_not_recommend]
        impl<Func, Out, $($name),*> Function<($($name,)*)> for Func
        where
            Func: Fn($($name),*) -> Out + Copy,
        {
            type Output = Out;

            #[allow(non_snake_case, reason = "each value is named as its type; none in the empty tuple")]
            fn call(self, ($($name,)*): ($($name,)*)) -> Out {
                self($($name),*)
            }
        }
    };
}

macro_rules! arguments {
    ($($name:ident)*) => {
        impl<$($name: Term),*> Arguments for ($($name,)*) {
            type WithSocket = (Socket, $($name,)*);

            #[allow(non_snake_case, reason = "each value is named as its type; none in the empty tuple")]
            fn with_socket(self, socket: Socket) -> Self::WithSocket {
                let ($($name,)*) = self;
                (socket, $($name,)*)
            }
        }
    };
}

tuples!();
tuples!(A);
tuples!(A B);
tuples!(A B C);
tuples!(A B C D);
tuples!(A B C D E);
tuples!(A B C D E F);
tuples!(A B C D E F G);
arguments!();
arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);
arguments!(A B C D E F);

/// What a process may return: a value that can be sent, a `Result` of one, or nothing at all (`!`).
///
/// The error of a `Result` is anything that is `Into<anyhow::Error>`. One that can itself be sent makes the compiler
/// ask which is meant, the `Result` as a value or as an outcome ("type annotations needed"): return an `anyhow::Result`
/// then, or say it, `spawn::<_, _, result_kind::Fallible>(f, ())`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be the result of a process",
    label = "neither a value that can be sent, nor a `Result` of one, nor `!`",
    note = "a value is `Serialize + DeserializeOwned + 'static`: derive `serde::Serialize` and `serde::Deserialize`"
)]
pub trait Outcome<Kind> {
    /// How the process ends with it.
    fn into_end(self) -> End;
}

impl<R, Kind> Outcome<Kind> for R
where
    R: result_kind::Sorted<Kind>,
    R::Value: Term,
    R::Error: result_kind::IntoReason,
{
    fn into_end(self) -> End {
        match self.sort() {
            Ok(value) => End::value(&value),
            Err(error) => End::error(&result_kind::IntoReason::into_reason(error)),
        }
    }
}

/// Which sort of result a function has; chosen by the compiler.
///
/// What a result *is* stands apart from what it must *be able to do*: a `Result` is one whatever its error, so that
/// an error that does not qualify is told as such, and not taken for part of a plain value.
pub mod result_kind {
    use std::convert::Infallible;

    use occ_sck::Term;

    /// A plain value, `()` among them.
    #[derive(Debug)]
    pub enum Plain {}
    /// A `Result`, whose error is the reason of the exit.
    #[derive(Debug)]
    pub enum Fallible {}
    /// None: the function never returns.
    #[derive(Debug)]
    pub enum Never {}

    /// A result of the sort `Kind`.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` cannot be the result of a process",
        label = "neither a value that can be sent, nor a `Result` of one, nor `!`",
        note = "a value is `Serialize + DeserializeOwned + 'static`: derive `serde::Serialize` and `serde::Deserialize`"
    )]
    pub trait Sorted<Kind> {
        /// The value, where there is one.
        type Value;
        /// The error, where there is one.
        type Error;

        /// Tells the two apart.
        ///
        /// # Errors
        ///
        /// The function's own.
        fn sort(self) -> Result<Self::Value, Self::Error>;
    }

    impl<T: Term> Sorted<Plain> for T {
        type Value = T;
        type Error = Infallible;

        fn sort(self) -> Result<T, Infallible> {
            Ok(self)
        }
    }

    // The name of the parameter is what the compiler shows to those whose error could be either.
    impl<T, IntoAnyhowError> Sorted<Fallible> for Result<T, IntoAnyhowError> {
        type Value = T;
        type Error = IntoAnyhowError;

        fn sort(self) -> Result<T, IntoAnyhowError> {
            self
        }
    }

    impl Sorted<Never> for <fn() -> ! as Returns>::Type {
        type Value = ();
        type Error = Infallible;

        fn sort(self) -> Result<(), Infallible> {
            self
        }
    }

    /// An error that can be the reason of an exit.
    #[diagnostic::on_unimplemented(
        message = "`{Self}` cannot be the error of a process",
        label = "not `Into<anyhow::Error>`",
        note = "implement `std::error::Error` for it (and `Send + Sync + 'static`), or return an `anyhow::Result`"
    )]
    pub trait IntoReason {
        /// As an error with a chain.
        fn into_reason(self) -> anyhow::Error;
    }

    #[diagnostic::do_not_recommend]
    impl<E: Into<anyhow::Error>> IntoReason for E {
        fn into_reason(self) -> anyhow::Error {
            self.into()
        }
    }

    /// Names the type `!`, which stable Rust writes only after an arrow.
    pub trait Returns {
        /// What a function of this type returns.
        type Type;
    }

    impl<R> Returns for fn() -> R {
        type Type = R;
    }
}

/// What a process does around its function: the same for every function.
pub trait Run<F: Function<A>, A> {
    /// Makes what `function` needs of what the process found, calls it, and says how the process ends.
    fn run(function: fn(A) -> F::Output, context: Context) -> End;
}

/// The descriptor that has `function` run in another process, in the way that `R` says.
///
/// # Compile errors
///
/// For a closure that captures something, when the program is built.
pub fn descriptor<R: Run<F, A>, F: Function<A>, A>(function: &F) -> &'static Descriptor {
    check_captures_nothing(function);
    Entry::<R, F, A>::DESCRIPTOR
}

struct Entry<R, F, A>(PhantomData<(R, F, A)>);

impl<R: Run<F, A>, F: Function<A>, A> Entry<R, F, A> {
    const DESCRIPTOR: &'static Descriptor = &Descriptor::new(std::any::type_name::<F>, Self::start);

    fn start(context: Context) -> End {
        R::run(call::<F, A>, context)
    }
}

/// Turns a function that captures nothing into a type that stands for it; a value of it need not travel.
///
/// # Compile errors
///
/// For a closure that captures something, when the program is built.
fn check_captures_nothing<F>(_: &F) {
    const {
        assert!(
            size_of::<F>() == 0,
            "this function captures variables of its caller, and a process starts without them: \
             pass them as arguments, spawn(|x| ..., (x,))"
        );
    }
}

/// Calls the function that `F` stands for.
#[expect(
    unsafe_code,
    reason = "a function item has no bytes to send, so the receiver makes it"
)]
fn call<F: Function<A>, A>(args: A) -> F::Output {
    // SAFETY: `F` is Copy, and whoever named it to this process had a value of it: every way to a
    // descriptor begins with one, given to `check_captures_nothing`.
    let function: F = unsafe { sys::conjure() };
    __rust_begin_short_backtrace(function, args)
}

/// Everything that called this is ours: a short backtrace ends at this name, whether we write it or `std`.
#[inline(never)]
fn __rust_begin_short_backtrace<F: Function<A>, A>(function: F, args: A) -> F::Output {
    let result = function.call(args);
    // Or this would be a jump, and the name nowhere on the stack.
    std::hint::black_box(());
    result
}
