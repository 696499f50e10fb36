//! A thread that steps a subtask until it is stopped.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering::Relaxed},
    thread::JoinHandle,
    time::Duration,
};

use super::{Command, Event, Exit, Step, Subtask, clock::now_ms};
use crate::{EngineError, exchange::Inbox};

/// Longest wait between two looks at the inbox: a bound on the harm of a missing wake-up.
const LONGEST_WAIT: Duration = Duration::from_millis(100);

/// Stack of a subtask's thread. Rows and watermarks go from operator to operator by direct calls,
/// [`MAX_DEPTH`] of them at most, and a call of the development profile takes about 2 KiB; an
/// expression in the last of them needs a little more. Pages that are not used cost no memory.
///
/// [`MAX_DEPTH`]: streamkeeper_protocol::plan::MAX_DEPTH
const STACK_BYTES: usize = 16 << 20;

/// A running subtask.
#[derive(Debug)]
pub struct SubtaskThread {
    inbox: Arc<Inbox<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl SubtaskThread {
    /// Starts a thread for `subtask`. Its last event is always [`Event::Exited`].
    pub fn spawn(name: String, mut subtask: Subtask) -> io::Result<Self> {
        let inbox = subtask.inbox();
        let thread = std::thread::Builder::new()
            .name(name)
            .stack_size(STACK_BYTES)
            .spawn(move || {
                let exit = match catch_unwind(AssertUnwindSafe(|| run(&mut subtask))) {
                    Ok(Ok(())) => Exit::Stopped,
                    Ok(Err(error)) => Exit::Failed(error),
                    Err(panic) => Exit::Panicked(text_of(&*panic)),
                };
                subtask.report(Event::Exited(exit));
            })?;
        Ok(Self {
            inbox,
            thread: Some(thread),
        })
    }

    /// Sends a command to the subtask.
    pub fn command(&self, command: Command) {
        self.inbox.command(command);
    }

    /// Lets it look again whether it may go on.
    pub fn wake(&self) {
        self.inbox.wake();
    }

    /// Stops the subtask and waits for its end: at most one batch of work.
    pub fn stop(mut self) {
        self.inbox.command(Command::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic was caught and reported; there is nothing more to learn from the join.
            let _ = thread.join();
        }
    }
}

impl Drop for SubtaskThread {
    fn drop(&mut self) {
        self.inbox.command(Command::Stop);
    }
}

fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}

fn run(subtask: &mut Subtask) -> Result<(), EngineError> {
    let (inbox, clock, counters) = (subtask.inbox(), subtask.clock(), subtask.counters());
    let mut since = clock.monotonic();
    let mut steps = 0_u32;
    loop {
        let (until_ms, back_pressured) = match subtask.step()? {
            Step::Worked => {
                steps = steps.wrapping_add(1);
                // A subtask that never waits shows that it is busy, too.
                if steps.is_multiple_of(256) {
                    let now = clock.monotonic();
                    counters
                        .busy_us
                        .fetch_add(micros(now.saturating_sub(since)), Relaxed);
                    since = now;
                }
                continue;
            }
            Step::Stopped => return Ok(()),
            Step::Waiting {
                until_ms,
                back_pressured,
            } => (until_ms, back_pressured),
        };
        let began = clock.monotonic();
        counters
            .busy_us
            .fetch_add(micros(began.saturating_sub(since)), Relaxed);
        let wait = until_ms.map_or(LONGEST_WAIT, |until| {
            Duration::from_millis(until.saturating_sub(now_ms(&*clock))).min(LONGEST_WAIT)
        });
        if !wait.is_zero() {
            inbox.park(wait);
        }
        since = clock.monotonic();
        if back_pressured {
            counters
                .back_pressured_us
                .fetch_add(micros(since.saturating_sub(began)), Relaxed);
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
