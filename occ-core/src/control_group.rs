//! Control groups for single processes: to end all that is in one at a stroke, and to limit it (cgroups(7)).
//!
//! A group of ours is a folder in the one that this system itself is in, and its name tells the system and the process. Version 2 has
//! `cgroup.kill`; what limits memory and processors is version 2 where its controllers are passed on, else version 1.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use occ_proc::{Evidence, MemoryCgroup};
use occ_spawn::OsPid;

/// How long a part of the time is in which a process may have its part of the processors, in microseconds; and where that part would
/// be less than the millisecond that is the least for the kernel.
const PERIOD: u64 = 100_000;
const LONG_PERIOD: u64 = 1_000_000;

/// Where groups can be made.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    version_2: Option<PathBuf>,
    memory_1: Option<PathBuf>,
    cpu_1: Option<PathBuf>,
}

/// What a group is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Purpose {
    pub(crate) kill: bool,
    pub(crate) memory: Option<u64>,
    /// In thousandths of a processor.
    pub(crate) cpu: Option<u32>,
}

impl Purpose {
    pub(crate) const NONE: Purpose = Purpose {
        kill: false,
        memory: None,
        cpu: None,
    };
}

/// The groups of one process.
#[derive(Debug, Default)]
pub(crate) struct Group {
    dirs: Vec<PathBuf>,
    kill: Option<PathBuf>,
    memory: Option<MemoryCgroup>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) struct NoGroup {
    pub(crate) what: &'static str,
    pub(crate) why: String,
}

/// Whether groups for a purpose can be made here. Nothing is left of that.
pub(crate) fn try_out(purpose: Purpose) -> Result<(), NoGroup> {
    // Others look at the same time, in this process and in others that have its number.
    let mut random = [0; 8];
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    let name = format!("occ-probe-{:016x}", u64::from_ne_bytes(random));
    Places::own().make(&name, purpose).map(drop)
}

impl Places {
    /// Where the calling process is.
    pub(crate) fn own() -> Places {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let mut places = Places::default();
        // Number, controllers, path: `4:memory:/a`, and of version 2 `0::/a`.
        for line in text.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            let path = path.trim_start_matches('/');
            let at = |root: &str| {
                let dir = Path::new(root).join(path);
                dir.join("cgroup.procs").exists().then_some(dir)
            };
            if controllers.is_empty() {
                places.version_2 = at("/sys/fs/cgroup").or_else(|| at("/sys/fs/cgroup/unified"));
            }
            for controller in controllers.split(',') {
                match controller {
                    "memory" => places.memory_1 = at("/sys/fs/cgroup/memory"),
                    "cpu" => {
                        places.cpu_1 =
                            at("/sys/fs/cgroup/cpu").or_else(|| at("/sys/fs/cgroup/cpu,cpuacct"));
                    }
                    _ => {}
                }
            }
        }
        places
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.version_2, &self.memory_1, &self.cpu_1]
            .into_iter()
            .flatten()
    }

    /// Makes the groups for a purpose.
    pub(crate) fn make(&self, name: &str, purpose: Purpose) -> Result<Group, NoGroup> {
        let mut group = Group::default();
        // Whatever has been made when something fails goes with `group`.
        if purpose.kill {
            let what = "a control group that can be killed";
            let dir = self.version_2(what, &mut group, name)?;
            let kill = dir.join("cgroup.kill");
            if !kill.exists() {
                let why = "the kernel is older than 5.14".to_owned();
                return Err(NoGroup { what, why });
            }
            group.kill = Some(kill);
        }
        if let Some(bytes) = purpose.memory {
            let what = "a limit on memory";
            let limit = bytes.to_string();
            let file = self.limited(what, "memory", &mut group, name)?;
            match file {
                Limited::Version2(dir) => {
                    set(what, &dir.join("memory.max"), &limit)?;
                    // Where there is swap space it would be used first.
                    let _ = fs::write(dir.join("memory.swap.max"), "0");
                    group.memory = Some(MemoryCgroup::at(dir, 2));
                }
                Limited::Version1(dir) => {
                    set(what, &dir.join("memory.limit_in_bytes"), &limit)?;
                    let _ = fs::write(dir.join("memory.memsw.limit_in_bytes"), &limit);
                    group.memory = Some(MemoryCgroup::at(dir, 1));
                }
            }
        }
        if let Some(thousandths) = purpose.cpu {
            let what = "a limit on the processors";
            if thousandths == 0 {
                let why = "expected a thousandth or more, and it is 0".to_owned();
                return Err(NoGroup { what, why });
            }
            let period = if thousandths < 10 {
                LONG_PERIOD
            } else {
                PERIOD
            };
            let quota = u64::from(thousandths) * period / 1000;
            match self.limited(what, "cpu", &mut group, name)? {
                Limited::Version2(dir) => {
                    set(what, &dir.join("cpu.max"), &format!("{quota} {period}"))?;
                }
                Limited::Version1(dir) => {
                    set(what, &dir.join("cpu.cfs_period_us"), &period.to_string())?;
                    set(what, &dir.join("cpu.cfs_quota_us"), &quota.to_string())?;
                }
            }
        }
        Ok(group)
    }

    fn version_2(
        &self,
        what: &'static str,
        group: &mut Group,
        name: &str,
    ) -> Result<PathBuf, NoGroup> {
        let place = self.version_2.as_ref().ok_or_else(|| NoGroup {
            what,
            why: "control groups of version 2 are not mounted where we are in them".to_owned(),
        })?;
        group.dir(what, place, name)
    }

    /// A group that a controller looks after.
    fn limited(
        &self,
        what: &'static str,
        controller: &'static str,
        group: &mut Group,
        name: &str,
    ) -> Result<Limited, NoGroup> {
        if let Some(place) = &self.version_2 {
            // Not where processes are in the group itself, unless it is the uppermost.
            let _ = fs::write(
                place.join("cgroup.subtree_control"),
                format!("+{controller}"),
            );
            let passed_on = fs::read_to_string(place.join("cgroup.subtree_control"));
            if passed_on.is_ok_and(|list| list.split_whitespace().any(|it| it == controller)) {
                return Ok(Limited::Version2(group.dir(what, place, name)?));
            }
        }
        let place = match controller {
            "memory" => &self.memory_1,
            _ => &self.cpu_1,
        };
        let place = place.as_ref().ok_or_else(|| NoGroup {
            what,
            why: format!("no control group passes the controller `{controller}` on"),
        })?;
        Ok(Limited::Version1(group.dir(what, place, name)?))
    }

    /// Removes all groups whose names begin so, and which nobody is in; true if none is left.
    pub(crate) fn remove_all(&self, prefix: &str) -> bool {
        let mut none_left = true;
        for place in self.all() {
            let Ok(entries) = fs::read_dir(place) else {
                continue;
            };
            for entry in entries.flatten() {
                if entry.file_name().to_string_lossy().starts_with(prefix) {
                    none_left &= remove_tree(&entry.path());
                }
            }
        }
        none_left
    }
}

