use super::*;
use crate::batch::Filled;
use canh_event::{MAX_RECORD_BYTES, Timestamp};
use canh_service::metrics::Metrics;
use canh_ship::{BatchLimits, Loss, Priority, Submission};
use proptest::prelude::*;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use tempfile::TempDir;

const ROTATED_WAIT: Duration = Duration::from_secs(60);

/// A host with files, an agent that reads them, and what a spool would hold.
struct Host {
    dir: TempDir,
    patterns: Vec<String>,
    starts_at_end: bool,
    open_files: usize,
    batch_records: usize,
    watch: Option<Watch>,
    batch: Batch,
    metrics: AgentMetrics,
    now: Instant,
    /// What is durable: lines with their source's file name, and cursors.
    spooled: Vec<(String, Vec<u8>, bool)>,
    cursors: BTreeMap<SourceName, Vec<u8>>,
    losses: Vec<Loss>,
}

fn limits(records: usize) -> BatchLimits {
    BatchLimits { records, bytes: 1 << 20, wait: Duration::from_millis(200) }
}

fn agent_metrics() -> AgentMetrics {
    AgentMetrics::new(&Metrics::new("canh-log-agent", "0").unwrap()).unwrap()
}

impl Host {
    fn new(patterns: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let patterns = patterns.iter().map(|it| dir.path().join(it).to_str().unwrap().to_owned()).collect();
        Self {
            dir,
            patterns,
            starts_at_end: false,
            open_files: 1_000,
            batch_records: 1_000,
            watch: None,
            batch: Batch::new(limits(1_000)),
            metrics: agent_metrics(),
            now: Instant::now(),
            spooled: Vec::new(),
            cursors: BTreeMap::new(),
            losses: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn append(&self, name: &str, bytes: impl AsRef<[u8]>) {
        let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
        file.write_all(bytes.as_ref()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn moment(&self) -> Moment {
        Moment { instant: self.now, wall: Timestamp::EPOCH, utc_offset_secs: 25_200 }
    }

    fn specs(&self) -> Vec<FileSpec> {
        let spec = |pattern: &String| FileSpec {
            glob: Glob::parse(pattern).unwrap(),
            format: "auto".parse().unwrap(),
            utc_offset_secs: None,
            priority: Priority::Normal,
            starts_at_end: self.starts_at_end,
        };
        self.patterns.iter().map(spec).collect()
    }

    fn start(&mut self) {
        let limits_of_tail = TailLimits { rotated_wait: ROTATED_WAIT, open_files: self.open_files };
        let options =
            WatchOptions { specs: self.specs(), host: Box::from("h"), limits: limits_of_tail, max_files: 1_000 };
        self.batch = Batch::new(limits(self.batch_records));
        self.watch = Some(Watch::new(options, self.cursors.clone(), self.metrics.clone(), self.moment()).unwrap());
    }

    /// Ticks once, 250 ms later, and hands over whatever is full.
    fn tick(&mut self) -> Tick {
        self.now += Duration::from_millis(250);
        if self.watch.is_none() {
            self.start();
        }
        let moment = self.moment();
        let tick = self.watch.as_mut().unwrap().tick(moment, &mut self.batch);
        if tick == Tick::Full {
            self.hand_over();
        }
        tick
    }

    fn hand_over(&mut self) {
        let told = self.watch.as_mut().unwrap().news();
        let Filled { submissions, .. } = self.batch.hand_over(told);
        for Submission { records, cursors, losses, .. } in submissions {
            for record in records.iter() {
                let name = record.source.name.as_str().rsplit('/').next().unwrap().to_owned();
                self.spooled.push((name, record.bytes.to_vec(), record.is_cut));
            }
            for (name, payload) in cursors {
                self.cursors.insert(name, payload);
            }
            self.losses.extend(losses);
        }
    }

    /// Ticks until nothing is new, for long enough that a scan is among the ticks, and hands over.
    fn read_all(&mut self) {
        let mut idle = 0;
        while idle < 6 {
            idle = if self.tick() == Tick::Idle { idle + 1 } else { 0 };
        }
        self.hand_over();
    }

    /// Lets rotated files be given up, on the agent's clock and on that of the file system.
    fn wait_long(&mut self) {
        self.read_all();
        self.wait_for_file_system_tick();
        self.now += ROTATED_WAIT;
        self.read_all();
    }

    fn wait_for_file_system_tick(&self) {
        let probe = self.path("probe-of-time");
        let written = || {
            fs::write(&probe, "").unwrap();
            let time = fs::metadata(&probe).unwrap().modified().unwrap();
            fs::remove_file(&probe).unwrap();
            time
        };
        let before = written();
        while written() <= before {}
    }

    /// Ends the agent as kill -9 does: what was not handed over is gone.
    fn kill(&mut self) {
        self.watch = None;
    }

    fn texts(&self) -> Vec<String> {
        self.spooled.iter().map(|(_, line, _)| String::from_utf8_lossy(line).into_owned()).collect()
    }
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("line {number}")).collect()
}

fn lines(range: std::ops::Range<usize>) -> String {
    numbered(range).iter().map(|line| format!("{line}\n")).collect()
}

#[test]
fn file_is_read_from_its_beginning_and_on_as_it_grows() {
    let mut host = Host::new(&["a.log"]);
    host.read_all();
    host.append("a.log", lines(0..3));
    host.read_all();
    host.append("a.log", lines(3..5));
    host.read_all();
    assert_eq!(host.texts(), numbered(0..5));
    assert_eq!(host.metrics.files_open.get(), 1);
    assert_eq!(host.metrics.files_watched.get(), 1);
}

#[test]
fn old_file_is_finished_before_the_new_one_begins() {
    let mut host = Host::new(&["a.log"]);
    host.append("a.log", lines(0..2));
    host.read_all();
    let mut writer = OpenOptions::new().append(true).open(host.path("a.log")).unwrap();
    host.rename("a.log", "a.log.1");
    writer.write_all(lines(2..4).as_bytes()).unwrap();
    host.append("a.log", lines(5..7));
    // A writer that had not noticed the rotation; what it writes is older than the new file.
    writer.write_all(lines(4..5).as_bytes()).unwrap();
    host.read_all();
    assert_eq!(host.texts(), numbered(0..7));
    assert_eq!(host.metrics.rotations.get(), 1);
    writer.write_all(b"late\n").unwrap();
    host.read_all();
    assert_eq!(host.texts().last().unwrap(), "late");
    assert_eq!(host.metrics.files_open.get(), 2);
    host.wait_long();
    assert_eq!(host.metrics.files_open.get(), 1, "the rotated file is let go");
}

#[test]
fn hundred_rotations_between_looks_and_with_looks_lose_and_double_nothing() {
    for looks_between in [false, true] {
        let mut host = Host::new(&["a.log"]);
        host.append("a.log", lines(0..1));
        host.read_all();
        for turn in 1..=100 {
            for number in (1..turn).rev() {
                host.rename(&format!("a.log.{number}"), &format!("a.log.{}", number + 1));
            }
            host.rename("a.log", "a.log.1");
            host.append("a.log", lines(turn * 2 - 1..turn * 2 + 1));
            if looks_between {
                host.tick();
            }
        }
        host.read_all();
        assert_eq!(host.texts(), numbered(0..201), "looks between: {looks_between}");
        assert_eq!(host.metrics.rotations.get(), 100);
        host.wait_long();
        assert_eq!(host.metrics.files_open.get(), 1);
    }
}

#[test]
fn rotations_while_the_agent_is_down_are_caught_up_with() {
    let mut host = Host::new(&["a.log"]);
    host.append("a.log.7", "archive of another year\n");
    host.wait_for_file_system_tick();
    host.append("a.log", lines(0..2));
    host.read_all();
    host.kill();
    host.append("a.log", lines(2..4));
    host.rename("a.log", "a.log.1");
    host.append("a.log", lines(4..6));
    host.rename("a.log.1", "a.log.2");
    host.rename("a.log", "a.log.1");
    host.append("a.log", lines(6..8));
    host.read_all();
    assert_eq!(host.texts(), numbered(0..8));
}

#[test]
fn copytruncate_is_noticed_and_counted() {
    let mut host = Host::new(&["a.log"]);
    host.append("a.log", lines(0..50));
    host.read_all();
    let copy_and_truncate = |host: &Host| {
        fs::copy(host.path("a.log"), host.path("a.log.1")).unwrap();
        OpenOptions::new().write(true).open(host.path("a.log")).unwrap().set_len(0).unwrap();
    };
    copy_and_truncate(&host);
    host.append("a.log", lines(50..51));
    host.read_all();
    copy_and_truncate(&host);
    // Grown past the old offset before the agent looks again.
    host.append("a.log", lines(51..200));
    host.read_all();
    assert_eq!(host.texts(), numbered(0..200));
    assert_eq!(host.metrics.truncations.get(), 2);
    // And while the agent is down.
    host.kill();
    copy_and_truncate(&host);
    host.append("a.log", lines(200..201));
    host.read_all();
    assert_eq!(host.texts(), numbered(0..201));
    assert_eq!(host.metrics.truncations.get(), 3);
}

/// What the agent knew is gone, compressed while it was down, and the new file has its inode: those that
/// came between are found all the same.
#[test]
fn reused_inode_does_not_hide_what_was_rotated_while_the_agent_was_down() {
    let mut host = Host::new(&["a.log"]);
    for _ in 0..50 {
        host.append("a.log", lines(0..3));
        host.read_all();
        host.kill();
        let old = FileId::of(&fs::metadata(host.path("a.log")).unwrap());
        host.wait_for_file_system_tick();
        host.append("between", lines(3..5));
        fs::remove_file(host.path("a.log")).unwrap();
        host.append("new", lines(5..7));
        host.rename("between", "a.log.1");
        host.rename("new", "a.log");
        let is_reused = FileId::of(&fs::metadata(host.path("a.log")).unwrap()) == old;
        host.read_all();
        assert_eq!(host.texts(), numbered(0..7), "inode reused: {is_reused}");
        if is_reused {
            return;
        }
        host = Host::new(&["a.log"]);
    }
    println!("this file system did not reuse an inode in 50 tries");
}

#[test]
fn file_that_is_truncated_and_written_anew_to_the_same_length_is_read_again() {
    let mut host = Host::new(&["a.log"]);
    for open_files in [1_000, 0] {
        host.open_files = open_files;
        host.kill();
        for turn in 0..3 {
            host.wait_for_file_system_tick();
            File::create(host.path("a.log")).unwrap().write_all(format!("line of turn {turn}\n").as_bytes()).unwrap();
            host.read_all();
        }
        let texts: Vec<_> = (0..3).map(|turn| format!("line of turn {turn}")).collect();
        assert_eq!(host.texts(), texts, "{open_files} files held open");
        host.spooled.clear();
    }
}

#[test]
fn copy_of_a_truncated_file_is_not_read_at_the_next_rotation() {
    let mut host = Host::new(&["a.log"]);
    host.append("a.log", lines(0..50));
    host.read_all();
    fs::copy(host.path("a.log"), host.path("a.log.bak")).unwrap();
    host.rename("a.log", "a.log.1");
    host.append("a.log", lines(50..51));
    host.read_all();
    assert_eq!(host.texts(), numbered(0..51));
}

#[test]
fn file_that_is_deleted_and_made_anew_is_read_whole() {
    let mut host = Host::new(&["a.log"]);
    for turn in 0..5 {
        host.append("a.log", lines(turn * 3..turn * 3 + 2));
        host.read_all();
        // Written and deleted between two looks: the open file still has it.
        host.append("a.log", lines(turn * 3 + 2..turn * 3 + 3));
        fs::remove_file(host.path("a.log")).unwrap();
        if turn % 2 == 0 {
            host.tick();
        }
    }
    host.wait_long();
    assert_eq!(host.texts(), numbered(0..15));
    assert_eq!((host.metrics.files_open.get(), host.metrics.files_watched.get()), (0, 0));
    assert!(host.cursors.values().all(Vec::is_empty), "nothing is remembered of a file that is no more");
}

#[test]
fn another_file_at_the_inode_of_a_deleted_one_is_read_whole_after_a_restart() {
    let mut host = Host::new(&["a.log"]);
    host.append("a.log", lines(0..20));
    host.read_all();
    let id = FileId::of(&fs::metadata(host.path("a.log")).unwrap());
    host.kill();
    // What inode reuse comes to: the same file, other content, longer than before.
    let replaced: String = (20..60).map(|number| format!("line {number}\n")).collect();
    File::create(host.path("a.log")).unwrap().write_all(replaced.as_bytes()).unwrap();
    assert_eq!(FileId::of(&fs::metadata(host.path("a.log")).unwrap()), id);
    host.read_all();
    assert_eq!(host.texts(), numbered(0..60));
}

#[test]
fn part_of_a_line_is_completed_after_a_restart_and_given_once() {
    let mut host = Host::new(&["a.log"]);
    host.append("a.log", "whole\nhalf of a l");
    host.wait_long();
    assert_eq!(host.texts(), ["whole"]);
    host.kill();
    host.append("a.log", "ine\n");
    host.read_all();
    assert_eq!(host.texts(), ["whole", "half of a line"]);
}

#[test]
fn last_line_without_end_is_given_once_when_its_file_was_rotated() {
    let mut host = Host::new(&["a.log"]);
    host.append("a.log", "whole\nhalf");
    host.read_all();
    host.rename("a.log", "a.log.1");
    host.append("a.log", "next\n");
    host.read_all();
    assert_eq!(host.texts(), ["whole", "next"], "its writer may yet end it");
    host.wait_long();
    host.kill();
    host.wait_long();
    assert_eq!(host.texts(), ["whole", "next", "half"]);
}

#[test]
fn link_that_is_turned_to_another_file_is_followed() {
    let mut host = Host::new(&["current.log"]);
    let turn = |host: &Host, target: &str| {
        let _ = fs::remove_file(host.path("link-made"));
        std::os::unix::fs::symlink(target, host.path("link-made")).unwrap();
        host.rename("link-made", "current.log");
    };
    host.append("app-1.log", lines(0..2));
    turn(&host, "app-1.log");
    host.read_all();
    host.append("app-1.log", lines(2..3));
    host.append("app-2.log", lines(3..5));
    turn(&host, "app-2.log");
    host.read_all();
    assert_eq!(host.texts(), numbered(0..5));
    // Turned while the agent is down: the rest of the old target is still found.
    host.kill();
    host.append("app-2.log", lines(5..6));
    host.append("app-3.log", lines(6..7));
    turn(&host, "app-3.log");
    host.read_all();
    assert_eq!(host.texts(), numbered(0..7));
    // And back: what was read is not read again.
    turn(&host, "app-2.log");
    host.append("app-2.log", lines(7..8));
    host.read_all();
    assert_eq!(host.texts(), numbered(0..8));
}

#[test]
fn rotated_files_that_the_pattern_matches_too_are_read_once() {
    let mut host = Host::new(&["*.log*"]);
    host.append("a.log", lines(0..2));
    host.read_all();
    for turn in 1..5 {
        for number in (1..turn).rev() {
            host.rename(&format!("a.log.{number}"), &format!("a.log.{}", number + 1));
        }
        host.rename("a.log", "a.log.1");
        host.append("a.log", lines(turn * 2..turn * 2 + 2));
        host.wait_long();
        if turn % 2 == 0 {
            host.kill();
        }
    }
    assert_eq!(host.texts(), numbered(0..10));
    // A rotated file that grows again is read on.
    host.append("a.log.3", "late\n");
    host.wait_long();
    assert_eq!(host.texts().last().unwrap(), "late");
    assert_eq!(host.texts().len(), 11);
}

#[test]
fn bytes_of_any_kind_and_lines_of_the_longest_length_come_through() {
    let mut host = Host::new(&["a.log"]);
    let any: Vec<u8> = (0..=255).filter(|byte| *byte != b'\n').collect();
    let longest = vec![b'x'; MAX_RECORD_BYTES];
    let longer = vec![b'y'; MAX_RECORD_BYTES + 10];
    host.append("a.log", [any.as_slice(), b"\n", &longest, b"\n", &longer, b"\n", b"end\n"].concat());
    host.read_all();
    let shape: Vec<_> = host.spooled.iter().map(|(_, line, is_cut)| (line.len(), *is_cut)).collect();
    assert_eq!(shape, [(255, false), (MAX_RECORD_BYTES, false), (MAX_RECORD_BYTES, true), (3, false)]);
    assert_eq!(host.spooled[0].1, any);
    assert_eq!(host.metrics.skipped_bytes.get(), 10);
    assert_eq!(host.tick(), Tick::Idle);
    assert!(host.watch.as_ref().unwrap().room.buffer.len() <= SMALL_BUFFER_BYTES, "the large buffer is given back");
}

#[test]
fn more_files_than_may_be_open_are_all_read_and_their_rotations_followed() {
    let mut host = Host::new(&["*.log"]);
    host.open_files = 4;
    for turn in 0..3 {
        for file in 0..30 {
            host.append(&format!("{file:02}.log"), format!("{turn}\n"));
        }
        host.read_all();
        assert!(host.metrics.files_open.get() <= 5, "{}", host.metrics.files_open.get());
    }
    for file in 0..30 {
        host.append(&format!("{file:02}.log"), "3\n");
        host.rename(&format!("{file:02}.log"), &format!("{file:02}.log.1"));
        host.append(&format!("{file:02}.log"), "4\n");
    }
    host.read_all();
    for file in 0..30 {
        let name = format!("{file:02}.log");
        let of_file: Vec<_> = host.spooled.iter().filter(|(it, ..)| *it == name).map(|(_, line, _)| line[0]).collect();
        assert_eq!(of_file, *b"01234", "{name}");
    }
}

#[test]
fn file_without_end_does_not_keep_others_from_being_read() {
    let mut host = Host::new(&["*.log"]);
    host.batch_records = 10;
    host.append("a.log", lines(0..1_000));
    host.append("b.log", "other\n");
    host.tick();
    host.tick();
    host.hand_over();
    assert!(host.texts().contains(&"other".to_owned()), "{:?}", host.texts());
}

#[test]
fn only_what_is_new_is_read_where_the_first_run_is_to_begin_at_the_end() {
    let mut host = Host::new(&["*.log"]);
    host.starts_at_end = true;
    host.append("a.log", "history\nhalf of hist");
    host.read_all();
    host.append("a.log", "ory\nnew\n");
    host.append("b.log", "made later\n");
    host.read_all();
    let mut found = host.texts();
    found.sort();
    assert_eq!(found, ["made later", "new"]);
    // A second run begins where the first ended, also with files it has not seen.
    host.kill();
    host.append("c.log", "made while down\n");
    host.append("a.log", "more\n");
    host.read_all();
    assert_eq!(host.texts().len(), 4);
}

#[test]
fn what_cannot_be_read_is_counted_by_reason_and_the_rest_goes_on() {
    let mut host = Host::new(&["*.log"]);
    fs::create_dir(host.path("dir.log")).unwrap();
    host.append(&"n".repeat(250), "");
    let long_name = format!("{}.log", "n".repeat(240));
    host.append(&long_name, "never read\n");
    host.append("bell\u{7}.log", "never read\n");
    host.append("a.log", "read\n");
    host.read_all();
    assert_eq!(host.texts(), ["read"]);
    assert!(host.metrics.errors(Reason::Name) >= 2);
    // Gone with what had not been read of it, while the agent was down.
    host.kill();
    host.append("a.log", "lost\n");
    fs::remove_file(host.path("a.log")).unwrap();
    host.wait_for_file_system_tick();
    host.append("a.log", "another\n");
    host.read_all();
    let is_reused = host.metrics.truncations.get() == 1;
    assert!(is_reused || host.metrics.errors(Reason::Vanished) == 1);
    let told: Vec<_> = host.losses.iter().map(|loss| (loss.reason, loss.count)).collect();
    assert!(is_reused || told == [(canh_event::GapReason::FileLost, 1)], "{told:?}");
    assert_eq!(host.texts(), ["read", "another"]);
}

#[test]
fn rotated_file_that_was_read_to_its_end_is_no_loss_when_it_goes_away_while_the_agent_is_down() {
    let mut host = Host::new(&["a.log"]);
    host.append("a.log", "first\n");
    host.read_all();
    fs::rename(host.path("a.log"), host.path("a.log.1")).unwrap();
    host.append("a.log", "second\n");
    host.read_all();
    host.kill();
    fs::remove_file(host.path("a.log.1")).unwrap();
    host.read_all();
    assert_eq!(host.texts(), ["first", "second"]);
    assert_eq!(host.metrics.errors(Reason::Vanished), 1, "it was still watched for what may be written late");
    assert_eq!(host.losses, []);
}

#[test]
fn patterns_that_a_reload_takes_away_and_brings_back_go_on_where_they_were() {
    let mut host = Host::new(&["a.log", "b.log"]);
    host.append("a.log", lines(0..1));
    host.append("b.log", "b\n");
    host.read_all();
    let both = host.specs();
    host.watch.as_mut().unwrap().set_specs(both[1..].to_vec());
    host.append("a.log", lines(1..2));
    host.read_all();
    assert_eq!(host.metrics.files_watched.get(), 1);
    host.watch.as_mut().unwrap().set_specs(both);
    host.read_all();
    assert_eq!(host.texts().iter().filter(|it| it.starts_with("line")).count(), 2);
    assert_eq!(host.texts().len(), 3);
}

#[test]
fn cursor_of_another_release_is_refused() {
    let cursors = BTreeMap::from([("/a".parse().unwrap(), vec![9, 9])]);
    let limits = TailLimits { rotated_wait: ROTATED_WAIT, open_files: 1 };
    let options = WatchOptions { specs: Vec::new(), host: Box::from("h"), limits, max_files: 1 };
    let moment = Moment { instant: Instant::now(), wall: Timestamp::EPOCH, utc_offset_secs: 0 };
    let refused = Watch::new(options, cursors, agent_metrics(), moment).unwrap_err();
    assert!(refused.to_string().contains("the cursor of /a in the spool cannot be read"));
}

/// What may happen to a log file and its reader.
#[derive(Clone, Debug)]
enum Step {
    Write {
        lines: usize,
    },
    WritePart,
    Tick,
    HandOver,
    Kill,
    /// The file is renamed; `late` lines still go to it before its writer opens the new one.
    Rotate {
        late: usize,
        looks: bool,
    },
    CopyTruncate,
    WaitLong,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..20usize).prop_map(|lines| Step::Write { lines }),
        3 => Just(Step::WritePart),
        6 => Just(Step::Tick),
        3 => Just(Step::HandOver),
        2 => Just(Step::Kill),
        3 => (0..3usize, any::<bool>()).prop_map(|(late, looks)| Step::Rotate { late, looks }),
        1 => Just(Step::CopyTruncate),
        1 => Just(Step::WaitLong),
    ]
}

/// One writer of numbered lines.
struct Writer {
    file: File,
    next: usize,
    is_in_line: bool,
    rotations: usize,
}

impl Writer {
    fn write(&mut self, count: usize) {
        for _ in 0..count {
            let begin = if self.is_in_line { "" } else { "line" };
            self.file.write_all(format!("{begin} {}\n", self.next).as_bytes()).unwrap();
            self.is_in_line = false;
            self.next += 1;
        }
    }

