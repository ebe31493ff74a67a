//! The port metrics are read from: HTTP/1.1, `GET /metrics` and `GET /healthz`, nothing else.
//!
//! A scraper is a stranger too. At most [`MAX_CONNECTIONS`] are served at a time, each for one
//! request and at most [`CONNECTION_DEADLINE`]; more wait in the kernel's backlog. A request's body
//! is never read: the answer is written and the connection closed.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::{JoinHandle, JoinSet};

use crate::metrics::registry::Metrics;
use crate::signals::Shutdown;

/// Most connections served at a time: a few Prometheus servers and somebody with curl.
const MAX_CONNECTIONS: usize = 8;

/// Longest life of a connection. Prometheus' own default for a whole scrape is 10 s.
const CONNECTION_DEADLINE: Duration = Duration::from_secs(5);

/// Bytes a request's head may have; hyper's least.
const MAX_HEAD_BYTES: usize = 8_192;

/// How long to wait after a failed accept (no descriptors left), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be served on {address}; free the port or change metrics.address")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

/// What `/healthz` says: 503 with the reason until the daemon is ready, and again if it fails.
#[derive(Clone, Debug)]
pub struct Health(Arc<Mutex<Result<(), String>>>);

/// The listener; it ends with the daemon's shutdown token.
#[derive(Debug)]
pub struct MetricsServer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Health {
    /// Returns the health of a daemon that is starting.
    pub fn starting() -> Self {
        Self(Arc::new(Mutex::new(Err("starting".to_owned()))))
    }

    /// Says that the daemon does its work.
    pub fn set_ready(&self) {
        self.set(Ok(()));
    }

    /// Says why the daemon does not do its work.
    pub fn set_failed(&self, reason: &str) {
        self.set(Err(reason.to_owned()));
    }

    fn set(&self, state: Result<(), String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    fn get(&self) -> Result<(), String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl MetricsServer {
    /// Returns the bound address; its port is a real one even if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the listener to end, which it does after its shutdown token.
    pub async fn join(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, "the metrics listener failed");
        }
    }
}

/// Binds the port and begins to serve.
///
/// # Errors
/// The port cannot be bound.
pub async fn serve(
    address: SocketAddr,
    metrics: Metrics,
    health: Health,
    shutdown: Shutdown,
) -> Result<MetricsServer, ListenError> {
    let refused = |source| ListenError { address, source };
    let listener = TcpListener::bind(address).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    tracing::info!(%address, "serving metrics");
    let task = tokio::spawn(accept(listener, Arc::new((metrics, health)), shutdown, CONNECTION_DEADLINE));
    Ok(MetricsServer { address, task })
}

type Shown = Arc<(Metrics, Health)>;

async fn accept(listener: TcpListener, shown: Shown, shutdown: Shutdown, deadline: Duration) {
    let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        while connections.try_join_next().is_some() {}
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            next = next => next,
            () = shutdown.wait() => return connections.shutdown().await,
        };
        match accepted {
            Ok((stream, _)) => {
                let shown = Arc::clone(&shown);
                connections.spawn(async move {
                    answer_one(stream, shown, deadline).await;
                    drop(slot);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection to the metrics port was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Serves one request. Whatever goes wrong is the scraper's to notice.
async fn answer_one(stream: TcpStream, shown: Shown, deadline: Duration) {
    let service = service_fn(|request: Request<Incoming>| {
        let response = respond(request.method(), request.uri().path(), &shown.0, &shown.1);
        async move { Ok::<_, Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(deadline, connection).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a request for metrics failed"),
        Err(_) => tracing::debug!("a request for metrics took too long"),
    }
}

fn respond(method: &Method, path: &str, metrics: &Metrics, health: &Health) -> Response<Full<Bytes>> {
    if method != Method::GET && method != Method::HEAD {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD\n".to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match path {
        "/metrics" => match metrics.encode() {
            Ok(body) => text(StatusCode::OK, body),
            Err(error) => {
                tracing::error!(%error, "metrics cannot be encoded");
                text(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be encoded\n".to_owned())
            }
        },
        "/healthz" => match health.get() {
            Ok(()) => text(StatusCode::OK, "ready\n".to_owned()),
            Err(reason) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
        },
        _ => text(StatusCode::NOT_FOUND, "see /metrics and /healthz\n".to_owned()),
    }
}

fn text(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
    response
}

#[cfg(test)]
mod tests;
