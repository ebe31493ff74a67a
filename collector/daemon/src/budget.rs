//! Memory for batches under way, all connections together, set aside before it is used.
//!
//! Two purses, because a connection asks twice: for the packed bytes before it reads them, and for
//! the work (unpacking, events, what waits for the journal) before it hands them on. Were both in
//! one, connections that hold the first could wait for the second without end.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// Permits stand for kibibytes: a semaphore counts in `u32`.
const UNIT: u64 = 1 << 10;

/// Of the whole budget, the part for reading: 1/4.
const READING_SHARE: u64 = 4;

/// How many times its unpacked length a batch takes up: records, then event columns and the journal
/// record made of them.
const WORK_FACTOR: u64 = 3;

/// The budget.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    reading: Arc<Semaphore>,
    reading_units: u32,
    work: Arc<Semaphore>,
    work_units: u32,
    shown: IntGauge,
}

impl Budget {
    /// Returns a budget of this many bytes.
    pub(crate) fn new(bytes: u64, shown: IntGauge) -> Self {
        let reading_units = units(bytes / READING_SHARE);
        let work_units = units(bytes - bytes / READING_SHARE);
        let purse = |units: u32| Arc::new(Semaphore::new(usize::try_from(units).unwrap_or(usize::MAX)));
        Self { reading: purse(reading_units), reading_units, work: purse(work_units), work_units, shown }
    }

    /// Waits until there is room to read a body. Safe to cancel.
    ///
    /// # Errors
    /// Never: the purse is not closed.
    pub(crate) async fn reading(&self, body_bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
        let wanted = units(body_bytes as u64).min(self.reading_units);
        Arc::clone(&self.reading).acquire_many_owned(wanted).await
    }

    /// Waits until there is room to work on a batch of this unpacked length. Safe to cancel.
    ///
    /// # Errors
    /// Never: the purse is not closed.
    pub(crate) async fn work(&self, raw_bytes: usize) -> Result<OwnedSemaphorePermit, AcquireError> {
        let wanted = units((raw_bytes as u64).saturating_mul(WORK_FACTOR)).min(self.work_units);
        Arc::clone(&self.work).acquire_many_owned(wanted).await
    }

    /// Shows how much is set aside.
    pub(crate) fn show(&self) {
        let free = self.reading.available_permits() + self.work.available_permits();
        let all = u64::from(self.reading_units) + u64::from(self.work_units);
        let used = all.saturating_sub(free as u64).saturating_mul(UNIT);
        self.shown.set(i64::try_from(used).unwrap_or(i64::MAX));
    }
}

fn units(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX >> 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget(bytes: u64) -> Budget {
        Budget::new(bytes, IntGauge::new("memory", "test").unwrap())
    }

    #[tokio::test]
    async fn what_is_set_aside_comes_back() {
        let budget = budget(64 << 20);
        let first = budget.work(16 << 20).await.unwrap();
        budget.show();
        assert_eq!(budget.shown.get(), 48 << 20);
        assert!(Arc::clone(&budget.work).try_acquire_owned().is_err());
        drop(first);
        budget.show();
        assert_eq!(budget.shown.get(), 0);
    }

    #[tokio::test]
    async fn a_batch_larger_than_the_budget_gets_all_of_it_and_no_less() {
        let budget = budget(1 << 20);
        let all = budget.work(8 << 20).await.unwrap();
        assert_eq!(budget.work.available_permits(), 0);
        drop(all);
    }

    #[tokio::test]
    async fn reading_goes_on_while_work_has_no_room() {
        let budget = budget(64 << 20);
        let _work = budget.work(64 << 20).await.unwrap();
        assert!(budget.reading(1 << 20).await.is_ok());
    }
}
