//! The name by which libtest knows the running test.

/// The libtest path of the enclosing test function, such as `"frame::a_torn_frame_is_refused"`.
///
/// Derived from where the macro stands, not from the thread's name, which libtest need not set.
///
/// ```
/// fn some_test() -> &'static str {
///     occ_test_support::test_path!()
/// }
/// assert!(some_test().ends_with("some_test"));
/// ```
#[macro_export]
macro_rules! test_path {
    () => {{
        fn here() {}
        $crate::test_path::of(here)
    }};
}

/// What [`test_path!`](crate::test_path!) expands to: the path of the function that contains `_here`, without the crate.
#[must_use]
pub fn of<F>(_here: F) -> &'static str {
    let mut path = std::any::type_name::<F>();
    while let Some(outer) = path
        .strip_suffix("::here")
        .or_else(|| path.strip_suffix("::{{closure}}"))
    {
        path = outer;
    }
    path.split_once("::")
        .map_or(path, |(_crate_name, rest)| rest)
}
