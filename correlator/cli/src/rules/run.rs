//! From the words of `canh rules` to the verb that answers them.

use crate::client::Client;
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::rules::verbs::RulesVerb;
use crate::rules::{armed, cases, catalogue, check, coverage, explain};

/// Does what the words ask for.
pub(crate) fn run(verb: RulesVerb, client: &Client, output: &Output) -> Result<Exit, Failure> {
    match verb {
        RulesVerb::Check(folders) => check::run(&folders, output),
        RulesVerb::List { paths } => catalogue::list(client, &paths, output),
        RulesVerb::Show { rule, paths } => catalogue::show(client, &rule, &paths, output),
        RulesVerb::Explain(arguments) => explain::run(&arguments, &mut std::io::stdin().lock(), output),
        RulesVerb::Test(arguments) => cases::run(&arguments, output),
        RulesVerb::Coverage(folders) => coverage::run(&folders, output),
        RulesVerb::Armed(arguments) => armed::run(&arguments, output),
    }
}
