//! Job API v1: every route turns a request into a [`Call`] on the coordinator, or reads its
//! [`PublishedStatus`].

use std::{future::Future, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    extract::{FromRequest, Path, Query, Request, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde::Deserialize;
use streamkeeper_protocol::job_api::{
    ApiError, HandOverRequest, JobCall, Operation, Preflight, PromoteRequest, Report,
    RescaleRequest, SavepointRequest, SeenHead, StopRequest,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use streamkeeper_coordinator::{Call, CoordinatorEvent, PublishedStatus, Refusal};

/// A caller gets this long to send its body.
const BODY_WITHIN: Duration = Duration::from_secs(5);

/// How the routes reach the coordinator.
#[derive(Debug, Clone)]
pub struct CoordinatorApi {
    /// What the coordinator shows.
    pub published_status: Arc<PublishedStatus>,
    /// Where calls go.
    pub events: mpsc::UnboundedSender<CoordinatorEvent>,
}

/// The routes of pod 0.
pub fn routes(api: CoordinatorApi) -> Router {
    Router::new()
        .route("/v1/report", get(report))
        .route("/v1/head", get(head))
        .route("/v1/preflight", get(preflight))
        .route("/v1/operations/{key}", get(operation))
        .route(
            "/v1/promote",
            post(|api, Body(request): Body<PromoteRequest>| call(api, JobCall::Promote(request))),
        )
        .route(
            "/v1/savepoint",
            post(|api, Body(request): Body<SavepointRequest>| {
                call(api, JobCall::Savepoint(request))
            }),
        )
        .route(
            "/v1/hand-over",
            post(|api, Body(request): Body<HandOverRequest>| call(api, JobCall::HandOver(request))),
        )
        .route(
            "/v1/stop",
            post(|api, Body(request): Body<StopRequest>| call(api, JobCall::Stop(request))),
        )
        .route(
            "/v1/rescale",
            post(|api, Body(request): Body<RescaleRequest>| call(api, JobCall::Rescale(request))),
        )
        .route("/v1/poke", post(poke))
        .fallback(|| std::future::ready(Refused(Refusal::no_such_route())))
        .with_state(api)
}

/// The routes of the other pods: they say where to ask.
pub fn routes_without_coordinator() -> Router {
    Router::new().fallback(|| std::future::ready(Refused(Refusal::not_the_coordinator())))
}

async fn report(State(api): State<CoordinatorApi>) -> Json<Report> {
    Json(api.published_status.report())
}

async fn head(State(api): State<CoordinatorApi>) -> Result<Json<SeenHead>, Refused> {
    let seen = api.published_status.head().map(Json);
    seen.ok_or_else(|| {
        let message = "HEAD could not be read yet; the report says why".to_owned();
        Refused(Refusal::new("StorageUnavailable", message))
    })
}

/// What a preflight is about.
#[derive(Debug, Deserialize)]
struct About {
    /// Savepoint to start from, instead of HEAD's newest checkpoint.
    from: Option<String>,
}

async fn preflight(
    State(api): State<CoordinatorApi>,
    Query(about): Query<About>,
) -> Json<Preflight> {
    let Some(uri) = about.from else {
        return Json(api.published_status.preflight());
    };
    let answer = api.published_status.preflight_from(&uri);
    let _ = api.events.send(CoordinatorEvent::CheckSavepoint(uri));
    Json(answer)
}

async fn operation(
    State(api): State<CoordinatorApi>,
    Path(key): Path<String>,
) -> Result<Json<Operation>, Refused> {
    api.published_status
        .operation(&key)
        .map(Json)
        .ok_or_else(|| Refused(Refusal::unknown_operation(&key)))
}

/// A predecessor that wrote HEAD tells its successor to look at it.
async fn poke(State(api): State<CoordinatorApi>) -> StatusCode {
    let _ = api.events.send(CoordinatorEvent::HeadChanged);
    StatusCode::ACCEPTED
}

fn call(
    State(api): State<CoordinatorApi>,
    command: JobCall,
) -> impl Future<Output = Result<(StatusCode, Json<Operation>), Refused>> + Send {
    let (reply, answer) = oneshot::channel();
    let sent = api
        .events
        .send(CoordinatorEvent::Call(Call { command, reply }))
        .is_ok();
    async move {
        if !sent {
            return Err(Refused(Refusal::leaving()));
        }
        match answer.await {
            Ok(Ok(operation)) => Ok((StatusCode::ACCEPTED, Json(operation))),
            Ok(Err(refusal)) => Err(Refused(refusal)),
            Err(_) => Err(Refused(Refusal::leaving())),
        }
    }
}

/// A JSON body; a bad one is an [`ApiError`] like every refusal.
struct Body<T>(T);

impl<S: Send + Sync, T> FromRequest<S> for Body<T>
where
    Json<T>: FromRequest<S, Rejection = JsonRejection>,
{
    type Rejection = Refused;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refused> {
        match timeout(BODY_WITHIN, Json::<T>::from_request(request, state)).await {
            Ok(Ok(Json(body))) => Ok(Self(body)),
            Ok(Err(rejection)) => Err(Refused(Refusal::bad_request(&rejection.body_text()))),
            Err(_) => Err(Refused(Refusal::bad_request(&format!(
                "the body did not arrive within {} s",
                BODY_WITHIN.as_secs()
            )))),
        }
    }
}

struct Refused(Refusal);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let status =
            StatusCode::from_u16(self.0.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        (status, Json(ApiError::from(self.0))).into_response()
    }
}
