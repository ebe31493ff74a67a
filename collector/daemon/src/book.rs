//! The collector's own count of one stream: how many records of each source are in the journal or known
//! to be lost, up to just one place. What an agent states is held against it.
//!
//! A book counts by place, so whatever is read or sent twice is counted once: a run that the book has is
//! passed over, and one that overlaps counts from where the book stands.
//!
//! ```text
//! position u64 │ uncounted u64 │ journalled u64 │ reasons │ unplaced u64 │ has more u8
//! sources count u32, each: name text │ journalled u64 │ reasons          reasons: count u8, each: u8, u64
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use canh_event::{
    AccountedSource, AgencyId, AgentId, ByteReader, ByteWriter, Counts, DecodeError, GapReason, RecordSequence,
    SourceLoss, SourceName, StoredAccount, Timestamp, add_count, decode_reasons, encode_reasons,
};
use canh_wire::Account;

/// Most sources of one stream that are counted by name, as many as an agent counts.
const MAX_SOURCES: usize = 1_024;
/// Most sources counted by name, all streams together: some 60 MiB.
pub(crate) const MAX_ALL_SOURCES: usize = 262_144;

/// How many more sources may be counted by name.
#[derive(Clone, Debug)]
pub(crate) struct SourceRoom(Arc<AtomicUsize>);

/// One stream's count.
#[derive(Debug)]
pub(crate) struct Book {
    /// Everything up to here is counted, nothing after.
    position: RecordSequence,
    /// Records that came before the count began.
    uncounted: u64,
    journalled: u64,
    gaps: Counts<GapReason>,
    /// Those of `gaps` of sources nobody knows.
    unplaced: u64,
    sources: BTreeMap<SourceName, SourceCount>,
    /// Whether there are sources that are not counted by name.
    has_more: bool,
    room: SourceRoom,
}

/// What is known of one source.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SourceCount {
    journalled: u64,
    gaps: Counts<GapReason>,
}

impl SourceRoom {
    pub(crate) fn new(sources: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(sources)))
    }

    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    fn give_back(&self, sources: usize) {
        self.0.fetch_add(sources, Ordering::Relaxed);
    }
}

impl Drop for Book {
    fn drop(&mut self) {
        self.room.give_back(self.sources.len());
    }
}

impl Book {
    /// Returns a book in which nothing is counted.
    pub(crate) fn new(room: SourceRoom) -> Self {
        Self {
            position: RecordSequence(0),
            uncounted: 0,
            journalled: 0,
            gaps: Counts::new(),
            unplaced: 0,
            sources: BTreeMap::new(),
            has_more: false,
            room,
        }
    }

    /// Returns up to where everything is counted.
    pub(crate) fn position(&self) -> RecordSequence {
        self.position
    }

    /// Counts records in the journal, from `first` on, as runs of one source each.
    pub(crate) fn note_records<'a>(
        &mut self,
        first: RecordSequence,
        runs: impl IntoIterator<Item = (Option<&'a SourceName>, u64)>,
    ) {
        let mut first = first.0;
        for (source, count) in runs {
            let end = first.saturating_add(count);
            let new = self.advance(first, end);
            self.journalled = self.journalled.saturating_add(new);
            if let Some(of_source) = source.filter(|_| new > 0).and_then(|source| self.source(source)) {
                of_source.journalled = of_source.journalled.saturating_add(new);
            }
            first = end;
        }
    }

    /// Counts records that will never come.
    pub(crate) fn note_gap(&mut self, first: RecordSequence, count: u64, reason: GapReason, sources: &[SourceLoss]) {
        let new = self.advance(first.0, first.0.saturating_add(count));
        if new == 0 {
            return;
        }
        add_count(&mut self.gaps, reason, new);
        // Of which sources a part of it is nobody knows.
        let mut unplaced = new;
        for loss in sources.iter().filter(|_| new == count) {
            unplaced = unplaced.saturating_sub(loss.count);
            if let Some(of_source) = self.source(&loss.source) {
                add_count(&mut of_source.gaps, reason, loss.count);
            }
        }
        self.unplaced = self.unplaced.saturating_add(unplaced);
    }

    /// Moves on to before `end`; returns how many of the records from `first` on are new.
    fn advance(&mut self, first: u64, end: u64) -> u64 {
        let next = self.position.0.saturating_add(1);
        if end <= next {
            return 0;
        }
        if first > next {
            // The stream only ever goes on without a hole, so the journal has lost what was here, or its
            // oldest part is gone and there is no count of it.
            let hole = first - next;
            if self.position.0 == 0 {
                self.uncounted = self.uncounted.saturating_add(hole);
            } else {
                add_count(&mut self.gaps, GapReason::JournalDamaged, hole);
                self.unplaced = self.unplaced.saturating_add(hole);
            }
        }
        self.position = RecordSequence(end - 1);
        end - first.max(next)
    }

