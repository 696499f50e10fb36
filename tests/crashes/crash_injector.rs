//! Counts what an operator changes, and kills it at the chosen change.

use std::sync::{Mutex, MutexGuard};

use tokio::sync::Notify;

/// Where in an effect the operator is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum CrashPoint {
    /// Before it is done.
    Before,
    /// After it is done, before the answer arrives.
    Unanswered,
    /// After the answer arrived, at the next thing that the operator asks for, whatever it is.
    Unprocessed,
}

pub const CRASH_POINTS: [CrashPoint; 3] = [
    CrashPoint::Before,
    CrashPoint::Unanswered,
    CrashPoint::Unprocessed,
];

/// What happens to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is served and answered.
    Served,
    /// It is served; then the operator ends.
    LastServed,
    /// Its sender is dead.
    Lost,
}

/// Something that an operator changed, or tried to.
#[derive(Debug, Clone)]
pub struct Effect {
    /// Which life of the operator.
    pub life: usize,
    /// Like `create apps/statefulsets delays-r1`.
    pub call: String,
    /// What it says, where that is short.
    pub detail: String,
    /// HTTP code of the answer, once there was one.
    pub code: Option<u16>,
    /// Uid of what was created or deleted.
    pub uid: Option<String>,
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            life, call, detail, ..
        } = self;
        let code = self
            .code
            .map_or("not served".to_owned(), |code| code.to_string());
        write!(f, "[{life}] {call} {detail} -> {code}")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// It only counts.
    Open,
    /// The operator ends at this effect.
    Set(usize, CrashPoint),
    /// It ends at its next request.
    Holding,
    /// It is being killed.
    Killing,
    /// Its successor lives.
    Over,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Effects before this one belong to what came before.
    first: usize,
    /// The effect whose answer the operator may have before it ends.
    last: Option<usize>,
    effects: Vec<Effect>,
}

/// Counts effects, and kills once.
#[derive(Debug)]
pub struct CrashInjector {
    state: Mutex<State>,
    kill: Notify,
}

impl Default for CrashInjector {
    fn default() -> Self {
        Self {
            state: Mutex::new(State {
                phase: Phase::Open,
                first: 0,
                last: None,
                effects: Vec::new(),
            }),
            kill: Notify::new(),
        }
    }
}

impl CrashInjector {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while locked")
    }

    /// Counts from here on, and ends the operator at the effect with this number.
    pub fn set(&self, at: Option<(usize, CrashPoint)>) {
        let mut state = self.state();
        state.first = state.effects.len();
        state.phase = at.map_or(Phase::Open, |(number, point)| Phase::Set(number, point));
    }

    /// Records an effect that is asked for. Returns its place in the list and its fate.
    pub fn enter(&self, life: usize, call: String, detail: String) -> (usize, Fate) {
        let mut state = self.state();
        let place = state.effects.len();
        let number = place - state.first;
        let fate = match state.phase {
            Phase::Set(at, point) if at == number => match point {
                CrashPoint::Before => self.kill_in(&mut state),
                CrashPoint::Unanswered => Fate::LastServed,
                CrashPoint::Unprocessed => {
                    state.last = Some(place);
                    Fate::Served
                }
            },
            Phase::Open | Phase::Over | Phase::Set(..) => Fate::Served,
            Phase::Holding => return (place, self.kill_in(&mut state)),
            Phase::Killing => return (place, Fate::Lost),
        };
        state.effects.push(Effect {
            life,
            call,
            detail,
            code: None,
            uid: None,
        });
        (place, fate)
    }

    /// An effect is done.
    pub fn done(&self, place: usize, code: u16, uid: Option<String>) {
        let mut state = self.state();
        if let Some(effect) = state.effects.get_mut(place) {
            (effect.code, effect.uid) = (Some(code), uid);
        }
        if state.last == Some(place) && matches!(state.phase, Phase::Set(..)) {
            state.phase = Phase::Holding;
        }
    }

    /// Something is asked for that changes nothing.
    pub fn look(&self) -> Fate {
        let mut state = self.state();
        match state.phase {
            Phase::Open | Phase::Set(..) | Phase::Over => Fate::Served,
            Phase::Holding => self.kill_in(&mut state),
            Phase::Killing => Fate::Lost,
        }
    }

    fn kill_in(&self, state: &mut State) -> Fate {
        state.phase = Phase::Killing;
        self.kill.notify_one();
        Fate::Lost
    }

    /// Ends the operator now.
    pub fn end(&self) {
        self.kill_in(&mut self.state());
    }

    /// Ends an operator that asks for nothing more.
    pub fn end_idle(&self) {
        let mut state = self.state();
        if state.phase == Phase::Holding {
            self.kill_in(&mut state);
        }
    }

    /// Whether it waits for the next request.
    pub fn is_holding(&self) -> bool {
        self.state().phase == Phase::Holding
    }

    /// Waits until the operator is to be killed.
    pub async fn wait_for_kill(&self) {
        self.kill.notified().await;
    }

    /// Lets the next operator through: the last one is dead.
    pub fn operator_is_dead(&self) {
        self.state().phase = Phase::Over;
    }

    /// Whether an operator was ended and another one lives.
    pub fn is_over(&self) -> bool {
        self.state().phase == Phase::Over
    }

    /// Every effect since it was set.
    pub fn effects(&self) -> Vec<Effect> {
        let state = self.state();
        state.effects[state.first..].to_vec()
    }

    /// Every effect.
    pub fn all_effects(&self) -> Vec<Effect> {
        self.state().effects.clone()
    }
}
