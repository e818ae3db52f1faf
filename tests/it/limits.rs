//! How much may wait in the inbox of a process.

use occasional::{
    Down, ExitReason, InboxLimits, MonitorRef, Pid, Policy, SendError, inbox_info, limit_inbox,
    receive, self_pid, send, since, spawn, spawn_monitor,
};

use crate::gate::{Gate, Place};

fn messages(messages: u64, policy: Policy) -> InboxLimits {
    InboxLimits {
        messages,
        policy,
        ..InboxLimits::default()
    }
}

fn takes_ten(policy: u8, ready: Pid) -> anyhow::Result<()> {
    let policy = [Policy::Block, Policy::Reject, Policy::End][usize::from(policy)];
    limit_inbox(messages(10, policy))?;
    send(ready, ())?;
    // Nobody sends a text.
    receive::<String>()?;
    Ok(())
}

fn ended_over_its_limits(watch: MonitorRef) -> anyhow::Result<()> {
    let down: Down = since(watch).receive()?;
    let ExitReason::Error(failure) = &down.reason else {
        panic!("{}", down.reason)
    };
    assert!(
        failure.to_string().contains("over the limits of the inbox"),
        "{failure}"
    );
    Ok(())
}

#[test]
fn a_process_whose_inbox_may_not_hold_as_much_ends_and_says_so() {
    in_a_system!(|| -> anyhow::Result<()> {
        let (worker, watch) = spawn_monitor(takes_ten, (2, self_pid()))?;
        receive::<()>()?;
        for number in 0..=10_u32 {
            send(worker, number)?;
        }
        ended_over_its_limits(watch)?;
        Ok(())
    });
}

fn never_looks(gate: String) {
    Place::before(&gate).wait();
}

fn waits_for_room(at: Pid, ready: Pid) -> anyhow::Result<()> {
    limit_inbox(messages(10, Policy::End))?;
    send(ready, ())?;
    loop {
        send(at, [0_u8; 32])?;
    }
}

/// It does not receive, and takes in what comes all the same.
#[test]
fn a_process_that_waits_for_room_ends_too_when_its_inbox_may_not_hold_as_much() {
    in_a_system!(|| -> anyhow::Result<()> {
        let gate = Gate::new();
        let stuck = spawn(never_looks, (gate.address(),))?;
        let (worker, watch) = spawn_monitor(waits_for_room, (stuck, self_pid()))?;
        receive::<()>()?;
        // Until there is nobody to send to.
        while send(worker, ()).is_ok() {}
        ended_over_its_limits(watch)?;
        drop(gate);
        Ok(())
    });
}

#[test]
fn a_process_that_rejects_is_waited_for_by_nobody_and_one_that_does_not_is() {
    in_a_system!(|| -> anyhow::Result<()> {
        for (policy, waits) in [(1, false), (0, true)] {
            let worker = spawn(takes_ten, (policy, self_pid()))?;
            receive::<()>()?;
            let sent = |send: &dyn Fn(u64) -> Result<(), SendError>| {
                (0_u64..)
                    .find_map(|number| send(number).err())
                    .expect("there is an end to it")
            };
            let error = if waits {
                sent(&|number| occasional::try_send(worker, number))
            } else {
                sent(&|number| send(worker, number))
            };
            assert!(
                matches!(error, SendError::Full { to } if to == worker),
                "{error}"
            );
            occasional::kill(worker)?;
        }
        Ok(())
    });
}

fn floods(to: Pid, gate: String) -> anyhow::Result<()> {
    let place = Place::before(&gate);
    for number in 0..2_000_u64 {
        send(to, number)?;
    }
    place.wait();
    Ok(())
}

#[test]
fn an_end_is_told_past_the_limit_and_after_all_that_was_sent() {
    in_a_system!(|| -> anyhow::Result<()> {
        limit_inbox(messages(100, Policy::Block))?;
        let gate = Gate::new();
        let (flood, watch) = spawn_monitor(floods, (self_pid(), gate.address()))?;
        while inbox_info()?.messages < 100 {
            occasional::receive_timeout::<String>(std::time::Duration::from_millis(1))?;
        }
        drop(gate);
        let down: Down = since(watch).receive()?;
        assert_eq!(down.pid, flood);
        assert!(!down.reason.is_abnormal(), "{}", down.reason);
        // The last of them came with its end, past the limit.
        assert_eq!(inbox_info()?.messages, 2_000);
        for number in 0..2_000_u64 {
            assert_eq!(receive::<u64>()?, number);
        }
        Ok(())
    });
}
