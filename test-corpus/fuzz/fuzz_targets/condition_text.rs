//! Any text as the condition of a rule that is right otherwise.

#![no_main]

use canh_fuzz::check_rules;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(condition) = std::str::from_utf8(bytes) else { return };
    // A JSON text is a YAML text, so no condition can end its own scalar.
    let Ok(quoted) = serde_json::to_string(condition) else { return };
    check_rules(&format!(
        "title: fuzzed
logsource:
    product: linux
detection:
    selection:
        User: root
    selection_port:
        SourcePort|gt: 1024
    filter_message:
        Message|contains: ssh
    keywords:
        - 'password'
        - 'GET'
    condition: {quoted}
"
    ));
});