    fn source(&mut self, source: &SourceName) -> Option<&mut SourceCount> {
        if !self.sources.contains_key(source) {
            if self.sources.len() >= MAX_SOURCES || !self.room.take() {
                self.has_more = true;
                return None;
            }
            self.sources.insert(source.clone(), SourceCount::default());
        }
        self.sources.get_mut(source)
    }

    /// Returns what an agent states with what is counted beside it.
    ///
    /// # Contract
    /// The book stands where the account does.
    pub(crate) fn hold_against(
        &self,
        agent: &AgentId,
        agency: &AgencyId,
        account: Account,
        received: Timestamp,
    ) -> StoredAccount {
        debug_assert_eq!(self.position, account.position, "an account is held against the count up to its place");
        let Account { stream, epoch, position, spooled, stated, is_whole, sources } = account;
        let sources = sources.into_iter().map(|stated| {
            let known = self.sources.get(&stated.source);
            let is_known = known.is_some() || !self.has_more;
            let SourceCount { journalled, gaps } = known.cloned().unwrap_or_default();
            AccountedSource { stated, journalled, gaps, is_known }
        });
        StoredAccount {
            agent: agent.clone(),
            agency: agency.clone(),
            stream,
            epoch,
            position,
            spooled,
            stated,
            received,
            is_whole,
            journalled: self.journalled,
            uncounted: self.uncounted,
            gaps: self.gaps.clone(),
            unplaced: self.unplaced,
            sources: sources.collect(),
        }
    }

    /// Takes over a count that was stored with an account, if it knows more than this one: what came
    /// before this one began.
    pub(crate) fn adopt(&mut self, account: &StoredAccount) {
        let knows_more = account.uncounted < self.uncounted && account.position == self.position;
        if !knows_more || !account.is_whole || account.sources.iter().any(|source| !source.is_known) {
            return;
        }
        (self.uncounted, self.journalled) = (account.uncounted, account.journalled);
        (self.gaps, self.unplaced) = (account.gaps.clone(), account.unplaced);
        self.room.give_back(self.sources.len());
        self.sources.clear();
        for AccountedSource { stated, journalled, gaps, .. } in &account.sources {
            let count = SourceCount { journalled: *journalled, gaps: gaps.clone() };
            if let Some(of_source) = self.source(&stated.source) {
                *of_source = count;
            }
        }
    }

    /// Appends it; [`Book::decode`] reads it back.
    pub(crate) fn encode(&self, writer: &mut ByteWriter<'_>) {
        writer.u64(self.position.0);
        writer.u64(self.uncounted);
        writer.u64(self.journalled);
        encode_reasons(&self.gaps, writer);
        writer.u64(self.unplaced);
        writer.u8(u8::from(self.has_more));
        writer.count(self.sources.len());
        for (source, SourceCount { journalled, gaps }) in &self.sources {
            writer.text(source.as_str());
            writer.u64(*journalled);
            encode_reasons(gaps, writer);
        }
    }

    /// Reads what [`Book::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`], naming what is wrong and where.
    pub(crate) fn decode(reader: &mut ByteReader<'_>, room: SourceRoom) -> Result<Self, DecodeError> {
        let mut book = Self::new(room);
        book.position = RecordSequence(reader.u64("position")?);
        book.uncounted = reader.u64("records uncounted")?;
        book.journalled = reader.u64("records journalled")?;
        book.gaps = decode_reasons(reader)?;
        book.unplaced = reader.u64("records unplaced")?;
        book.has_more = reader.u8("more sources")? != 0;
        for _ in 0..reader.count(MAX_SOURCES, "sources of a book")? {
            let offset = reader.offset();
            let source: SourceName = reader
                .text(255, "source name")?
                .parse()
                .map_err(|_| DecodeError::Invalid { what: "source name", offset })?;
            let (journalled, gaps) = (reader.u64("records journalled")?, decode_reasons(reader)?);
            if let Some(count) = book.source(&source) {
                *count = SourceCount { journalled, gaps };
            }
        }
        Ok(book)
    }

    /// Returns all records it counts, for a test.
    #[cfg(test)]
    pub(crate) fn total(&self) -> u64 {
        self.uncounted + self.journalled + canh_event::sum_counts(&self.gaps)
    }
}

/// Two books are the same if they count the same, whatever room is left beside them.
impl PartialEq for Book {
    fn eq(&self, other: &Self) -> bool {
        let counts = |book: &Self| (book.position, book.uncounted, book.journalled, book.unplaced, book.has_more);
        counts(self) == counts(other) && self.gaps == other.gaps && self.sources == other.sources
    }
}

#[cfg(test)]
mod tests {
    use canh_event::{Epoch, SourceAccount};
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> SourceName {
        text.parse().unwrap()
    }

    fn book() -> Book {
        Book::new(SourceRoom::new(100))
    }

    fn loss(source: &str, count: u64) -> SourceLoss {
        SourceLoss { source: name(source), count, first: Timestamp::EPOCH, last: Timestamp::EPOCH }
    }

