//! YAML text to nodes that know where they stand, within bounds.

mod node;
mod reader;

pub(crate) use node::{List, Map, Node, Scalar};
pub(crate) use reader::read_documents;
