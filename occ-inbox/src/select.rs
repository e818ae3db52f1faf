//! Receiving whichever comes first of several types: what [`receive!`](crate::receive!) is made of.
//!
//! The macro goes over the arms twice. First each message is offered to each arm: its value is matched against the pattern,
//! and the guard is looked at, without anything being moved out of it, because a message that no arm takes stays. That
//! is in a closure, in the middle of a receive. Then, with nothing borrowed any more, the value that was taken is
//! matched once more, and the body of its arm runs where the macro stands: it may return, or receive again.

use std::time::Duration;

pub use occ_sck::TypeKey as Key;
use occ_sck::{Deadline, DecodeError};

use crate::connector::Connector;
use crate::error::ReceiveError;
use crate::inbox::Inbox;
use crate::message::Receive;
use crate::queue::{Held, Wanted};
use crate::receive::{Scan, undecodable};
use crate::reference::Mark;

/// A message that nobody has taken yet.
#[derive(Debug)]
pub struct Offer<'a>(&'a mut Held);

impl Offer<'_> {
    /// The value, if it is a `T`. Whoever does not want it puts it back.
    pub fn take<T: Receive>(&mut self) -> Option<Result<T, DecodeError>> {
        let (key, of) = (self.0.message.key(), Key::of::<T>());
        (key == of || key == of.name_alone()).then(|| self.0.take_value())
    }

    /// Puts the value back.
    pub fn put_back<T: 'static>(&mut self, value: T) {
        self.0.put_value(value);
    }
}

/// A message that an arm has taken, with its value.
#[derive(Debug)]
pub struct Taken(Held);

impl Taken {
    /// The value.
    ///
    /// # Panics
    ///
    /// If it is not a `T`, or is not there: it was put back when it was taken.
    pub fn open<T: 'static>(self) -> T {
        match self.0.open() {
            (_, Some(value)) => value,
            (message, None) => unreachable!("the value of a {}", message.type_name()),
        }
    }
}

/// What an arm says of an offer: its number, or why the value that it may have wanted cannot be had.
pub type Answer = Option<Result<usize, DecodeError>>;

/// What to look at, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// Nothing that is older.
    pub since: Option<Mark>,
    /// `None` for ever.
    pub limit: Option<Duration>,
}

