//! Files that some ends leave.

use rustix::process::{Resource, Rlimit, setrlimit};

/// This process, and what it starts, leaves no core file, however it ends.
///
/// # Panics
///
/// If the kernel refuses the limit.
pub fn no_cores() {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    setrlimit(Resource::Core, none).expect("setrlimit");
}
