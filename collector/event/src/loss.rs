//! The words of the loss ledger: why records never come, how many of which source, and what an
//! agent says of each of its sources.
//!
//! ```text
//! losses:   count u32, each: source text │ count u64 │ first i64 │ last i64
//! account:  source text │ produced u64 │ reasons u8, each: u8, u64 │ figures u8, each: u8, u64
//! ```

use crate::codec::{ByteReader, ByteWriter, DecodeError};
use crate::ids::SourceName;
use crate::time::Timestamp;

/// Most sources a gap or an account names. The records of the others are in its sums only.
pub const MAX_LEDGER_SOURCES: usize = 256;

/// Declares an enum that stands for a number in our formats, with a word for labels and texts.
macro_rules! coded {
    (
        $(#[$doc:meta])* $name:ident, $what:literal { $( $(#[$vdoc:meta])* $variant:ident = $code:literal, $word:literal; )+ }
    ) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum $name { $( $(#[$vdoc])* $variant, )+ }

        impl $name {
            /// Every value, in order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Returns the number that stands for it.
            pub const fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)+ }
            }

            /// Returns the value a number stands for.
            pub const fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)+ _ => None }
            }

            /// Returns its one word, for metric labels and texts.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            fn decode(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
                let offset = reader.offset();
                Self::from_code(reader.u8($what)?).ok_or(DecodeError::Invalid { what: $what, offset })
            }
        }
    };
}

coded! {
    /// Why records will never come.
    GapReason, "gap reason" {
        /// The spool was full and its oldest records were dropped.
        SpoolFull = 1, "spool_full";
        /// The spool was damaged and could not be read.
        SpoolCorrupt = 2, "spool_corrupt";
        /// The collector refused them for good.
        Refused = 3, "refused";
        /// Another store had acknowledged them and the spool let them go.
        ElsewhereAcknowledged = 4, "elsewhere_acknowledged";
        /// The collector had acknowledged them, came back from an older copy of its store, and the
        /// spool had let them go.
        StoreRolledBack = 5, "store_rolled_back";
        /// The queue before the spool was full.
        QueueFull = 6, "queue_full";
        /// The agent stopped before they were in the spool.
        Stopped = 7, "stopped";
        /// They could not be read where they were.
        Unreadable = 8, "unreadable";
        /// They are longer than the collector takes.
        Oversize = 9, "oversize";
        /// A file went away before it was read to its end; nobody knows how many it held, so each
        /// such file counts as one.
        FileLost = 10, "file_lost";
        /// The collector's journal was damaged and lost them.
        JournalDamaged = 11, "journal_damaged";
    }
}

impl GapReason {
    /// Returns whether the records are lost; those that another store has are not.
    pub const fn is_loss(self) -> bool {
        !matches!(self, Self::ElsewhereAcknowledged)
    }
}

coded! {
    /// What a source lost that never was a record, so that it stands beside the balance.
    Figure, "figure" {
        /// Packets the kernel's buffer had no room for.
        KernelPackets = 1, "kernel_packets";
        /// Packets the interface dropped.
        InterfacePackets = 2, "interface_packets";
        /// Bytes cut off records that were too long.
        CutBytes = 3, "cut_bytes";
        /// Records that were cut.
        CutRecords = 4, "cut_records";
    }
}

/// Counts by a reason, each reason once, in the order of their numbers.
pub type Counts<T> = Vec<(T, u64)>;

/// How many records of one source a gap takes away, and when they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceLoss {
    /// The source.
    pub source: SourceName,
    /// How many records; at least one.
    pub count: u64,
    /// When the first of them was read.
    pub first: Timestamp,
    /// When the last of them was read.
    pub last: Timestamp,
}

/// What an agent says of one source, all counted since its spool was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceAccount {
    /// The source.
    pub source: SourceName,
    /// Records that were given a place in the stream, those lost afterwards among them.
    pub produced: u64,
    /// Records the agent itself has lost, by its own count.
    pub dropped: Counts<GapReason>,
    /// What was lost before it was a record.
    pub figures: Counts<Figure>,
}

