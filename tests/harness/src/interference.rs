//! What a test does to the calls of an operator: refuse them, lose them, end the operator in the
//! middle of one.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::watch;

use super::api_server::Refusal;

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is served.
    Served,
    /// It is answered with this and does nothing.
    Refused(Refusal),
    /// It never arrives; the caller sees a broken connection.
    RequestLost,
    /// It is served, but the caller sees a broken connection.
    AnswerLost,
    /// The operator ends before it is served.
    CrashBefore,
    /// The operator ends after it was served and before it is answered.
    CrashAfter,
}

/// A plan for some of the calls that change something. Calls are named like `patch
/// streamkeeper.dev/streamjobs delays` and `call hand-over delays-r1-0`.
#[derive(Debug)]
pub struct Interference {
    /// Calls are meant whose name begins like this; empty means all.
    pub calls: String,
    /// How many of them are spared first.
    pub spare: usize,
    /// How many of them are meant after that.
    pub times: usize,
    /// What becomes of these.
    pub fate: Fate,
}

impl Interference {
    /// The fate of the next `times` calls whose name begins with `calls`.
    pub fn next(times: usize, calls: &str, fate: Fate) -> Self {
        Self {
            calls: calls.to_owned(),
            spare: 0,
            times,
            fate,
        }
    }

    /// The fate of the `n`th call from now on, whatever it is; the first is 0.
    pub fn nth(n: usize, fate: Fate) -> Self {
        Self {
            calls: String::new(),
            spare: n,
            times: 1,
            fate,
        }
    }

    /// Whether this call is meant.
    pub fn takes(&mut self, name: &str) -> bool {
        if !name.starts_with(&self.calls) || self.times == 0 {
            return false;
        }
        if self.spare > 0 {
            self.spare -= 1;
            return false;
        }
        self.times -= 1;
        true
    }

    /// Whether it is over.
    pub const fn is_over(&self) -> bool {
        self.times == 0
    }
}

/// One life of an operator. Once it has ended, none of its requests is answered. While it is cut
/// off, its requests and their answers are in flight.
#[derive(Debug, Clone)]
pub struct Life {
    name: Arc<str>,
    ended: Arc<AtomicBool>,
    connected: Arc<watch::Sender<bool>>,
}

impl Life {
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            ended: Arc::default(),
            connected: Arc::new(watch::Sender::new(true)),
        }
    }

    /// Whose life it is.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns at once while it lasts and is not cut off; never, once it has ended.
    pub async fn alive(&self) {
        let mut connected = self.connected.subscribe();
        let _ = connected
            .wait_for(|connected| *connected)
            .await
            .expect("the sender lives");
        if self.has_ended() {
            std::future::pending::<()>().await;
        }
    }

    /// Ends it; never returns.
    pub async fn end<T>(&self) -> T {
        self.ended.store(true, Ordering::Release);
        std::future::pending().await
    }

    /// Whether it has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Cuts the network to it, or mends it.
    pub fn connect(&self, connected: bool) {
        self.connected.send_replace(connected);
    }
}
