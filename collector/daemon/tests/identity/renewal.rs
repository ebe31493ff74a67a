//! Certificates that follow one another while records flow.

use std::time::Duration;

use canh_event::{RecordBatch, Source, Timestamp};
use canh_service::metrics::Metrics;
use canh_service::signals::Shutdown;
use canh_ship::{RetryPolicy, ShipConfig, Shipper, WhenFull};

use crate::Outcome;
use crate::process::{Collector, Site};
use crate::site::{Answer, PATIENCE, answer, sample};

fn ship_config(site: &Site, collector: &Collector) -> ShipConfig {
    let file = |name: &str| site.path("web-01").join(name);
    ShipConfig {
        stream: "log".parse().unwrap(),
        software: "canh-test 0".to_owned(),
        spool_dir: site.path("spool"),
        spool_max_bytes: 16 << 20,
        when_full: WhenFull::Wait,
        account_interval: Duration::from_secs(1),
        fail_back: Duration::from_secs(600),
        collectors: vec![collector.address.to_string()],
        server_name: "127.0.0.1".to_owned(),
        ca: file("ca.pem"),
        certificate: file("agent.pem"),
        key: file("agent.pem"),
        retry: RetryPolicy { first: Duration::from_millis(20), longest: Duration::from_millis(200) },
    }
}

fn line(number: usize) -> RecordBatch {
    let mut batch = RecordBatch::new();
    let (name, host, format) = ("/var/log/test".parse().unwrap(), "web-01".into(), "raw".parse().unwrap());
    let id = batch.source(&Source { name, host, format, utc_offset_secs: 0 }).unwrap();
    batch.push(id, Timestamp::EPOCH, format!("line {number}").as_bytes()).unwrap();
    batch
}

/// Submits a record now and then until something is so.
async fn ship_until(shipper: &Shipper, sent: &mut usize, mut is_so: impl FnMut() -> bool) {
    let begin = std::time::Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < PATIENCE, "it never came about");
        *sent += 1;
        shipper.submit(line(*sent), Vec::new()).await.unwrap();
        shipper.drain(PATIENCE).await.unwrap();
    }
}

#[test]
fn certificates_follow_one_another_and_no_record_notices() -> Outcome {
    let site = Site::with_own_ca("[identity]\ncertificate_life = \"10s\"\n")?;
    let collector = site.start()?;
    site.enrol(&collector, &site.token(&[])?, "web-01")?;
    let (first, stolen) = (site.serial_of("web-01")?, site.config_of("web-01")?);
    let mut sent = 0;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (_trigger, shutdown) = Shutdown::new();
        let metrics = Metrics::new("test", "0").unwrap();
        let shipper = Shipper::start(ship_config(&site, &collector), &metrics, shutdown.clone()).await.unwrap();
        let serial = || site.serial_of("web-01").unwrap();
        ship_until(&shipper, &mut sent, || serial() != first).await;
        ship_until(&shipper, &mut sent, || site.run(&["agents"]).unwrap().contains(&serial())).await;
        // Whoever has copied the first certificate shows himself when he uses it after the second was.
        let seen = "canh_collector_connections_total";
        ship_until(&shipper, &mut sent, || sample(&collector, seen).unwrap() >= 2.0).await;
        assert_eq!(answer(&collector, &stolen), Answer::Welcome, "it holds for some seconds still");
        collector.metric_becomes("canh_collector_clone_signs_total{sign=\"superseded_certificate\"} 1").unwrap();

        // After a restart of the agent the renewal goes on.
        shipper.stop().await;
        let second = serial();
        let metrics = Metrics::new("test", "0").unwrap();
        let shipper = Shipper::start(ship_config(&site, &collector), &metrics, shutdown).await.unwrap();
        ship_until(&shipper, &mut sent, || serial() != second).await;
        shipper.drain(PATIENCE).await.unwrap();
        let page = metrics.encode().unwrap();
        assert!(page.contains("canh_agent_certificate_renewals_total{result=\"done\"} 1"), "{page}");
        let expiry = "canh_agent_certificate_expiry_timestamp_seconds ";
        let expiry = page.lines().find_map(|line| line.strip_prefix(expiry)).unwrap().parse::<i64>().unwrap();
        assert!(expiry > 1_700_000_000, "{expiry}");
        shipper.stop().await;
    });
    assert!(sample(&collector, "canh_collector_renewals_total{result=\"issued\"}")? >= 2.0);
    drop(collector);
    let stored: Vec<String> =
        site.stored()?.into_iter().map(|(_, bytes)| String::from_utf8_lossy(&bytes).into_owned()).collect();
    assert_eq!(stored, (1..=sent).map(|number| format!("line {number}")).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn an_agent_that_was_away_for_too_long_says_what_to_do() -> Outcome {
    let site = Site::with_own_ca("[identity]\ncertificate_life = \"10s\"\n")?;
    let collector = site.start()?;
    site.enrol(&collector, &site.token(&[])?, "web-01")?;
    let config = site.config_of("web-01")?;
    crate::site::until("the certificate expires", || answer(&collector, &config) == Answer::Nothing)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (_trigger, shutdown) = Shutdown::new();
        let metrics = Metrics::new("test", "0").unwrap();
        let shipper = Shipper::start(ship_config(&site, &collector), &metrics, shutdown).await.unwrap();
        shipper.submit(line(1), Vec::new()).await.unwrap();
        let errors = "canh_agent_send_errors_total{reason=\"credentials\"} ";
        let has_errors =
            || metrics.encode().unwrap().lines().any(|line| line.starts_with(errors) && !line.ends_with(" 0"));
        let begin = std::time::Instant::now();
        while !has_errors() {
            assert!(begin.elapsed() < PATIENCE);
            tokio::task::yield_now().await;
        }
        // A new token, and what was kept in the meantime arrives; nothing needs a restart.
        let token = site.token(&["--agent", "web-01", "--replace"]).unwrap();
        let order = canh_ship::EnrolOrder {
            collector: collector.address.to_string(),
            server_name: None,
            token: token.parse().unwrap(),
            name: None,
            host_name: None,
            dir: site.path("web-01"),
            is_forced: false,
        };
        assert!(matches!(canh_ship::enrol(&order).await, Ok(canh_ship::Enrolled::Now(_))));
        shipper.drain(PATIENCE).await.unwrap();
        shipper.stop().await;
    });
    Ok(())
}
