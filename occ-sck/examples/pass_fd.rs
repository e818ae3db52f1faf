//! An open file in a message: whoever receives it can read what it could not have opened.

use std::io::{PipeReader, Read, Write};

use occ_sck::{Channel, Fd};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Page {
    number: u32,
    text: Fd<PipeReader>,
}

fn main() -> anyhow::Result<()> {
    let (mut librarian, mut reader) = Channel::pair()?;

    let (text, mut pen) = std::io::pipe()?;
    pen.write_all(b"from the locked shelf")?;
    drop(pen);
    // The message has a descriptor of its own; ours is closed with the page.
    librarian.send(&Page {
        number: 42,
        text: text.into(),
    })?;

    let mut page: Page = reader.receive()?.expect("the librarian has not gone");
    assert_eq!(page.number, 42);
    let mut text = String::new();
    page.text.read_to_string(&mut text)?;
    assert_eq!(text, "from the locked shelf");
    Ok(())
}
