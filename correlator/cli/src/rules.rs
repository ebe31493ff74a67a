//! `canh rules`: what is loaded, what is wrong with what is not, and what rules are worth.

pub(crate) mod armed;
pub(crate) mod case;
pub(crate) mod cases;
pub(crate) mod catalogue;
pub(crate) mod check;
pub(crate) mod coverage;
pub(crate) mod event;
pub(crate) mod expectation;
pub(crate) mod explain;
pub(crate) mod explain_page;
pub(crate) mod explained;
pub(crate) mod feeding;
pub(crate) mod load;
pub(crate) mod navigator;
pub(crate) mod raising;
pub(crate) mod replay;
pub(crate) mod run;
pub(crate) mod sources;
pub(crate) mod verbs;
