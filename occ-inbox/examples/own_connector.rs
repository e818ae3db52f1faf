//! A connector of one's own: threads that find each other in a directory.
//!
//! `cargo run --example own_connector`
#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::{HashMap, HashSet};
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use occ_inbox::{
    Connector, Deadline, Event, Inbox, Lost, NotAsked, Pid, Refusal, Socket, Standing,
};

/// Where a thread is told of its connections, and the bell that says so.
struct Door {
    news: Sender<Event>,
    bell: Socket,
}

impl Door {
    fn tell(&self, event: Event) -> Result<(), Lost> {
        self.news.send(event).map_err(|_| Lost)?;
        let ring = [IoSlice::new(&[1])];
        self.bell
            .send(&ring, &[], Deadline::Never)
            .map_err(|_| Lost)
    }
}

#[derive(Default)]
struct Directory {
    doors: HashMap<Pid, Door>,
    connected: HashSet<[Pid; 2]>,
}

/// A thread's side of the directory.
struct Member {
    me: Pid,
    directory: Arc<Mutex<Directory>>,
    news: Receiver<Event>,
    bell: Socket,
}

impl Member {
    fn join(me: Pid, directory: &Arc<Mutex<Directory>>) -> std::io::Result<Member> {
        let (sender, news) = channel();
        let (bell, theirs) = Socket::pair()?;
        let door = Door {
            news: sender,
            bell: theirs,
        };
        let mut open = directory.lock().unwrap_or_else(PoisonError::into_inner);
        open.doors.insert(me, door);
        let directory = Arc::clone(directory);
        Ok(Member {
            me,
            directory,
            news,
            bell,
        })
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut directory = self
            .directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        directory.doors.remove(&self.me);
    }
}

impl Connector for Member {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn request(&mut self, peer: Pid, _: Standing) -> Result<(), NotAsked> {
        let mut directory = self
            .directory
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let both = if self.me < peer {
            [self.me, peer]
        } else {
            [peer, self.me]
        };
        let refused = |why| Event::Refused { peer, why };
        let ours = directory.doors.get(&self.me).ok_or(Lost)?;
        let Some(theirs) = directory.doors.get(&peer) else {
            return Ok(ours.tell(refused(Refusal::NoProcess))?);
        };
        // The other one has asked at the same time: it is on its way.
        if directory.connected.contains(&both) {
            return Ok(());
        }
        let Ok((socket, end)) = Socket::pair() else {
            return Ok(ours.tell(refused(Refusal::TooManyPeers))?);
        };
        ours.tell(Event::Connected {
            peer,
            socket,
            tally: None,
        })?;
        // If it goes at this moment, its end is closed, which says the same.
        let _ = theirs.tell(Event::Connected {
            peer: self.me,
            socket: end,
            tally: None,
        });
        directory.connected.insert(both);
        Ok(())
    }

    fn next(&mut self, deadline: Deadline) -> Result<Option<Event>, Lost> {
        let rung = self.bell.receive(&mut [0], &mut Vec::new(), deadline);
        rung.map_err(|_| Lost)?;
        Ok(self.news.try_recv().ok())
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = Arc::new(Mutex::new(Directory::default()));
    let [boss, workers @ ..] = [0, 1, 2, 3].map(|serial| Pid {
        node: 0,
        incarnation: 0,
        serial,
    });
    let mut inbox = Inbox::new(boss, Member::join(boss, &directory)?)?;

    let mut threads = Vec::new();
    for worker in workers {
        // Whoever has joined can be sent to, whether its thread runs or not.
        let member = Member::join(worker, &directory)?;
        threads.push(thread::spawn(move || {
            let mut inbox = Inbox::new(worker, member).expect("a file descriptor");
            while let Ok(Some(number)) = inbox.receive::<Option<u64>>() {
                inbox
                    .send(boss, &(number, number * number))
                    .expect("the boss is there");
            }
        }));
    }

    for (number, worker) in (1..=30_u64).zip(workers.iter().cycle()) {
        inbox.send(*worker, &Some(number))?;
    }
    let mut sum = 0;
    for _ in 1..=30 {
        let (_, square): (u64, u64) = inbox.receive()?;
        sum += square;
    }
    println!("1 + 4 + 9 + … + 900 = {sum}");
    assert_eq!(sum, 9455);

    for (worker, thread) in workers.iter().zip(threads) {
        inbox.send(*worker, &None::<u64>)?;
        thread.join().expect("no panic");
    }
    Ok(())
}
