//! `canh rules test`: runs the cases kept beside rules and says which do not hold.
//!
//! A case holds if the rules raise what it expects and nothing else, and every record of its input
//! was claimed by a parser.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use canh_incident::{escape_for_csv, escape_for_terminal};
use canh_sigma::{Loaded, Program, RuleSet};
use serde::Serialize;

use crate::arguments::Format;
use crate::exit::{Exit, Failure};
use crate::json;
use crate::output::{Output, View};
use crate::rules::case::{Case, name_of};
use crate::rules::expectation::{Expectation, differences};
use crate::rules::load::load;
use crate::rules::raising::{Raiser, raising};
use crate::rules::replay::replay;
use crate::rules::verbs::TestArguments;
use crate::style::Paint;

/// Where cases are looked for within a folder of rules.
const CASES: &str = "tests";
/// Most rules without a case that are named on a page.
const MAX_UNTRIED: usize = 20;

/// What came of a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    /// It holds.
    Passed,
    /// It does not.
    Failed,
    /// It cannot be read.
    Broken,
}

/// One case, as `-o ndjson` writes it.
#[derive(Debug, Serialize)]
struct Report {
    case: String,
    verdict: Verdict,
    claim: String,
    differences: Vec<String>,
}

/// The last line of `-o json` and `-o ndjson`.
#[derive(Debug, Serialize)]
struct Counts {
    cases: usize,
    passed: usize,
    failed: usize,
    broken: usize,
    refused: usize,
    /// Ids of rules that raise detections and have no case for them, or none against.
    untried: Vec<String>,
    seconds: f64,
}

/// Runs cases; ends with 3 if one does not hold or a rule is refused.
pub(crate) fn run(arguments: &TestArguments, output: &Output) -> Result<Exit, Failure> {
    let begun = Instant::now();
    let folders = case_folders(arguments)?;
    if folders.is_empty() {
        return Err(Failure::usage("there are no cases").hint("say where they are: --cases DIR"));
    }
    let loaded = load(&arguments.paths, arguments.values.placeholders.as_deref())?;
    let program = Program::compile(&loaded.rules);
    let mut tried = Tried::default();
    let reports: Vec<Report> = folders.iter().map(|folder| try_case(folder, &loaded, &program, &mut tried)).collect();
    for refused in &loaded.refused {
        output.complain(&Failure::new(Exit::NotFound, "a rule is refused").why(refused));
    }
    let counts = Counts::of(&reports, &loaded, &tried, begun.elapsed());
    output.data(&render(&reports, &counts, output.page_format(), output.view())?)?;
    let holds = counts.passed == counts.cases && counts.refused == 0;
    Ok(if holds { Exit::Done } else { Exit::NotFound })
}

fn case_folders(arguments: &TestArguments) -> Result<Vec<PathBuf>, Failure> {
    let mut folders = Vec::new();
    if arguments.cases.is_empty() {
        for path in arguments.paths.iter().map(|path| path.join(CASES)).filter(|path| path.is_dir()) {
            folders.extend(Case::folders(&path)?);
        }
    }
    for path in &arguments.cases {
        folders.extend(Case::folders(path)?);
    }
    Ok(folders)
}

/// Which rules cases are about.
#[derive(Debug, Default)]
struct Tried {
    by_positive: BTreeSet<String>,
    by_negative: BTreeSet<String>,
}

fn try_case(folder: &std::path::Path, loaded: &Loaded, program: &Program, tried: &mut Tried) -> Report {
    let name = name_of(folder);
    let case = match Case::load(folder) {
        Ok(case) => case,
        Err(failure) => return Report::broken(name, &failure),
    };
    tried.by_positive.extend(case.expected.iter().cloned());
    tried.by_negative.extend(case.absent.iter().cloned());
    match judge(&case, &loaded.rules, program) {
        Ok(differences) => {
            let verdict = if differences.is_empty() { Verdict::Passed } else { Verdict::Failed };
            Report { case: name, verdict, claim: case.claim, differences }
        }
        Err(failure) => Report::broken(name, &failure),
    }
}

