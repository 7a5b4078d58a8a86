use proptest::prelude::*;

use super::*;

fn record(path: &str, user_agent: &str, status: u16) -> Record {
    Record {
        time: SystemTime::UNIX_EPOCH + Duration::from_micros(1_795_521_600_123_456),
        client: [127, 0, 0, 1].into(),
        method: "GET".into(),
        path: path.into(),
        protocol: "HTTP/1.1".into(),
        status,
        bytes: 42,
        micros: 1_500,
        cache: "HIT".into(),
        source: "memory".into(),
        request_id: "r-1".into(),
        user_agent: user_agent.into(),
        completed: true,
    }
}

fn settings(path: PathBuf, format: Format, sample: f64) -> Settings {
    Settings { target: Target::File(path), format, sample }
}

fn started(settings: Settings) -> io::Result<AccessLog> {
    AccessLog::start(settings, Counter::default())
}

#[test]
fn the_combined_format_is_what_log_tools_read() {
    assert_eq!(
        Format::Clf.line(&record("/cdn/x", "curl/8", 200)),
        "127.0.0.1 - - [24/Nov/2026:12:00:00 +0000] \"GET /cdn/x HTTP/1.1\" 200 42 \"-\" \
         \"curl/8\" 1.5ms HIT memory r-1\n"
    );
}

proptest! {
    #[test]
    fn a_record_is_one_line_whatever_the_viewer_sent(path in any::<String>(), agent in any::<String>()) {
        let record = record(&path, &agent, 200);
        let json = Format::Json.line(&record);
        prop_assert_eq!(json.lines().count(), 1);
        prop_assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record.clone());
        let clf = Format::Clf.line(&record);
        let text = clf.strip_suffix('\n').unwrap();
        prop_assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }

    #[test]
    fn what_is_cut_stays_text(text in any::<String>(), most in 0usize..20) {
        let cut = line::bounded(&text, most);
        prop_assert!(cut.len() <= most && text.starts_with(&cut));
    }
}

#[test]
fn closing_writes_what_waits() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("access.log");
    let log = started(settings(path.clone(), Format::Json, 1.0)).unwrap();
    for _ in 0..500 {
        log.write(record("/", "", 200));
    }
    log.close();
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 500);
}

#[test]
fn errors_are_logged_even_if_nothing_else_is() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("access.log");
    let log = started(settings(path.clone(), Format::Json, 0.0)).unwrap();
    for status in [200, 404, 502, 200, 503] {
        log.write(record("/", "", status));
    }
    log.close();
    assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 2);
}

#[test]
fn a_full_disk_drops_lines_and_counts_them() {
    let dropped = Counter::default();
    let settings = settings("/dev/full".into(), Format::Json, 1.0);
    let log = AccessLog::start(settings, dropped.clone()).unwrap();
    for _ in 0..2_000 {
        log.write(record(&"x".repeat(1_000), "", 200));
    }
    log.close();
    assert!(dropped.get() > 0);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error_at_start() {
    let refused = started(settings("/no/such/folder/log".into(), Format::Json, 1.0));
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_log_that_was_rotated_goes_on_in_the_new_file() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("access.log");
    let log = started(settings(path.clone(), Format::Json, 1.0)).unwrap();
    std::fs::rename(&path, home.path().join("access.log.1")).unwrap();
    let end = tokio::time::Instant::now() + Duration::from_secs(10);
    while !path.exists() {
        assert!(tokio::time::Instant::now() < end, "the file was not opened again");
        // There is never a quiet moment.
        log.write(record("/old", "", 200));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    log.write(record("/new", "", 200));
    log.close();
    assert!(std::fs::read_to_string(path).unwrap().contains("/new"));
}
