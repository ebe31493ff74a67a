//! The bounds of the front end, each with its reason. A rule pack is an operator's, but it may have
//! come from anywhere: nothing in it may cost more than its size.

/// Longest rule file, in bytes. SigmaHQ's longest is under 40 kB; a file of several hundred rules
/// still fits.
pub(crate) const MAX_FILE_BYTES: usize = 4 << 20;

/// Deepest nesting of YAML lists and maps. A rule needs five.
pub(crate) const MAX_YAML_DEPTH: usize = 32;

/// Most YAML nodes of one file, aliases counted as often as they are used: the alias bomb's bound.
pub(crate) const MAX_YAML_NODES: usize = 400_000;

/// Deepest nesting of a condition: brackets and `not`s.
pub(crate) const MAX_CONDITION_DEPTH: usize = 64;

/// Most search identifiers and operators of one condition.
pub(crate) const MAX_CONDITION_TERMS: usize = 4_096;

/// Longest regular expression, in bytes.
pub(crate) const MAX_REGEX_BYTES: usize = 8_192;

/// Most memory one compiled regular expression may take.
pub(crate) const MAX_REGEX_COMPILED_BYTES: usize = 4 << 20;

/// Most memory one regular expression's lazily built automaton may take while matching.
pub(crate) const MAX_REGEX_CACHE_BYTES: usize = 256 << 10;

/// Deepest nesting of a regular expression.
pub(crate) const MAX_REGEX_DEPTH: u32 = 64;

/// Most values one item may have after `windash`, `base64offset` and `expand` have multiplied them.
pub(crate) const MAX_ITEM_VALUES: usize = 65_536;

/// Most dashes of one `windash` value: each makes five of every variant.
pub(crate) const MAX_WINDASH_DASHES: usize = 4;

/// Longest chain of modifiers on one field.
pub(crate) const MAX_MODIFIERS: usize = 8;

/// Most rules, correlations included, of one set: an index is a `u32`, a hit list must stay small.
pub(crate) const MAX_RULES: usize = 200_000;
