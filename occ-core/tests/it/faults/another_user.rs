//! A program that this user may not kill.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{SOON, comm, until};
use crate::system;
use occ_core::Builder;
use occ_test_support::{isolated, skipped, within};

#[test]
fn a_system_stops_though_a_program_is_another_users_by_now() {
    isolated!(|| {
        if !rustix::process::geteuid().is_root() || !Path::new("/usr/bin/setpriv").exists() {
            return skipped("it takes root, and setpriv(1)");
        }
        let path = std::env::temp_dir().join(format!("occ-setuid-{}", std::process::id()));
        std::fs::copy("/usr/bin/setpriv", &path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o4755)).unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        if !occ_test_support::in_flight::be_a_user_of_its_own(1000, false) {
            return;
        }
        let mut system = system();
        let me = system.process();
        let program = format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd());
        let builder = Builder::new().args(["--reuid=0", "sleep", "9"]);
        let (pid, _) = me.spawn_exe_monitor(&builder, program).unwrap();
        let os_pid = me.os_pid(pid).unwrap().get();
        until(|| comm(os_pid).trim() == "sleep");
        within(SOON, || system.stop());
    });
}
