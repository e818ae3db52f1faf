//! Two programs that talk, and that nobody has started together: one listens at an address, the other knows it.
//!
//! `cargo run --example two_programs -- serve seqpacket:@weather`, and elsewhere
//! `cargo run --example two_programs -- ask seqpacket:@weather Oslo`. Without arguments it starts itself as the server, and
//! asks.
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use occ_inbox::{Address, Disconnected, Inbox, receive};
use serde::{Deserialize, Serialize};

/// Types that travel are told by their names, so two programs take them from one crate, in one version.
#[derive(Debug, Serialize, Deserialize)]
struct Question {
    place: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Answer {
    place: String,
    weather: String,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        [] => both(),
        ["serve", address] => serve(&address.parse()?),
        ["ask", address, place] => {
            let answer = ask(&address.parse()?, place)?;
            println!("{}: {}", answer.place, answer.weather);
            Ok(())
        }
        _ => Err("expected `serve ADDRESS`, `ask ADDRESS PLACE`, or nothing".into()),
    }
}

fn serve(address: &Address) -> Result<(), Box<dyn Error>> {
    let mut inbox = Inbox::listen(address)?;
    inbox.notify_disconnects(true);
    println!("listening at {}", inbox.address());
    loop {
        let message = inbox.receive_any()?;
        if message.is::<Question>() {
            let Question { place } = message.decode()?;
            println!("asked about {place}");
            let weather = if place == "Oslo" { "snow" } else { "rain" }.to_string();
            // Who has asked may be gone by now.
            let _ = inbox.send(message.from, &Answer { place, weather });
        } else if message.is::<Disconnected>() {
            println!("that one has gone");
        }
    }
}

fn ask(address: &Address, place: &str) -> Result<Answer, Box<dyn Error>> {
    let mut inbox = Inbox::listen_anywhere()?;
    inbox.notify_disconnects(true);
    let place = place.to_string();
    inbox.send_to(address, &Question { place })?;
    // Not for ever: a server that dies with the question is told, too.
    receive! { inbox;
        answer: Answer => Ok(answer),
        gone: Disconnected => Err(format!("{} has gone", gone.address).into()),
    }?
}

/// Both sides, with a server of our own.
fn both() -> Result<(), Box<dyn Error>> {
    let name = format!("two programs {}", std::process::id());
    let address = Address::abstract_name(name)?.seqpacket()?;
    let mut server = Command::new(std::env::current_exe()?)
        .args(["serve", &address.to_string()])
        .stdout(Stdio::piped())
        .spawn()?;
    let seen = watch(&mut server, &address);
    server.kill()?;
    server.wait()?;
    seen?;

    let error = ask(&address, "Oslo").expect_err("nobody listens there any more");
    println!("and then: {error}");
    assert!(error.to_string().starts_with("there is no process"));
    Ok(())
}

fn watch(server: &mut std::process::Child, address: &Address) -> Result<(), Box<dyn Error>> {
    let said = server.stdout.take().ok_or("its output is a pipe")?;
    let mut said = BufReader::new(said).lines();
    let mut next = || {
        said.next()
            .unwrap_or_else(|| Err(std::io::ErrorKind::BrokenPipe.into()))
    };
    // Before that nobody listens.
    assert_eq!(next()?, format!("listening at {address}"));
    for (place, weather) in [("Oslo", "snow"), ("Bergen", "rain")] {
        let answer = ask(address, place)?;
        println!("{}: {}", answer.place, answer.weather);
        assert_eq!(
            (answer.place.as_str(), answer.weather.as_str()),
            (place, weather)
        );
        for line in [
            format!("asked about {place}"),
            "that one has gone".to_string(),
        ] {
            assert_eq!(next()?, line);
            println!("the server: {line}");
        }
    }
    Ok(())
}
