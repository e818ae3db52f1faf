//! An open file in a message: whoever receives it can read what it could not have opened.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

use occ_sck::Channel;

fn main() -> anyhow::Result<()> {
    let (mut librarian, mut reader) = Channel::pair()?;

    let (page, mut pen) = std::io::pipe()?;
    pen.write_all(b"from the locked shelf")?;
    drop(pen);
    librarian.send_with(&"page 42".to_string(), &[page.as_fd()])?;
    // The kernel made a descriptor of its own for the message.
    drop(page);

    let message = reader.receive_any()?.expect("the librarian has not gone");
    assert_eq!(message.decode::<String>()?, "page 42");
    let [page] = <[_; 1]>::try_from(message.fds).expect("one descriptor");
    let mut text = String::new();
    File::from(page).read_to_string(&mut text)?;
    assert_eq!(text, "from the locked shelf");
    Ok(())
}
