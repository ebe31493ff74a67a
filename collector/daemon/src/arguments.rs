//! The command line: what there is to say, and nothing of what is done about it.

use std::path::PathBuf;
use std::time::Duration;

use canh_event::{AgencyId, AgentId};
use canh_wire::TokenId;
use clap::{Args, Parser, Subcommand};

use crate::config::SCHEMA;
use crate::revocation::Serial;

/// Longest a token can hold: what is not used by then was forgotten.
const MAX_TTL: Duration = Duration::from_secs(30 * 86_400);

/// Takes records from agents over TLS, makes events of them and keeps them in the journal.
#[derive(Debug, Parser)]
#[command(name = "canh-collector", version)]
pub(crate) struct Arguments {
    /// The configuration file.
    #[arg(long, value_name = "FILE", global = true, default_value_os_t = SCHEMA.default_path())]
    pub(crate) config: PathBuf,
    /// Check the configuration and everything it names, and exit: 0 if it is good, 2 if not.
    #[arg(long)]
    pub(crate) check: bool,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make a certificate authority, and put another in its place.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Make and call back the tokens that hosts enrol with.
    #[command(subcommand)]
    Token(TokenCommand),
    /// List the agents and their certificates.
    Agents,
    /// Accept an agent's certificates no more: its sessions end within seconds.
    Revoke {
        #[command(flatten)]
        whom: Whom,
        /// Why, for whoever reads the list later.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Take a revocation back. The old certificates are accepted again.
    Unrevoke(Whom),
    /// List what is revoked.
    Revoked {
        /// Make an empty list, where the one there was is lost. Everybody is let in again.
        #[arg(long)]
        make_empty: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// The agent's name.
    pub(crate) agent: AgentId,
    /// Only the certificate with this serial number; without it all that were issued up to now.
    #[arg(long)]
    pub(crate) serial: Option<Serial>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CaCommand {
    /// Make a CA, and the collector's certificate if its names are given.
    Init {
        #[command(flatten)]
        dir: Dir,
        /// The names and addresses agents reach the collector by, separated by commas.
        #[arg(long, value_delimiter = ',')]
        host: Vec<String>,
        /// The name in the CA's certificate.
        #[arg(long, default_value = "Canh CA")]
        name: String,
        /// Days the CA's certificate holds.
        #[arg(long, default_value_t = 3_650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Make a certificate by hand, for a host that cannot enrol or a collector elsewhere: OUT/cert.pem,
    /// OUT/key.pem, OUT/ca.pem.
    Issue(Issue),
    /// Make a new CA that issues from now on. The old one stays trusted until it is retired.
    Rotate {
        #[command(flatten)]
        dir: Dir,
        /// The name in the new CA's certificate. Without it: the old one's, with a number.
        #[arg(long)]
        name: Option<String>,
        /// Days the new CA's certificate holds.
        #[arg(long, default_value_t = 3_650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Trust the old CA no more; refused while agents have no certificate of the new one.
    Retire {
        #[command(flatten)]
        dir: Dir,
        /// Lock out the agents that have none.
        #[arg(long)]
        force: bool,
    },
}

/// The CA's folder, if it is not the configuration that says where it is.
#[derive(Debug, Args)]
pub(crate) struct Dir {
    /// The CA's folder. Without it: `identity.dir` of the configuration.
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Issue {
    #[command(flatten)]
    pub(crate) dir: Dir,
    /// The folder for the three files.
    #[arg(long)]
    pub(crate) out: PathBuf,
    /// Days the certificate holds.
    #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650))]
    pub(crate) days: u32,
    /// The agent's name: a-z, 0-9, '-', '_', '.'; it is what its records are stored under.
    #[arg(long, required_unless_present = "server", conflicts_with = "server", requires = "agency")]
    pub(crate) agent: Option<AgentId>,
    /// The agency the agent belongs to; a name of the same kind.
    #[arg(long, conflicts_with = "server")]
    pub(crate) agency: Option<AgencyId>,
    /// Make a certificate of the collector instead.
    #[arg(long, requires = "host")]
    pub(crate) server: bool,
    /// The names and addresses agents reach the collector by, separated by commas.
    #[arg(long, value_delimiter = ',', requires = "server")]
    pub(crate) host: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TokenCommand {
    /// Make a token, for one host to enrol once, and print it.
    Create(CreateToken),
    /// List the tokens, without their secrets.
    List,
    /// Call an open token back.
    Revoke {
        /// The token's id, as `token list` shows it.
        id: TokenId,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateToken {
    /// The agency the agent will belong to: a-z, 0-9, '-', '_', '.'.
    #[arg(long)]
    pub(crate) agency: AgencyId,
    /// The agent's name. Without it the host proposes its own, if no agent has it.
    #[arg(long)]
    pub(crate) agent: Option<AgentId>,
    /// Let it take the place of an agent that is enrolled under this name; the old certificates are
    /// revoked.
    #[arg(long, requires = "agent")]
    pub(crate) replace: bool,
    /// How long the token holds, such as 45m, 24h or 7d; at most 30d.
    #[arg(long, default_value = "24h", value_parser = parse_ttl)]
    pub(crate) ttl: Duration,
}

fn parse_ttl(text: &str) -> Result<Duration, String> {
    let wrong = || "must be a whole number with its unit, like 45m, 24h or 7d; at most 30d".to_owned();
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let ttl = number.checked_mul(seconds).map(Duration::from_secs).ok_or_else(wrong)?;
    if ttl.is_zero() || ttl > MAX_TTL { Err(wrong()) } else { Ok(ttl) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory;
        Arguments::command().debug_assert();
    }

    #[test]
    fn an_agent_needs_an_agency_and_a_server_needs_hosts() {
        for good in [
            "x ca issue --dir d --out o --agent a --agency b",
            "x ca issue --dir d --out o --server --host a.test,127.0.0.1",
            "x ca init --host a.test",
            "x token create --agency b --agent a --replace --ttl 45m --config c.toml",
            "x revoke web-01 --serial 0a --reason stolen",
        ] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for wrong in [
            "x ca issue --dir d --out o",
            "x ca issue --dir d --out o --agent a",
            "x ca issue --dir d --out o --agent A --agency b",
            "x ca issue --dir d --out o --server",
            "x ca issue --dir d --out o --server --host h --agent a --agency b",
            "x ca init --dir d --days 0",
            "x token create",
            "x token create --agency b --replace",
            "x token revoke ../x",
            "x revoke web-01 --serial 0A",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn spans_are_read_strictly() {
        assert_eq!(parse_ttl("45m"), Ok(Duration::from_secs(2_700)));
        assert_eq!(parse_ttl("30d"), Ok(MAX_TTL));
        for wrong in ["", "h", "24", "0h", "31d", "-1h", "1.5h", "1é", "99999999999999999999s", "9999999999999999999d"]
        {
            assert!(parse_ttl(wrong).is_err(), "{wrong}");
        }
    }
}
