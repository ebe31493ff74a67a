//! One TLS connection as frames: read with a deadline for each, written with one for all.
//!
//! A long body is read only once the budget has room for it; a quiet connection holds a small
//! buffer and nothing else.

use std::io;
use std::time::Duration;

use canh_wire::{CONTROL_LIMIT, Frame, FrameError, FrameReader, frame_deadline};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout, timeout_at};

use crate::budget::Budget;

/// How long the peer may take to take what we write: acknowledgements are a few dozen bytes.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to read on after our last frame, so that closing does not destroy it on its way.
const LINGER: Duration = Duration::from_secs(1);

/// Why a connection cannot go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ConnectionError {
    /// The line is broken.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The bytes are no frames.
    #[error("the peer does not keep to the protocol")]
    Frame(#[from] FrameError),
    /// The peer was silent for too long.
    #[error("the peer was silent for {} s", span.as_secs())]
    Idle { span: Duration },
    /// A frame was begun and not completed in time.
    #[error("a frame was not complete in time")]
    Slow,
    /// The peer does not take what we send.
    #[error("the peer does not read")]
    Stuck,
    /// The peer closed in the middle of a frame.
    #[error("the peer closed in the middle of a frame")]
    Cut,
}

/// A frame, and the room that was set aside to read it.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) frame: Frame,
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    stream: S,
    reader: FrameReader,
    budget: Budget,
    idle: Duration,
    /// When the peer was last heard.
    heard: Instant,
    /// When the frame under way began.
    begun: Option<Instant>,
    room: Option<OwnedSemaphorePermit>,
    out: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Returns the connection of a stream that has just been opened.
    pub(crate) fn new(stream: S, budget: Budget, idle: Duration) -> Self {
        let (reader, heard) = (FrameReader::new(), Instant::now());
        Self { stream, reader, budget, idle, heard, begun: None, room: None, out: Vec::new() }
    }

    /// Accepts only frames of this version from now on.
    pub(crate) fn settle(&mut self, version: u8) {
        self.reader.settle(version);
    }

    /// Returns the next frame; nothing if the peer has closed. Safe to cancel.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub(crate) async fn next(&mut self) -> Result<Option<Incoming>, ConnectionError> {
        loop {
            if let Some(frame) = self.reader.next_frame()? {
                let is_begun = self.reader.has_begun();
                self.begun = is_begun.then(Instant::now);
                return Ok(Some(Incoming { frame, room: self.room.take() }));
            }
            self.set_aside().await?;
            let deadline = self.deadline();
            let read = timeout_at(deadline, self.stream.read(self.reader.room())).await;
            let count = read.map_err(|_| self.too_slow())??;
            if count == 0 {
                return if self.reader.has_begun() { Err(ConnectionError::Cut) } else { Ok(None) };
            }
            self.heard = Instant::now();
            self.begun.get_or_insert(self.heard);
            self.reader.filled(count);
        }
    }

    /// Says that the time since the last read was spent by us: it is not held against the peer.
    pub(crate) fn excuse(&mut self) {
        self.heard = Instant::now();
        if let Some(begun) = &mut self.begun {
            *begun = self.heard;
        }
    }

    /// Writes frames, all at once.
    ///
    /// # Errors
    /// [`ConnectionError::Io`], [`ConnectionError::Stuck`].
    pub(crate) async fn write(&mut self, frames: &[Frame], version: u8) -> Result<(), ConnectionError> {
        if frames.is_empty() {
            return Ok(());
        }
        let mut out = std::mem::take(&mut self.out);
        for frame in frames {
            frame.encode(version, &mut out);
        }
        let write = async {
            self.stream.write_all(&out).await?;
            self.stream.flush().await
        };
        let written = timeout(WRITE_TIMEOUT, write).await.map_err(|_| ConnectionError::Stuck)?;
        out.clear();
        self.out = out;
        Ok(written?)
    }

    /// Closes: nothing is written after it, and what the peer still sends is thrown away until it
    /// closes too, or for a second.
    pub(crate) async fn close(mut self) {
        let close = async {
            self.stream.shutdown().await?;
            let mut waste = [0; 512];
            while self.stream.read(&mut waste).await? > 0 {}
            io::Result::Ok(())
        };
        // Whether the peer hears it or not, it is over.
        let _ = timeout(LINGER, close).await;
    }

    /// Waits for room in the budget before a long body is read.
    async fn set_aside(&mut self) -> Result<(), ConnectionError> {
        let Some(head) = self.reader.under_way() else { return Ok(()) };
        if head.body_bytes > CONTROL_LIMIT && self.room.is_none() {
            let room = self.budget.reading(head.body_bytes).await;
            self.room = Some(room.map_err(|_| io::Error::other("the memory budget is closed"))?);
            self.excuse();
        }
        Ok(())
    }

    fn deadline(&self) -> Instant {
        match self.begun {
            Some(begun) => begun + frame_deadline(self.reader.under_way().map_or(0, |head| head.body_bytes)),
            None => self.heard + self.idle,
        }
    }

    fn too_slow(&self) -> ConnectionError {
        if self.begun.is_some() { ConnectionError::Slow } else { ConnectionError::Idle { span: self.idle } }
    }
}

impl ConnectionError {
    /// Returns one word for it, for a label.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Io(_) => "broken",
            Self::Frame(_) => "not_frames",
            Self::Idle { .. } => "idle",
            Self::Slow => "slow",
            Self::Stuck => "stuck",
            Self::Cut => "cut",
        }
    }
}

#[cfg(test)]
mod tests;
