//! What is asked of the view: a sorted map of bytes that writes several pairs at once or not at
//! all. sled is one; a map in memory is the other, for tests and for differential tests.

use crate::fault::SledFault;

/// One write of a batch: a key and its new value, or none to remove it.
pub(crate) type Write = (Vec<u8>, Option<Vec<u8>>);

/// A pair, as it is stored.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// What is wrong with the view. The ledger is not concerned: the view can be made again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// sled said so.
    #[error("the view cannot be read or written")]
    Sled(#[source] SledFault),
    /// A row is not what was written.
    #[error("row {key} of the view is damaged: {what}")]
    Damaged {
        /// The row's key in hexadecimal.
        key: String,
        /// What is wrong.
        what: &'static str,
    },
    /// A row is not the JSON it should be.
    #[error("row {key} of the view cannot be read")]
    Json {
        /// The row's key in hexadecimal.
        key: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The rows do not fit each other.
    #[error("the view does not agree with itself: {what}")]
    Inconsistent {
        /// What does not agree.
        what: String,
    },
    /// A write failed before; the view is behind until the store is opened again.
    #[error("the view is behind the ledger since a write failed, open the store again")]
    Behind,
}

/// A sorted map of bytes.
pub(crate) trait View {
    /// Returns the value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError>;

    /// Returns the pairs whose keys begin so, sorted.
    fn scan(&self, prefix: &[u8]) -> Box<dyn Iterator<Item = Result<Pair, ViewError>> + '_>;

    /// Writes all or nothing.
    fn write(&mut self, writes: Vec<Write>) -> Result<(), ViewError>;
}

/// The plain twin of sled.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct MemoryView(pub(crate) std::collections::BTreeMap<Vec<u8>, Vec<u8>>);

#[cfg(test)]
impl View for MemoryView {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, ViewError> {
        Ok(self.0.get(key).cloned())
    }

    fn scan(&self, prefix: &[u8]) -> Box<dyn Iterator<Item = Result<Pair, ViewError>> + '_> {
        let prefix = prefix.to_vec();
        let pairs = self.0.range(prefix.clone()..).take_while(move |(key, _)| key.starts_with(&prefix));
        Box::new(pairs.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }

    fn write(&mut self, writes: Vec<Write>) -> Result<(), ViewError> {
        for (key, value) in writes {
            match value {
                Some(value) => drop(self.0.insert(key, value)),
                None => drop(self.0.remove(&key)),
            }
        }
        Ok(())
    }
}