/// Adds to the count of a reason.
pub fn add_count<T: Copy + Ord>(counts: &mut Counts<T>, reason: T, count: u64) {
    match counts.binary_search_by_key(&reason, |(known, _)| *known) {
        Ok(at) => {
            if let Some((_, sum)) = counts.get_mut(at) {
                *sum = sum.saturating_add(count);
            }
        }
        Err(at) => counts.insert(at, (reason, count)),
    }
}

/// Returns the sum of counts.
pub fn sum_counts<T>(counts: &Counts<T>) -> u64 {
    counts.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
}

/// Appends losses; [`decode_losses`] reads them back.
///
/// # Contract
/// At most [`MAX_LEDGER_SOURCES`].
pub fn encode_losses(losses: &[SourceLoss], writer: &mut ByteWriter<'_>) {
    writer.count(losses.len());
    for loss in losses {
        writer.text(loss.source.as_str());
        writer.u64(loss.count);
        writer.i64(loss.first.nanos());
        writer.i64(loss.last.nanos());
    }
}

/// Reads losses that together are at most `count` records.
///
/// # Errors
/// [`DecodeError`], naming what is wrong and where.
pub fn decode_losses(reader: &mut ByteReader<'_>, count: u64) -> Result<Vec<SourceLoss>, DecodeError> {
    let mut losses: Vec<SourceLoss> = Vec::new();
    let mut left = count;
    for _ in 0..reader.count(MAX_LEDGER_SOURCES, "sources of a gap")? {
        let offset = reader.offset();
        let source = decode_source(reader)?;
        let count = reader.u64("records of a source")?;
        let (first, last) = (reader.i64("first time")?, reader.i64("last time")?);
        let rest = left.checked_sub(count).filter(|_| count > 0);
        let is_new = losses.last().is_none_or(|before| before.source < source);
        left = rest
            .filter(|_| is_new && first <= last)
            .ok_or(DecodeError::Invalid { what: "loss of a source", offset })?;
        losses.push(SourceLoss {
            source,
            count,
            first: Timestamp::from_nanos(first),
            last: Timestamp::from_nanos(last),
        });
    }
    Ok(losses)
}

impl SourceAccount {
    /// Returns the account of a source nothing is known of.
    pub fn new(source: SourceName) -> Self {
        Self { source, produced: 0, dropped: Vec::new(), figures: Vec::new() }
    }

    /// Appends it; [`SourceAccount::decode`] reads it back.
    pub fn encode(&self, writer: &mut ByteWriter<'_>) {
        writer.text(self.source.as_str());
        writer.u64(self.produced);
        encode_counts(&self.dropped, GapReason::code, writer);
        encode_counts(&self.figures, Figure::code, writer);
    }

    /// Reads what [`SourceAccount::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where.
    pub fn decode(reader: &mut ByteReader<'_>) -> Result<Self, DecodeError> {
        let source = decode_source(reader)?;
        let produced = reader.u64("records produced")?;
        let dropped = decode_counts(reader, GapReason::decode)?;
        let figures = decode_counts(reader, Figure::decode)?;
        Ok(Self { source, produced, dropped, figures })
    }
}

/// Appends counts by gap reason; [`decode_reasons`] reads them back.
pub fn encode_reasons(counts: &Counts<GapReason>, writer: &mut ByteWriter<'_>) {
    encode_counts(counts, GapReason::code, writer);
}

/// Reads counts by gap reason.
///
/// # Errors
/// [`DecodeError`], naming what is wrong and where.
pub fn decode_reasons(reader: &mut ByteReader<'_>) -> Result<Counts<GapReason>, DecodeError> {
    decode_counts(reader, GapReason::decode)
}

pub(crate) fn decode_source(reader: &mut ByteReader<'_>) -> Result<SourceName, DecodeError> {
    let offset = reader.offset();
    reader.text(255, "source name")?.parse().map_err(|_| DecodeError::Invalid { what: "source name", offset })
}

fn encode_counts<T: Copy>(counts: &Counts<T>, code: impl Fn(T) -> u8, writer: &mut ByteWriter<'_>) {
    writer.u8(u8::try_from(counts.len()).unwrap_or(u8::MAX));
    for (reason, count) in counts {
        writer.u8(code(*reason));
        writer.u64(*count);
    }
}

