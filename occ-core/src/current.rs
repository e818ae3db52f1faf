//! Which process the free functions act on: the one state that is global, and global to a thread only.

use std::cell::RefCell;
use std::mem::ManuallyDrop;
use std::rc::{Rc, Weak};

use occ_inbox::Pid;
use thiserror::Error;

use crate::error::SystemError;
use crate::process::Process;
use crate::sys::ForkGuard;

/// A process, as the thread that it belongs to holds it.
type Shared = Rc<RefCell<Process>>;

/// A process, and its name, which can be had while the process is busy.
struct Layer {
    pid: Pid,
    process: Shared,
}

thread_local! {
    /// The process that this thread is, if it is one, and above it the one that it became by starting a
    /// system of its own.
    ///
    /// Without a destructor, which would cost every process a visit to the dynamic linker for nothing: it ends with
    /// its thread. Where a thread may end before its process, [`Clear`] is the destructor.
    static CURRENT: ManuallyDrop<RefCell<Vec<Layer>>> =
        const { ManuallyDrop::new(RefCell::new(Vec::new())) };

    static CLEAR: Clear = const { Clear };
}

struct Clear;

impl Drop for Clear {
    fn drop(&mut self) {
        let left = CURRENT.with(|stack| std::mem::take(&mut *stack.borrow_mut()));
        drop(left);
    }
}

/// Why there is no process to act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Absent {
    /// The calling thread belongs to no system.
    #[error("this thread belongs to no system: start one, or run a function in one")]
    NotStarted,
    /// A call of this thread on its process is under way: this is a call from within a matcher.
    #[error("called from within a matcher of receive")]
    Reentrant,
}

/// Does `act` with the process that the calling thread is.
///
/// # Errors
///
/// There is none, or it is in use further up the stack.
pub fn with<R>(act: impl FnOnce(&mut Process) -> R) -> Result<R, Absent> {
    let top = CURRENT.with(|stack| stack.borrow().last().map(|layer| Rc::clone(&layer.process)));
    let process = top.ok_or(Absent::NotStarted)?;
    let mut process = process.try_borrow_mut().map_err(|_| Absent::Reentrant)?;
    Ok(act(&mut process))
}

/// The name of the process that the calling thread is, also from within a matcher.
///
/// # Errors
///
/// It is none, or a plain fork of one.
pub fn self_pid() -> Result<Pid, SystemError> {
    if ForkGuard::is_fork_of_armed() {
        return Err(SystemError::Forked);
    }
    CURRENT
        .with(|stack| stack.borrow().last().map(|layer| layer.pid))
        .ok_or(SystemError::NotStarted)
}

/// Makes `process` what the calling thread is.
pub(crate) fn set(process: Process) {
    add(Rc::new(RefCell::new(process)));
}

/// Whether the calling thread is a process.
pub(crate) fn is_set() -> bool {
    CURRENT.with(|stack| !stack.borrow().is_empty())
}

/// Makes `process` what the calling thread is, for nothing: what that takes for the first time has been done.
pub(crate) fn set_and_unset(process: Process) {
    set(process);
    let last = CURRENT.with(|stack| stack.borrow_mut().pop());
    drop(last);
}

/// Makes `process` what the calling thread is, until [`remove`], or else until the thread ends.
pub fn push(process: Process) -> Pushed {
    CLEAR.with(|_| ());
    let process = Rc::new(RefCell::new(process));
    let pushed = Pushed(Rc::downgrade(&process));
    add(process);
    pushed
}

/// A process that was pushed. It belongs to the thread, and ends with it.
#[derive(Debug)]
pub struct Pushed(Weak<RefCell<Process>>);

fn add(process: Shared) {
    let pid = process.borrow().self_pid();
    CURRENT.with(|stack| stack.borrow_mut().push(Layer { pid, process }));
}

/// Makes the calling thread what it was before the process was pushed, and gives that back; `None` if it has gone, or is
/// in use further up the stack.
pub fn remove(pushed: &Pushed) -> Option<Process> {
    let process = pushed.0.upgrade()?;
    CURRENT.with(|stack| {
        stack
            .borrow_mut()
            .retain(|layer| !Rc::ptr_eq(&layer.process, &process));
    });
    Rc::into_inner(process).map(RefCell::into_inner)
}
