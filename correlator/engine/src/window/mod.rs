//! What one group remembers of its events until its rule is met, one file a kind of condition.

mod anchored;
mod distinct;
mod occurrences;
mod times;

pub(crate) use anchored::{Anchored, ClosedWindow};
pub(crate) use distinct::Distinct;
pub(crate) use occurrences::{MemberExpression, MemberTest, Occurrences};
pub(crate) use times::{CountTest, Times};
