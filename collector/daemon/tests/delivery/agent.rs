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
    stream: StreamOwned<ClientConnection, TcpStream>,
    reader: FrameReader,
}

impl Agent {
    /// Connects with the three files that `ca issue` has put into a folder.
    pub(crate) fn connect(address: SocketAddr, files: &Path) -> anyhow::Result<Self> {
        let read = |name: &str| std::fs::read(files.join(name)).with_context(|| format!("while reading {name}"));
        Self::connect_with(address, tls::client_config(&read("ca.pem")?, &read("cert.pem")?, &read("key.pem")?)?)
    }

    pub(crate) fn connect_with(address: SocketAddr, config: Arc<ClientConfig>) -> anyhow::Result<Self> {
        let socket = TcpStream::connect(address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_nodelay(true)?;
        let connection = ClientConnection::new(config, ServerName::try_from("localhost")?)?;
        Ok(Self { stream: StreamOwned::new(connection, socket), reader: FrameReader::new() })
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
    let mut records = RecordBatch::new();
    let (name, host, format) = ("/var/log/auth.log".parse()?, Box::from("web-01"), "auto".parse()?);
    let id = records.source(&Source { name, host, format, utc_offset_secs: 0 })?;
    for sequence in first..first + count {
        records.push(id, Timestamp::from_secs(1_795_489_623), &record(sequence))?;
    }
    let body = Packer::try_new(DEFAULT_LEVEL)?.pack(&records)?;
    let (stream, first, count) = ("log".parse()?, RecordSequence(first), u32::try_from(count)?);
    Ok(Batch { stream, epoch: EPOCH, first, count, body })
}
