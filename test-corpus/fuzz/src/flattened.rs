//! JSON by somebody else's reader, flattened as ours does it: the twin of `canh_parse::JsonEvents`.
//!
//! Objects are walked as they stand in the text, so a key that comes twice is two values.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// One value with the name of its field.
pub type Flat = (String, FlatValue);

/// A value that is no object and no list.
#[derive(Clone, Debug, PartialEq)]
pub enum FlatValue {
    /// A text, unescaped.
    Text(String),
    /// A number; its digits are not kept.
    Number(f64),
    /// A truth value.
    Bool(bool),
    /// `null`, `[]` or `{}`.
    Null,
}

/// Returns all values of a text that is one JSON object, or nothing if it cannot be read into values:
/// half a surrogate pair or a number out of range, which our reader takes, are errors here.
pub fn flatten(text: &str) -> Option<Vec<Flat>> {
    let mut values = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Place { name: None, values: &mut values }.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    Some(values)
}

/// Where in the text the walk is.
struct Place<'a> {
    /// The keys down to here, joined; none at the outermost object.
    name: Option<String>,
    values: &'a mut Vec<Flat>,
}

impl Place<'_> {
    fn put(self, value: FlatValue) {
        let name = self.name.filter(|name| !name.is_empty()).unwrap_or_else(|| "_".to_owned());
        self.values.push((name, value));
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.put(FlatValue::Bool(value));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.put(FlatValue::Number(value as f64));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.put(FlatValue::Number(value as f64));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.put(FlatValue::Number(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.put(FlatValue::Text(value.to_owned()));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.put(FlatValue::Null);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut is_empty = true;
        while list.next_element_seed(Place { name: self.name.clone(), values: self.values })?.is_some() {
            is_empty = false;
        }
        if is_empty {
            self.put(FlatValue::Null);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut is_empty = true;
        while let Some(key) = object.next_key::<String>()? {
            is_empty = false;
            let name = self.name.as_ref().map_or_else(|| key.clone(), |name| format!("{name}.{key}"));
            object.next_value_seed(Place { name: Some(name), values: self.values })?;
        }
        if is_empty && self.name.is_some() {
            self.put(FlatValue::Null);
        }
        Ok(())
    }
}
