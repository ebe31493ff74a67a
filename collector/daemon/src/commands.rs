//! What an operator does from the command line: the CA, tokens, revocations. All of it works on the CA's
//! folder, beside a daemon that runs or not; the daemon sees what has changed.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Context;
use canh_service::exit::Exit;

use crate::arguments::{CaCommand, Command, CreateToken, Dir, Issue, TokenCommand, Whom};
use crate::authority::Subject;
use crate::ca;
use crate::config::Config;
use crate::folder::{self, Folder};
use crate::issuing::now;
use crate::registry;
use crate::revocation::{self, Entry, Revocations};
use crate::tls_plan::Plan;
use crate::tokens::{self, Order};

/// Does what a command says; `config` is where the configuration is.
///
/// # Errors
/// It could not be done.
pub(crate) fn run(command: Command, config: &Path) -> anyhow::Result<Exit> {
    match command {
        Command::Ca(command) => run_ca(command, config),
        Command::Token(TokenCommand::Create(order)) => create_token(order, &plan(config)?),
        Command::Token(TokenCommand::List) => list_tokens(&plan(config)?.folder),
        Command::Token(TokenCommand::Revoke { id }) => {
            let folder = plan(config)?.folder;
            let _lock = folder.lock()?;
            tokens::revoke(&folder, id, now())?;
            say(&format!("token {id} is of no use any more"))
        }
        Command::Agents => list_agents(&plan(config)?.folder),
        Command::Revoke { whom, reason } => revoke(whom, reason, &plan(config)?.folder),
        Command::Unrevoke(Whom { agent, serial }) => {
            let folder = plan(config)?.folder;
            let _lock = folder.lock()?;
            revocation::take_back(&folder, &agent, serial.as_ref())?;
            say(&format!("{agent} is accepted again"))
        }
        Command::Revoked { make_empty } => list_revoked(make_empty, &plan(config)?.folder),
    }
}

fn run_ca(command: CaCommand, config: &Path) -> anyhow::Result<Exit> {
    match command {
        CaCommand::Init { dir, host, name, days } => {
            let folder = folder_of(dir, config)?;
            ca::init(&folder, &name, &host, days, now())?;
            let made = folder.path(folder::CA);
            say(&format!("made a CA, {} is what agents trust; its key never leaves the folder", made.display()))
        }
        CaCommand::Issue(Issue { dir, out, days, agent, agency, host, .. }) => {
            let subject = match (agent, agency) {
                (Some(agent), Some(agency)) => Subject::Agent { agent, agency },
                _ => Subject::Server { hosts: host },
            };
            ca::issue(&folder_of(dir, config)?, &subject, &out, days, now())?;
            say(&format!("made {0}/cert.pem, {0}/key.pem and {0}/ca.pem", out.display()))
        }
        CaCommand::Rotate { dir, name, days } => {
            let folder = folder_of(dir, config)?;
            ca::rotate(&folder, name.as_deref(), days, now())?;
            say("the new CA issues from now on, the old one is still trusted; `canh-collector ca retire` ends that")
        }
        CaCommand::Retire { dir, force } => {
            ca::retire(&folder_of(dir, config)?, force, now())?;
            say("the old CA is trusted no more")
        }
    }
}

fn create_token(order: CreateToken, plan: &Plan) -> anyhow::Result<Exit> {
    let CreateToken { agency, agent, replace, ttl } = order;
    let authority =
        plan.authority_for_tokens().context("while looking for the CA; `canh-collector ca init` makes one")?;
    let order = Order { agency, agent, may_replace: replace, life: ttl };
    let _lock = plan.folder.lock()?;
    let token = tokens::create(&plan.folder, &order, authority, now())?;
    let until = now().saturating_add(ttl);
    // The token alone on standard output, so that a script can take it.
    let hint = format!(
        "token {} for one host, good until {until}; on the host:\n  canh-log-agent enrol --collector HOST:PORT --token TOKEN\n",
        token.id
    );
    io::stderr().lock().write_all(hint.as_bytes()).context("while writing to standard error")?;
    say(&token.to_text())
}

fn list_tokens(folder: &Folder) -> anyhow::Result<Exit> {
    let mut text = String::from("ID\tAGENCY\tAGENT\tCREATED\tEXPIRES\tSTATE");
    for token in tokens::list(folder)? {
        let agent = token.agent.as_ref().map_or("-", |agent| agent.as_str());
        let state = token.state(now());
        text += &format!("\n{}\t{}\t{agent}\t{}\t{}\t{state}", token.id, token.agency, token.created, token.expires);
    }
    say(&text)
}

fn list_agents(folder: &Folder) -> anyhow::Result<Exit> {
    let mut text = String::from("AGENT\tAGENCY\tENROLLED\tEXPIRES\tSERIAL\tREVOKED");
    let revoked = Revocations::load(folder)?;
    for (agent, known) in registry::all(folder)? {
        let Some(newest) = known.certificate.first() else { continue };
        let is_revoked = revoked.until(&agent).is_some_and(|until| newest.issued <= until.secs());
        let (enrolled, expires) = (registry::time(known.enrolled), registry::time(newest.expires));
        let revoked = if is_revoked { "yes" } else { "no" };
        text += &format!("\n{agent}\t{}\t{enrolled}\t{expires}\t{}\t{revoked}", known.agency, newest.serial);
    }
    say(&text)
}

fn revoke(whom: Whom, reason: String, folder: &Folder) -> anyhow::Result<Exit> {
    let Whom { agent, serial } = whom;
    let _lock = folder.lock()?;
    let is_known = registry::read(folder, &agent)?.is_some();
    revocation::revoke(folder, Entry { agent: agent.clone(), serial, until: now(), reason })?;
    let unknown = if is_known { "" } else { "; no agent of this name was ever enrolled here, is it spelt right?" };
    say(&format!("{agent} is revoked, a running collector ends its sessions within seconds{unknown}"))
}

fn list_revoked(make_empty: bool, folder: &Folder) -> anyhow::Result<Exit> {
    if make_empty {
        let _lock = folder.lock()?;
        revocation::make_empty(folder)?;
        return say("made an empty list");
    }
    let mut text = String::from("AGENT\tSERIAL\tISSUED UNTIL\tREASON");
    for Entry { agent, serial, until, reason } in Revocations::load(folder)?.entries() {
        let serial = serial.as_ref().map_or_else(|| "all".to_owned(), ToString::to_string);
        text += &format!("\n{agent}\t{serial}\t{until}\t{reason}");
    }
    say(&text)
}

fn folder_of(dir: Dir, config: &Path) -> anyhow::Result<Folder> {
    match dir.dir {
        Some(dir) => Ok(Folder::new(&dir)),
        None => Ok(plan(config)?.folder),
    }
}

fn plan(config: &Path) -> anyhow::Result<Plan> {
    let (config, _) = Config::load(config)?;
    Ok(Plan { files: config.tls, folder: Folder::new(&config.identity_dir) })
}

/// Prints a text to standard output.
pub(crate) fn say(text: &str) -> anyhow::Result<Exit> {
    writeln!(io::stdout().lock(), "{text}").context("while writing to standard output")?;
    Ok(Exit::Done)
}