fn decode_counts<T: Copy + Ord>(
    reader: &mut ByteReader<'_>,
    mut reason: impl FnMut(&mut ByteReader<'_>) -> Result<T, DecodeError>,
) -> Result<Counts<T>, DecodeError> {
    let mut counts: Counts<T> = Vec::new();
    for _ in 0..reader.u8("number of reasons")? {
        let offset = reader.offset();
        let reason = reason(reader)?;
        // Each reason once and in order, so there are no more of them than there are reasons.
        if counts.last().is_some_and(|(before, _)| *before >= reason) {
            return Err(DecodeError::Invalid { what: "order of reasons", offset });
        }
        counts.push((reason, reader.u64("count of a reason")?));
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn account() -> impl Strategy<Value = SourceAccount> {
        let reasons = proptest::collection::btree_map(0..GapReason::ALL.len(), any::<u64>(), 0..5);
        let figures = proptest::collection::btree_map(0..Figure::ALL.len(), any::<u64>(), 0..4);
        ("[a-z/]{1,40}", any::<u64>(), reasons, figures).prop_map(|(source, produced, reasons, figures)| {
            SourceAccount {
                source: source.parse().unwrap(),
                produced,
                dropped: reasons.into_iter().map(|(at, count)| (GapReason::ALL[at], count)).collect(),
                figures: figures.into_iter().map(|(at, count)| (Figure::ALL[at], count)).collect(),
            }
        })
    }

    proptest! {
        #[test]
        fn accounts_come_back_and_changed_bytes_never_panic(
            account in account(), at in any::<prop::sample::Index>(), flip in 1..=255u8,
        ) {
            let mut bytes = Vec::new();
            account.encode(&mut ByteWriter::new(&mut bytes));
            prop_assert_eq!(SourceAccount::decode(&mut ByteReader::new(&bytes)), Ok(account));
            prop_assert!(SourceAccount::decode(&mut ByteReader::new(&bytes[..at.index(bytes.len())])).is_err());
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            let _ = SourceAccount::decode(&mut ByteReader::new(&bytes));
        }
    }

    #[test]
    fn losses_that_are_more_than_the_gap_or_name_a_source_twice_are_refused() {
        let loss = |source: &str, count| SourceLoss {
            source: source.parse().unwrap(),
            count,
            first: Timestamp::from_secs(1),
            last: Timestamp::from_secs(2),
        };
        let read = |losses: &[SourceLoss], count| {
            let mut bytes = Vec::new();
            encode_losses(losses, &mut ByteWriter::new(&mut bytes));
            decode_losses(&mut ByteReader::new(&bytes), count)
        };
        let both = [loss("/a", 3), loss("/b", 4)];
        assert_eq!(read(&both, 7).as_deref(), Ok(both.as_slice()));
        assert!(read(&both, 8).is_ok(), "what is left is of a source nobody knows");
        assert!(read(&both, 6).is_err());
        assert!(read(&[loss("/a", 1), loss("/a", 1)], 7).is_err());
        assert!(read(&[loss("/a", 0)], 7).is_err());
    }

    #[test]
    fn counts_are_added_by_reason_and_stay_in_order() {
        let mut counts = Vec::new();
        for (reason, count) in [(GapReason::Refused, 1), (GapReason::SpoolFull, 2), (GapReason::Refused, 3)] {
            add_count(&mut counts, reason, count);
        }
        assert_eq!(counts, [(GapReason::SpoolFull, 2), (GapReason::Refused, 4)]);
        assert_eq!(sum_counts(&counts), 6);
    }

    #[test]
    fn numbers_come_back_and_are_distinct() {
        for reason in GapReason::ALL {
            assert_eq!(GapReason::from_code(reason.code()), Some(*reason));
        }
        for figure in Figure::ALL {
            assert_eq!(Figure::from_code(figure.code()), Some(*figure));
        }
        assert_eq!((GapReason::from_code(0), Figure::from_code(0)), (None, None));
    }
}
