//! The resources with a stand-in for the owner of the store: what is asked of it, and what is said
//! about requests it never hears of.

use super::*;

use axum::body::Body;
use axum::http::{Method, header};
use canh_incident::api::ApiError;
use canh_service::metrics::Metrics as Registry;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

struct Stand {
    router: Router,
    requests: mpsc::Receiver<command::Request>,
    // Keeps the channel of the rules open.
    _rules: watch::Sender<Arc<Rules>>,
}

fn stand() -> Stand {
    let (requests, taken) = mpsc::channel(4);
    let (rules_sender, rules) = watch::channel(Arc::new(Rules::load(&[], 1).unwrap()));
    let registry = Registry::new("canh-correlator", "0.0.0").unwrap();
    let desk = Desk {
        requests,
        rules,
        progress: Arc::new(Progress::at(7)),
        metrics: Metrics::register(&registry).unwrap(),
        started: Timestamp::EPOCH,
    };
    let router = router(desk).layer(Extension(Peer::of_uid(0)));
    Stand { router, requests: taken, _rules: rules_sender }
}

fn request(method: Method, resource: &str, body: &str) -> Request {
    Request::builder()
        .method(method)
        .uri(resource)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

async fn send(router: Router, request: Request) -> Response {
    TowerToHyperService::new(router).call(request).await.unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Sends a request and returns what was asked of the owner, who then does not answer.
fn asked(method: Method, resource: &str, body: &str) -> command::Request {
    let mut stand = stand();
    block_on(async {
        let request = tokio::spawn(send(stand.router, request(method, resource, body)));
        let asked = stand.requests.recv().await.unwrap();
        request.abort();
        asked
    })
}

/// Sends a request that must be refused before the owner hears of it.
fn refused(method: Method, resource: &str, body: &str) -> (u16, ApiError) {
    let mut stand = stand();
    block_on(async {
        let response = send(stand.router, request(method, resource, body)).await;
        assert!(stand.requests.try_recv().is_err(), "{resource} reached the owner");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap())
    })
}

#[test]
fn me_is_whoever_the_kernel_says() {
    let command::Request::List { query, .. } = asked(Method::GET, "/v1/incidents?owner=me&severity=high", "") else {
        panic!()
    };
    assert_eq!(query.owner.as_deref(), Some("root"));
    let body = r#"{"ids":["INC-26-000001"],"action":"assign","to":"me"}"#;
    let command::Request::Act { request, actor, .. } = asked(Method::POST, "/v1/incidents/actions", body) else {
        panic!()
    };
    assert_eq!(request.to.as_deref(), Some("root"));
    assert_eq!(actor.name(), "root");
}

#[test]
fn an_incident_is_found_by_number_and_by_counter() {
    let command::Request::Show { wanted, .. } = asked(Method::GET, "/v1/incidents/17", "") else { panic!() };
    assert_eq!(wanted, Wanted::Counter(17));
    let command::Request::Show { wanted, .. } = asked(Method::GET, "/v1/incidents/INC-26-000017", "") else { panic!() };
    assert_eq!(wanted, Wanted::Number("INC-26-000017".parse().unwrap()));
}

#[test]
fn wrong_requests_are_refused_with_a_reason_and_never_reach_the_owner() {
    let many = format!("[{}]", vec!["\"INC-26-000001\""; MAX_IDS + 1].join(","));
    let long = format!(r#"{{"ids":["INC-26-000001"],"action":"comment","note":"{}"}}"#, "x".repeat(MAX_BODY_BYTES));
    let too_many = format!(r#"{{"ids":{many},"action":"acknowledge"}}"#);
    for (method, resource, body, status) in [
        (Method::GET, "/v1/incidents?colour=red", "", 400),
        (Method::GET, "/v1/incidents?state=done", "", 400),
        (Method::GET, "/v1/incidents/none", "", 400),
        (Method::GET, "/v2/incidents", "", 404),
        (Method::DELETE, "/v1/incidents/17", "", 405),
        (Method::POST, "/v1/incidents/actions", "{", 400),
        (Method::POST, "/v1/incidents/actions", r#"{"ids":[],"action":"acknowledge"}"#, 400),
        (Method::POST, "/v1/incidents/actions", r#"{"ids":["17"],"action":"acknowledge"}"#, 400),
        (Method::POST, "/v1/incidents/actions", r#"{"ids":["INC-26-000001"],"action":"destroy"}"#, 400),
        (Method::POST, "/v1/incidents/actions", &too_many, 400),
        (Method::POST, "/v1/incidents/actions", &long, 413),
    ] {
        let (got, error) = refused(method, resource, body);
        assert_eq!(got, status, "{resource} {}", error.message);
        assert!(!error.message.is_empty());
    }
}

#[test]
fn an_owner_that_has_ended_is_said_to_be_away() {
    let mut stand = stand();
    stand.requests.close();
    let response = block_on(send(stand.router, request(Method::GET, "/v1/incidents", "")));
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[test]
fn status_needs_no_owner() {
    let stand = stand();
    let response = block_on(send(stand.router, request(Method::GET, "/v1/status", "")));
    let body = block_on(to_bytes(response.into_body(), 1 << 20)).unwrap();
    let status: CorrelatorStatus = serde_json::from_slice(&body).unwrap();
    assert_eq!((status.position, status.rules, status.event_time), (7, 0, None));
}
