//! An agent that does what a test says: real TLS, the real protocol, no spool.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use canh_event::{Epoch, RecordBatch, RecordSequence, Source, Timestamp};
use canh_wire::{
    AgentSession, Batch, DEFAULT_LEVEL, Frame, FrameReader, Hello, Packer, Resume, SPOKEN, StreamState, Welcomed, tls,
};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

pub(crate) const EPOCH: Epoch = Epoch(77);
/// Longer than anything a test waits for, shorter than anybody's patience.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Agent {
    stream: StreamOwned<ClientConnection, Line>,
    reader: FrameReader,
}

/// A socket that may remember what was written to it.
pub(crate) struct Line {
    socket: TcpStream,
    recorded: Option<Vec<u8>>,
}

impl Read for Line {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.socket.write(bytes)?;
        if let Some(recorded) = &mut self.recorded {
            recorded.extend_from_slice(&bytes[..count]);
        }
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.socket.flush()
    }
}

impl Agent {
    /// Connects with the three files that `ca issue` has put into a folder.
    pub(crate) fn connect(address: SocketAddr, files: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| std::fs::read(files.join(name)).with_context(|| format!("while reading {name}"));
        Self::connect_with(address, tls::client_config(&read("ca.pem")?, &read("cert.pem")?, &read("key.pem")?)?)
    }

    pub(crate) fn connect_with(address: SocketAddr, config: Arc<ClientConfig>) -> anyhow::Result<Self> {
        Self::open(address, config, None)
    }

    /// Connects and remembers every byte it sends.
    pub(crate) fn connect_recording(address: SocketAddr, files: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| std::fs::read(files.join(name)).with_context(|| format!("while reading {name}"));
        let config = tls::client_config(&read("ca.pem")?, &read("cert.pem")?, &read("key.pem")?)?;
        Self::open(address, config, Some(Vec::new()))
    }

    fn open(address: SocketAddr, config: Arc<ClientConfig>, recorded: Option<Vec<u8>>) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let connection = ClientConnection::new(config, ServerName::try_from("localhost")?)?;
        let line = Line { socket, recorded };
        Ok(Self { stream: StreamOwned::new(connection, line), reader: FrameReader::new() })
    }

    /// Returns every byte that was sent.
    pub(crate) fn recorded(self) -> Vec<u8> {
        self.stream.sock.recorded.unwrap_or_default()
    }

    /// Sends bytes that need be no frame.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(bytes)?;
        Ok(self.stream.flush()?)
    }

    /// Sends a frame as far as the line takes it within a moment; nothing if it takes no more. What it did
    /// not take is sent by [`Agent::flush`].
    pub(crate) fn send_some(&mut self, frame: &Frame) -> anyhow::Result<Option<()>> {
        self.stream.sock.socket.set_write_timeout(Some(Duration::from_millis(200)))?;
        let mut bytes = Vec::new();
        frame.encode(1, &mut bytes);
        self.stream.conn.set_buffer_limit(None);
        self.stream.conn.writer().write_all(&bytes)?;
        while self.stream.conn.wants_write() {
            match self.stream.conn.write_tls(&mut self.stream.sock) {
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Some(()))
    }

    /// Sends everything that is left.
    pub(crate) fn flush(&mut self) -> anyhow::Result<()> {
        self.stream.sock.socket.set_write_timeout(Some(PATIENCE))?;
        while self.stream.conn.wants_write() {
            self.stream.conn.write_tls(&mut self.stream.sock)?;
        }
        Ok(())
    }

    pub(crate) fn send(&mut self, frame: &Frame) -> anyhow::Result<()> {
        let mut bytes = Vec::new();
        frame.encode(1, &mut bytes);
        self.stream.write_all(&bytes)?;
        Ok(self.stream.flush()?)
    }

    /// Returns the next frame; nothing if the collector has closed in order.
    pub(crate) fn next(&mut self) -> anyhow::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.reader.next_frame()? {
                return Ok(Some(frame));
            }
            match self.stream.read(self.reader.room())? {
                0 => return Ok(None),
                count => self.reader.filled(count),
            }
        }
    }

    /// Says HELLO for a spool with the records 1 to `last`; returns the session and what to send next.
    pub(crate) fn greet(&mut self, last: u64) -> anyhow::Result<(Welcomed, u64)> {
        let (stream, oldest, last) = ("log".parse()?, RecordSequence(1), RecordSequence(last));
        let streams = vec![StreamState { stream, epoch: EPOCH, oldest, last }];
        let (versions, clock, software) = (SPOKEN, Timestamp::EPOCH, Box::from("scripted 1"));
        let greeting = AgentSession::new(Hello { versions, boot: 1, clock, software, capabilities: 0, streams });
        self.send(&greeting.hello())?;
        let welcomed = greeting.receive(self.next()?.context("the collector closed")?)?;
        let next = match welcomed.resume.as_slice() {
            [Resume::From { next, .. }] => next.0,
            other => bail!("unexpected: {other:?}"),
        };
        Ok((welcomed, next))
    }

    /// Returns up to where the next acknowledgement goes.
    pub(crate) fn acknowledgement(&mut self) -> anyhow::Result<u64> {
        match self.next()?.context("the collector closed")? {
            Frame::Ack(ack) => Ok(ack.durable.0),
            other => bail!("no acknowledgement: {other:?}"),
        }
    }

    /// Waits until everything up to `wanted` is acknowledged.
    pub(crate) fn acknowledged(&mut self, wanted: u64) -> anyhow::Result<()> {
        while self.acknowledgement()? < wanted {}
        Ok(())
    }
}

/// The record with a sequence, as the journal must have it.
pub(crate) fn record(sequence: u64) -> Vec<u8> {
    format!("Nov 24 10:07:03 web-01 sshd[812]: Failed password for root from 10.0.0.7 port {sequence} ssh2")
        .into_bytes()
}

/// Records `first` to `first + count - 1`.
pub(crate) fn batch(first: u64, count: u64) -> anyhow::Result<Batch> {
    let lines: Vec<Vec<u8>> = (first..first.saturating_add(count)).map(record).collect();
    batch_of(first, &lines.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// These records, from `first` on.
pub(crate) fn batch_of(first: u64, lines: &[&[u8]]) -> anyhow::Result<Batch> {
    let mut records = RecordBatch::new();
    let (name, host, format) = ("/var/log/auth.log".parse()?, Box::from("web-01"), "auto".parse()?);
    let id = records.source(&Source { name, host, format, utc_offset_secs: 0 })?;
    for line in lines {
        records.push(id, Timestamp::from_secs(1_795_489_623), line)?;
    }
    let count = lines.len();
    let body = Packer::try_new(DEFAULT_LEVEL)?.pack(&records)?;
    let (stream, first, count) = ("log".parse()?, RecordSequence(first), u32::try_from(count)?);
    Ok(Batch { stream, epoch: EPOCH, first, count, body })
}
