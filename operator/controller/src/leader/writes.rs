//! What holds every request that changes something to the Lease: it sits below everything that
//! makes requests, so that no caller can forget it.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use http::{Method, Request, Response, StatusCode, header::RETRY_AFTER};
use kube::{Client, Config, client::Body};
use streamkeeper_lifecycle::JobCall;
use streamkeeper_protocol::job_api::{Operation, Preflight, Report, SeenHead};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};
use tower::{BoxError, Layer, Service};

use crate::coordinator_client::{Answer, CallError, Coordinator, JobApi};

/// This replica does not hold the Lease, or not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this replica does not hold the Lease: another one does the work")]
pub struct NotLeading;

/// The API server has too much to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the API server has too much to do and asks to be left alone for {} s", after.as_secs())]
pub struct Busy {
    /// For how long.
    pub after: Duration,
}

/// What an overloaded API server says in a header only.
fn busy<B>(answer: &Response<B>) -> Option<Busy> {
    let after = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    let after = Duration::from_secs(after.parse().ok()?);
    (answer.status() == StatusCode::TOO_MANY_REQUESTS).then_some(Busy { after })
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Another replica does the work, if it is known which.
    StandingBy(Option<String>),
    /// This one does; without a Lease there is no end to it.
    Leading(Option<Instant>),
    /// It has ended.
    Stopped,
}

impl State {
    fn leads(&self, now: Instant) -> bool {
        match self {
            Self::Leading(until) => until.is_none_or(|until| now < until),
            Self::StandingBy(_) | Self::Stopped => false,
        }
    }
}

/// Whether this replica does the work, and until when.
#[derive(Debug, Clone)]
pub struct Leadership(Arc<watch::Sender<State>>);

impl Default for Leadership {
    fn default() -> Self {
        Self::without_lease()
    }
}

impl Leadership {
    fn new(state: State) -> Self {
        Self(Arc::new(watch::Sender::new(state)))
    }

    /// The leadership of the only replica there is.
    pub fn without_lease() -> Self {
        Self::new(State::Leading(None))
    }

    /// That of a replica that has yet to win the Lease.
    pub fn standing_by() -> Self {
        Self::new(State::StandingBy(None))
    }

    pub(super) fn lead(&self, until: Option<Instant>) {
        self.0.send_replace(State::Leading(until));
    }

    pub(super) fn stand_by(&self) {
        self.0.send_replace(State::StandingBy(None));
    }

    /// Who holds the Lease instead of this replica.
    pub(super) fn known(&self, holder: Option<String>) {
        self.0.send_if_modified(|state| match state {
            State::StandingBy(known) if *known != holder => {
                *known = holder;
                true
            }
            State::StandingBy(_) | State::Leading(_) | State::Stopped => false,
        });
    }

    /// Ends it for good.
    pub fn stop(&self) {
        self.0.send_replace(State::Stopped);
    }

    /// Whether this replica does the work.
    pub fn leads(&self) -> bool {
        self.0.borrow().leads(Instant::now())
    }

    /// For people: what this replica does.
    pub fn describe(&self) -> String {
        match &*self.0.borrow() {
            State::Leading(_) => "leading".to_owned(),
            State::StandingBy(Some(holder)) => format!("standing by for {holder}"),
            State::StandingBy(None) => "standing by".to_owned(),
            State::Stopped => "stopping".to_owned(),
        }
    }

    /// Waits until this replica does the work.
    pub async fn led(&self) {
        let mut state = self.0.subscribe();
        // The sender lives as long as `self`.
        let _ = state
            .wait_for(|state| state.leads(Instant::now()))
            .await
            .is_ok();
    }

