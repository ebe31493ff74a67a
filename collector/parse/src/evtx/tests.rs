//! The reader against files that Windows wrote, and against what somebody made of them.

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::json_events::JsonEvents;

/// Chunk writer for tests: names and templates stand where they are first used.
struct Sample {
    bytes: Vec<u8>,
}

impl Sample {
    fn new() -> Self {
        let mut bytes = b"ElfChnk\0".to_vec();
        bytes.resize(512, 0);
        Self { bytes }
    }

    /// Adds a record of these tokens; `write` gets the chunk so far, to whose end it appends.
    fn record(mut self, write: impl FnOnce(&mut Vec<u8>)) -> Self {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(b"**\0\0\0\0\0\0");
        self.bytes.extend_from_slice(&7_u64.to_le_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        write(&mut self.bytes);
        let length = u32::try_from(self.bytes.len() + 4 - start).unwrap();
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
        let free = u32::try_from(self.bytes.len()).unwrap();
        self.bytes[48..52].copy_from_slice(&free.to_le_bytes());
        self
    }

    fn read(&self) -> Vec<Result<String, EvtxError>> {
        read_chunk(&self.bytes)
    }
}

fn name(bytes: &mut Vec<u8>, text: &str) {
    let place = u32::try_from(bytes.len() + 4).unwrap();
    bytes.extend_from_slice(&place.to_le_bytes());
    bytes.extend_from_slice(&[0; 6]);
    counted(bytes, text);
    bytes.extend_from_slice(&[0; 2]);
}

fn counted(bytes: &mut Vec<u8>, text: &str) {
    let units: Vec<u16> = text.encode_utf16().collect();
    bytes.extend_from_slice(&u16::try_from(units.len()).unwrap().to_le_bytes());
    units.iter().for_each(|unit| bytes.extend_from_slice(&unit.to_le_bytes()));
}

fn open(bytes: &mut Vec<u8>, element: &str) {
    bytes.push(0x01);
    bytes.extend_from_slice(&[0; 4]);
    name(bytes, element);
}

fn literal(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&[0x05, 0x01]);
    counted(bytes, text);
}

fn attribute(bytes: &mut Vec<u8>, attribute: &str, text: &str) {
    bytes.push(0x06);
    name(bytes, attribute);
    literal(bytes, text);
}

fn read_chunk(bytes: &[u8]) -> Vec<Result<String, EvtxError>> {
    let mut reader = EvtxReader::new();
    reader.begin_chunk();
    match EvtxChunk::parse(bytes) {
        Ok(Some(chunk)) => {
            let json = |record: Result<EvtxRecord, _>| reader.json(&chunk, &record?).map(str::to_owned);
            chunk.records().map(json).collect()
        }
        Ok(None) => Vec::new(),
        Err(error) => vec![Err(error)],
    }
}

fn chunks_of(file: &[u8]) -> Vec<&[u8]> {
    let start = usize::try_from(evtx_chunks_start(file).unwrap()).unwrap();
    file[start..].chunks(EVTX_CHUNK_BYTES).collect()
}

#[test]
fn elements_attributes_and_text_become_json() {
    let sample = Sample::new().record(|bytes| {
        bytes.extend_from_slice(&[0x0f, 1, 1, 0]);
        open(bytes, "Event");
        attribute(bytes, "xmlns", "http://x");
        bytes.push(0x02);
        open(bytes, "EventID");
        attribute(bytes, "Qualifiers", "9");
        bytes.push(0x02);
        bytes.extend_from_slice(&[0x05, 0x06, 0x39, 0x30, 0x04]);
        for (data, text) in [("Image", "C:\\a\"\n\u{1}.exe"), ("", "one"), ("", "two")] {
            open(bytes, "Data");
            if !data.is_empty() {
                attribute(bytes, "Name", data);
            }
            bytes.push(0x02);
            literal(bytes, text);
            bytes.push(0x04);
        }
        open(bytes, "Mixed");
        bytes.push(0x02);
        literal(bytes, "a ");
        bytes.extend_from_slice(&[0x09]);
        name(bytes, "lt");
        bytes.extend_from_slice(&[0x08, b'b', 0, 0x07]);
        counted(bytes, "c");
        open(bytes, "Empty");
        bytes.push(0x03);
        bytes.extend_from_slice(&[0x04, 0x04, 0x00]);
    });
    let expected = r##"{"Event":{"EventID":{"#attributes":{"Qualifiers":"9"},"#text":12345},"Image":"C:\\a\"\n\u0001.exe","Data":"one","Data":"two","Mixed":{"#text":"a <bc","Empty":null}}}"##;
    assert_eq!(sample.read(), [Ok(expected.to_owned())]);
}

