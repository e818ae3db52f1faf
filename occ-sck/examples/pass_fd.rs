//! An open file in a message: whoever receives it can read what it could not have opened. And a connection in a message: one
//! process lets others in, and another talks to them.

use std::io::{PipeReader, Read, Write};

use occ_sck::{Address, Channel, Fd, Limits, Listener};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct Page {
    number: u32,
    text: Fd<PipeReader>,
}

fn main() -> anyhow::Result<()> {
    a_file()?;
    a_connection()
}

fn a_file() -> anyhow::Result<()> {
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

fn a_connection() -> anyhow::Result<()> {
    // The desk is at an address that everybody knows; the clerk has none.
    let name = format!("pass_fd example {}", std::process::id());
    let desk = Listener::bind(&Address::abstract_name(name)?)?;
    let (mut to_clerk, mut clerk) = Channel::pair()?;

    std::thread::scope(|scope| {
        let visitor = scope.spawn(|| -> anyhow::Result<Option<String>> {
            let mut desk = Channel::connect(desk.address())?;
            desk.send(&"good morning".to_string())?;
            Ok(desk.receive()?)
        });

        let guest = desk.accept()?.expect("the desk is open");
        let guest = guest.into_fd().expect("nobody has listened to it yet");
        to_clerk.send(&Fd(guest))?;

        let guest = clerk.receive::<Fd>()?.expect("the desk sent somebody");
        let mut guest = Channel::from_fd(guest.into_inner(), Limits::default())?;
        let greeting: Option<String> = guest.receive()?;
        assert_eq!(greeting.as_deref(), Some("good morning"));
        guest.send(&"what can I do for you".to_string())?;

        let answer = visitor.join().expect("no panic")?;
        assert_eq!(answer.as_deref(), Some("what can I do for you"));
        Ok(())
    })
}