enum Limited {
    Version1(PathBuf),
    Version2(PathBuf),
}

fn set(what: &'static str, file: &Path, text: &str) -> Result<(), NoGroup> {
    fs::write(file, text).map_err(|error| NoGroup {
        what,
        why: format!("{file:?}: {error}"),
    })
}

/// Removes a group, with those that were made within it, if nobody is in them; true if it is gone.
fn remove_tree(dir: &Path) -> bool {
    if is_gone(fs::remove_dir(dir)) {
        return true;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    is_gone(fs::remove_dir(dir))
}

fn is_gone(removed: io::Result<()>) -> bool {
    removed.map_or_else(|error| error.kind() == io::ErrorKind::NotFound, |()| true)
}

impl Group {
    fn dir(&mut self, what: &'static str, place: &Path, name: &str) -> Result<PathBuf, NoGroup> {
        let dir = place.join(name);
        if self.dirs.contains(&dir) {
            return Ok(dir);
        }
        fs::create_dir(&dir).map_err(|error| NoGroup {
            what,
            why: format!("{dir:?}: {error}"),
        })?;
        self.dirs.push(dir.clone());
        Ok(dir)
    }

    /// What a process writes itself to, to be in it.
    pub(crate) fn entrances(&self) -> io::Result<Vec<OwnedFd>> {
        let open = |dir: &PathBuf| {
            let file = fs::File::options()
                .write(true)
                .open(dir.join("cgroup.procs"));
            file.map(OwnedFd::from)
        };
        self.dirs.iter().map(open).collect()
    }

    /// Who is in it, if it was made to be killed: some of them, where there are many.
    pub(crate) fn members(&self) -> Vec<OsPid> {
        const MOST: usize = 64;
        let Some(kill) = &self.kill else {
            return Vec::new();
        };
        let list = fs::read_to_string(kill.with_file_name("cgroup.procs")).unwrap_or_default();
        let numbers = list.lines().filter_map(|line| line.parse().ok());
        numbers.take(MOST).map(OsPid::new).collect()
    }

    /// Kills all that is in it, if it was made for that.
    pub(crate) fn kill(&self) {
        if let Some(file) = &self.kill {
            let _ = fs::write(file, "1");
        }
    }

    /// What it knows of an end by SIGKILL.
    pub(crate) fn evidence(&self) -> Vec<Evidence> {
        let Some(memory) = &self.memory else {
            return Vec::new();
        };
        let kills = memory.oom_kills().ok().filter(|count| *count > 0);
        let in_cgroup = true;
        let kills = kills.map(|count| Evidence::OomKills { in_cgroup, count });
        let most = match memory.limit_and_peak() {
            Ok((Some(limit), peak)) => Some(Evidence::Memory { limit, peak }),
            _ => None,
        };
        kills.into_iter().chain(most).collect()
    }

    /// Removes it, if nobody is in it any more; true if it is gone.
    pub(crate) fn remove(&mut self) -> bool {
        self.dirs.retain(|dir| !remove_tree(dir));
        self.dirs.is_empty()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Removes all groups of a system whose coordinator and guard are gone, as soon as those that were in them are.
pub(crate) fn remove_all_of(incarnation: u32) {
    /// The kernel has killed them by now, and they need not be waited for for ever.
    const LAST: Duration = Duration::from_secs(2);
    let (places, prefix) = (Places::own(), prefix(incarnation));
    let deadline = Instant::now() + LAST;
    while !places.remove_all(&prefix) && Instant::now() < deadline {
        let again = rustix::time::Timespec {
            tv_sec: 0,
            tv_nsec: 2_000_000,
        };
        let _ = rustix::event::poll(&mut [], Some(&again));
    }
}

/// What the names of a system's groups begin with.
pub(crate) fn prefix(incarnation: u32) -> String {
    format!("occ-{incarnation:08x}-")
}
