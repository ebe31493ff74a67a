//! Whether one field's value stands to another's as a pair asks.

use canh_event::Value;

use crate::fold::fold_into;
use crate::program::Pair;

/// Returns whether `other` stands in `value` as the pair asks; `folded` is room for both.
pub(crate) fn stands(pair: &Pair, value: Value<'_>, other: Value<'_>, folded: &mut (String, String)) -> bool {
    if pair.cased {
        return pair.relation.holds(value.text, other.text);
    }
    let (one, two) = folded;
    one.clear();
    two.clear();
    fold_into(value.text, one);
    fold_into(other.text, two);
    pair.relation.holds(one, two)
}
