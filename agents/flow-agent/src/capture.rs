//! Frames from an interface or from a capture file. The only room that says `pcap`.
//!
//! Comes in: what to open. Goes out: frames with the time they were captured at, and how many the
//! kernel dropped. An interface is read without blocking and waited for with a bound, so that a
//! quiet one neither holds up a stop nor the end of idle flows.

use std::io;
use std::path::{Path, PathBuf};

use canh_event::{IdError, SourceName, Timestamp};
use canh_flow::LinkType;
use pcap::{Active, Linktype, Offline, Packet, Precision};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// Frames read at a time, between two looks at the clock and at whether to stop.
const FRAMES_AT_A_TIME: usize = 512;

/// How long the kernel gathers frames before it hands over a block that is not full.
const KERNEL_WAIT_MILLIS: i32 = 100;

/// Longest wait for a frame of a quiet interface.
const QUIET_WAIT: Timespec = Timespec { tv_sec: 0, tv_nsec: 250_000_000 };

/// Longest name of a source that is kept: four bytes a character stay within a source name's 255.
const MAX_NAME_CHARACTERS: usize = 63;

/// What is captured, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaptureConfig {
    pub(crate) from: CaptureFrom,
    /// A BPF filter in the language of tcpdump.
    pub(crate) filter: Option<String>,
    /// Bytes kept of each frame.
    pub(crate) snaplen: i32,
    /// The kernel's buffer, in bytes.
    pub(crate) buffer_bytes: i32,
    /// Whether frames to other hosts are captured too.
    pub(crate) promiscuous: bool,
}

/// Where frames come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CaptureFrom {
    /// A network interface, live; `any` is all of them.
    Interface(String),
    /// A capture file, pcap or pcapng.
    File(PathBuf),
}

/// A capture that cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CaptureError {
    /// The interface or file cannot be opened.
    #[error("{name} cannot be opened for capture")]
    Open {
        name: String,
        #[source]
        source: pcap::Error,
    },
    /// The filter does not compile for this link.
    #[error("the capture filter does not compile for {name}")]
    Filter {
        name: String,
        #[source]
        source: pcap::Error,
    },
    /// The frames are of a kind that cannot be read.
    #[error("{name} has link type {number}, which cannot be read")]
    Link { name: String, number: i32 },
    /// The interface cannot be read any more.
    #[error("{name} cannot be read any more")]
    Read {
        name: String,
        #[source]
        source: pcap::Error,
    },
    /// The interface cannot be waited for.
    #[error("{name} cannot be waited for")]
    Wait {
        name: String,
        #[source]
        source: io::Error,
    },
}

/// A frame as captured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) bytes: &'a [u8],
    /// Its length before it was cut.
    pub(crate) wire_len: u32,
    pub(crate) at: Timestamp,
}

/// What a turn of reading came to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Some frames were read.
    Frames,
    /// An interface had none for a quarter second.
    Quiet,
    /// The file is at its end.
    End,
    /// The file breaks off; what came before was read.
    CutShort(pcap::Error),
}

/// Frames that were dropped before they could be read, since the capture was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dropped {
    /// For want of room in the kernel's buffer.
    pub(crate) by_kernel: u32,
    /// By the interface or its driver.
    pub(crate) by_interface: u32,
}

/// An open capture.
pub(crate) struct Capture {
    handle: Handle,
    link: LinkType,
    name: String,
}

enum Handle {
    Live(pcap::Capture<Active>),
    File(pcap::Capture<Offline>),
}

/// Returns whether a filter compiles, for what can be known before anything is opened: the links
/// this agent reads all know what a filter for Ethernet asks.
pub(crate) fn check_filter(filter: &str) -> Result<(), pcap::Error> {
    pcap::Capture::dead(Linktype::ETHERNET)?.compile(filter, true).map(|_| ())
}

impl CaptureFrom {
    pub(crate) const fn is_live(&self) -> bool {
        matches!(self, Self::Interface(_))
    }

    /// Returns it as an operator wrote it.
    fn shown(&self) -> String {
        match self {
            Self::Interface(name) => name.clone(),
            Self::File(path) => path.display().to_string(),
        }
    }

    /// Returns what records name as the place they were metered at: the interface, or the file's
    /// name without its folder, without what no name may hold.
    ///
    /// # Errors
    /// Nothing is left of the name.
    pub(crate) fn source_name(&self) -> Result<SourceName, IdError> {
        let text = match self {
            Self::Interface(name) => name.clone(),
            Self::File(path) => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        };
        let is_allowed = |letter: &char| !letter.is_control();
        text.chars().filter(is_allowed).take(MAX_NAME_CHARACTERS).collect::<String>().parse()
    }
}

