use occasional::{Pid, receive, self_pid, send, spawn};

fn say_hello() -> anyhow::Result<()> {
    loop {
        let (from, name): (Pid, String) = receive()?;
        send(from, format!("hello {name}"))?;
    }
}

fn hello() -> anyhow::Result<()> {
    let h = spawn(say_hello, ())?;
    for name in ["foo", "bar"] {
        send(h, (self_pid(), name.to_string()))?;
        let greeting: String = receive()?;
        println!("{greeting}");
    }
    Ok(())
}

fn main() -> Result<(), occasional::RunError> {
    occasional::run(hello, ())
}
