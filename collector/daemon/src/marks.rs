//! High-water marks and books through a restart: marks are written into the journal now and then, and
//! both are brought up to its end from there.
//!
//! Every batch and gap in the journal says how far it brings its stream. So that a start need not
//! read the whole journal, all marks are written into it as records of their own, and a cursor
//! says where to read on from: before the marks, behind everything they hold.
//!
//! ```text
//! magic "CSM" │ version u8 │ count u32 │ each: agent text, stream text, epoch u128, durable u64
//! ```

use canh_event::{
    ByteReader, ByteWriter, DecodeError, Epoch, EventBatch, RecordSequence, StoredAccount, StoredBatch, StoredGap,
};
use canh_journal::{Entry, Lsn, ReadError, Reader};

use crate::kinds::{KIND_ACCOUNT, KIND_EVENTS, KIND_GAP, KIND_MARKS};
use crate::streams::{MarkState, Streams};

const MAGIC: &[u8; 3] = b"CSM";
const VERSION: u8 = 1;

/// Most marks of one journal record: at most 3 MiB.
const MARKS_PER_RECORD: usize = 20_000;

/// What a rebuild found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rebuilt {
    /// Journal records read.
    pub(crate) records: u64,
    /// Those of them that are no marks: what has happened since the marks were kept.
    pub(crate) changes: u64,
    /// Journal records that are damaged, or not what their kind says.
    pub(crate) lost: u64,
}

/// Returns the journal records that hold these marks.
pub(crate) fn encode(states: &[MarkState]) -> Vec<Vec<u8>> {
    states.chunks(MARKS_PER_RECORD).map(encode_chunk).collect()
}

fn encode_chunk(states: &[MarkState]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut writer = ByteWriter::new(&mut out);
    writer.raw(MAGIC);
    writer.u8(VERSION);
    writer.count(states.len());
    for state in states {
        writer.text(state.agent.as_str());
        writer.text(state.stream.as_str());
        writer.u128(state.epoch.0);
        writer.u64(state.durable.0);
    }
    out
}

fn decode(bytes: &[u8]) -> Result<Vec<MarkState>, DecodeError> {
    let mut reader = ByteReader::new(bytes);
    if reader.take(MAGIC.len(), "marks magic")? != MAGIC {
        return Err(DecodeError::Invalid { what: "marks magic", offset: 0 });
    }
    let version = reader.u8("marks version")?;
    if version != VERSION {
        return Err(DecodeError::Version { what: "a record of marks", got: version, known: VERSION });
    }
    let count = reader.count(MARKS_PER_RECORD, "mark count")?;
    let mut states = Vec::new();
    for _ in 0..count {
        let offset = reader.offset();
        let invalid = |what| DecodeError::Invalid { what, offset };
        let agent = reader.text(63, "agent name")?.parse().map_err(|_| invalid("agent name"))?;
        let stream = reader.text(63, "stream name")?.parse().map_err(|_| invalid("stream name"))?;
        let epoch = Epoch(reader.u128("epoch")?);
        let durable = RecordSequence(reader.u64("durable sequence")?);
        states.push(MarkState { agent, stream, epoch, durable });
    }
    reader.finish("end of marks")?;
    Ok(states)
}

/// Takes in what a journal record says about marks and books; nothing for a kind that is not ours.
fn restore(kind: u8, body: &[u8], streams: &Streams) -> Result<(), DecodeError> {
    match kind {
        KIND_EVENTS => {
            let (head, rest) = StoredBatch::decode_head(body)?;
            let runs = EventBatch::decode_sources(rest)?;
            let rows: u64 = runs.iter().map(|(_, count)| count).sum();
            let durable = RecordSequence(head.first.0.saturating_add(rows).saturating_sub(1));
            let state = MarkState { agent: head.agent, stream: head.stream, epoch: head.epoch, durable };
            let runs = runs.iter().map(|(source, count)| (source.as_ref(), *count));
            streams.restore(&state).book().note_records(head.first, runs);
        }
        KIND_GAP => {
            let gap = StoredGap::decode(body)?;
            let durable = gap.last();
            let StoredGap { agent, stream, epoch, from, count, reason, sources, .. } = gap;
            let mark = streams.restore(&MarkState { agent, stream, epoch, durable });
            mark.book().note_gap(from, count, reason, &sources);
        }
        KIND_ACCOUNT => {
            let account = StoredAccount::decode(body)?;
            let (agent, stream) = (account.agent.clone(), account.stream.clone());
            let mark = streams.restore(&MarkState { agent, stream, epoch: account.epoch, durable: account.position });
            mark.book().adopt(&account);
        }
        KIND_MARKS => decode(body)?.iter().for_each(|state| drop(streams.restore(state))),
        _ => {}
    }
    Ok(())
}

