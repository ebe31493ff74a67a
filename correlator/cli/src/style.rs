//! Colour, and when to use it. Colour only ever repeats what a word or symbol already says.

use std::env;

use canh_incident::Severity;

/// What a piece of text is, as far as painting goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Paint {
    /// As it is.
    #[default]
    Plain,
    /// A heading or a side remark.
    Faint,
    /// What the eye should find first.
    Strong,
    /// Something that cannot wait.
    Alarm,
    /// Something to look at soon.
    Warning,
}

/// When to paint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal, unless NO_COLOR, CLICOLOR=0 or TERM=dumb says otherwise.
    #[default]
    Auto,
    /// Even into a pipe.
    Always,
    /// Never.
    Never,
}

/// Whether to paint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    is_painting: bool,
}

impl Style {
    /// Paints nothing.
    #[cfg(test)]
    pub(crate) const PLAIN: Self = Self { is_painting: false };

    /// Decides from the choice, the stream and the environment (<https://no-color.org>,
    /// <https://bixense.com/clicolors>).
    pub(crate) fn decide(choice: ColorChoice, is_terminal: bool) -> Self {
        let variable = |name: &str| env::var(name).unwrap_or_default();
        Self { is_painting: choice.paints(is_terminal, variable) }
    }

    /// Appends `text` in `paint`.
    pub(crate) fn paint(self, paint: Paint, text: &str, out: &mut String) {
        let code = match paint {
            Paint::Plain => "",
            Paint::Faint => "\x1b[2m",
            Paint::Strong => "\x1b[1m",
            Paint::Alarm => "\x1b[1;31m",
            Paint::Warning => "\x1b[33m",
        };
        if !self.is_painting || code.is_empty() || text.is_empty() {
            out.push_str(text);
            return;
        }
        out.push_str(code);
        out.push_str(text);
        out.push_str("\x1b[0m");
    }
}

impl ColorChoice {
    fn paints(self, is_terminal: bool, variable: impl Fn(&str) -> String) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let forced = !matches!(variable("CLICOLOR_FORCE").as_str(), "" | "0");
                let refused = !variable("NO_COLOR").is_empty() || variable("CLICOLOR") == "0";
                !refused && (forced || (is_terminal && variable("TERM") != "dumb"))
            }
        }
    }
}

/// Returns a severity as a symbol and a word of at most eight columns, and its paint.
pub(crate) fn severity(severity: Severity) -> (&'static str, Paint) {
    match severity {
        Severity::Critical => ("!! CRIT", Paint::Alarm),
        Severity::High => ("!  HIGH", Paint::Alarm),
        Severity::Medium => ("*  MED", Paint::Warning),
        Severity::Low => ("-  LOW", Paint::Plain),
        Severity::Informational => (".  INFO", Paint::Faint),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(is_terminal: bool, set: &[(&str, &str)]) -> bool {
        ColorChoice::Auto.paints(is_terminal, |name| {
            set.iter().find(|(known, _)| *known == name).map_or(String::new(), |(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn environment_decides_as_its_conventions_say() {
        assert!(auto(true, &[]));
        assert!(!auto(false, &[]));
        assert!(!auto(true, &[("NO_COLOR", "1")]));
        assert!(!auto(true, &[("TERM", "dumb")]));
        assert!(!auto(true, &[("CLICOLOR", "0")]));
        assert!(auto(false, &[("CLICOLOR_FORCE", "1")]));
        assert!(!auto(false, &[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
    }

    #[test]
    fn plain_style_adds_nothing() {
        let mut out = String::new();
        Style::PLAIN.paint(Paint::Alarm, "x", &mut out);
        assert_eq!(out, "x");
    }
}
