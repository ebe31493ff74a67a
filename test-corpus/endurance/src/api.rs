//! The correlator's API, over its Unix socket, with just enough HTTP.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::daemon::POLL;

const PATIENCE: Duration = Duration::from_secs(20);

/// A correlator's API.
#[derive(Clone, Debug)]
pub(crate) struct Api(PathBuf);

/// All incidents, by their numbers, without what differs from one replay to the next.
pub(crate) type Incidents = BTreeMap<String, Incident>;

/// One incident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Incident {
    /// The address it is about.
    pub(crate) address: String,
    pub(crate) rule: String,
    pub(crate) detections: u64,
    pub(crate) events: u64,
    pub(crate) opened: String,
    pub(crate) first_seen: String,
    pub(crate) last_seen: String,
    pub(crate) is_acknowledged: bool,
}

impl Api {
    /// Returns the API behind a socket.
    pub(crate) fn new(socket: &Path) -> Self {
        Self(socket.to_owned())
    }

    /// Returns up to which journal position everything is correlated.
    ///
    /// # Errors
    /// The correlator is not there.
    pub(crate) fn position(&self) -> anyhow::Result<u64> {
        self.get("/v1/status")?.get("position").and_then(Value::as_u64).context("the status has no position")
    }

    /// Waits until everything up to a journal position is correlated.
    ///
    /// # Errors
    /// It is not in time.
    pub(crate) fn correlated(&self, position: u64, patience: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + patience;
        loop {
            let at = self.position();
            if at.as_ref().is_ok_and(|at| *at >= position) {
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "the correlator is at {at:?}, not at {position}");
            sleep(POLL);
        }
    }

    /// Returns all incidents.
    ///
    /// # Errors
    /// The correlator is not there, or one number comes twice.
    pub(crate) fn incidents(&self) -> anyhow::Result<Incidents> {
        let mut found = Incidents::new();
        let mut after = String::new();
        loop {
            let page = self.get(&format!("/v1/incidents?limit=1000{after}"))?;
            for incident in page.get("incidents").and_then(Value::as_array).context("a page without incidents")? {
                let (number, incident) = read(incident).context("an incident that cannot be read")?;
                ensure!(found.insert(number.clone(), incident).is_none(), "{number} is listed twice");
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = format!("&after={next}"),
                None => return Ok(found),
            }
        }
    }

    /// Acknowledges an incident; what is returned is what the correlator has confirmed.
    ///
    /// # Errors
    /// The correlator is not there, or refuses.
    pub(crate) fn acknowledge(&self, number: &str) -> anyhow::Result<()> {
        let body = format!(r#"{{"ids":["{number}"],"action":"acknowledge","note":"seen"}}"#);
        let answer = self.ask("POST", "/v1/incidents/actions", &body)?;
        match answer.pointer("/results/0/outcome").and_then(Value::as_str) {
            Some("done" | "unchanged") => Ok(()),
            other => bail!("{number} is not acknowledged: {other:?}"),
        }
    }

    fn get(&self, resource: &str) -> anyhow::Result<Value> {
        self.ask("GET", resource, "")
    }

    fn ask(&self, method: &str, resource: &str, body: &str) -> anyhow::Result<Value> {
        let mut stream = UnixStream::connect(&self.0).context("while connecting to the correlator")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!("{method} {resource} HTTP/1.1\r\nhost: canh\r\nconnection: close\r\n");
        write!(stream, "{head}content-length: {}\r\n\r\n{body}", body.len())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("while reading the correlator's answer")?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of its head")?;
        ensure!(head.split(' ').nth(1) == Some("200"), "{resource}: {answer}");
        serde_json::from_str(body).context("the answer is no JSON")
    }
}

fn read(incident: &Value) -> Option<(String, Incident)> {
    let text = |name: &str| incident.get(name).and_then(Value::as_str).map(str::to_owned);
    let count = |name: &str| incident.get(name).and_then(Value::as_u64);
    let entities = incident.get("entities")?.as_array()?;
    let actor = entities.iter().find(|it| it.get("kind").and_then(Value::as_str) == Some("ip"))?;
    let read = Incident {
        address: actor.get("value")?.as_str()?.to_owned(),
        rule: text("rule_id")?,
        detections: count("detections")?,
        events: count("events")?,
        opened: text("opened")?,
        first_seen: text("first_seen")?,
        last_seen: text("last_seen")?,
        is_acknowledged: text("state")? == "acknowledged",
    };
    Some((text("number")?, read))
}
