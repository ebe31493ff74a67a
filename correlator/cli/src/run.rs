//! From arguments to the verb that answers them.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use canh_event::Timestamp;
use canh_incident::Action;

use crate::arguments::{Arguments, Command, CommentText, Global, Step, Verb};
use crate::client::Client;
use crate::eval;
use crate::exit::{Exit, Failure};
use crate::incident::act::Order;
use crate::incident::{list, show};
use crate::loss;
use crate::output::Output;
use crate::rules;
use crate::status;

const DEFAULT_SOCKET: &str = "/run/canh/correlator.sock";
const SOCKET_VARIABLE: &str = "CANH_SOCKET";
/// The daemon takes notes of at most 8 KiB; a file that is longer need not be read to its end.
const MAX_COMMENT_BYTES: u64 = 64 << 10;

/// Does what the arguments ask for.
pub(crate) fn run(arguments: Arguments) -> Result<Exit, Failure> {
    let Arguments { global, command } = arguments;
    let output = Output::new(&global, now())?;
    let client = Client::new(&socket(&global)?, global.timeout)?;
    match command {
        Command::Incident(verb) | Command::Short(verb) => incident(verb, &client, &global, &output),
        Command::Status => status::run(&client, &output),
        Command::Rules(verb) => rules::run::run(verb, &client, &output),
        Command::Loss(arguments) => loss::run::run(&arguments, &output),
        Command::Eval(arguments) => eval::run::run(&arguments, &output),
    }
}

fn incident(verb: Verb, client: &Client, global: &Global, output: &Output) -> Result<Exit, Failure> {
    let stdin = &mut std::io::stdin();
    let order = |action| Order::new(action, global.yes);
    match verb {
        Verb::List(arguments) => list::run(client, &arguments, output),
        Verb::Show(arguments) => show::run(client, &arguments, stdin, output),
        Verb::Ack { targets, note } => {
            order(Action::Acknowledge).note(note.message).run(client, &targets, stdin, output)
        }
        Verb::Assign { targets, to, note } => {
            order(Action::Assign).to(&to).note(note.message).run(client, &targets, stdin, output)
        }
        Verb::State { targets, state, note } => {
            let action = match state {
                Step::Investigating => Action::Investigate,
                Step::Contained => Action::Contain,
            };
            order(action).note(note.message).run(client, &targets, stdin, output)
        }
        Verb::Comment { targets, text } => {
            order(Action::Comment).note(Some(comment(text)?)).run(client, &targets, stdin, output)
        }
        Verb::Close { targets, verdict, message } => {
            let order = order(Action::Close).verdict(verdict).note(Some(message));
            order.run(client, &targets, stdin, output)
        }
        Verb::Reopen { targets, message } => {
            order(Action::Reopen).note(Some(message)).run(client, &targets, stdin, output)
        }
    }
}

fn comment(text: CommentText) -> Result<String, Failure> {
    let Some(path) = text.file else { return Ok(text.message.unwrap_or_default()) };
    read_bounded(&path)
        .map_err(|error| Failure::usage(format!("the comment in {} cannot be read", path.display())).because(&error))
}

fn read_bounded(path: &Path) -> std::io::Result<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_COMMENT_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn socket(global: &Global) -> Result<PathBuf, Failure> {
    let from_environment = || std::env::var_os(SOCKET_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let named = global.server.clone().or_else(from_environment).unwrap_or_else(|| DEFAULT_SOCKET.into());
    let text = named.to_string_lossy();
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(Failure::usage(format!("--server {scheme}:// is not spoken"))
            .hint(format!("give the path of the correlator's Unix socket, such as {DEFAULT_SOCKET}")));
    }
    Ok(text.strip_prefix("unix:").map_or_else(|| named.clone(), PathBuf::from))
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}
