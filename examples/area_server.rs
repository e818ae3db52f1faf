//! A server that knows the area of shapes, and clients that ask it:
//!
//! ```text
//! cargo run --example area_server
//! ```
//!
//! A request carries the address of whoever asks, so that the server knows where the answer goes; an answer carries the
//! server's, so that the client knows what it is an answer to. The same client is run in two ways: by [`occasional::run`],
//! as a process of its own, and between [`occasional::start`] and `stop`, on the thread of the program.

use std::f64::consts::PI;

use occasional::{Down, Pid, receive, receive_where, self_pid, send, spawn_monitor};
use serde::{Deserialize, Serialize};

/// What there may be an area of. The server has not been told of triangles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Shape {
    Rectangle(f64, f64),
    Circle(f64),
    Triangle(f64, f64, f64),
}

/// What the server is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Request {
    Area(Shape),
    Stop,
}

/// What it answers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Answer {
    Area(f64),
    /// It does not know what that is, and gives it back.
    Unknown(Request),
    Stopping,
}

/// The server: answers until it is told to stop.
pub(crate) fn area_server() -> anyhow::Result<()> {
    loop {
        let (client, request): (Pid, Request) = receive()?;
        let answer = answer(request);
        let stop = answer == Answer::Stopping;
        send(client, (self_pid(), answer))?;
        if stop {
            return Ok(());
        }
    }
}

fn answer(request: Request) -> Answer {
    match request {
        Request::Area(Shape::Rectangle(width, height)) => Answer::Area(width * height),
        Request::Area(Shape::Circle(radius)) => Answer::Area(PI * radius * radius),
        Request::Stop => Answer::Stopping,
        unknown => Answer::Unknown(unknown),
    }
}

/// Asks the server, and waits for its answer; what others send meanwhile is for a later `receive`.
pub(crate) fn rpc(server: Pid, request: Request) -> anyhow::Result<Answer> {
    send(server, (self_pid(), request))?;
    let (_, answer) = receive_where(|(from, _): &(Pid, Answer)| *from == server)?;
    Ok(answer)
}

#[allow(clippy::print_stdout, reason = "it is what an example does")]
fn client() -> anyhow::Result<()> {
    let (server, _monitor) = spawn_monitor(area_server, ())?;
    let shapes = [
        Shape::Rectangle(3.0, 4.0),
        Shape::Circle(5.0),
        Shape::Triangle(3.0, 4.0, 5.0),
    ];
    for shape in shapes {
        match rpc(server, Request::Area(shape.clone()))? {
            Answer::Area(area) => println!("{shape:?} has area {area}"),
            other => println!("{shape:?}: {other:?}"),
        }
    }
    rpc(server, Request::Stop)?;
    let down: Down = receive()?;
    println!("the server {}", down.reason);
    Ok(())
}

fn main() -> anyhow::Result<()> {
    // The client is the first process of a system that ends with it.
    occasional::run(client, ())?;

    // The client is this very thread, and the system is there until it is stopped.
    let system = occasional::start()?;
    client()?;
    system.stop();
    Ok(())
}
