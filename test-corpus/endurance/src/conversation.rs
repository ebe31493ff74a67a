//! An agent's end of one connection, over real TLS, for those who write down every acknowledgement.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use canh_event::{RecordSequence, Timestamp};
use canh_wire::{
    AgentEvent, AgentSession, Batch, Frame, FrameReader, Hello, Open, Resume, SPOKEN, StreamState, Welcomed, tls,
};
use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;

/// Longest wait for the answer to a HELLO.
const PATIENCE: Duration = Duration::from_secs(10);

/// An open conversation.
#[derive(Debug)]
pub(crate) struct Conversation {
    stream: StreamOwned<ClientConnection, TcpStream>,
    reader: FrameReader,
    session: AgentSession<Open>,
}

impl Conversation {
    /// Connects with the three files in a folder and says HELLO; returns what comes next.
    ///
    /// # Errors
    /// The line, or what the collector says.
    pub(crate) fn open(address: SocketAddr, files: &Path, state: StreamState) -> anyhow::Result<(Self, Resume)> {
        let read = |name: &str| std::fs::read(files.join(name)).with_context(|| format!("while reading {name}"));
        let config = tls::client_config(&read("ca.pem")?, &read("cert.pem")?, &read("key.pem")?)?;
        let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let connection = ClientConnection::new(config, ServerName::try_from("127.0.0.1")?)?;
        let mut stream = StreamOwned::new(connection, socket);
        let mut reader = FrameReader::new();
        let (versions, clock, software) = (SPOKEN, Timestamp::EPOCH, Box::from("canh-endurance"));
        let hello = Hello { versions, boot: 1, clock, software, capabilities: 0, streams: vec![state] };
        let greeting = AgentSession::new(hello);
        write(&mut stream, &greeting.hello(), SPOKEN.newest)?;
        let first = next_frame(&mut stream, &mut reader)?.context("no answer to the hello")?;
        let Welcomed { session, welcome, resume } = greeting.receive(first)?;
        reader.settle(welcome.version);
        let resume = resume.into_iter().next().context("the welcome tells of no stream")?;
        Ok((Self { stream, reader, session }, resume))
    }

    /// Returns whether a batch of so many bytes may be sent now.
    pub(crate) fn has_room(&self, raw_bytes: usize) -> bool {
        self.session.has_room(raw_bytes)
    }

    /// Sends a batch.
    ///
    /// # Errors
    /// The line.
    pub(crate) fn send(&mut self, batch: Batch) -> anyhow::Result<()> {
        let frame = self.session.send_batch(batch)?;
        write(&mut self.stream, &frame, self.session.version())
    }

    /// Waits for an acknowledgement; nothing if none comes in time.
    ///
    /// # Errors
    /// The line, or the collector hangs up.
    pub(crate) fn acknowledgement(&mut self, patience: Duration) -> anyhow::Result<Option<RecordSequence>> {
        self.stream.sock.set_read_timeout(Some(patience))?;
        while let Some(frame) = next_frame(&mut self.stream, &mut self.reader)? {
            match self.session.receive(frame, Timestamp::EPOCH)? {
                AgentEvent::Acknowledged(ack) => return Ok(Some(ack.durable)),
                AgentEvent::Answer(frame) => write(&mut self.stream, &frame, self.session.version())?,
                AgentEvent::Window(_) | AgentEvent::Heard(_) => {}
                AgentEvent::Renewed(_) | AgentEvent::NotRenewed(_) => bail!("a certificate that nobody asked for"),
                AgentEvent::Refused(nack) => bail!("refused: {}", nack.code.as_str()),
                AgentEvent::Bye(reason) => bail!("bye: {}", reason.as_str()),
            }
        }
        Ok(None)
    }
}

fn write(stream: &mut impl Write, frame: &Frame, version: u8) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    frame.encode(version, &mut bytes);
    stream.write_all(&bytes)?;
    Ok(stream.flush()?)
}

/// Returns the next frame; nothing if the line is silent for as long as its socket waits.
fn next_frame(stream: &mut impl Read, reader: &mut FrameReader) -> anyhow::Result<Option<Frame>> {
    loop {
        if let Some(frame) = reader.next_frame()? {
            return Ok(Some(frame));
        }
        match stream.read(reader.room()) {
            Ok(count) => {
                ensure!(count > 0, "the collector hung up");
                reader.filled(count);
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}