fn judge(case: &Case, rules: &RuleSet, program: &Program) -> Result<Vec<String>, Failure> {
    let replayed = replay(rules, program, case)?;
    let mut wrong = differences(&case.expectations, &Expectation::of(&replayed.detections));
    if replayed.unclaimed > 0 {
        wrong.push(format!("{} records are claimed by no parser", replayed.unclaimed));
    }
    let has = |id: &String| case.expectations.iter().any(|line| line.rule == *id);
    let unsaid = case.expected.iter().filter(|id| !has(id));
    wrong.extend(unsaid.map(|id| format!("{id} is expected and has no line in expected.ndjson")));
    let said = case.absent.iter().filter(|id| has(id));
    wrong.extend(said.map(|id| format!("{id} is absent and has a line in expected.ndjson")));
    // A case about a rule that is not there would hold for ever.
    let unknown = case.expected.iter().chain(&case.absent).filter(|id| rules.find(id).is_none());
    wrong.extend(unknown.map(|id| format!("no rule that was loaded has the id {id}")));
    Ok(wrong)
}

fn render(reports: &[Report], counts: &Counts, format: Format, view: &View) -> Result<String, Failure> {
    let mut out = String::new();
    match format {
        Format::Json | Format::Ndjson => {
            reports.iter().try_for_each(|report| json::line(report, &mut out))?;
            json::line(counts, &mut out)?;
        }
        Format::Table => {
            reports.iter().for_each(|report| report.page(view, &mut out));
            counts.page(&mut out);
        }
        Format::Tsv => {
            let cells = |report: &Report| report.cells(clean).join("\t") + "\n";
            reports.iter().for_each(|report| out.push_str(&cells(report)));
        }
        Format::Csv => {
            out.push_str("verdict,case,claim,differences\n");
            let cells = |report: &Report| report.cells(escape_for_csv).join(",") + "\n";
            reports.iter().for_each(|report| out.push_str(&cells(report)));
        }
        Format::Ids => {
            let failed = reports.iter().filter(|report| report.verdict != Verdict::Passed);
            failed.for_each(|report| out.push_str(&(clean(&report.case) + "\n")));
        }
    }
    Ok(out)
}

impl Verdict {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Broken => "broken",
        }
    }
}

impl Report {
    fn broken(case: String, failure: &Failure) -> Self {
        let mut said = Vec::new();
        failure.print(&mut said);
        let said = String::from_utf8_lossy(&said);
        let differences = said.lines().map(|line| line.trim_start_matches("canh: ").trim_start().to_owned()).collect();
        Self { case, verdict: Verdict::Broken, claim: String::new(), differences }
    }

    fn page(&self, view: &View, out: &mut String) {
        let paint = if self.verdict == Verdict::Passed { Paint::Plain } else { Paint::Alarm };
        view.style.paint(paint, self.verdict.as_str(), out);
        out.push_str(&format!("  {}\n", clean(&self.case)));
        if self.verdict == Verdict::Passed {
            return;
        }
        if !self.claim.is_empty() {
            out.push_str(&format!("        claims: {}\n", clean(&self.claim)));
        }
        self.differences.iter().for_each(|line| out.push_str(&format!("        {}\n", clean(line))));
    }

    fn cells(&self, escape: impl Fn(&str) -> String) -> [String; 4] {
        let differences = self.differences.join("; ");
        [self.verdict.as_str().to_owned(), escape(&self.case), escape(&self.claim), escape(&differences)]
    }
}

impl Counts {
    fn of(reports: &[Report], loaded: &Loaded, tried: &Tried, took: Duration) -> Self {
        let count = |verdict| reports.iter().filter(|report| report.verdict == verdict).count();
        let is_untried = |id: &&str| !(tried.by_positive.contains(*id) && tried.by_negative.contains(*id));
        Self {
            cases: reports.len(),
            passed: count(Verdict::Passed),
            failed: count(Verdict::Failed),
            broken: count(Verdict::Broken),
            refused: loaded.refused.len(),
            untried: raising(&loaded.rules).into_iter().map(Raiser::id).filter(is_untried).map(str::to_owned).collect(),
            seconds: took.as_secs_f64(),
        }
    }

    fn page(&self, out: &mut String) {
        let Self { cases, passed, failed, broken, refused, untried, seconds } = self;
        out.push_str(&format!("{cases} cases: {passed} passed, {failed} failed, {broken} broken, {seconds:.2} s\n"));
        if *refused > 0 {
            out.push_str(&format!("rules refused: {refused}; see `canh rules check`\n"));
        }
        if untried.is_empty() {
            return;
        }
        out.push_str(&format!("{} rules lack a case for or against them:\n", untried.len()));
        untried.iter().take(MAX_UNTRIED).for_each(|id| out.push_str(&format!("  {}\n", clean(id))));
        if untried.len() > MAX_UNTRIED {
            out.push_str(&format!("  and {} more: -o json\n", untried.len() - MAX_UNTRIED));
        }
    }
}

fn clean(text: &str) -> String {
    escape_for_terminal(text).into_owned()
}
