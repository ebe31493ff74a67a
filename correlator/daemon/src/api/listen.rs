//! The Unix socket: who may come in, how many at once and for how long.
//!
//! ```text
//! bind under a passing name ─► mode 0660, group ─► rename to its name: never open wider than meant
//! accept ─► SO_PEERCRED: uid ─► user name ─► every request of the connection carries it
//! ```

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::{Extension, Router};
use canh_service::signals::Shutdown;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::api::peer::Peer;
use crate::api::users;

/// Analysts and their scripts are a handful; what comes past this waits in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// A client that has nothing to say for so long is let go.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);
/// No conversation is longer; a client connects again.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(300);
/// What a stopping daemon grants requests under way.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long to wait after a failed accept: the usual cause, no free descriptor, does not go away at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What keeps the socket from being made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ListenError {
    #[error("the socket {} cannot be made", .path.display())]
    Bind { path: PathBuf, source: io::Error },
    #[error("the socket's group {group} is not in /etc/group")]
    NoGroup { group: String },
    #[error("/etc/group cannot be read")]
    Groups(#[source] io::Error),
}

/// The socket, listening. It is unlinked when dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    inner: UnixListener,
    path: PathBuf,
}

impl Listener {
    /// Makes the socket for its owner and `group` (the process's own if not given), and for nobody else.
    ///
    /// # Errors
    /// [`ListenError`], with the path or group at fault.
    ///
    /// # Contract
    /// Called within a tokio runtime, after the state directory's lock is held: what is at `path` is
    /// taken for the socket of a predecessor and replaced.
    pub(crate) fn bind(path: &Path, group: Option<&str>) -> Result<Self, ListenError> {
        let gid = group.map(find_group).transpose()?;
        let passing = path.with_extension(format!("new-{}", std::process::id()));
        let failed = |source| ListenError::Bind { path: path.to_owned(), source };
        match fs::remove_file(&passing) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
        let inner = UnixListener::bind(&passing).map_err(failed)?;
        let placed = fs::set_permissions(&passing, fs::Permissions::from_mode(0o660))
            .and_then(|()| gid.map_or(Ok(()), |gid| chown(&passing, None, Some(gid))))
            .and_then(|()| fs::rename(&passing, path));
        if let Err(error) = placed {
            // The error at hand matters more than the leftover.
            let _ = fs::remove_file(&passing);
            return Err(failed(error));
        }
        Ok(Self { inner, path: path.to_owned() })
    }

    /// Serves until the shutdown, then lets requests under way finish.
    pub(crate) async fn serve(self, router: Router, shutdown: Shutdown) {
        let slots = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = shutdown.wait() => break,
                Some(_) = connections.join_next() => continue,
                accepted = accept(&self.inner, &slots) => accepted,
            };
            match accepted {
                Ok((stream, slot)) => {
                    connections.spawn(converse(stream, router.clone(), shutdown.clone(), slot));
                }
                Err(error) => {
                    tracing::warn!(%error, "connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        let drained = async { while connections.join_next().await.is_some() {} };
        if tokio::time::timeout(DRAIN_TIMEOUT, drained).await.is_err() {
            tracing::warn!("requests under way were cut off at the end");
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // A socket left behind is replaced by the next start.
        let _ = fs::remove_file(&self.path);
    }
}

type Slot = tokio::sync::OwnedSemaphorePermit;

async fn accept(listener: &UnixListener, slots: &Arc<Semaphore>) -> io::Result<(UnixStream, Slot)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((stream, slot))
}

async fn converse(stream: UnixStream, router: Router, shutdown: Shutdown, slot: Slot) {
    let _slot = slot;
    let peer = match stream.peer_cred() {
        Ok(credentials) => Peer::of_uid(credentials.uid()),
        Err(error) => {
            tracing::warn!(%error, "a peer without credentials was turned away");
            return;
        }
    };
    let service = TowerToHyperService::new(router.layer(Extension(peer)));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = shutdown.wait() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = tokio::time::sleep(CONNECTION_TIMEOUT) => return,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a conversation ended badly");
    }
}

fn find_group(group: &str) -> Result<u32, ListenError> {
    users::group_id(group).map_err(ListenError::Groups)?.ok_or_else(|| ListenError::NoGroup { group: group.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_runtime<T>(work: impl FnOnce() -> T) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { work() })
    }

    #[test]
    fn the_socket_is_for_owner_and_group_and_goes_with_the_daemon() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("correlator.sock");
        in_runtime(|| {
            let listener = Listener::bind(&path, None).unwrap();
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "no passing name is left");
            drop(listener);
            assert!(!path.exists());
        });
    }

    #[test]
    fn a_socket_left_behind_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("correlator.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        in_runtime(|| {
            let _listener = Listener::bind(&path, None).unwrap();
            std::os::unix::net::UnixStream::connect(&path).unwrap();
        });
    }

    #[test]
    fn a_group_that_does_not_exist_and_a_folder_that_does_not_are_named() {
        let dir = tempfile::tempdir().unwrap();
        in_runtime(|| {
            let error = Listener::bind(&dir.path().join("s"), Some("no-such-group")).unwrap_err();
            assert!(error.to_string().contains("no-such-group"));
            let error = Listener::bind(&dir.path().join("absent/s"), None).unwrap_err();
            assert!(error.to_string().contains("absent/s"));
        });
    }
}
