//! The assembly of `canh eval`: a thread that reads, threads that judge, and the main thread, which
//! collects in the order of the input and writes.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender, TryRecvError};
use std::time::Instant;

use canh_incident::escape_for_terminal;
use canh_sigma::{Loaded, Program, Routing, RuleSet};

use crate::arguments::Format;
use crate::eval::arguments::EvalArguments;
use crate::eval::block::{Block, Judged};
use crate::eval::judge::Judge;
use crate::eval::progress::Progress;
use crate::eval::report::{self, Report};
use crate::eval::sink::Sink;
use crate::eval::source;
use crate::eval::tally::{Tally, Took};
use crate::exit::{Exit, Failure};
use crate::output::Output;
use crate::rules::load::load;

/// Blocks that wait before and behind each judge. With the one in its hands, at most five are in memory.
const QUEUED_BLOCKS: usize = 2;
/// Most refused records that are named.
const MAX_NAMED: u64 = 5;

/// Lays rules against files of events.
pub(crate) fn run(arguments: &EvalArguments, output: &Output) -> Result<Exit, Failure> {
    if !arguments.count_only && !matches!(output.stated_format(), None | Some(Format::Ndjson)) {
        return Err(Failure::usage("hits are written as one JSON object a line")
            .hint("leave -o away, or ask for counts: --count-only -o table"));
    }
    let begun = Instant::now();
    let loaded = load(&arguments.rules, arguments.values.placeholders.as_deref())?;
    let rules = armed(&loaded, output)?;
    let program = Program::compile(rules);
    let loading = begun.elapsed();
    let threads = arguments.threads.map_or_else(processors, usize::from);
    let begun = Instant::now();
    let collected = judge_all(arguments, rules, &program, threads, output)?;
    let took = Took { loading, judging: begun.elapsed(), threads };
    if arguments.count_only {
        let format =
            output.stated_format().unwrap_or(if output.is_terminal() { Format::Table } else { Format::Ndjson });
        output.data(&collected.tally.counts(rules, format, output.view())?)?;
    }
    collected.say_refused(output);
    if arguments.stats {
        // Asked for, so not subject to --quiet.
        let _ = writeln!(std::io::stderr().lock(), "{}", collected.tally.stats(rules.rules().len(), took)?);
    }
    Ok(collected.exit(arguments.files.len()))
}

/// Returns the rules if there are any that can be laid against events, and says what is left out.
fn armed<'a>(loaded: &'a Loaded, output: &Output) -> Result<&'a RuleSet, Failure> {
    let (rules, refused) = (&loaded.rules, loaded.refused.len());
    if refused > 0 {
        output.talk(&format!("canh: rules refused: {refused}; see `canh rules check`"));
    }
    if !rules.correlations().is_empty() {
        let count = rules.correlations().len();
        output.talk(&format!(
            "canh: {count} correlation rules need a correlator and are left out; their members are not"
        ));
    }
    if !rules.rules().is_empty() {
        return Ok(rules);
    }
    let failure = Failure::usage("no rules were loaded");
    Err(match refused {
        0 => failure
            .why("no .yml or .yaml file with a detection rule is there")
            .hint("give a folder of Sigma rules: -r rules/"),
        _ => failure.why(format!("all {refused} are refused")).hint("see why: canh rules check PATH"),
    })
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs the threads until all files are read, or stdout's reader has gone away.
fn judge_all(
    arguments: &EvalArguments,
    rules: &RuleSet,
    program: &Program,
    threads: usize,
    output: &Output,
) -> Result<Collector, Failure> {
    let routing = if arguments.no_routing { Routing::Everything } else { Routing::ByLogsource };
    let read_bytes = Arc::new(AtomicU64::new(0));
    let progress = Progress::new(read_bytes.clone(), source::total_bytes(&arguments.files), !output.is_quiet());
    let mut collector = Collector::new(arguments, rules, progress)?;
    std::thread::scope(|scope| {
        let (spent_sender, spent) = mpsc::channel();
        let (mut to_judges, mut from_judges) = (Vec::new(), Vec::new());
        for _ in 0..threads {
            let (to_judge, blocks) = mpsc::sync_channel::<Block>(QUEUED_BLOCKS);
            let (results, from_judge): (SyncSender<Judged>, _) = mpsc::sync_channel(QUEUED_BLOCKS);
            scope.spawn(move || Judge::new(program, routing).run(&blocks, &results));
            to_judges.push(to_judge);
            from_judges.push(from_judge);
        }
        let sink = Sink::new(to_judges, spent);
        scope.spawn(|| source::read_all(&arguments.files, arguments.format, &read_bytes, sink));
        // Returns early if stdout is gone; the channels close with it, and the threads end.
        collector.collect(from_judges, &spent_sender, output)
    })?;
    Ok(collector)
}

