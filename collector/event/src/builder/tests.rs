use super::*;

fn header(builder: &mut BatchBuilder) -> RowHeader {
    RowHeader {
        time: Timestamp::from_secs(1),
        time_quality: TimeQuality::Stated,
        received: Timestamp::from_secs(2),
        origin: builder.origin(&Origin::unknown()).unwrap(),
        logsource: builder.logsource(&Logsource::unknown()).unwrap(),
    }
}

fn add(builder: &mut BatchBuilder, fields: &[(&str, &str)]) {
    let header = header(builder);
    let mut row = builder.begin_row(header, b"raw").unwrap();
    for (name, text) in fields {
        row.field(name, Value::text(text)).unwrap();
    }
    row.commit();
}

#[test]
fn equal_values_are_stored_once() {
    let mut builder = BatchBuilder::new();
    add(&mut builder, &[("User", "root"), ("Ip", "10.0.0.1")]);
    add(&mut builder, &[("User", "root")]);
    add(&mut builder, &[("User", "lan"), ("User", "root")]);
    let batch = builder.finish();
    let users = batch.column("User").unwrap();
    assert_eq!(users.value_count(), 2);
    assert_eq!(users.cells().len(), 4);
    let listed: Vec<_> = batch.row(2).unwrap().values("User").map(|value| value.text).collect();
    assert_eq!(listed, ["lan", "root"]);
    assert_eq!(batch.row(1).unwrap().value("Ip"), None);
}

#[test]
fn kinds_keep_equal_texts_apart() {
    let mut builder = BatchBuilder::new();
    let header = header(&mut builder);
    let mut row = builder.begin_row(header, b"").unwrap();
    row.field("a", Value::text("1")).unwrap();
    row.field("a", Value::number("1")).unwrap();
    row.commit();
    assert_eq!(builder.finish().column("a").unwrap().value_count(), 2);
}

#[test]
fn abandoned_row_leaves_no_trace() {
    let mut builder = BatchBuilder::new();
    add(&mut builder, &[("User", "root")]);
    let header = header(&mut builder);
    let mut row = builder.begin_row(header, b"half").unwrap();
    row.field("User", Value::text("other")).unwrap();
    row.field("New", Value::text("x")).unwrap();
    drop(row);
    add(&mut builder, &[("User", "third")]);
    let batch = builder.finish();
    assert_eq!(batch.len(), 2);
    assert_eq!(batch.raw_bytes(), 6);
    assert!(batch.column("New").is_none());
    let values: Vec<_> = batch.column("User").unwrap().values().map(|value| value.text).collect();
    assert_eq!(values, ["root", "third"]);
}

#[test]
fn cleared_fields_leave_header_and_raw() {
    let mut builder = BatchBuilder::new();
    let header = header(&mut builder);
    let mut row = builder.begin_row(header, b"{\"a\":1").unwrap();
    row.field("a", Value::number("1")).unwrap();
    row.clear_fields();
    row.field("b", Value::text("x")).unwrap();
    row.commit();
    let batch = builder.finish();
    let fields: Vec<_> = batch.row(0).unwrap().fields().map(|(name, _)| name).collect();
    assert_eq!(fields, ["b"]);
    assert_eq!(batch.row(0).unwrap().raw(), b"{\"a\":1");
}

#[test]
fn bounds_are_held() {
    let mut builder = BatchBuilder::new();
    for _ in 0..MAX_BATCH_ROWS {
        add(&mut builder, &[]);
    }
    let header = header(&mut builder);
    assert_eq!(builder.begin_row(header, b"").err(), Some(BuildError::Full { what: "rows", limit: MAX_BATCH_ROWS }));
    builder.clear();
    let header = self::header(&mut builder);
    let long = vec![b'x'; MAX_RECORD_BYTES + 1];
    assert!(matches!(builder.begin_row(header, &long).err(), Some(BuildError::TooLarge { .. })));
    let mut row = builder.begin_row(header, b"").unwrap();
    for index in 0..MAX_COLUMNS {
        row.field(&format!("f{index}"), Value::NULL).unwrap();
    }
    assert_eq!(row.field("one-more", Value::NULL), Err(BuildError::Full { what: "columns", limit: MAX_COLUMNS }));
    for _ in 1..MAX_LIST_VALUES {
        row.field("f0", Value::text("v")).unwrap();
    }
    assert!(matches!(row.field("f0", Value::NULL), Err(BuildError::TooLarge { .. })));
    assert!(matches!(row.field("", Value::NULL), Err(BuildError::TooLarge { .. })));
}

#[test]
fn column_names_do_not_outlive_their_batch() {
    let mut builder = BatchBuilder::new();
    add(&mut builder, &[("hostile", "x")]);
    builder.finish();
    add(&mut builder, &[("User", "x")]);
    assert_eq!(builder.finish().columns().len(), 1);
}

#[test]
fn batch_that_is_only_looked_at_leaves_its_memory_to_the_next() {
    let mut builder = BatchBuilder::new();
    add(&mut builder, &[("User", "root"), ("hostile", "x")]);
    builder.clear();
    for text in ["lan", "minh", "lan"] {
        add(&mut builder, &[("User", text)]);
    }
    let users: Vec<_> = builder.batch().rows().map(|row| row.value("User").unwrap().text.to_owned()).collect();
    assert_eq!(users, ["lan", "minh", "lan"]);
    assert_eq!(builder.batch().column("User").unwrap().value_count(), 2);
    builder.clear();
    add(&mut builder, &[("User", "lan"), ("Port", "22")]);
    let names: Vec<_> = builder.batch().columns().iter().map(Column::name).collect();
    assert_eq!(names, ["User", "Port"]);
    assert_eq!(builder.finish().row(0).unwrap().value("Port"), Some(Value::text("22")));
}

#[test]
fn names_of_a_row_that_is_taken_back_leave_room_for_others() {
    let mut builder = BatchBuilder::new();
    let header = header(&mut builder);
    let mut row = builder.begin_row(header, b"").unwrap();
    while row.field(&format!("name-{}", row.builder.batch.columns.len()), Value::NULL).is_ok() {}
    row.clear_fields();
    row.field("Message", Value::text("kept")).unwrap();
    row.commit();
    add(&mut builder, &[("User", "root")]);
    let names: Vec<_> = builder.batch().columns().iter().map(Column::name).collect();
    assert_eq!(names, ["Message", "User"]);
}

#[test]
fn columns_left_over_from_a_batch_before_take_no_room_from_the_next() {
    let mut builder = BatchBuilder::new();
    for batch in 0..3 {
        let header = header(&mut builder);
        let mut row = builder.begin_row(header, b"").unwrap();
        for index in 0..MAX_COLUMNS {
            row.field(&format!("batch-{batch}-{index}"), Value::text("x")).unwrap();
        }
        row.commit();
        assert_eq!(builder.batch().row(0).unwrap().fields().count(), MAX_COLUMNS);
        builder.clear();
    }
}
