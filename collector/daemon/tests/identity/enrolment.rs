//! Tokens, and hosts that use them.

use canh_ship::{EnrolError, Enrolled};
use canh_wire::DenialCode;

use crate::Outcome;
use crate::process::Site;
use crate::site::{Answer, answer};

fn code(refused: Result<Enrolled, EnrolError>) -> Option<DenialCode> {
    match refused {
        Err(EnrolError::Denied { code, .. }) => Some(code),
        _ => None,
    }
}

#[test]
fn a_host_enrols_once_with_a_token_and_its_certificate_opens_sessions() -> Outcome {
    let site = Site::with_own_ca("")?;
    let collector = site.start()?;
    let token = site.token(&[])?;
    let Enrolled::Now(who) = site.enrol(&collector, &token, "web-01")? else { anyhow::bail!("it was none before") };
    assert_eq!((who.agent.as_str(), who.agency.as_str()), ("web-01", "so-tttt"));
    assert_eq!(answer(&collector, &site.config_of("web-01")?), Answer::Welcome);

    assert_eq!(code(site.enrol(&collector, &token, "web-02")), Some(DenialCode::TokenUsed));
    assert!(!site.path("web-02").exists(), "a refusal leaves nothing behind");
    collector.metric_becomes("canh_collector_enrolments_total{result=\"issued\"} 1")?;
    collector.metric_becomes("canh_collector_enrolments_total{result=\"token_used\"} 1")?;
    collector.logged("enrolment refused")?;
    // No handler runs, no cache is written: what counts was on disk before the certificate left.
    collector.kill()?;
    let collector = site.start()?;
    assert_eq!(code(site.enrol(&collector, &token, "web-02")), Some(DenialCode::TokenUsed));
    assert!(site.run(&["token", "list"])?.contains("used by web-01"));
    assert!(site.run(&["agents"])?.contains(&*who.serial));
    Ok(())
}

#[test]
fn enrolling_again_changes_nothing_unless_it_is_forced() -> Outcome {
    let site = Site::with_own_ca("")?;
    let collector = site.start()?;
    let at = collector.address.to_string();
    site.enrol(&collector, &site.token(&[])?, "web-01")?;
    let before = std::fs::read(site.path("web-01/agent.pem"))?;
    let token = site.token(&["--agent", "web-01", "--replace"])?;
    assert!(matches!(site.enrol(&collector, &token, "web-01")?, Enrolled::Already(_)));
    assert_eq!(std::fs::read(site.path("web-01/agent.pem"))?, before);
    assert!(matches!(site.enrol_at(&at, &token, "web-01", true)?, Enrolled::Now(_)));
    assert_ne!(std::fs::read(site.path("web-01/agent.pem"))?, before);
    Ok(())
}

#[test]
fn every_failure_says_what_and_where_and_what_to_do() -> Outcome {
    let (site, other) = (Site::with_own_ca("")?, Site::with_own_ca("")?);
    let (collector, stranger) = (site.start()?, other.start()?);
    let token = site.token(&[])?;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
    let metrics = collector.metrics.to_string();
    let somewhere = stranger.address.to_string();
    for (at, part, advice) in [
        (nobody.as_str(), "cannot connect to 127.0.0.1:", "check the address, the port"),
        (&somewhere, "is not the collector the token was made on", "make a new token there"),
        (&metrics, "no TLS handshake with", "is it a canh-collector"),
    ] {
        let said = site.enrol_at(at, &token, "web-01", false).unwrap_err().to_string();
        assert!(said.contains(part) && said.contains(advice), "{said}");
    }
    let said = site.enrol_as(&collector.address.to_string(), Some("other.test"), &token, "web-01", false);
    let said = said.unwrap_err().to_string();
    assert!(said.contains("is not for the name \"other.test\"") && said.contains("--server-name"), "{said}");
    let revoked = site.token(&["--ttl", "1h"])?;
    let id = revoked.parse::<canh_wire::EnrolToken>()?.id.to_string();
    assert!(site.run(&["token", "list"])?.contains(&id));
    site.run(&["token", "revoke", &id])?;
    let said = site.enrol(&collector, &revoked, "web-01").unwrap_err().to_string();
    assert!(said.contains("the token was called back"), "{said}");
    assert!(site.enrol(&collector, &token, "web-01").is_ok(), "none of it has used the token up");
    Ok(())
}

#[test]
fn a_name_that_is_taken_is_given_again_only_to_a_token_that_replaces_it() -> Outcome {
    let site = Site::with_own_ca("")?;
    let collector = site.start()?;
    site.enrol(&collector, &site.token(&[])?, "web-01")?;
    let old = site.config_of("web-01")?;
    std::fs::remove_dir_all(site.path("web-01"))?;
    assert_eq!(code(site.enrol(&collector, &site.token(&[])?, "web-01")), Some(DenialCode::NameTaken));
    site.enrol(&collector, &site.token(&["--agent", "web-01", "--replace"])?, "web-01")?;
    assert_eq!(answer(&collector, &site.config_of("web-01")?), Answer::Welcome);
    collector.metric_becomes("canh_collector_revocations 1")?;
    assert_eq!(answer(&collector, &old), Answer::Nack(canh_wire::NackCode::Revoked), "the old disk is of no use");
    Ok(())
}

#[test]
fn the_secret_of_a_token_is_nowhere_but_in_the_token() -> Outcome {
    let site = Site::with_own_ca("")?;
    let text = site.token(&[])?;
    let token: canh_wire::EnrolToken = text.parse()?;
    let kept = std::fs::read_to_string(site.identity("tokens").join(token.id.to_string()))?;
    assert!(kept.contains(&token.secret.hash().to_string()));
    let digits = text.strip_prefix("canh_").unwrap_or_default();
    assert!(!kept.contains(digits) && !site.run(&["token", "list"])?.contains(digits));
    Ok(())
}
