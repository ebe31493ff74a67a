use super::*;
use proptest::prelude::*;

impl Content for Vec<u8> {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        // Hands out at most 1,000 bytes at a time, as a file system may.
        let rest = self.get(usize::try_from(offset).unwrap()..).unwrap_or_default();
        let count = rest.len().min(buffer.len()).min(1_000);
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
}

#[derive(Default)]
struct Lines {
    lines: Vec<(Vec<u8>, bool)>,
    room: Option<usize>,
}

impl Sink for Lines {
    fn take(&mut self, line: &[u8], is_cut: bool) -> bool {
        match &mut self.room {
            Some(0) => return false,
            Some(room) => *room -= 1,
            None => {}
        }
        self.lines.push((line.to_vec(), is_cut));
        true
    }
}

impl Lines {
    fn texts(&self) -> Vec<String> {
        self.lines.iter().map(|(line, _)| String::from_utf8_lossy(line).into_owned()).collect()
    }
}

const ID: FileId = FileId { device: 1, inode: 2 };

fn poll(tail: &mut Tail, content: &Vec<u8>, lines: &mut Lines) -> Polled {
    tail.poll(content, content.len() as u64, &mut Vec::new(), lines).unwrap()
}

fn reopened(tail: &Tail, content: &Vec<u8>) -> Option<Tail> {
    Tail::resume(&tail.position(ID), content).unwrap()
}

#[test]
fn part_of_a_line_is_held_until_its_end_is_there() {
    let (mut tail, mut lines, mut content) = (Tail::default(), Lines::default(), b"one\ntw".to_vec());
    poll(&mut tail, &content, &mut lines);
    assert_eq!(lines.texts(), ["one"]);
    assert_eq!(tail.end(), 6);
    content.extend_from_slice(b"o\n\nfour");
    // A restart in between changes nothing.
    let mut tail = reopened(&tail, &content).unwrap();
    poll(&mut tail, &content, &mut lines);
    assert_eq!(lines.texts(), ["one", "two", ""]);
    assert!(tail.finish(&content, &mut lines).unwrap());
    assert!(tail.finish(&content, &mut lines).unwrap());
    assert_eq!(lines.texts(), ["one", "two", "", "four"]);
}

#[test]
fn bytes_are_untouched() {
    let line: Vec<u8> = (0..=255u8).filter(|byte| *byte != b'\n').collect();
    let content = [line.as_slice(), b"\r\n\0\n"].concat();
    let (mut tail, mut lines) = (Tail::default(), Lines::default());
    poll(&mut tail, &content, &mut lines);
    assert_eq!(lines.lines, [([line.as_slice(), b"\r"].concat(), false), (vec![0], false)]);
}

#[test]
fn longest_line_is_whole_and_a_longer_one_is_cut_and_marked() {
    let longest = vec![b'a'; MAX_RECORD_BYTES];
    let longer = vec![b'b'; MAX_RECORD_BYTES + 1];
    let content = [longest.as_slice(), b"\n", &longer, b"\n", b"c\n"].concat();
    let (mut tail, mut lines) = (Tail::default(), Lines::default());
    let polled = poll(&mut tail, &content, &mut lines);
    let shape: Vec<_> = lines.lines.iter().map(|(line, is_cut)| (line[0], line.len(), *is_cut)).collect();
    assert_eq!(shape, [(b'a', MAX_RECORD_BYTES, false), (b'b', MAX_RECORD_BYTES, true), (b'c', 1, false)]);
    assert_eq!(polled.skipped, 1);
    assert_eq!(polled.consumed, content.len() as u64);
}

#[test]
fn line_without_end_is_cut_once_and_skipped_across_a_restart() {
    let mut content = vec![b'x'; 3 * MAX_RECORD_BYTES];
    let (mut tail, mut lines) = (Tail::default(), Lines::default());
    let first = poll(&mut tail, &content, &mut lines);
    assert_eq!((lines.lines.len(), lines.lines[0].1), (1, true));
    assert_eq!(first.skipped, 2 * MAX_RECORD_BYTES as u64);
    content.extend_from_slice(b"yy\nnext\n");
    let mut tail = reopened(&tail, &content).unwrap();
    let second = poll(&mut tail, &content, &mut lines);
    assert_eq!(lines.lines.len(), 2);
    assert_eq!(lines.lines[1], (b"next".to_vec(), false));
    assert_eq!(second.skipped, 2);
}

