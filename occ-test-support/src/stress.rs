//! How often a repeated test repeats.

/// `n`, multiplied by the environment variable `OCC_STRESS` (1 if unset).
///
/// # Panics
///
/// If `OCC_STRESS` is set and is not a positive number: a stress run that silently was none is worse.
#[must_use]
pub fn times(n: usize) -> usize {
    n * factor()
}

pub(crate) fn factor() -> usize {
    match std::env::var("OCC_STRESS") {
        Err(_) => 1,
        Ok(text) => match text.parse() {
            Ok(factor) if factor > 0 => factor,
            _ => panic!("OCC_STRESS is {text:?}, expected a positive number"),
        },
    }
}