    fn write_part(&mut self) {
        if !self.is_in_line {
            self.file.write_all(b"line").unwrap();
            self.is_in_line = true;
        }
    }

    fn rotate(&mut self, host: &mut Host, late: usize, looks: bool) {
        for number in (1..=self.rotations).rev() {
            host.rename(&format!("a.log.{number}"), &format!("a.log.{}", number + 1));
        }
        host.rename("a.log", "a.log.1");
        self.rotations += 1;
        if looks {
            host.tick();
        }
        self.write(late.max(usize::from(self.is_in_line)));
        self.file = OpenOptions::new().append(true).create(true).open(host.path("a.log")).unwrap();
    }

    fn take(&mut self, step: &Step, host: &mut Host) {
        match step {
            Step::Write { lines } => self.write(*lines),
            Step::WritePart => self.write_part(),
            Step::Tick => drop(host.tick()),
            Step::HandOver if host.watch.is_some() => host.hand_over(),
            Step::HandOver => {}
            Step::Kill => host.kill(),
            Step::Rotate { late, looks } => self.rotate(host, *late, *looks),
            Step::CopyTruncate => {
                // Only what was read before is promised.
                self.write(usize::from(self.is_in_line));
                host.read_all();
                self.file.set_len(0).unwrap();
                host.tick();
            }
            Step::WaitLong => {
                // A line that stands unfinished in a rotated file for that long is given as it is.
                self.write(usize::from(self.is_in_line));
                host.wait_long();
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn every_line_comes_once_and_in_order_through_any_writes_rotations_and_kills(
        steps in proptest::collection::vec(step(), 1..60), batch_records in 1..40usize,
    ) {
        let (found, written) = play(&steps, batch_records, "a.log");
        prop_assert_eq!(found, numbered(0..written));
    }

    /// Where the pattern matches rotated files too, a file may be found under its second name first.
    #[test]
    fn every_line_comes_once_where_the_pattern_matches_rotated_files_too(
        steps in proptest::collection::vec(step(), 1..60), batch_records in 1..40usize,
    ) {
        let (mut found, written) = play(&steps, batch_records, "a.log*");
        let mut expected = numbered(0..written);
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}

/// Returns the lines that came and how many were written.
fn play(steps: &[Step], batch_records: usize, pattern: &str) -> (Vec<String>, usize) {
    let mut host = Host::new(&[pattern]);
    host.batch_records = batch_records;
    let file = OpenOptions::new().append(true).create(true).open(host.path("a.log")).unwrap();
    let mut writer = Writer { file, next: 0, is_in_line: false, rotations: 0 };
    // A file that is rotated away before anybody has seen it is nobody's: begin with a cursor.
    writer.write(1);
    host.read_all();
    for step in steps {
        writer.take(step, &mut host);
    }
    writer.write(usize::from(writer.is_in_line));
    host.read_all();
    (host.texts(), writer.next)
}
