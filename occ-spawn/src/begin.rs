//! What a new process does with itself before its function or its program: what the options say.
//!
//! The order matters. Control groups and limits need privileges that a change of user takes away; that change undoes what ties
//! the process to its parent; and a limit on open files must not be in the way of those that it is given.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;

use occ_yeshup::Parent;
use rustix::io::Errno;
use rustix::process::{Gid, Rlimit, Uid, setrlimit};

use crate::boot::CONTROL_FD;
use crate::options::plan::{NotBegun, Plan, Source, Step};
use crate::sys;

/// No program gets a descriptor of its own below this number, so what is on its way is put above.
const ABOVE: RawFd = 10;

/// Joins control groups, by their `cgroup.procs` files.
pub(crate) fn join(groups: Vec<OwnedFd>) -> Result<(), NotBegun> {
    for group in groups {
        // 0 is whoever writes it (cgroups(7)).
        rustix::io::write(&group, b"0").map_err(|errno| failed(Step::ControlGroup, "", errno))?;
    }
    Ok(())
}

/// Everything but the program or the function.
pub(crate) fn follow(
    plan: &Plan,
    given: Vec<OwnedFd>,
    parent: (Parent, bool),
) -> Result<(), NotBegun> {
    place(plan, given)?;
    for (limit, soft, hard) in &plan.limits {
        let limits = Rlimit {
            current: *soft,
            maximum: *hard,
        };
        setrlimit(limit.resource(), limits).map_err(|errno| {
            let shown = |limit: &Option<u64>| limit.map_or("none".to_owned(), |n| n.to_string());
            let what = format!(
                "{limit:?} to {} (soft) and {} (hard)",
                shown(soft),
                shown(hard)
            );
            failed(Step::Limit, what, errno)
        })?;
    }
    if let Some(increment) = plan.nice {
        rustix::process::nice(increment)
            .map_err(|errno| failed(Step::Nice, format!("by {increment}"), errno))?;
    }
    if plan.own_group.unwrap_or(plan.program.is_some()) {
        rustix::process::setpgid(None, None)
            .map_err(|errno| failed(Step::ProcessGroup, "", errno))?;
    }
    become_user(plan, parent)?;
    if plan.no_new_privs {
        rustix::thread::set_no_new_privs(true)
            .map_err(|errno| failed(Step::NoNewPrivileges, "", errno))?;
    }
    if let Some(dir) = &plan.cwd {
        let dir = OsStr::from_bytes(dir);
        rustix::process::chdir(dir)
            .map_err(|errno| failed(Step::WorkingDirectory, format!("{dir:?}"), errno))?;
    }
    set_environment(plan)
}

fn failed(step: Step, what: impl Into<String>, errno: Errno) -> NotBegun {
    NotBegun::new(step, what, &errno.into())
}

/// Puts what came along under the numbers where it is wanted.
fn place(plan: &Plan, given: Vec<OwnedFd>) -> Result<(), NotBegun> {
    let wrong = |number: RawFd, why: &str, errno| {
        let what = format!("({number}: {why})");
        failed(Step::Descriptors, what, errno)
    };
    let stdio = (0..).zip(&plan.stdio);
    let given_stdio = stdio
        .clone()
        .filter(|(_, source)| **source == Source::Given);
    let mut wanted: Vec<RawFd> = given_stdio.map(|(number, _)| number).collect();
    wanted.extend(&plan.fds);
    if wanted.len() != given.len() {
        return Err(wrong(given.len() as RawFd, "came along", Errno::BADMSG));
    }
    for (at, number) in wanted.iter().enumerate() {
        if *number < 0 {
            return Err(wrong(*number, "no number of a descriptor", Errno::BADF));
        }
        if *number == CONTROL_FD && plan.program.is_none() {
            let why = "a function has its control socket there";
            return Err(wrong(*number, why, Errno::BUSY));
        }
        if wanted[..at].contains(number) {
            return Err(wrong(*number, "wanted twice", Errno::BUSY));
        }
    }
    // All go up first: one may lie where another is wanted.
    let first = plan.highest().saturating_add(1).max(ABOVE);
    let up: Result<Vec<OwnedFd>, Errno> = given
        .iter()
        .map(|fd| rustix::io::fcntl_dupfd_cloexec(fd, first))
        .collect();
    let up = up.map_err(|errno| wrong(first, "on the way", errno))?;
    drop(given);
    for (fd, number) in up.iter().zip(&wanted) {
        sys::duplicate_to(fd.as_fd(), *number, false)
            .map_err(|error| NotBegun::new(Step::Descriptors, format!("({number})"), &error))?;
    }
    drop(up);
    for (number, source) in stdio {
        if *source == Source::Null {
            null_at(number).map_err(|error| {
                NotBegun::new(Step::Descriptors, format!("({number}: /dev/null)"), &error)
            })?;
        }
    }
    Ok(())
}

fn null_at(number: RawFd) -> io::Result<()> {
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")?;
    sys::duplicate_to(null.as_fd(), number, false)
}

