//! How a function is run in a process of a spawner: with its arguments, and perhaps a socket before them.

use std::marker::PhantomData;

use occ_sck::Socket;

use crate::descriptor::Context;
use crate::function::{Arguments, Function, Outcome, Run};
use crate::outcome::{End, ErrorReport};

/// Runs a function with its arguments.
pub(super) struct Plain<K>(PhantomData<K>);

impl<F, A, K> Run<F, A> for Plain<K>
where
    F: Function<A>,
    A: Arguments,
    F::Output: Outcome<K>,
{
    fn run(function: fn(A) -> F::Output, mut context: Context) -> End {
        match context.take_args::<A>() {
            Ok(args) => function(args).into_end(),
            Err(error) => undecodable(&error),
        }
    }
}

/// As [`Plain`], with a socket before the arguments.
pub(super) struct WithSocket<A, K>(PhantomData<(A, K)>);

impl<F, A, K> Run<F, A::WithSocket> for WithSocket<A, K>
where
    F: Function<A::WithSocket>,
    A: Arguments,
    F::Output: Outcome<K>,
{
    fn run(function: fn(A::WithSocket) -> F::Output, mut context: Context) -> End {
        let Some(socket) = context.fds.pop() else {
            let chain = vec!["the socket of the function did not arrive".to_owned()];
            return End::words(ErrorReport {
                chain,
                backtrace: None,
            });
        };
        match context.take_args::<A>() {
            Ok(args) => function(args.with_socket(Socket::from(socket))).into_end(),
            Err(error) => undecodable(&error),
        }
    }
}

fn undecodable(error: &occ_sck::DecodeError) -> End {
    let mut chain = vec!["the arguments could not be decoded".to_owned()];
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        chain.push(error.to_string());
        cause = error.source();
    }
    End::words(ErrorReport {
        chain,
        backtrace: None,
    })
}
