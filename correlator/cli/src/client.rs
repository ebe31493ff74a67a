//! Asks the correlator: HTTP/1.1 with JSON over its Unix socket.
//!
//! Who is asking is not said here: the daemon takes the user from the socket itself. An answer is
//! bounded in size and in time, so a sick daemon costs an error, never a hang or the memory.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

use canh_incident::api::ApiError;

use crate::exit::{Exit, Failure};

/// A page of 1,000 incidents with long titles has about 1 MiB, an incident with all its evidence a few.
const MAX_ANSWER_BYTES: usize = 32 << 20;

/// The correlator's address and patience.
#[derive(Debug)]
pub(crate) struct Client {
    socket: PathBuf,
    timeout: Duration,
    runtime: Runtime,
}

impl Client {
    /// Returns a client of the daemon that listens on `socket`; nothing is connected yet.
    pub(crate) fn new(socket: &Path, timeout: Duration) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Internal, "the client could not start").why(error))?;
        Ok(Self { socket: socket.to_owned(), timeout, runtime })
    }

    /// Reads a resource.
    pub(crate) fn get<Answer: DeserializeOwned>(&self, resource: &str) -> Result<Answer, Failure> {
        self.ask(Method::GET, resource, Vec::new())
    }

    /// Sends a request and reads what came of it.
    pub(crate) fn post<Answer: DeserializeOwned>(
        &self,
        resource: &str,
        request: &impl Serialize,
    ) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(request)
            .map_err(|error| Failure::new(Exit::Internal, "the request could not be written").because(&error))?;
        self.ask(Method::POST, resource, body)
    }

    fn ask<Answer: DeserializeOwned>(&self, method: Method, resource: &str, body: Vec<u8>) -> Result<Answer, Failure> {
        let (status, body) = self.runtime.block_on(self.within_time(self.exchange(method, resource, body)))?;
        if !status.is_success() {
            return Err(self.refused(status, &body));
        }
        serde_json::from_slice(&body).map_err(|error| {
            Failure::new(Exit::Internal, format!("the answer of {} to {resource} is not understood", self.place()))
                .because(&error)
                .hint("canh and canh-correlator must be of the same version: compare `canh --version` on both sides")
        })
    }

    async fn within_time<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(|_| {
            let what = format!("{} did not answer within {} s", self.place(), self.timeout.as_secs_f32());
            Err(Failure::new(Exit::Unreachable, what).hint("try again, or with a longer --timeout"))
        })
    }

    async fn exchange(&self, method: Method, resource: &str, body: Vec<u8>) -> Result<(StatusCode, Bytes), Failure> {
        let stream = UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(|e| self.broken_off(&e))?;
        let request = Request::builder()
            .method(method)
            .uri(resource)
            .header(header::HOST, "canh")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::CONNECTION, "close")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| Failure::new(Exit::Internal, "the request could not be written").because(&error))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|error| self.broken_off(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(|error| {
                self.broken_off(&*error).hint(format!("answers are at most {MAX_ANSWER_BYTES} bytes: ask for fewer"))
            })?;
            Ok((status, body.to_bytes()))
        };
        // The connection has to be driven beside the answer; how it ends shows in the answer.
        let (answer, _) = tokio::join!(answer, connection);
        answer
    }

    fn place(&self) -> String {
        format!("the correlator at {}", self.socket.display())
    }

    fn unreachable(&self, error: &std::io::Error) -> Failure {
        let what = format!("cannot reach {}", self.place());
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            return Failure::new(Exit::Permission, what)
                .why(error)
                .hint("members of the socket's group may use it: ask to be added to the group, then log in again");
        }
        Failure::new(Exit::Unreachable, what)
            .why(error)
            .hint("see `systemctl status canh-correlator`; another socket is given by --server or CANH_SOCKET")
    }

    fn broken_off(&self, error: &(dyn std::error::Error + 'static)) -> Failure {
        Failure::new(Exit::Unreachable, format!("{} broke off the conversation", self.place()))
            .because(error)
            .hint("see `journalctl -u canh-correlator`, then try again")
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> Failure {
        let exit = match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::PAYLOAD_TOO_LARGE => Exit::Usage,
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::Permission,
            StatusCode::CONFLICT => Exit::Conflict,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Exit::Unreachable,
            _ => Exit::Internal,
        };
        match serde_json::from_slice::<ApiError>(body) {
            Ok(refusal) => Failure::new(exit, refusal.message),
            Err(_) => Failure::new(exit, format!("{} answered {status}", self.place()))
                .hint("is it a correlator of this version? compare `canh --version` on both sides"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;

    /// Answers one connection with fixed bytes, once the request's head has come.
    fn answering(reply: &'static [u8]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            stream.write_all(reply).unwrap();
            if reply.is_empty() {
                // Say nothing until the client has given up.
                let _ = stream.read(&mut byte);
            }
        });
        (dir, socket)
    }

    fn get(reply: &'static [u8], timeout: Duration) -> Result<Vec<u32>, Failure> {
        let (_dir, socket) = answering(reply);
        Client::new(&socket, timeout).unwrap().get("/v1/x")
    }

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn answer_is_read() {
        assert_eq!(get(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n[1,2]", LONG).unwrap(), [1, 2]);
    }

    #[test]
    fn each_trouble_has_its_exit_code() {
        let refusal =
            b"HTTP/1.1 409 C\r\ncontent-length: 44\r\n\r\n{\"schema_version\":1,\"code\":\"x\",\"message\":\"y\"}";
        assert_eq!(get(refusal, LONG).unwrap_err().exit(), Exit::Conflict);
        assert_eq!(get(b"HTTP/1.1 403 F\r\ncontent-length: 0\r\n\r\n", LONG).unwrap_err().exit(), Exit::Permission);
        assert_eq!(get(b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{", LONG).unwrap_err().exit(), Exit::Internal);
        assert_eq!(get(b"no http at all\r\n\r\n", LONG).unwrap_err().exit(), Exit::Unreachable);
        assert_eq!(get(b"", Duration::from_millis(50)).unwrap_err().exit(), Exit::Unreachable);
        let nobody = Client::new(Path::new("/nonexistent/socket"), LONG).unwrap();
        assert_eq!(nobody.get::<Vec<u32>>("/").unwrap_err().exit(), Exit::Unreachable);
    }

    #[test]
    fn answer_without_end_is_cut_off() {
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n";
        assert_eq!(get(head, LONG).unwrap_err().exit(), Exit::Unreachable);
    }
}
