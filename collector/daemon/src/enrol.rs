//! The other side of a host's first contact: one frame in, one frame out, and over.
//!
//! Whoever comes here has shown no certificate. It keeps the place it had for its handshake, has five
//! seconds for one short frame of one kind, and five to take the answer; nothing of it is unpacked.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use canh_wire::{Denied, Enrol, Frame, FrameError, FrameKind, FrameReader, HELLO_TIMEOUT, SPOKEN};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::issuing::Issuing;

/// How long the host may take to take the answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Why a host left without a certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fruitless {
    #[error("it was denied: {}", .0.code.as_str())]
    Denied(Denied),
    #[error("it did not ask in time")]
    Slow,
    #[error("it asked for something else")]
    Unexpected,
    #[error("it does not keep to the protocol")]
    Frame(#[from] FrameError),
    #[error("the connection broke")]
    Io(#[from] io::Error),
}

/// Serves a host that has a token.
///
/// # Errors
/// [`Fruitless`].
pub(crate) async fn serve<S>(mut stream: S, peer: IpAddr, issuing: &std::sync::Arc<Issuing>) -> Result<(), Fruitless>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let enrol = timeout(HELLO_TIMEOUT, read(&mut stream)).await.map_err(|_| Fruitless::Slow)??;
    let answer = issuing.enrol(enrol, peer).await;
    let frame = match &answer {
        Ok(credential) => Frame::Credential(credential.clone()),
        Err(denied) => Frame::Denied(*denied),
    };
    let mut bytes = Vec::new();
    frame.encode(SPOKEN.newest, &mut bytes);
    let write = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await
    };
    timeout(ANSWER_TIMEOUT, write).await.map_err(|_| Fruitless::Slow)??;
    answer.map(drop).map_err(Fruitless::Denied)
}

async fn read<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Enrol, Fruitless> {
    let mut reader = FrameReader::new();
    loop {
        match reader.next_frame()? {
            Some(Frame::Enrol(enrol)) => return Ok(enrol),
            Some(_) => return Err(Fruitless::Unexpected),
            None => {}
        }
        // By its header, before room is made for its body.
        if reader.under_way().is_some_and(|head| head.kind != FrameKind::Enrol) {
            return Err(Fruitless::Unexpected);
        }
        match stream.read(reader.room()).await? {
            0 => return Err(Fruitless::Io(io::ErrorKind::UnexpectedEof.into())),
            count => reader.filled(count),
        }
    }
}

impl Fruitless {
    /// Returns one word for it, for a label.
    pub(crate) const fn as_str(&self) -> &'static str {
        match self {
            Self::Denied(denied) => denied.code.as_str(),
            Self::Slow => "slow",
            Self::Unexpected | Self::Frame(_) => "protocol",
            Self::Io(_) => "broken",
        }
    }
}

#[cfg(test)]
mod tests {
    use canh_event::Timestamp;
    use canh_wire::{Packed, Ping};
    use tokio::time::Instant;

    use super::*;

    fn encode(frame: &Frame) -> Vec<u8> {
        let mut bytes = Vec::new();
        frame.encode(1, &mut bytes);
        bytes
    }

    #[tokio::test]
    async fn nothing_but_a_short_request_is_read() {
        let long = vec![7; 100_000];
        let (stream, epoch, first) = ("log".parse().unwrap(), canh_event::Epoch(1), canh_event::RecordSequence(1));
        let body = Packed::from_parts(false, long.len(), long).unwrap();
        let batch = encode(&Frame::Batch(canh_wire::Batch { stream, epoch, first, count: 1, body }));
        // The header alone decides: the body of a batch is never waited for.
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 10);
        theirs.write_all(&batch[..24]).await.unwrap();
        assert!(matches!(read(&mut ours).await, Err(Fruitless::Unexpected)));
        let ping = encode(&Frame::Ping(Ping { token: 1, clock: Timestamp::EPOCH }));
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 10);
        theirs.write_all(&ping).await.unwrap();
        assert!(matches!(read(&mut ours).await, Err(Fruitless::Unexpected)));
        let (mut ours, mut theirs) = tokio::io::duplex(1 << 10);
        theirs.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        assert!(matches!(read(&mut ours).await, Err(Fruitless::Frame(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_trickles_in_is_cut_off() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 10);
        let metrics =
            crate::metrics::Metrics::register(&canh_service::metrics::Metrics::new("test", "0").unwrap()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let issuing = Issuing::new(crate::folder::Folder::new(dir.path()), Duration::ZERO, Vec::new(), 1, metrics);
        let begin = Instant::now();
        let trickle = tokio::spawn(async move {
            for byte in b"CANH\x01\x10\0\0".iter().cycle() {
                if theirs.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        assert!(matches!(serve(ours, IpAddr::from([127, 0, 0, 1]), &issuing).await, Err(Fruitless::Slow)));
        assert_eq!(begin.elapsed().as_secs(), HELLO_TIMEOUT.as_secs());
        trickle.await.unwrap();
    }
}