impl<C: Connector> Inbox<C> {
    /// Takes the oldest message of these types that `look` gives the number of an arm for. `None` when there was none within
    /// the limit.
    ///
    /// # Errors
    ///
    /// As [`Inbox::receive`].
    #[doc(hidden)]
    pub fn select(
        &mut self,
        Range { since, limit }: Range,
        keys: &[Key],
        mut look: impl FnMut(&mut Offer<'_>) -> Answer,
    ) -> Result<Option<(Taken, usize)>, ReceiveError> {
        let from = since.map_or(0, |mark| mark.place_for(self.me));
        let deadline = Deadline::from(limit);
        let by_name: Vec<Key>;
        let keys = match C::BY_ADDRESS {
            true => {
                by_name = keys
                    .iter()
                    .flat_map(|key| [*key, key.name_alone()])
                    .collect();
                &by_name
            }
            false => keys,
        };
        let found = self.wait_for(Scan { from, deadline }, Wanted::OneOf(keys), |held| {
            let answer = look(&mut Offer(held));
            if answer.is_none() {
                held.refused();
            }
            answer
        })?;
        match found {
            Some((held, Ok(arm))) => Ok(Some((Taken(held), arm))),
            Some((held, Err(error))) => Err(undecodable(&held.message, error)),
            None if limit.is_none() => Err(ReceiveError::SystemDown),
            None => Ok(None),
        }
    }
}

/// Receives the oldest message of an [`Inbox`] that any of its arms takes; the others stay, in order.
///
/// ```text
/// receive! { inbox;
///     PATTERN: TYPE => EXPRESSION,
///     PATTERN: TYPE if GUARD => EXPRESSION,
///     after LIMIT => EXPRESSION,
/// }
/// ```
///
/// Each message is offered to the arms in their order, and to each arm once. An arm takes it if it is of the type, the pattern
/// matches and the guard is true. The arm `after`, which comes last if there is one, is for when none was taken
/// within the limit, a [`Duration`]: zero looks at what is here already. Without it there is no limit.
///
/// The value is that of the expression, in a `Result`: what else can happen is a [`ReceiveError`].
/// Expressions may `return`, `break`, and receive again. Guards may not; one that panics loses nothing. With `since MARK;`
/// before the arms, only what has arrived since that [`Mark`] is looked at, a [`Ref`](crate::Ref) for one. As in `match`, there need be no
/// comma behind an expression that ends in a block: a block itself, `if`, `match`, `loop`, `while`, `for`, `unsafe`.
///
/// A pattern of several alternatives with a guard, `A(x) | B(x) if GUARD`, must not match one value in two ways of which the
/// guard refuses the first.
///
/// ```
/// use std::time::Duration;
///
/// use occ_inbox::{Inbox, Pid, Socket, Wired, receive};
///
/// # let [alice, bob] = [1, 2].map(|serial| Pid { node: 0, incarnation: 0, serial });
/// # let (to_bob, to_alice) = Socket::pair()?;
/// # let mut alices = Inbox::new(alice, Wired::new([(bob, to_bob)])?)?;
/// # let mut inbox = Inbox::new(bob, Wired::new([(alice, to_alice)])?)?;
/// alices.send(bob, &"nobody asked for this".to_string())?;
/// alices.send(bob, &(7_u32, 'x'))?;
/// alices.send(bob, &40_u64)?;
///
/// let what = receive! { inbox;
///     (number, 'y'): (u32, char) => number.into(),
///     number: u64 if number > 30 => number + 2,
///     after Duration::from_secs(5) => 0,
/// }?;
/// assert_eq!(what, 42);
/// assert_eq!(inbox.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[macro_export]
macro_rules! receive {
    ($inbox:expr; since $mark:expr; $($arms:tt)+) => {
        $crate::__receive!(@arm [
            { ::core::option::Option::Some(::core::convert::Into::<$crate::Mark>::into($mark)) }
            (|range, keys, look| $inbox.select(range, keys, look))
        ] {} [] $($arms)+)
    };
    ($inbox:expr; $($arms:tt)+) => {
        $crate::__receive!(@arm [
            { ::core::option::Option::None }
            (|range, keys, look| $inbox.select(range, keys, look))
        ] {} [] $($arms)+)
    };
}

/// `@arm [since, how to select] { arms so far } [+ 1 for each] the rest`: takes one arm after the other apart, because a
/// pattern that a colon follows is no pattern to `macro_rules`. Several words at a time, because each step counts against the
/// `recursion_limit` of who uses it.
#[doc(hidden)]
#[macro_export]
macro_rules! __receive {
    (@arm $with:tt $arms:tt $number:tt) => {
        $crate::__receive!(@expand $with [] $arms)
    };
    (@arm $with:tt {} [] after $limit:expr => $body:expr $(,)?) => {
        $crate::__receive_takes_a_message!()
    };
    (@arm $with:tt $arms:tt $number:tt after $limit:expr => $body:expr $(,)?) => {
        $crate::__receive!(@expand $with [$limit => $body] $arms)
    };
    (@arm $with:tt $arms:tt $number:tt $($rest:tt)+) => {
        $crate::__receive!(@pattern $with $arms $number [] $($rest)+)
    };

    // What is no arm is told at its first word, and not where the last of all its words have been looked at.
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*]) => {
        $crate::__no_arm!([$($pattern)*] $($pattern)*)
    };
    (@pattern $with:tt $arms:tt $number:tt $pattern:tt : $($rest:tt)*) => {
        $crate::__receive!(@type $with $arms $number $pattern [] $($rest)*)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)+] if $($rest:tt)*) => {
        $crate::__guard_before_the_type!($($pattern)+)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*] $a:tt : $($rest:tt)*) => {
        $crate::__receive!(@type $with $arms $number [$($pattern)* $a] [] $($rest)*)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*] $a:tt if $($rest:tt)*) => {
        $crate::__guard_before_the_type!($($pattern)* $a)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*] $a:tt $b:tt : $($rest:tt)*) => {
        $crate::__receive!(@type $with $arms $number [$($pattern)* $a $b] [] $($rest)*)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*] $a:tt $b:tt if $($rest:tt)*) => {
        $crate::__guard_before_the_type!($($pattern)* $a $b)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*] $a:tt $b:tt $c:tt : $($rest:tt)*) => {
        $crate::__receive!(@type $with $arms $number [$($pattern)* $a $b $c] [] $($rest)*)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*] => $($rest:tt)*) => {
        $crate::__no_arm!([$($pattern)*] $($pattern)*)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*] $a:tt => $($rest:tt)*) => {
        $crate::__no_arm!([$($pattern)* $a] $($pattern)* $a)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*] $a:tt $b:tt => $($rest:tt)*) => {
        $crate::__no_arm!([$($pattern)* $a $b] $($pattern)* $a $b)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*] $a:tt $b:tt $c:tt => $($rest:tt)*) => {
        $crate::__no_arm!([$($pattern)* $a $b $c] $($pattern)* $a $b $c)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*] $a:tt $b:tt $c:tt $d:tt $($rest:tt)*) => {
        $crate::__receive!(@pattern $with $arms $number [$($pattern)* $a $b $c $d] $($rest)*)
    };
    (@pattern $with:tt $arms:tt $number:tt [$($pattern:tt)*] $next:tt $($rest:tt)*) => {
        $crate::__receive!(@pattern $with $arms $number [$($pattern)* $next] $($rest)*)
    };

    (@type $with:tt $arms:tt $number:tt [$($pattern:tt)*] [] => $($rest:tt)*) => {
        $crate::__no_arm!([$($pattern)*] $($pattern)*)
    };
    (@type $with:tt $arms:tt $number:tt [$($pattern:tt)*] $type:tt) => {
        $crate::__no_arm!([$($pattern)*] $($pattern)*)
    };
    (@type $with:tt $arms:tt $number:tt $pattern:tt [] $type:ty => $($rest:tt)*) => {
        $crate::__receive!(@body $with $arms $number { $pattern [$type] [true] [] } $($rest)*)
    };
    (@type $with:tt $arms:tt $number:tt $pattern:tt $type:tt if $($rest:tt)*) => {
        $crate::__receive!(@guard $with $arms $number $pattern $type $($rest)*)
    };
    (@type $with:tt $arms:tt $number:tt $pattern:tt [$($type:tt)*] $a:tt if $($rest:tt)*) => {
        $crate::__receive!(@guard $with $arms $number $pattern [$($type)* $a] $($rest)*)
    };
    (@type $with:tt $arms:tt $number:tt $pattern:tt [$($type:tt)*] $a:tt $b:tt if $($rest:tt)*) => {
        $crate::__receive!(@guard $with $arms $number $pattern [$($type)* $a $b] $($rest)*)
    };
    (@type $with:tt $arms:tt $number:tt $pattern:tt [$($type:tt)*] $a:tt $b:tt $c:tt if $($rest:tt)*) => {
        $crate::__receive!(@guard $with $arms $number $pattern [$($type)* $a $b $c] $($rest)*)
    };
    (@type $with:tt $arms:tt $number:tt $pattern:tt [$($type:tt)*] $a:tt $b:tt $c:tt $d:tt $($rest:tt)*) => {
        $crate::__receive!(@type $with $arms $number $pattern [$($type)* $a $b $c $d] $($rest)*)
    };
    (@type $with:tt $arms:tt $number:tt $pattern:tt [$($type:tt)*] $next:tt $($rest:tt)*) => {
        $crate::__receive!(@type $with $arms $number $pattern [$($type)* $next] $($rest)*)
    };

    (@guard $with:tt $arms:tt $number:tt $pattern:tt $type:tt $guard:expr => $($rest:tt)*) => {
        $crate::__receive!(@body $with $arms $number
            { $pattern $type [$guard]
                [#[allow(unused_variables, reason = "the guard may be all that uses it")]] } $($rest)*)
    };

    (@body $with:tt { $($arms:tt)* } [$($one:tt)*] { $($arm:tt)* } $body:block , $($rest:tt)*) => {
        $crate::__receive!(@arm $with
            { $($arms)* { [0 $($one)*] $($arm)* [$body] } } [$($one)* + 1] $($rest)*)
    };
    (@body $with:tt { $($arms:tt)* } [$($one:tt)*] { $($arm:tt)* } $body:block $($rest:tt)*) => {
        $crate::__receive!(@arm $with
            { $($arms)* { [0 $($one)*] $($arm)* [$body] } } [$($one)* + 1] $($rest)*)
    };
    (@body $with:tt $arms:tt $number:tt $arm:tt if $($rest:tt)*) => {
        $crate::__receive!(@block [$with $arms $number $arm] [if] { if $($rest)* } $($rest)*)
    };
    (@body $with:tt $arms:tt $number:tt $arm:tt match $($rest:tt)*) => {
        $crate::__receive!(@block [$with $arms $number $arm] [match] { match $($rest)* } $($rest)*)
    };
    (@body $with:tt $arms:tt $number:tt $arm:tt loop $($rest:tt)*) => {
        $crate::__receive!(@block [$with $arms $number $arm] [loop] { loop $($rest)* } $($rest)*)
    };
    (@body $with:tt $arms:tt $number:tt $arm:tt while $($rest:tt)*) => {
        $crate::__receive!(@block [$with $arms $number $arm] [while] { while $($rest)* } $($rest)*)
    };
    (@body $with:tt $arms:tt $number:tt $arm:tt for $($rest:tt)*) => {
        $crate::__receive!(@block [$with $arms $number $arm] [for] { for $($rest)* } $($rest)*)
    };
    (@body $with:tt $arms:tt $number:tt $arm:tt unsafe $($rest:tt)*) => {
        $crate::__receive!(@block [$with $arms $number $arm] [unsafe] { unsafe $($rest)* } $($rest)*)
    };
    (@body $with:tt $arms:tt $number:tt $arm:tt $label:lifetime : $($rest:tt)*) => {
        $crate::__receive!(@block [$with $arms $number $arm] [$label :] { $label : $($rest)* } $($rest)*)
    };
    (@body $with:tt { $($arms:tt)* } [$($one:tt)*] { $($arm:tt)* } $body:expr , $($rest:tt)*) => {
        $crate::__receive!(@arm $with
            { $($arms)* { [0 $($one)*] $($arm)* [$body] } } [$($one)* + 1] $($rest)*)
    };
    (@body $with:tt { $($arms:tt)* } [$($one:tt)*] { $($arm:tt)* } $body:expr) => {
        $crate::__receive!(@arm $with
            { $($arms)* { [0 $($one)*] $($arm)* [$body] } } [$($one)* + 1])
    };

    // An expression that ends in a block needs no comma, as in `match`. Its end is found by hand: behind what is in braces, unless
    // what comes then goes on with it. `{ all of it and the rest }` is for where it turns out to be some other expression.
    (@block $arm:tt [$($body:tt)*] $all:tt { $($block:tt)* } $($rest:tt)*) => {
        $crate::__receive!(@after_block $arm [$($body)* { $($block)* }] $all $($rest)*)
    };
    (@block $arm:tt [$($body:tt)*] $all:tt $a:tt { $($block:tt)* } $($rest:tt)*) => {
        $crate::__receive!(@after_block $arm [$($body)* $a { $($block)* }] $all $($rest)*)
    };
    (@block $arm:tt [$($body:tt)*] $all:tt $a:tt $b:tt { $($block:tt)* } $($rest:tt)*) => {
        $crate::__receive!(@after_block $arm [$($body)* $a $b { $($block)* }] $all $($rest)*)
    };
    (@block $arm:tt [$($body:tt)*] $all:tt $a:tt $b:tt $c:tt { $($block:tt)* } $($rest:tt)*) => {
        $crate::__receive!(@after_block $arm [$($body)* $a $b $c { $($block)* }] $all $($rest)*)
    };
    (@block $arm:tt [$($body:tt)*] $all:tt $a:tt $b:tt $c:tt $d:tt $($rest:tt)*) => {
        $crate::__receive!(@block $arm [$($body)* $a $b $c $d] $all $($rest)*)
    };
    (@block $arm:tt $body:tt $all:tt $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };

    (@after_block $arm:tt [$($body:tt)*] $all:tt else $($rest:tt)*) => {
        $crate::__receive!(@block $arm [$($body)* else] $all $($rest)*)
    };
    // It was a pattern, or what is looked at.
    (@after_block $arm:tt [$($body:tt)*] $all:tt = $($rest:tt)*) => {
        $crate::__receive!(@block $arm [$($body)* =] $all $($rest)*)
    };
    (@after_block $arm:tt [$($body:tt)*] $all:tt in $($rest:tt)*) => {
        $crate::__receive!(@block $arm [$($body)* in] $all $($rest)*)
    };
    (@after_block $arm:tt $body:tt $all:tt { $($block:tt)* } $($rest:tt)*) => {
        $crate::__receive!(@block $arm $body $all { $($block)* } $($rest)*)
    };
    (@after_block $arm:tt $body:tt $all:tt . $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt ? $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt as $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt + $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt * $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt / $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt % $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt ^ $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt == $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt != $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt < $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt > $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt <= $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt >= $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt | $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt || $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block $arm:tt $body:tt $all:tt && $($rest:tt)*) => { $crate::__receive!(@expr $arm $all) };
    (@after_block [$with:tt { $($arms:tt)* } [$($one:tt)*] { $($arm:tt)* }] $body:tt $all:tt $(, $($rest:tt)*)?) => {
        $crate::__receive!(@arm $with
            { $($arms)* { [0 $($one)*] $($arm)* $body } } [$($one)* + 1] $($($rest)*)?)
    };
    (@after_block [$with:tt { $($arms:tt)* } [$($one:tt)*] { $($arm:tt)* }] $body:tt $all:tt $($rest:tt)*) => {
        $crate::__receive!(@arm $with
            { $($arms)* { [0 $($one)*] $($arm)* $body } } [$($one)* + 1] $($rest)*)
    };

    (@expr [$with:tt { $($arms:tt)* } [$($one:tt)*] { $($arm:tt)* }] { $body:expr , $($rest:tt)* }) => {
        $crate::__receive!(@arm $with
            { $($arms)* { [0 $($one)*] $($arm)* [$body] } } [$($one)* + 1] $($rest)*)
    };
    (@expr [$with:tt { $($arms:tt)* } [$($one:tt)*] { $($arm:tt)* }] { $body:expr }) => {
        $crate::__receive!(@arm $with
            { $($arms)* { [0 $($one)*] $($arm)* [$body] } } [$($one)* + 1])
    };

    (@expand [{ $($since:tt)* } ($($select:tt)*)] [$($limit:expr => $after:expr)?] { $({
        [$($number:tt)*] [$($pattern:tt)+] [$($type:tt)+] [$guard:expr] [$($allow:tt)*] [$body:expr]
    })+ }) => {{
        let range = $crate::select::Range {
            since: $($since)*,
            limit: $crate::__receive!(@limit $($limit)?),
        };
        let keys = [$($crate::select::key_of::<$($type)+>()),+];
        let look = |offer: &mut $crate::select::Offer<'_>| -> $crate::select::Answer {
            $(
                if let ::core::option::Option::Some(value) = offer.take::<$($type)+>() {
                    let value = match value {
                        ::core::result::Result::Ok(value) => value,
                        ::core::result::Result::Err(error) => {
                            return ::core::option::Option::Some(::core::result::Result::Err(error));
                        }
                    };
                    let mut matches = false;
                    // The guard sees the parts of the value as the body will, and moves none of them.
                    let value = match value {
                        #[allow(unused_variables, unused_mut, reason = "it is the body that uses them")]
                        $($pattern)+ if { matches = $guard; false } => ::core::unreachable!(),
                        #[allow(unreachable_patterns, reason = "a pattern may take all there is")]
                        value => value,
                    };
                    offer.put_back(value);
                    if matches {
                        return ::core::option::Option::Some(::core::result::Result::Ok($($number)*));
                    }
                }
            )+
            ::core::option::Option::None
        };
        #[allow(clippy::redundant_closure_call, reason = "how to select is an expression to be called")]
        let value;
        match ($($select)*)(range, &keys, look) {
            ::core::result::Result::Err(error) => ::core::result::Result::Err(error),
            ::core::result::Result::Ok(::core::option::Option::Some((taken, arm))) => {
                $(
                    if arm == $($number)* {
                        match taken.open::<$($type)+>() {
                            $($allow)*
                            $($pattern)+ => {
                                #[allow(
                                    unreachable_code,
                                    clippy::diverging_sub_expression,
                                    reason = "a body may return, or break"
                                )]
                                { value = $body; }
                            }
                            #[allow(unreachable_patterns, reason = "a pattern may take all there is")]
                            _ => ::core::unreachable!("the guard chose between alternatives"),
                        }
                    } else
                )+ {
                    ::core::unreachable!()
                }
                #[allow(unreachable_code, reason = "all bodies may return, or break")]
                let value = ::core::result::Result::Ok(value);
                value
            }
            ::core::result::Result::Ok(::core::option::Option::None) => {
                $crate::__receive!(@after value $($after)?)
            }
        }
    }};

    (@limit) => { ::core::option::Option::None };
    (@limit $limit:expr) => { ::core::option::Option::Some($limit) };
    (@after $value:ident) => { ::core::result::Result::Err($crate::ReceiveError::SystemDown) };
    (@after $value:ident $after:expr) => {{
        #[allow(
            unreachable_code,
            unused_braces,
            clippy::diverging_sub_expression,
            reason = "it may return, or break, or be a block"
        )]
        { $value = $after; }
        #[allow(unreachable_code, reason = "all bodies may return, or break")]
        let value = ::core::result::Result::Ok($value);
        value
    }};
}