#[test]
fn one_broken_record_does_not_hide_the_next() {
    let good = |bytes: &mut Vec<u8>| {
        open(bytes, "Event");
        bytes.extend_from_slice(&[0x02, 0x04]);
    };
    let mut sample = Sample::new().record(good);
    let second = sample.bytes.len();
    sample = sample.record(good).record(good);
    sample.bytes[second + 4] = 0xff;
    sample.bytes[second + 5] = 0xff;
    let read = sample.read();
    assert_eq!(read.len(), 3);
    assert_eq!(read[1], Err(EvtxError::RecordLength { offset: second, bytes: 0xffff }));
    assert_eq!(read[2], Ok("{\"Event\":null}".to_owned()));
}

#[test]
fn tokens_in_a_wrong_order_are_refused() {
    for tokens in [&[0x04][..], &[0x02], &[0x05, 0x04, 7], &[0x0d, 0, 0, 1], &[0x00], &[0x33]] {
        let read = Sample::new().record(|bytes| bytes.extend_from_slice(tokens)).read();
        assert!(read[0].is_err(), "{tokens:?}: {read:?}");
    }
    let deep = Sample::new().record(|bytes| {
        for _ in 0..70 {
            open(bytes, "a");
            bytes.push(0x02);
        }
    });
    assert_eq!(deep.read(), [Err(EvtxError::TooDeep { limit: 60 })]);
}

/// A template whose holes are filled with an instance of the template itself: two to the power of the
/// depth, were there no bound.
#[test]
fn a_template_in_itself_ends_at_the_bound() {
    let sample = Sample::new().record(|bytes| {
        bytes.extend_from_slice(&[0x0c, 1, 0, 0, 0, 0]);
        let instance = bytes.len() - 6;
        let place = u32::try_from(bytes.len() + 4).unwrap();
        bytes.extend_from_slice(&place.to_le_bytes());
        bytes.extend_from_slice(&[0; 20]);
        let holes = 4_000_u32;
        bytes.extend_from_slice(&(holes * 4).to_le_bytes());
        (0..holes).for_each(|_| bytes.extend_from_slice(&[0x0d, 0, 0, 0x21]));
        bytes.extend_from_slice(&1_u32.to_le_bytes());
        let value = u16::try_from(bytes.len() + 4 - instance).unwrap();
        bytes.extend_from_slice(&value.to_le_bytes());
        bytes.extend_from_slice(&[0x21, 0]);
        let whole = bytes[instance..].to_vec();
        bytes.extend_from_slice(&whole);
    });
    assert!(matches!(
        sample.read()[0],
        Err(EvtxError::TooDeep { .. } | EvtxError::TooManySteps { .. } | EvtxError::Cut { .. })
    ));
}

#[test]
fn a_long_name_used_again_and_again_ends_at_the_bound() {
    let sample = Sample::new().record(|bytes| {
        open(bytes, "Event");
        bytes.push(0x02);
        let place = u32::try_from(bytes.len() + 9).unwrap().to_le_bytes();
        open(bytes, &"n".repeat(12_000));
        bytes.push(0x03);
        for _ in 0..3_000 {
            bytes.extend_from_slice(&[0x01, 0, 0, 0, 0]);
            bytes.extend_from_slice(&place);
            bytes.push(0x03);
        }
    });
    assert_eq!(sample.read(), [Err(EvtxError::TooLong { limit: 512 << 10 })]);
}

#[test]
fn unwritten_chunks_are_no_fault_and_strangers_are() {
    assert_eq!(read_chunk(&[0; EVTX_CHUNK_BYTES]), []);
    assert_eq!(read_chunk(b"not a chunk"), [Err(EvtxError::Chunk)]);
    assert_eq!(evtx_chunks_start(b"PK\x03\x04"), Err(EvtxError::File));
}