#[test]
fn truncation_is_seen_by_size_and_by_content() {
    let (mut tail, mut lines) = (Tail::default(), Lines::default());
    poll(&mut tail, &b"first line\nsecond line\n".to_vec(), &mut lines);
    // Shorter than the offset.
    assert_eq!(poll(&mut tail, &b"new\n".to_vec(), &mut lines).truncations, 1);
    // Longer than the offset already, but the bytes before it are others.
    assert_eq!(poll(&mut tail, &b"other\nand more\n".to_vec(), &mut lines).truncations, 1);
    // Emptied, then written.
    assert_eq!(poll(&mut tail, &Vec::new(), &mut lines).truncations, 1);
    assert_eq!(poll(&mut tail, &b"last\n".to_vec(), &mut lines).truncations, 0);
    assert_eq!(lines.texts(), ["first line", "second line", "new", "other", "and more", "last"]);
}

#[test]
fn held_part_that_is_taken_back_and_written_anew_is_read_as_it_is_now() {
    let (mut tail, mut lines) = (Tail::default(), Lines::default());
    poll(&mut tail, &b"a\nhalf a li".to_vec(), &mut lines);
    poll(&mut tail, &b"a\nhal".to_vec(), &mut lines);
    let polled = poll(&mut tail, &b"a\nhalt\n".to_vec(), &mut lines);
    assert_eq!((lines.texts(), polled.truncations), (vec!["a".to_owned(), "halt".to_owned()], 0));
}

#[test]
fn another_file_at_the_same_inode_is_not_resumed() {
    let (mut tail, mut lines) = (Tail::default(), Lines::default());
    let content = b"header\nline one\n".to_vec();
    poll(&mut tail, &content, &mut lines);
    assert!(reopened(&tail, &content).is_some());
    assert!(reopened(&tail, &b"header\nline one\nline two\n".to_vec()).is_some());
    assert!(reopened(&tail, &b"header\nline two\n".to_vec()).is_none(), "same head, other end");
    assert!(reopened(&tail, &b"HEADER\nline one\n".to_vec()).is_none(), "other head, same length");
    assert!(reopened(&tail, &b"header\n".to_vec()).is_none(), "shorter");
}

#[test]
fn full_sink_stops_before_the_line_it_did_not_take() {
    let content = b"one\ntwo\nthree\n".to_vec();
    let (mut tail, mut lines) = (Tail::default(), Lines { room: Some(2), ..Lines::default() });
    let polled = poll(&mut tail, &content, &mut lines);
    assert!(polled.is_full);
    assert_eq!((polled.consumed, tail.position(ID).offset), (8, 8));
    lines.room = None;
    assert!(!poll(&mut tail, &content, &mut lines).is_full);
    assert_eq!(lines.texts(), ["one", "two", "three"]);
}

#[test]
fn reading_from_the_end_skips_a_line_that_has_begun() {
    for (begun, skips) in [("old\nhalf", true), ("old\n", false), ("", false)] {
        let mut content = begun.as_bytes().to_vec();
        let mut tail = Tail::at_end(&content, content.len() as u64).unwrap();
        content.extend_from_slice(b" and rest\nnew\n");
        let mut lines = Lines::default();
        poll(&mut tail, &content, &mut lines);
        let expected: &[&str] = if skips { &["new"] } else { &[" and rest", "new"] };
        assert_eq!(lines.texts(), expected, "{begun:?}");
    }
}

proptest! {
    /// Any bytes, written in any pieces, polled and restarted in between, with a sink that is full
    /// now and then: the lines are those that splitting the whole would give.
    #[test]
    fn lines_are_the_same_however_they_are_written_and_read(
        pieces in proptest::collection::vec((proptest::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..40), any::<bool>(), 0..4usize), 0..40),
    ) {
        let (mut tail, mut lines, mut content) = (Tail::default(), Lines::default(), Vec::new());
        for (piece, is_restarted, room) in pieces {
            content.extend_from_slice(&piece);
            lines.room = Some(room);
            let polled = poll(&mut tail, &content, &mut lines);
            prop_assert_eq!(polled.truncations, 0);
            if is_restarted {
                tail = reopened(&tail, &content).unwrap();
            }
        }
        lines.room = None;
        poll(&mut tail, &content, &mut lines);
        let mut expected: Vec<&[u8]> = content.split(|byte| *byte == b'\n').collect();
        expected.pop();
        let found: Vec<&[u8]> = lines.lines.iter().map(|(line, _)| line.as_slice()).collect();
        prop_assert_eq!(found, expected);
    }
}
