//! Answers that are errors: a status, a word for programs, a sentence for people.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use canh_incident::SCHEMA_VERSION;
use canh_incident::api::ApiError;

/// A request that is not answered as asked.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl Refusal {
    /// The request is not understood.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "bad_request", message: message.into() }
    }

    /// There is no such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, code: "not_found", message: message.into() }
    }

    /// The resource knows other methods.
    pub(crate) fn method() -> Self {
        let message = "this resource does not know that method".to_owned();
        Self { status: StatusCode::METHOD_NOT_ALLOWED, code: "method_not_allowed", message }
    }

    /// The body is longer than any request needs.
    pub(crate) fn too_large(limit: usize) -> Self {
        let message = format!("the body is longer than {limit} bytes, send less at a time");
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, code: "too_large", message }
    }

    /// The daemon is stopping, or its store has failed.
    pub(crate) fn unavailable() -> Self {
        let message = "the correlator is stopping, try again in a moment".to_owned();
        Self { status: StatusCode::SERVICE_UNAVAILABLE, code: "unavailable", message }
    }

    /// Something of ours is broken.
    pub(crate) fn internal() -> Self {
        let message = "the correlator could not do it, its log says why".to_owned();
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, code: "internal", message }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let body = ApiError { schema_version: SCHEMA_VERSION, code: self.code.to_owned(), message: self.message };
        (self.status, Json(body)).into_response()
    }
}