impl Capture {
    /// Opens an interface or a file.
    pub(crate) fn open(config: &CaptureConfig) -> Result<Self, CaptureError> {
        let name = config.from.shown();
        let mut handle = match &config.from {
            CaptureFrom::Interface(name) => open_live(name, config).map(Handle::Live),
            CaptureFrom::File(path) => open_file(path).map(Handle::File),
        }
        .map_err(|source| CaptureError::Open { name: name.clone(), source })?;
        if let Some(filter) = &config.filter {
            let result = match &mut handle {
                Handle::Live(capture) => capture.filter(filter, true),
                Handle::File(capture) => capture.filter(filter, true),
            };
            result.map_err(|source| CaptureError::Filter { name: name.clone(), source })?;
        }
        let number = match &handle {
            Handle::Live(capture) => capture.get_datalink().0,
            Handle::File(capture) => capture.get_datalink().0,
        };
        let link = LinkType::from_number(number).ok_or(CaptureError::Link { name: name.clone(), number })?;
        Ok(Self { handle, link, name })
    }

    pub(crate) fn link(&self) -> LinkType {
        self.link
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(self.handle, Handle::Live(_))
    }

    /// Reads the frames that are there, at most a few hundred, and hands each over.
    pub(crate) fn read(&mut self, mut each: impl FnMut(Frame<'_>)) -> Result<Progress, CaptureError> {
        match &mut self.handle {
            Handle::File(capture) => {
                let take = |packet: Packet<'_>| each(frame(&packet, 1));
                match capture.dispatch(Some(FRAMES_AT_A_TIME), take) {
                    Ok(0) => Ok(Progress::End),
                    Ok(_) => Ok(Progress::Frames),
                    Err(error) => Ok(Progress::CutShort(error)),
                }
            }
            Handle::Live(capture) => read_live(capture, &mut each).map_err(|fault| fault.of(&self.name)),
        }
    }

    /// Returns what was dropped so far; nothing ever is from a file. The counts wrap around.
    pub(crate) fn dropped(&mut self) -> Option<Dropped> {
        match &mut self.handle {
            Handle::Live(capture) => {
                let stat = capture.stats().ok()?;
                Some(Dropped { by_kernel: stat.dropped, by_interface: stat.if_dropped })
            }
            Handle::File(_) => None,
        }
    }
}

fn open_live(name: &str, config: &CaptureConfig) -> Result<pcap::Capture<Active>, pcap::Error> {
    pcap::Capture::from_device(name)?
        .snaplen(config.snaplen)
        .buffer_size(config.buffer_bytes)
        .promisc(config.promiscuous)
        .timeout(KERNEL_WAIT_MILLIS)
        .open()?
        .setnonblock()
}

fn open_file(path: &Path) -> Result<pcap::Capture<Offline>, pcap::Error> {
    pcap::Capture::from_file_with_precision(path, Precision::Nano)
}

/// Reads what is there; if nothing is, waits a while and reads again.
fn read_live(capture: &mut pcap::Capture<Active>, each: &mut impl FnMut(Frame<'_>)) -> Result<Progress, LiveFault> {
    let mut take = |packet: Packet<'_>| each(frame(&packet, 1_000));
    if capture.dispatch(Some(FRAMES_AT_A_TIME), &mut take)? > 0 {
        return Ok(Progress::Frames);
    }
    match poll(&mut [PollFd::new(capture, PollFlags::IN)], Some(&QUIET_WAIT)) {
        // What may be wrong with the interface, the next read says.
        Ok(_) | Err(Errno::INTR) => {}
        Err(error) => return Err(LiveFault::Wait(error.into())),
    }
    let is_quiet = capture.dispatch(Some(FRAMES_AT_A_TIME), &mut take)? == 0;
    Ok(if is_quiet { Progress::Quiet } else { Progress::Frames })
}

/// What went wrong with an interface.
enum LiveFault {
    Read(pcap::Error),
    Wait(io::Error),
}

impl From<pcap::Error> for LiveFault {
    fn from(error: pcap::Error) -> Self {
        Self::Read(error)
    }
}

impl LiveFault {
    fn of(self, name: &str) -> CaptureError {
        let name = name.to_owned();
        match self {
            Self::Read(source) => CaptureError::Read { name, source },
            Self::Wait(source) => CaptureError::Wait { name, source },
        }
    }
}

/// `tick_nanos` is the unit of the fraction: an interface counts microseconds, files are opened so
/// that libpcap gives nanoseconds whatever they hold.
fn frame<'a>(packet: &Packet<'a>, tick_nanos: i64) -> Frame<'a> {
    let time = packet.header.ts;
    let nanos = time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_usec.saturating_mul(tick_nanos));
    Frame { bytes: packet.data, wire_len: packet.header.len, at: Timestamp::from_nanos(nanos) }
}
