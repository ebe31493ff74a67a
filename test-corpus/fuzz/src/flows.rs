//! What holds for every flow record, wherever it comes from.

use canh_event::{BatchBuilder, Logsource, Origin, RowHeader, TimeQuality};
use canh_flow::FlowRecord;

/// Checks that a record can be written, read back as it was, and put in a row.
pub fn check_flow(record: &FlowRecord) {
    let mut json = Vec::new();
    record.to_json(&mut json);
    match FlowRecord::from_json(&json) {
        Ok(again) => assert_eq!(again, *record, "{}", String::from_utf8_lossy(&json)),
        Err(error) => panic!("{error:?}: {}", String::from_utf8_lossy(&json)),
    }
    let _ = (record.duration(), record.community_id());
    let mut builder = BatchBuilder::new();
    let origin = builder.origin(&Origin::unknown()).expect("one origin");
    let logsource = builder.logsource(&Logsource::unknown()).expect("one logsource");
    let (time, time_quality) = (record.end, TimeQuality::Stated);
    let header = RowHeader { time, time_quality, received: time, origin, logsource };
    let mut row = builder.begin_row(header, &json).expect("one row");
    record.fill(&mut row).expect("a flow fits a row");
    row.commit();
}
