//! Each helper does what it says, and notices when what it asserts is not so.
#![cfg(test)]

mod alive;
mod dead;
mod deadline;
mod isolated;
mod lifeline;
mod pass;
mod pty;
mod ready;
mod role;
mod stress;
mod test_path;
mod tree;

/// The message of the panic that `body` ends with.
fn panic_of(body: impl FnOnce()) -> String {
    let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).unwrap_err();
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
    }
}

/// A limit for what must not happen: the event that would end the wait cannot come.
const SHORT: std::time::Duration = std::time::Duration::from_millis(20);
