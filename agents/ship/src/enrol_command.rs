//! The verb `enrol` of the agents: texts of the command line in, a sentence for the operator out.

use std::io::{self, Read};
use std::path::PathBuf;

use canh_event::{AgentId, IdError};
use canh_wire::TokenError;

use crate::enrol::{EnrolError, EnrolOrder, Enrolled, enrol};

/// Longest token that is read from standard input, with whatever space is around it.
const MAX_TOKEN_BYTES: u64 = 1 << 10;

/// What the command line says.
#[derive(Clone, Debug)]
pub struct EnrolTexts {
    /// `--collector`.
    pub collector: String,
    /// `--token`; `-` reads it from standard input.
    pub token: String,
    /// `--name`.
    pub name: Option<String>,
    /// `--server-name`.
    pub server_name: Option<String>,
    /// `--dir`.
    pub dir: PathBuf,
    /// `--force`.
    pub force: bool,
    /// What the kernel calls this host.
    pub host_name: String,
}

/// Why the verb failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrolCommandError {
    /// The token is none.
    #[error("--token is not usable")]
    Token(#[from] TokenError),
    /// The name is none.
    #[error("--name is not usable")]
    Name(#[from] IdError),
    /// Standard input cannot be read.
    #[error("the token cannot be read from standard input")]
    Input(#[source] io::Error),
    /// The collector is no address.
    #[error("--collector must be HOST:PORT, like collector.example.vn:7600, it is {got:?}")]
    Collector {
        /// What was given.
        got: String,
    },
    /// The enrolment failed.
    #[error(transparent)]
    Enrol(#[from] EnrolError),
}

/// Does what the verb says; returns what to tell the operator.
///
/// # Errors
/// [`EnrolCommandError`]; nothing has changed on this host then.
///
/// # Panics
/// Outside a tokio runtime.
pub async fn enrol_command(texts: EnrolTexts) -> Result<String, EnrolCommandError> {
    let port =
        texts.collector.rsplit_once(':').and_then(|(host, port)| port.parse::<u16>().ok().filter(|_| !host.is_empty()));
    if port.is_none() {
        return Err(EnrolCommandError::Collector { got: texts.collector.chars().take(255).collect() });
    }
    let token = if texts.token == "-" { read_token()? } else { texts.token };
    let order = EnrolOrder {
        collector: texts.collector,
        server_name: texts.server_name,
        token: token.trim().parse()?,
        name: texts.name.map(|name| name.parse()).transpose()?,
        host_name: agent_name_of(&texts.host_name),
        dir: texts.dir,
        is_forced: texts.force,
    };
    let dir = order.dir.display().to_string();
    Ok(match enrol(&order).await? {
        Enrolled::Now(who) => {
            let (agent, agency, until) = (who.agent, who.agency, who.not_after);
            format!("enrolled as {agent} of {agency}, certificate in {dir} until {until}; it renews itself")
        }
        Enrolled::Already(who) => {
            let (agent, agency, until) = (who.agent, who.agency, who.not_after);
            format!("enrolled already as {agent} of {agency}, certificate in {dir} until {until}; --force enrols anew")
        }
    })
}

fn read_token() -> Result<String, EnrolCommandError> {
    let mut text = String::new();
    io::stdin().lock().take(MAX_TOKEN_BYTES).read_to_string(&mut text).map_err(EnrolCommandError::Input)?;
    Ok(text)
}

/// Returns the name of a host as an agent's, if it can be one.
fn agent_name_of(host: &str) -> Option<AgentId> {
    host.to_ascii_lowercase().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_name_is_an_agents_name_if_it_can_be_one() {
        assert_eq!(agent_name_of("WEB-01.example.vn").unwrap().as_str(), "web-01.example.vn");
        assert_eq!(agent_name_of("máy-chủ"), None);
        assert_eq!(agent_name_of(""), None);
    }

    #[tokio::test]
    async fn wrong_texts_are_named_before_anything_is_done() {
        let dir = tempfile::tempdir().unwrap();
        let texts = EnrolTexts {
            collector: "127.0.0.1:1".into(),
            token: "canh_x".into(),
            name: None,
            server_name: None,
            dir: dir.path().join("identity"),
            force: false,
            host_name: "web-01".into(),
        };
        let refused = enrol_command(texts.clone()).await;
        assert!(matches!(refused, Err(EnrolCommandError::Token(TokenError::Shape))), "{refused:?}");
        for collector in ["collector.example.vn", ":7600", "a:b"] {
            let refused = enrol_command(EnrolTexts { collector: collector.into(), ..texts.clone() }).await;
            assert!(matches!(refused, Err(EnrolCommandError::Collector { .. })), "{collector}: {refused:?}");
        }
        assert!(!dir.path().join("identity").exists());
    }
}