    /// Does something for as long as this replica does the work, and not a moment longer.
    pub async fn bounded<T>(&self, work: impl Future<Output = T>) -> Result<T, NotLeading> {
        let mut state = self.0.subscribe();
        let mut work = pin!(work);
        loop {
            let until = match &*state.borrow_and_update() {
                State::Leading(until) if until.is_none_or(|until| Instant::now() < until) => *until,
                State::Leading(_) | State::StandingBy(_) | State::Stopped => {
                    return Err(NotLeading);
                }
            };
            // A process that was frozen finds its timers late: the clock is asked before every
            // turn.
            let in_time = poll_fn(|context| {
                if until.is_some_and(|until| Instant::now() >= until) {
                    return Poll::Ready(None);
                }
                work.as_mut().poll(context).map(Some)
            });
            let deadline = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                done = in_time => if let Some(done) = done {
                    return Ok(done);
                },
                () = deadline => {}
                _ = state.changed() => {}
            }
        }
    }

    /// A client whose requests change nothing while this replica does not do the work. It does not
    /// repeat requests by itself: a repetition could come after the Lease is lost, and the replica
    /// that asked knows better when to ask again.
    pub fn client(&self, mut config: Config) -> kube::Result<Client> {
        config.default_retry = false;
        let bound = self.clone();
        Ok(kube::client::ClientBuilder::try_from(config)?
            .with_layer(&bound)
            .build())
    }
}

impl<S> Layer<S> for Leadership {
    type Service = Bound<S>;

    fn layer(&self, inner: S) -> Bound<S> {
        Bound {
            inner,
            leadership: self.clone(),
        }
    }
}

/// A way to the API server that is open for writes only while this replica does the work.
#[derive(Debug, Clone)]
pub struct Bound<S> {
    inner: S,
    leadership: Leadership,
}

impl<S, B> Service<Request<Body>> for Bound<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError> + Send,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<B>, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let reads = request.method() == Method::GET;
        if !reads && !self.leadership.leads() {
            return Box::pin(async { Err(NotLeading.into()) });
        }
        let (answer, leadership) = (self.inner.call(request), self.leadership.clone());
        Box::pin(async move {
            let answer = if reads {
                answer.await
            } else {
                leadership.bounded(answer).await?
            };
            let answer = answer.map_err(Into::into)?;
            busy(&answer).map_or(Ok(answer), |busy| Err(busy.into()))
        })
    }
}

/// Coordinators that are told nothing while this replica does not do the work.
pub struct BoundJobs {
    inner: Arc<dyn JobApi>,
    leadership: Leadership,
}

impl BoundJobs {
    /// These coordinators, held to `leadership`.
    pub fn new(inner: Arc<dyn JobApi>, leadership: Leadership) -> Self {
        Self { inner, leadership }
    }
}

impl std::fmt::Debug for BoundJobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("BoundJobs")
    }
}

impl JobApi for BoundJobs {
    fn report<'a>(&'a self, of: &'a Coordinator) -> Answer<'a, Report> {
        self.inner.report(of)
    }

    fn head<'a>(&'a self, of: &'a Coordinator) -> Answer<'a, SeenHead> {
        self.inner.head(of)
    }

    fn preflight<'a>(
        &'a self,
        of: &'a Coordinator,
        from: Option<&'a str>,
    ) -> Answer<'a, Preflight> {
        self.inner.preflight(of, from)
    }

    fn operation<'a>(&'a self, of: &'a Coordinator, key: &'a str) -> Answer<'a, Option<Operation>> {
        self.inner.operation(of, key)
    }

    fn command<'a>(&'a self, of: &'a Coordinator, call: &'a JobCall) -> Answer<'a, Operation> {
        Box::pin(async move {
            let asked = self.leadership.bounded(self.inner.command(of, call));
            asked
                .await
                .unwrap_or_else(|not_leading| Err(not_asked(of, not_leading)))
        })
    }
}