/// Changes groups and user, in this order, because the last takes the right to do the others.
fn become_user(plan: &Plan, (parent, unseen): (Parent, bool)) -> Result<(), NotBegun> {
    let groups = match (&plan.groups, plan.user) {
        (Some(groups), _) => Some(groups.as_slice()),
        // Those of the user before are not for the new one. Who has no right to drop them has no right to change either,
        // and is told so below.
        (None, Some(_)) if rustix::process::geteuid().is_root() => Some(&[][..]),
        (None, _) => None,
    };
    if let Some(groups) = groups {
        let groups: Vec<Gid> = groups.iter().copied().map(Gid::from_raw).collect();
        rustix::thread::set_thread_groups(&groups)
            .map_err(|errno| failed(Step::Group, "(supplementary ones)", errno))?;
    }
    if let Some(group) = plan.group {
        let id = Gid::from_raw(group);
        rustix::thread::set_thread_res_gid(id, id, id)
            .map_err(|errno| failed(Step::Group, format!("to {group}"), errno))?;
    }
    if let Some(user) = plan.user {
        let id = Uid::from_raw(user);
        rustix::thread::set_thread_res_uid(id, id, id)
            .map_err(|errno| failed(Step::User, format!("to {user}"), errno))?;
    }
    if plan.user.is_some() || plan.group.is_some() {
        // The kernel has forgotten it with the change (PR_SET_PDEATHSIG(2const)).
        match occ_yeshup::arm(parent) {
            // From within a PID namespace of its own it cannot be seen whether it lives, and this is soon after it did.
            Err(error) if unseen && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {}
            armed => armed.map_err(|error| NotBegun::new(Step::Arm, "", &error))?,
        }
    }
    Ok(())
}

fn set_environment(plan: &Plan) -> Result<(), NotBegun> {
    if plan.env_clear {
        let names: Vec<OsString> = std::env::vars_os().map(|(name, _)| name).collect();
        names.iter().for_each(|name| set_variable(name, None));
    }
    for (name, value) in &plan.env {
        // std panics at these.
        let value_has_zero = value.as_ref().is_some_and(|value| value.contains(&0));
        let name = OsStr::from_bytes(name);
        if name.is_empty()
            || name.as_bytes().iter().any(|b| [b'=', 0].contains(b))
            || value_has_zero
        {
            let what =
                format!("{name:?} (a name has no `=`, and neither it nor its value a zero byte)");
            return Err(failed(Step::Environment, what, Errno::INVAL));
        }
        set_variable(name, value.as_deref().map(OsStr::from_bytes));
    }
    Ok(())
}

#[expect(unsafe_code, reason = "sets the environment")]
fn set_variable(name: &OsStr, value: Option<&OsStr>) {
    match value {
        // SAFETY: a process that has just been forked from a zygote has one thread.
        Some(value) => unsafe { std::env::set_var(name, value) },
        // SAFETY: as above.
        None => unsafe { std::env::remove_var(name) },
    }
}

/// Executes the program of a plan; what comes back is why not.
pub(crate) fn execute(plan: &Plan, program: &[u8]) -> NotBegun {
    let what = || format!("{:?}", OsStr::from_bytes(program));
    let refused = |errno: Errno| failed(Step::Execute, what(), errno);
    let strings = |strings: Vec<Vec<u8>>| strings.into_iter().map(CString::new).collect();
    let all = [vec![program.to_vec()], plan.args.clone()].concat();
    let argv: Result<Vec<CString>, _> = strings(all);
    let environment = std::env::vars_os()
        .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
        .collect();
    let envp: Result<Vec<CString>, _> = strings(environment);
    let (Ok(argv), Ok(envp)) = (argv, envp) else {
        return failed(
            Step::Execute,
            format!("{} (a zero byte)", what()),
            Errno::INVAL,
        );
    };
    sys::default_sigpipe();
    refused(first_that_runs(program, |path| {
        sys::execute(path, &argv, &envp)
    }))
}

/// Where a program whose name has no slash is looked for if nothing says where.
const ORDINARY_PATH: &[u8] = b"/bin:/usr/bin";

/// Tries a program, in all places where it may be, and says why it is in none; as execvp(3) does it, but for one thing: what is no
/// executable is not run by a shell.
fn first_that_runs(program: &[u8], run: impl Fn(&CStr) -> Errno) -> Errno {
    let run = |path: Vec<u8>| CString::new(path).map_or(Errno::INVAL, |path| run(&path));
    if program.is_empty() {
        return Errno::NOENT;
    }
    if program.contains(&b'/') {
        return run(program.to_vec());
    }
    let path = std::env::var_os("PATH");
    let path = path.as_deref().map_or(ORDINARY_PATH, OsStr::as_bytes);
    let mut told = Errno::NOENT;
    for dir in path.split(|byte| *byte == b':') {
        // An empty one is the working directory.
        let dir = if dir.is_empty() { b"." } else { dir };
        match run([dir, b"/", program].concat()) {
            Errno::ACCESS => told = Errno::ACCESS,
            Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NODEV | Errno::TIMEDOUT => {}
            errno => return errno,
        }
    }
    told
}