proptest! {
    #[test]
    fn records_of_random_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..2_000)) {
        for read in Sample::new().record(|bytes| bytes.extend_from_slice(&body)).read() {
            let Ok(json) = read else { continue };
            prop_assert!(serde_json::from_str::<Json>(&json).is_ok(), "{}", json);
        }
    }

    #[test]
    fn records_of_random_tokens_never_panic(body in prop::collection::vec(
        prop_oneof![0u8..0x10, Just(0x41), Just(0x21), Just(0x81), 0u8..=255], 0..400)) {
        for read in Sample::new().record(|bytes| bytes.extend_from_slice(&body)).read() {
            let Ok(json) = read else { continue };
            prop_assert!(JsonEvents::default().read(&json).is_ok(), "{}", json);
        }
    }
}

mod corpus {
    use std::collections::BTreeMap;
    use std::path::{Path, PathBuf};

    use super::*;

    fn files() -> Vec<PathBuf> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus/sigma-regression");
        let mut files = Vec::new();
        let mut folders = vec![root];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for path in entries.map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "evtx") {
                    files.push(path);
                }
            }
        }
        files.sort();
        if files.is_empty() {
            println!("skipped: ../shared/corpus/sigma-regression is not there");
        }
        files
    }

    #[expect(clippy::disallowed_methods, reason = "a test reads its corpus")]
    fn bytes(path: &Path) -> Vec<u8> {
        std::fs::read(path).unwrap()
    }

    /// Values by dotted names; braces and capitals of GUIDs, and quotes of numbers, are taste. The other
    /// reader cuts times to the microsecond and blanks off the ends of texts.
    fn flat(name: &str, json: &Json, out: &mut BTreeMap<String, String>) {
        match json {
            Json::Object(members) => members.iter().for_each(|(key, value)| flat(&format!("{name}.{key}"), value, out)),
            Json::Null => {}
            Json::String(text) if text.is_empty() => {}
            Json::String(text) => drop(out.insert(name.to_owned(), plain(text))),
            other => drop(out.insert(name.to_owned(), plain(&other.to_string()))),
        }
    }

    fn plain(text: &str) -> String {
        let text = text.trim().trim_matches(['{', '}']).to_lowercase();
        match text.parse::<canh_event::Timestamp>() {
            Ok(time) => (time.nanos() / 1_000).to_string(),
            Err(_) => text,
        }
    }

    #[test]
    fn every_record_of_windows_own_files_is_read_as_another_reader_reads_it() {
        let mut compared = 0;
        for path in files() {
            let file = bytes(&path);
            let records: Vec<_> = chunks_of(&file).into_iter().flat_map(read_chunk).collect();
            let mut ours = Vec::new();
            for record in records {
                let json: Json =
                    serde_json::from_str(&record.unwrap_or_else(|error| panic!("{}: {error}", path.display())))
                        .unwrap();
                let mut fields = BTreeMap::new();
                flat("", &json, &mut fields);
                ours.push(fields);
            }
            assert!(!ours.is_empty(), "{} has no record", path.display());
            let beside = path.with_extension("json");
            if !beside.exists() {
                continue;
            }
            let text = String::from_utf8(bytes(&beside)).unwrap();
            let Ok(theirs) = serde_json::from_str::<Json>(&text) else { continue };
            let mut expected = BTreeMap::new();
            flat("", &theirs, &mut expected);
            expected.retain(|name, _| !name.ends_with(".#attributes.xmlns"));
            if let Some(closest) = ours
                .iter()
                .max_by_key(|fields| expected.iter().filter(|(name, value)| fields.get(*name) == Some(value)).count())
            {
                compared += 1;
                assert_eq!(*closest, expected, "{}", path.display());
            }
        }
        println!("{compared} events compared");
    }

    #[test]
    fn files_cut_off_or_with_flipped_bytes_never_panic() {
        for path in files().iter().step_by(25) {
            let file = bytes(path);
            for length in (0..file.len()).step_by(997) {
                let cut = &file[..length];
                if length > EVTX_HEADER_BYTES {
                    chunks_of(cut).into_iter().for_each(|chunk| drop(read_chunk(chunk)));
                }
            }
            for place in (EVTX_HEADER_BYTES..file.len().min(EVTX_HEADER_BYTES + 8_000)).step_by(3) {
                let mut flipped = file.clone();
                for (step, flip) in [0xff, 0x01, 0x80].into_iter().enumerate() {
                    if let Some(byte) = flipped.get_mut(place + step * 7) {
                        *byte ^= flip;
                    }
                }
                for json in chunks_of(&flipped).into_iter().take(1).flat_map(read_chunk).flatten() {
                    assert!(JsonEvents::default().read(&json).is_ok(), "{json}");
                }
            }
        }
    }
}