    fn stated(book: &Book, sources: &[(&str, u64)]) -> StoredAccount {
        let source = |(source, produced): &(&str, u64)| SourceAccount {
            produced: *produced,
            ..SourceAccount::new(name(source))
        };
        let account = Account {
            stream: "log".parse().unwrap(),
            epoch: Epoch(1),
            position: book.position(),
            spooled: RecordSequence(1_000),
            stated: Timestamp::EPOCH,
            is_whole: true,
            sources: sources.iter().map(source).collect(),
        };
        book.hold_against(&"web-01".parse().unwrap(), &"so-tttt".parse().unwrap(), account, Timestamp::EPOCH)
    }

    #[test]
    fn what_is_read_twice_is_counted_once() {
        let (a, b) = (name("/a"), name("/b"));
        let mut book = book();
        book.note_records(RecordSequence(1), [(Some(&a), 5), (Some(&b), 5)]);
        book.note_records(RecordSequence(4), [(Some(&a), 2), (Some(&b), 5), (Some(&a), 3)]);
        book.note_gap(RecordSequence(14), 3, GapReason::SpoolFull, &[loss("/b", 3)]);
        book.note_gap(RecordSequence(1), 16, GapReason::SpoolFull, &[loss("/b", 16)]);
        // Of which source a part of a gap is nobody knows.
        book.note_gap(RecordSequence(16), 3, GapReason::Refused, &[loss("/b", 3)]);
        assert_eq!((book.position().0, book.total(), book.unplaced), (18, 18, 2));
        let account = stated(&book, &[("/a", 8), ("/b", 10)]);
        assert_eq!((account.sources[0].accounted(), account.sources[1].accounted()), (8, 8));
        assert_eq!(account.sources[1].gaps, [(GapReason::SpoolFull, 3)]);
        assert_eq!(account.disagreement(), None);
    }

    #[test]
    fn hole_at_the_beginning_is_uncounted_and_one_later_is_a_loss() {
        let a = name("/a");
        let mut book = book();
        book.note_records(RecordSequence(101), [(Some(&a), 5)]);
        book.note_records(RecordSequence(110), [(Some(&a), 1)]);
        let account = stated(&book, &[("/a", 110)]);
        assert_eq!((account.uncounted, account.unplaced), (100, 4));
        assert_eq!(account.gaps, [(GapReason::JournalDamaged, 4)]);
        assert_eq!(account.disagreement(), None);
    }

    #[test]
    fn count_that_was_stored_fills_in_what_came_before() {
        let a = name("/a");
        let mut whole = book();
        whole.note_records(RecordSequence(1), [(Some(&a), 105)]);
        let account = stated(&whole, &[("/a", 105)]);
        let mut late = book();
        late.note_records(RecordSequence(101), [(Some(&a), 5)]);
        late.adopt(&account);
        assert_eq!(late, whole);
        late.note_records(RecordSequence(106), [(Some(&a), 1)]);
        let before = late.total();
        late.adopt(&account);
        assert_eq!(late.total(), before, "one of another place is not taken over");
    }

    #[test]
    fn sources_past_the_room_are_counted_together_and_the_room_comes_back() {
        let room = SourceRoom::new(2);
        let mut book = Book::new(room.clone());
        let names = ["/a", "/b", "/c"].map(name);
        book.note_records(RecordSequence(1), names.iter().map(|name| (Some(name), 1)));
        let account = stated(&book, &[("/a", 1), ("/c", 9)]);
        assert!(account.sources[0].is_known && !account.sources[1].is_known);
        assert_eq!(account.disagreement(), None);
        drop(book);
        assert!(room.take() && room.take() && !room.take());
    }

    proptest! {
        #[test]
        fn books_come_back_and_changed_bytes_never_panic(
            runs in proptest::collection::vec((0..4_u8, 1..50_u64, any::<bool>()), 0..20),
            at in any::<prop::sample::Index>(), flip in 1..=255u8,
        ) {
            let mut book = book();
            for (source, count, is_gap) in runs {
                let (first, source) = (RecordSequence(book.position().0 + 1), format!("/{source}"));
                if is_gap {
                    book.note_gap(first, count, GapReason::QueueFull, &[loss(&source, count)]);
                } else {
                    book.note_records(first, [(Some(&name(&source)), count)]);
                }
            }
            prop_assert_eq!(book.total(), book.position().0);
            let mut bytes = Vec::new();
            book.encode(&mut ByteWriter::new(&mut bytes));
            prop_assert_eq!(Book::decode(&mut ByteReader::new(&bytes), SourceRoom::new(9)).unwrap(), book);
            let place = at.index(bytes.len());
            prop_assert!(Book::decode(&mut ByteReader::new(&bytes[..place]), SourceRoom::new(9)).is_err());
            bytes[place] ^= flip;
            let _ = Book::decode(&mut ByteReader::new(&bytes), SourceRoom::new(9));
        }
    }
}