fn not_asked(of: &Coordinator, why: NotLeading) -> CallError {
    CallError::NoAnswer {
        address: of.address.clone(),
        detail: why.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tower::ServiceExt;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn leading_for(duration: Duration) -> Leadership {
        let leadership = Leadership::standing_by();
        leadership.lead(Some(Instant::now() + duration));
        leadership
    }

    /// Sends a request through a server that takes `takes`, and returns how many requests the
    /// server saw.
    async fn send(leadership: &Leadership, method: Method, takes: Duration) -> (bool, usize) {
        let served = Arc::new(AtomicUsize::new(0));
        let counter = served.clone();
        let server = tower::service_fn(move |_: Request<Body>| {
            let counter = counter.clone();
            async move {
                tokio::time::sleep(takes).await;
                counter.fetch_add(1, Ordering::Relaxed);
                Ok::<_, BoxError>(Response::new(()))
            }
        });
        let request = Request::builder()
            .method(method)
            .body(Body::empty())
            .unwrap();
        let answer = leadership.layer(server).oneshot(request).await;
        (answer.is_ok(), served.load(Ordering::Relaxed))
    }

    #[tokio::test(start_paused = true)]
    async fn reads_pass_always_and_writes_only_while_leading() {
        let writes = [Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
        let stopped = Leadership::without_lease();
        stopped.stop();
        for leadership in [
            Leadership::standing_by(),
            leading_for(Duration::ZERO),
            stopped,
        ] {
            assert_eq!(
                send(&leadership, Method::GET, seconds(1)).await,
                (true, 1),
                "{leadership:?}"
            );
            for method in writes.clone() {
                assert_eq!(
                    send(&leadership, method, seconds(1)).await,
                    (false, 0),
                    "{leadership:?}"
                );
            }
        }
        for method in writes {
            assert_eq!(
                send(&leading_for(seconds(5)), method, seconds(1)).await,
                (true, 1)
            );
        }
    }

    #[tokio::test]
    async fn how_long_an_overloaded_api_server_asks_for_reaches_whoever_asked_it() {
        let server = tower::service_fn(|_: Request<Body>| async {
            let answer = Response::builder()
                .status(429)
                .header("retry-after", "7")
                .body(());
            Ok::<_, BoxError>(answer.unwrap())
        });
        let request = Request::post("/").body(Body::empty()).unwrap();
        let bound = Leadership::without_lease().layer(server);
        let error = bound.oneshot(request).await.unwrap_err();
        assert_eq!(
            error.downcast_ref::<Busy>().map(|busy| busy.after),
            Some(seconds(7))
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_under_way_is_dropped_at_the_deadline() {
        let leadership = leading_for(seconds(5));
        let began = Instant::now();
        assert_eq!(
            send(&leadership, Method::POST, seconds(60)).await,
            (false, 0)
        );
        assert_eq!(began.elapsed(), seconds(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewed_lease_carries_a_write_on() {
        let leadership = leading_for(seconds(5));
        let renew = async {
            for _ in 0..4 {
                tokio::time::sleep(seconds(3)).await;
                leadership.lead(Some(Instant::now() + seconds(5)));
            }
        };
        let (sent, ()) = tokio::join!(send(&leadership, Method::POST, seconds(10)), renew);
        assert_eq!(sent, (true, 1));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_the_lease_goes_on_when_it_is_won() {
        let leadership = Leadership::standing_by();
        let win = async {
            tokio::time::sleep(seconds(3)).await;
            leadership.lead(Some(Instant::now() + seconds(5)));
        };
        let began = Instant::now();
        tokio::join!(leadership.led(), win);
        assert_eq!(began.elapsed(), seconds(3));
        assert!(leadership.leads());
    }

    #[test]
    fn it_says_what_it_does() {
        let leadership = Leadership::standing_by();
        assert_eq!(leadership.describe(), "standing by");
        leadership.known(Some("b".to_owned()));
        assert_eq!(leadership.describe(), "standing by for b");
        leadership.lead(None);
        assert_eq!(leadership.describe(), "leading");
    }
}