/// Takes the words of what is no arm twice: a word that a rule names, as `after`, does not stand where the user wrote it any more.
#[doc(hidden)]
#[macro_export]
macro_rules! __no_arm {
    ([after $($rest:tt)*] $($arm:tt)*) => { $crate::__after_that_is_not_last!($($arm)*) };
    ([$($words:tt)*] $($arm:tt)*) => { $crate::__arm_without_a_type!($($arm)*) };
}

/// What it would take is what the compiler shows to who has written an arm without a type.
#[doc(hidden)]
#[macro_export]
macro_rules! __arm_without_a_type {
    (an arm of receive is PATTERN: TYPE => EXPRESSION) => {};
}

/// The same, to who has written the guard of an arm before its type.
#[doc(hidden)]
#[macro_export]
macro_rules! __guard_before_the_type {
    (an arm of receive with a guard is PATTERN: TYPE if GUARD => EXPRESSION) => {};
}

/// The same, to who has written an `after` that is not the last arm, or not a whole one.
#[doc(hidden)]
#[macro_export]
macro_rules! __after_that_is_not_last {
    (the last arm of receive may be after LIMIT => EXPRESSION) => {};
}

/// The same, to who has written an `after` alone.
#[doc(hidden)]
#[macro_export]
macro_rules! __receive_takes_a_message {
    (at least one PATTERN: TYPE => EXPRESSION goes before after LIMIT => EXPRESSION) => {};
}

/// The key of the type of an arm.
pub fn key_of<T: Receive>() -> Key {
    Key::of::<T>()
}
