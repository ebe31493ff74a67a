//! A layer for the ATT&CK Navigator.
//!
//! Source: "ATT&CK Navigator Layer File Format Definition", version 4.5
//! (<https://github.com/mitre-attack/attack-navigator/blob/master/layers/LAYERFORMATv4_5.md>).
//! The version of ATT&CK is left out: rules do not say which they were written for, and the
//! Navigator then takes its own.

use std::collections::BTreeMap;

use serde::Serialize;

/// A layer: which techniques are covered, and by how many rules.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layer {
    name: &'static str,
    versions: Versions,
    domain: &'static str,
    description: &'static str,
    /// 3: by descending score.
    sorting: u8,
    layout: Layout,
    pub(crate) techniques: Vec<Technique>,
    gradient: Gradient,
}

#[derive(Debug, Serialize)]
struct Versions {
    navigator: &'static str,
    layer: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Layout {
    layout: &'static str,
    show_aggregate_scores: bool,
    aggregate_function: &'static str,
    expanded_subtechniques: &'static str,
}

/// A technique or a part of one.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Technique {
    #[serde(rename = "techniqueID")]
    technique_id: String,
    score: usize,
    comment: String,
    show_subtechniques: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Gradient {
    colors: [&'static str; 2],
    min_value: usize,
    max_value: usize,
}

/// Makes a layer of techniques and the titles of their rules.
pub(crate) fn layer(techniques: &BTreeMap<String, Vec<String>>) -> Layer {
    let most = techniques.values().map(Vec::len).max().unwrap_or_default();
    let has_parts =
        |id: &str| techniques.keys().any(|other| other.strip_prefix(id).is_some_and(|rest| rest.starts_with('.')));
    let technique = |(id, titles): (&String, &Vec<String>)| Technique {
        technique_id: id.clone(),
        score: titles.len(),
        comment: titles.join("\n"),
        show_subtechniques: has_parts(id),
    };
    Layer {
        name: "Canh rules",
        versions: Versions { navigator: "4.9.0", layer: "4.5" },
        domain: "enterprise-attack",
        description: "Score: how many rules that raise detections name the technique. Comment: their titles.",
        sorting: 3,
        layout: Layout {
            layout: "side",
            show_aggregate_scores: true,
            aggregate_function: "sum",
            expanded_subtechniques: "annotated",
        },
        techniques: techniques.iter().map(technique).collect(),
        // The upper bound must be above the lower one, even if there is nothing to show.
        gradient: Gradient { colors: ["#ffffff", "#2f7ed8"], min_value: 0, max_value: most.max(1) },
    }
}
