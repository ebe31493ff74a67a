//! What kind of thing wrote an event, in Sigma's own words.

use crate::ids::IdError;
use crate::limits::MAX_LOGSOURCE_NAMES;

/// The logsource of an event: what Sigma's `logsource` of a rule is compared with.
///
/// An event may stand in several services at once (a line of sshd is `sshd`, `auth` *and* `syslog`
/// to the rules) and in several categories (a registry value set is `registry_set` *and*
/// `registry_event`), so both are sorted sets; a rule names at most one of each.
/// Source: Sigma rules specification 2.1, "Log source".
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Logsource {
    product: Box<str>,
    services: Vec<Box<str>>,
    categories: Vec<Box<str>>,
}

impl Logsource {
    /// Returns a logsource; an empty `product` means it is not known.
    ///
    /// # Errors
    /// A name longer than 63 bytes or with characters outside `a-z 0-9 - _ .`, or more than 16
    /// services or categories.
    pub fn new(product: &str, services: &[&str], categories: &[&str]) -> Result<Self, IdError> {
        let rule = "up to 63 characters of a-z, 0-9, '-', '_', '.'";
        for name in std::iter::once(&product).chain(services).chain(categories) {
            if name.len() > 63 || !name.bytes().all(is_name_byte) {
                return Err(IdError::new("a logsource name", rule, name));
            }
        }
        if services.len().max(categories.len()) > MAX_LOGSOURCE_NAMES {
            return Err(IdError::new("a logsource", "of at most 16 services and 16 categories", product));
        }
        Ok(Self { product: Box::from(product), services: sorted(services), categories: sorted(categories) })
    }

    /// Returns the logsource of an event nothing is known of.
    pub fn unknown() -> Self {
        Self::default()
    }

    /// Returns the product, such as `linux`; `None` if not known.
    pub fn product(&self) -> Option<&str> {
        Some(&*self.product).filter(|name| !name.is_empty())
    }

    /// Returns the services, such as `sshd`, sorted.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.iter().map(AsRef::as_ref)
    }

    /// Returns whether `name` is one of the services.
    pub fn has_service(&self, name: &str) -> bool {
        self.services.iter().any(|service| &**service == name)
    }

    /// Returns the categories, sorted.
    pub fn categories(&self) -> impl Iterator<Item = &str> {
        self.categories.iter().map(AsRef::as_ref)
    }

    /// Returns whether `name` is one of the categories.
    pub fn has_category(&self, name: &str) -> bool {
        self.categories.iter().any(|category| &**category == name)
    }
}

fn sorted(names: &[&str]) -> Vec<Box<str>> {
    let mut names: Vec<Box<str>> = names.iter().filter(|name| !name.is_empty()).map(|name| Box::from(*name)).collect();
    names.sort();
    names.dedup();
    names
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_a_set() {
        let source =
            Logsource::new("windows", &["sysmon"], &["registry_set", "registry_event", "registry_set"]).unwrap();
        assert_eq!(source.categories().collect::<Vec<_>>(), ["registry_event", "registry_set"]);
        assert!(source.has_category("registry_set"));
        assert!(source.has_service("sysmon"));
    }

    #[test]
    fn empty_names_are_unknown() {
        assert_eq!(Logsource::unknown().product(), None);
        assert!(Logsource::new("Windows", &[], &[]).is_err());
    }
}
