//! A store that fails as configured, for tests.

use std::{
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;

use crate::{Begin, Condition, Object, ObjectMeta, ObjectStore, StorageError, StoreFuture};

/// Actions of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// [`ObjectStore::get`] and [`ObjectStore::begin`].
    Get,
    /// [`ObjectStore::get_range`] and [`ObjectStore::get_range_of`].
    GetRange,
    /// [`ObjectStore::put`].
    Put,
    /// [`ObjectStore::delete`].
    Delete,
    /// [`ObjectStore::list`].
    List,
    /// [`ObjectStore::copy`].
    Copy,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Get | Self::GetRange => "GetObject",
            Self::Put => "PutObject",
            Self::Delete => "DeleteObject",
            Self::List => "ListObjectsV2",
            Self::Copy => "CopyObject",
        }
    }
}

/// Ways to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 503: nothing happens.
    Unavailable,
    /// 403: nothing happens.
    Denied,
    /// The request is lost: nothing happens, and the caller cannot find out.
    LostRequest,
    /// The action happens, but the response is lost.
    LostAnswer,
    /// The action happens, but the response is 412, as from a proxy that sends a request twice.
    RefusedAfterSuccess,
}

/// A call that the store got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which action.
    pub action: Action,
    /// Key, prefix of a listing, or source of a copy.
    pub key: String,
    /// Condition of a put.
    pub condition: Option<Condition>,
    /// The fault it met.
    pub fault: Option<Fault>,
}

/// When to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Only this action; none means any.
    pub action: Option<Action>,
    /// Only keys that contain this.
    pub key: String,
    /// Matching calls that pass first.
    pub after: usize,
    /// Matching calls that fail then.
    pub times: usize,
    /// How.
    pub fault: Fault,
}

impl Rule {
    /// Fails the next `action` on a key that contains `key`.
    pub fn once(action: Action, key: &str, fault: Fault) -> Self {
        Self {
            action: Some(action),
            key: key.to_owned(),
            after: 0,
            times: 1,
            fault,
        }
    }
}

/// Called and awaited before every action: it can delay a call, or act meanwhile.
pub type Hook =
    Arc<dyn Fn(Call) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

/// A store around another that fails by rules or by chance, and remembers every call.
#[derive(Clone)]
pub struct FaultStore<S> {
    inner: S,
    faults: Arc<Mutex<Faults>>,
}

#[derive(Default)]
struct Faults {
    rules: Vec<Rule>,
    chance: Option<Chance>,
    hook: Option<Hook>,
    calls: Vec<Call>,
}

/// Faults by chance, repeatable from a seed.
struct Chance {
    state: u64,
    per_mille: u64,
}

impl Chance {
    /// xorshift64*: short, and good enough to pick faults.
    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fault(&mut self) -> Option<Fault> {
        if (self.next() >> 32) % 1000 >= self.per_mille {
            return None;
        }
        let all = [
            Fault::Unavailable,
            Fault::LostRequest,
            Fault::LostAnswer,
            Fault::RefusedAfterSuccess,
        ];
        Some(all[usize::try_from((self.next() >> 32) % 4).unwrap_or(0)])
    }
}

impl<S: fmt::Debug> fmt::Debug for FaultStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultStore")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