/// Reads the journal from `from` to its end and restores every mark and book it tells of; `seen` is shown
/// every record. Records that cannot be read are logged and counted: what they brought is sent again by
/// its agent, or reported as a gap.
///
/// # Errors
/// [`ReadError`] that no reading on can pass.
pub(crate) fn rebuild(
    reader: &mut Reader,
    from: Lsn,
    streams: &Streams,
    mut seen: impl FnMut(&Entry<'_>),
) -> Result<Rebuilt, ReadError> {
    let oldest = reader.oldest()?;
    if from < oldest {
        tracing::warn!(%from, %oldest, "the journal no longer reaches back to the kept place, reading all of it");
    }
    reader.seek(from.max(oldest))?;
    let mut rebuilt = Rebuilt::default();
    loop {
        match reader.next() {
            Ok(Some(entry)) => {
                rebuilt.records += 1;
                rebuilt.changes += u64::from(entry.kind != KIND_MARKS);
                seen(&entry);
                if let Err(error) = restore(entry.kind, entry.body, streams) {
                    rebuilt.lost += 1;
                    tracing::error!(lsn = %entry.lsn, %error, "a journal record is not what its kind says");
                }
            }
            Ok(None) => return Ok(rebuilt),
            Err(ReadError::Damaged(_)) => {
                let Some(damage) = reader.skip_damage() else { return Ok(rebuilt) };
                rebuilt.lost += damage.to.0.saturating_sub(damage.from.0) + 1;
                tracing::error!(from = %damage.from, to = %damage.to, "journal records are lost");
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use canh_event::GapReason;
    use canh_journal::{Journal, JournalOptions};

    use super::*;

    fn state(agent: &str, epoch: u128, durable: u64) -> MarkState {
        let (agent, stream) = (agent.parse().unwrap(), "log".parse().unwrap());
        MarkState { agent, stream, epoch: Epoch(epoch), durable: RecordSequence(durable) }
    }

    fn gap_record(agent: &str, from: u64, count: u64) -> Vec<u8> {
        let (agent, stream, agency, epoch) = (agent.parse().unwrap(), "log".parse().unwrap(), None, Epoch(1));
        let (from, reason, sources) = (RecordSequence(from), GapReason::SpoolFull, Vec::new());
        let received = canh_event::Timestamp::EPOCH;
        StoredGap { agent, agency, stream, epoch, from, count, reason, received, sources }.encode()
    }

    fn rebuilt(dir: &std::path::Path, from: Lsn) -> (Vec<MarkState>, Rebuilt) {
        let streams = Streams::new(4);
        let rebuilt = rebuild(&mut Reader::open(dir).unwrap(), from, &streams, |_| {}).unwrap();
        let mut states = streams.durable();
        states.sort_by(|left, right| (&left.agent, left.epoch).cmp(&(&right.agent, right.epoch)));
        (states, rebuilt)
    }

    #[test]
    fn marks_come_back_as_they_were() {
        let states = [state("a", 1, 5), state("b", u128::MAX, u64::MAX)];
        let [record] = &encode(&states)[..] else { panic!("one record") };
        assert_eq!(decode(record).unwrap(), states);
        for cut in 0..record.len() {
            assert!(decode(&record[..cut]).is_err());
        }
        let many: Vec<MarkState> = (0..MARKS_PER_RECORD as u64 + 1).map(|at| state("a", 1, at)).collect();
        let records = encode(&many);
        assert_eq!(records.len(), 2);
        assert_eq!(records.iter().flat_map(|record| decode(record).unwrap()).count(), many.len());
    }

    #[test]
    fn the_highest_of_marks_and_records_counts_wherever_reading_begins() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), JournalOptions::default()).unwrap();
        journal.append(KIND_GAP, &gap_record("a", 1, 10)).unwrap();
        let begin = journal.append(KIND_GAP, &gap_record("b", 1, 3)).unwrap();
        journal.append(KIND_MARKS, &encode(&[state("a", 1, 10), state("b", 1, 2)])[0]).unwrap();
        journal.append(KIND_GAP, &gap_record("a", 11, 5)).unwrap();
        journal.append(99, b"a kind of a later release").unwrap();
        journal.sync().unwrap();
        let expected = vec![state("a", 1, 15), state("b", 1, 3)];
        assert_eq!(rebuilt(dir.path(), Lsn::FIRST), (expected.clone(), Rebuilt { records: 5, changes: 4, lost: 0 }));
        assert_eq!(rebuilt(dir.path(), begin), (expected, Rebuilt { records: 4, changes: 3, lost: 0 }));
    }

    #[test]
    fn a_batch_brings_its_stream_to_its_last_row() {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = Journal::open(dir.path(), JournalOptions::default()).unwrap();
        let mut builder = canh_event::BatchBuilder::new();
        for raw in [b"one".as_slice(), b"two"] {
            let origin = builder.origin(&canh_event::Origin::unknown()).unwrap();
            let logsource = builder.logsource(&canh_event::Logsource::unknown()).unwrap();
            let (time, received) = (canh_event::Timestamp::EPOCH, canh_event::Timestamp::EPOCH);
            let time_quality = canh_event::TimeQuality::Received;
            let header = canh_event::RowHeader { time, time_quality, received, origin, logsource };
            builder.begin_row(header, raw).unwrap().commit();
        }
        let mut body = Vec::new();
        let (agent, stream) = ("a".parse().unwrap(), "log".parse().unwrap());
        let (epoch, first, batch) = (Epoch(1), RecordSequence(41), builder.finish());
        StoredBatch { agent, stream, epoch, first, batch }.encode(&mut body);
        journal.append(KIND_EVENTS, &body).unwrap();
        journal.append(KIND_EVENTS, b"broken").unwrap();
        journal.sync().unwrap();
        assert_eq!(
            rebuilt(dir.path(), Lsn::FIRST),
            (vec![state("a", 1, 42)], Rebuilt { records: 2, changes: 2, lost: 1 })
        );
    }
}
