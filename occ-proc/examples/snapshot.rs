//! What a process and all that it started have open, and who is at the other ends.
//!
//! ```text
//! cargo run --example snapshot -- [PID]
//! ```

use occ_proc::{FdTarget, Holders, OsPid, Snapshot};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = match std::env::args().nth(1) {
        Some(number) => OsPid::new(number.parse()?),
        None => OsPid::own(),
    };
    let tree = Snapshot::tree(root)?;
    let holders = Holders::now()?;
    for process in tree.processes() {
        println!("{process}");
        for fd in process.fds.iter().flatten() {
            println!("  {fd}");
            let FdTarget::Socket(_, Ok(socket)) = &fd.target else {
                continue;
            };
            let peer = socket.peer.as_ref().and_then(|peer| peer.inode);
            for holder in peer.into_iter().flat_map(|inode| holders.of(inode)) {
                println!("     held by process {} as {}", holder.os_pid, holder.fd);
            }
        }
    }
    Ok(())
}