/// Takes what the judges give, in the order of the input.
#[derive(Debug)]
struct Collector {
    files: Vec<PathBuf>,
    /// `None` if hits are only counted.
    report: Option<Report>,
    progress: Progress,
    tally: Tally,
    /// The file the last block was of, and how many records of it there were so far.
    file: usize,
    records: u64,
    named: u64,
    /// The last file that could not be read, or not be read on.
    faulty: Option<usize>,
    faults: usize,
}

impl Collector {
    fn new(arguments: &EvalArguments, rules: &RuleSet, progress: Progress) -> Result<Self, Failure> {
        let files = arguments.files.clone();
        let report = if arguments.count_only { None } else { Some(Report::new(rules, &files)?) };
        let tally = Tally::default();
        Ok(Self { files, report, progress, tally, file: 0, records: 0, named: 0, faulty: None, faults: 0 })
    }

    fn collect(
        &mut self,
        judges: Vec<Receiver<Judged>>,
        spent: &Sender<Vec<u8>>,
        output: &Output,
    ) -> Result<(), Failure> {
        let mut out = report::stdout();
        // Blocks went to the judges in turn, so the first that has nothing more had the last.
        for judge in judges.iter().cycle() {
            let received = match judge.try_recv() {
                Ok(judged) => Some(judged),
                Err(TryRecvError::Disconnected) => None,
                Err(TryRecvError::Empty) => {
                    // Somebody may be waiting for what was found so far.
                    out.flush()?;
                    judge.recv().ok()
                }
            };
            let Some(mut judged) = received else { break };
            self.take(&judged, &mut out, output)?;
            if judged.spent.capacity() > 0 {
                // The reader may have ended before.
                let _ = spent.send(std::mem::take(&mut judged.spent));
            }
        }
        out.flush()?;
        self.progress.clear();
        Ok(())
    }

    fn take(&mut self, judged: &Judged, out: &mut dyn Write, output: &Output) -> Result<(), Failure> {
        if judged.file != self.file {
            self.file = judged.file;
            self.records = 0;
        }
        if let Some(report) = &mut self.report {
            report.write(judged, self.records, out)?;
        }
        self.tally.add(judged);
        self.name_refused(judged, output);
        if let Some(fault) = judged.fault.as_ref().filter(|_| self.faulty != Some(judged.file)) {
            // Each part of one file may fail.
            self.faulty = Some(judged.file);
            self.faults += 1;
            self.progress.clear();
            let failure = Failure::new(Exit::Partial, format!("{} cannot be read", self.file_name())).why(fault);
            output.complain(&failure);
        }
        self.records += judged.records;
        self.progress.show(self.tally.events, self.tally.hits);
        Ok(())
    }

    fn name_refused(&mut self, judged: &Judged, output: &Output) {
        for refused in &judged.reasons {
            if self.named >= MAX_NAMED {
                return;
            }
            self.named += 1;
            self.progress.clear();
            let place = self.records + refused.index + 1;
            output.talk(&format!("canh: {}:{place}: {}", self.file_name(), escape_for_terminal(&refused.why)));
        }
    }

    fn file_name(&self) -> String {
        let name = self.files.get(self.file).map(|path| path.to_string_lossy()).unwrap_or_default();
        escape_for_terminal(if name == "-" { "stdin" } else { &name }).into_owned()
    }

    fn say_refused(&self, output: &Output) {
        if self.tally.refused > self.named {
            let more = self.tally.refused - self.named;
            output.talk(&format!("canh: {more} more lines or records are no events"));
        }
    }

    fn exit(&self, files: usize) -> Exit {
        match self.faults {
            0 => Exit::Done,
            faults if faults >= files && self.tally.events == 0 => Exit::Internal,
            _ => Exit::Partial,
        }
    }
}
