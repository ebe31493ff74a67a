//! One CA in place of another, while everything runs.

use canh_wire::tls;

use crate::Outcome;
use crate::process::Site;
use crate::process::command;
use crate::site::{Answer, answer, until};

#[test]
fn a_ca_is_replaced_while_agents_and_tokens_of_both_are_good() -> Outcome {
    let site = Site::with_own_ca("")?;
    let collector = site.start()?;
    for agent in ["web-01", "web-04"] {
        site.enrol(&collector, &site.token(&[])?, agent)?;
    }
    let early = site.token(&[])?;
    site.run(&["ca", "rotate"])?;
    collector.logged("certificates taken over")?;
    assert_eq!(answer(&collector, &site.config_of("web-01")?), Answer::Welcome, "of the old CA");
    // The collector still shows a certificate of the old CA; a new token's host gets there by the bridge.
    let late = site.token(&[])?;
    assert_ne!(late.parse::<canh_wire::EnrolToken>()?.authority, early.parse::<canh_wire::EnrolToken>()?.authority);
    for (token, agent) in [(&early, "web-02"), (&late, "web-03")] {
        site.enrol(&collector, token, agent)?;
        let trusted = std::fs::read_to_string(site.path(agent).join("ca.pem"))?;
        assert_eq!(trusted.matches("BEGIN CERTIFICATE").count(), 2, "{agent} knows both");
        assert_eq!(answer(&collector, &site.config_of(agent)?), Answer::Welcome, "{agent}");
    }
    let config = site.config().display().to_string();
    let refused = command(&["ca", "retire", "--config", &config])?;
    let said = String::from_utf8(refused.stderr)?;
    assert!(!refused.status.success() && said.contains("2 agents have no certificate of the new CA"), "{said}");

    let at = collector.address.to_string();
    site.enrol_at(&at, &site.token(&["--agent", "web-01", "--replace"])?, "web-01", true)?;
    // One that never renewed, though somebody has told it what to trust.
    let identity = std::fs::read(site.path("web-04/agent.pem"))?;
    let forgotten = tls::client_config(&std::fs::read(site.path("web-01/ca.pem"))?, &identity, &identity)?;
    assert_eq!(answer(&collector, &forgotten), Answer::Welcome);
    site.run(&["ca", "retire", "--force"])?;
    until("the old CA is no longer trusted", || answer(&collector, &forgotten) == Answer::Nothing)?;
    collector.metric_becomes("canh_collector_handshakes_refused_total{reason=\"unknown_authority\"} 1")?;
    for agent in ["web-01", "web-02", "web-03"] {
        assert_eq!(answer(&collector, &site.config_of(agent)?), Answer::Welcome, "{agent} knows the new CA");
    }
    site.enrol(&collector, &site.token(&[])?, "web-05")?;
    assert_eq!(answer(&collector, &site.config_of("web-05")?), Answer::Welcome);
    Ok(())
}

#[test]
fn the_collectors_names_are_changed_by_a_file() -> Outcome {
    let site = Site::with_own_ca("")?;
    let before = std::fs::read(site.identity("server.pem"))?;
    std::fs::write(site.identity("hosts"), "collector.example.vn\nlocalhost\n127.0.0.1\n")?;
    let _collector = site.start()?;
    assert_ne!(std::fs::read(site.identity("server.pem"))?, before);
    Ok(())
}