impl<S: ObjectStore> FaultStore<S> {
    /// A store that does not fail yet.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            faults: Arc::default(),
        }
    }

    /// The store behind it.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Adds a rule; the first one that matches a call decides.
    pub fn fail(&self, rule: Rule) {
        self.lock().rules.push(rule);
    }

    /// Fails `per_mille` of the calls that no rule decides, with faults that follow from `seed`.
    pub fn fail_by_chance(&self, seed: u64, per_mille: u64) {
        // Zero is the one state that xorshift never leaves.
        self.lock().chance = Some(Chance {
            state: seed.max(1),
            per_mille,
        });
    }

    /// Ends all rules and chances.
    pub fn heal(&self) {
        let mut faults = self.lock();
        faults.rules.clear();
        faults.chance = None;
    }

    /// Calls `hook` before every action.
    pub fn before(&self, hook: Hook) {
        self.lock().hook = Some(hook);
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<Call> {
        self.lock().calls.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Faults> {
        // Rules and calls are whole between any two statements: a panic elsewhere does not matter.
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(
        &self,
        action: Action,
        key: &str,
        condition: Option<&Condition>,
    ) -> (Call, Option<Hook>) {
        let mut faults = self.lock();
        let matching = faults.rules.iter_mut().find(|rule| {
            rule.times > 0
                && rule.action.is_none_or(|only| only == action)
                && key.contains(&rule.key)
        });
        let fault = match matching {
            Some(rule) if rule.after > 0 => {
                rule.after -= 1;
                None
            }
            Some(rule) => {
                rule.times -= 1;
                Some(rule.fault)
            }
            None => faults.chance.as_mut().and_then(Chance::fault),
        };
        let call = Call {
            action,
            key: key.to_owned(),
            condition: condition.cloned(),
            fault,
        };
        faults.calls.push(call.clone());
        (call, faults.hook.clone())
    }

    async fn run<T>(
        &self,
        action: Action,
        key: &str,
        condition: Option<&Condition>,
        work: impl Future<Output = Result<T, StorageError>>,
    ) -> Result<T, StorageError> {
        let (call, hook) = self.note(action, key, condition);
        if let Some(hook) = hook {
            hook(call.clone()).await;
        }
        let name = action.name();
        let at = format!("{}/{key}", self.inner.describe());
        let conditional = condition.is_some_and(|condition| *condition != Condition::Always);
        let lost = |at: String, detail: &str| {
            let detail = detail.to_owned();
            if conditional {
                StorageError::Unknown {
                    action: name,
                    at,
                    detail,
                }
            } else {
                StorageError::Unavailable {
                    action: name,
                    at,
                    detail,
                }
            }
        };
        match call.fault {
            None => work.await,
            Some(Fault::Unavailable) => Err(StorageError::Unavailable {
                action: name,
                at,
                detail: "injected 503".to_owned(),
            }),
            Some(Fault::Denied) => Err(StorageError::AccessDenied {
                action: name,
                at,
                detail: "injected 403".to_owned(),
            }),
            Some(Fault::LostRequest) => Err(lost(at, "injected loss of the request")),
            Some(Fault::LostAnswer) => {
                // The response is lost, whatever it was.
                let _ = work.await;
                Err(lost(at, "injected loss of the answer"))
            }
            Some(Fault::RefusedAfterSuccess) if conditional => {
                work.await?;
                Err(StorageError::Precondition { action: name, at })
            }
            Some(Fault::RefusedAfterSuccess) => {
                work.await?;
                Err(lost(at, "injected loss of the answer"))
            }
        }
    }
}

impl<S: ObjectStore> ObjectStore for FaultStore<S> {
    fn get<'a>(&'a self, key: &'a str) -> StoreFuture<'a, Object> {
        Box::pin(self.run(Action::Get, key, None, self.inner.get(key)))
    }

    fn begin<'a>(&'a self, key: &'a str, len: u64) -> StoreFuture<'a, Begin> {
        Box::pin(self.run(Action::Get, key, None, self.inner.begin(key, len)))
    }

    fn get_range<'a>(&'a self, key: &'a str, range: Range<u64>) -> StoreFuture<'a, Bytes> {
        Box::pin(self.run(
            Action::GetRange,
            key,
            None,
            self.inner.get_range(key, range),
        ))
    }

    fn get_range_of<'a>(
        &'a self,
        key: &'a str,
        version: &'a str,
        range: Range<u64>,
    ) -> StoreFuture<'a, Bytes> {
        let work = self.inner.get_range_of(key, version, range);
        Box::pin(self.run(Action::GetRange, key, None, work))
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
        condition: Condition,
    ) -> StoreFuture<'a, String> {
        Box::pin(async move {
            let work = self.inner.put(key, bytes, condition.clone());
            self.run(Action::Put, key, Some(&condition), work).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(self.run(Action::Delete, key, None, self.inner.delete(key)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> StoreFuture<'a, Vec<ObjectMeta>> {
        Box::pin(self.run(Action::List, prefix, None, self.inner.list(prefix)))
    }

    fn copy<'a>(&'a self, from: &'a str, to: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(self.run(Action::Copy, from, None, self.inner.copy(from, to)))
    }

    fn end_uploads<'a>(&'a self, prefix: &'a str, before_ms: i64) -> StoreFuture<'a, u64> {
        self.inner.end_uploads(prefix, before_ms)
    }

    fn describe(&self) -> String {
        self.inner.describe()
    }
}
