//! The resources. Each reads its request within bounds, asks the owner of the store, and answers
//! with a shape of `canh_incident::api`.

use std::sync::Arc;

use axum::body::to_bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use canh_event::Timestamp;
use canh_incident::SCHEMA_VERSION;
use canh_incident::api::{
    ActionRequest, ActionResult, CorrelatorStatus, IncidentDetail, IncidentPage, IncidentQuery, RuleList,
};
use tokio::sync::{mpsc, oneshot, watch};

use crate::api::peer::Peer;
use crate::api::refusal::Refusal;
use crate::command::{self, Shown, Wanted};
use crate::metrics::Metrics;
use crate::passage::{self, Progress};
use crate::rules::Rules;

/// Longest body: a thousand ids and the longest note have some 30 KiB.
const MAX_BODY_BYTES: usize = 256 << 10;
/// Most incidents of one action.
const MAX_IDS: usize = 1_000;
/// The word that stands for whoever asks.
const ME: &str = "me";

/// What the resources draw on.
#[derive(Clone, Debug)]
pub(crate) struct Desk {
    pub(crate) requests: mpsc::Sender<command::Request>,
    pub(crate) rules: watch::Receiver<Arc<Rules>>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) metrics: Metrics,
    pub(crate) started: Timestamp,
}

type Answer<T> = Result<Json<T>, Refusal>;

/// Returns the resources.
pub(crate) fn router(desk: Desk) -> Router {
    Router::new()
        .route("/v1/incidents", get(list))
        .route("/v1/incidents/actions", post(act))
        .route("/v1/incidents/{number}", get(show))
        .route("/v1/status", get(status))
        .route("/v1/rules", get(rules))
        .fallback(async || Refusal::not_found("there is no such resource"))
        .method_not_allowed_fallback(async || Refusal::method())
        .layer(from_fn_with_state(desk.clone(), count))
        .with_state(desk)
}

async fn count(State(desk): State<Desk>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    desk.metrics.requests.with_label_values(&[class(response.status())]).inc();
    response
}

/// Statuses are a closed set, and few of them matter apart.
fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        0..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        _ => "5xx",
    }
}

async fn list(
    State(desk): State<Desk>,
    Extension(peer): Extension<Peer>,
    pairs: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Answer<IncidentPage> {
    let Query(pairs) = pairs.map_err(|_| Refusal::bad_request("the query string cannot be read"))?;
    let pairs = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()));
    let mut query = IncidentQuery::from_pairs(pairs).map_err(|error| Refusal::bad_request(error.to_string()))?;
    query.owner = query.owner.map(|owner| in_person(owner, &peer));
    ask(&desk, |reply| command::Request::List { query, reply }).await.map(Json)
}

async fn show(State(desk): State<Desk>, Path(name): Path<String>) -> Answer<IncidentDetail> {
    let wanted = wanted(&name)?;
    match ask(&desk, |reply| command::Request::Show { wanted, reply }).await? {
        Shown::Found(detail) => Ok(Json(*detail)),
        Shown::NotFound => Err(Refusal::not_found(format!("there is no incident {name}"))),
        Shown::Unreadable => Err(Refusal::internal()),
    }
}

async fn act(State(desk): State<Desk>, Extension(peer): Extension<Peer>, request: Request) -> Answer<ActionResult> {
    let body = to_bytes(request.into_body(), MAX_BODY_BYTES).await.map_err(|_| Refusal::too_large(MAX_BODY_BYTES))?;
    let mut request: ActionRequest =
        serde_json::from_slice(&body).map_err(|error| Refusal::bad_request(format!("not an action: {error}")))?;
    if request.ids.is_empty() || request.ids.len() > MAX_IDS {
        return Err(Refusal::bad_request(format!("an action is for 1 to {MAX_IDS} incidents")));
    }
    request.to = request.to.map(|owner| in_person(owner, &peer));
    let actor = peer.actor();
    ask(&desk, |reply| command::Request::Act { request, actor, reply }).await.map(Json)
}

async fn status(State(desk): State<Desk>) -> Json<CorrelatorStatus> {
    let (rules, rules_refused) = {
        let rules = desk.rules.borrow();
        (rules.len() as u64, rules.refused.len() as u64)
    };
    let progress = &desk.progress;
    Json(CorrelatorStatus {
        schema_version: SCHEMA_VERSION,
        release: env!("CARGO_PKG_VERSION").to_owned(),
        started: desk.started,
        position: passage::get(&progress.position),
        journal_position: passage::get(&progress.journal),
        event_time: progress.event_time(),
        events: passage::get(&progress.events),
        rules,
        rules_refused,
        incidents: passage::get(&progress.incidents),
        incidents_open: passage::get(&progress.incidents_open),
        groups: passage::get(&progress.groups),
        groups_dropped: passage::get(&progress.groups_dropped),
        events_late: passage::get(&progress.events_late),
    })
}

async fn rules(State(desk): State<Desk>) -> Json<RuleList> {
    let rules = Arc::clone(&desk.rules.borrow());
    Json(rules.list())
}

/// Asks the owner of the store; an error says that it has ended.
async fn ask<T>(desk: &Desk, request: impl FnOnce(oneshot::Sender<T>) -> command::Request) -> Result<T, Refusal> {
    let (reply, answer) = oneshot::channel();
    desk.requests.send(request(reply)).await.map_err(|_| Refusal::unavailable())?;
    answer.await.map_err(|_| Refusal::unavailable())
}

fn in_person(name: String, peer: &Peer) -> String {
    if name == ME { peer.name().to_owned() } else { name }
}

fn wanted(name: &str) -> Result<Wanted, Refusal> {
    if let Ok(counter) = name.parse() {
        return Ok(Wanted::Counter(counter));
    }
    name.parse().map(Wanted::Number).map_err(|error| Refusal::bad_request(format!("{error}")))
}

#[cfg(test)]
mod tests;
