use std::os::unix::fs::PermissionsExt;

use canh_wire::tls;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_795_489_623);

fn agent(name: &str) -> Subject {
    Subject::Agent { agent: name.parse().unwrap(), agency: "so-tttt".parse().unwrap() }
}

fn folder() -> (tempfile::TempDir, Folder) {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(&dir.path().join("ca"));
    init(&folder, "Canh CA", &["collector.test".to_owned()], 30, NOW).unwrap();
    (dir, folder)
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap()
}

#[test]
fn issued_certificates_make_usable_ends_and_name_the_agent() {
    let (dir, folder) = folder();
    let (server, client) = (dir.path().join("server"), dir.path().join("agent"));
    let hosts = vec!["collector.test".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    issue(&folder, &Subject::Server { hosts }, &server, 30, NOW).unwrap();
    issue(&folder, &agent("web-01"), &client, 30, NOW).unwrap();
    let files = |dir: &Path| ["ca.pem", "cert.pem", "key.pem"].map(|name| read(&dir.join(name)));
    let [ca, cert, key] = files(&server);
    tls::server_config(&ca, &cert, &key).unwrap();
    let [ca, cert, key] = files(&client);
    tls::client_config(&ca, &cert, &key).unwrap();
    assert_eq!(tls::identity_of_pem(&cert).unwrap().agent.as_str(), "web-01");
    let own = read(&folder.path(folder::SERVER));
    tls::server_config(&ca, &own, &own).unwrap();
}

#[test]
fn keys_are_their_owners_only() {
    let (dir, folder) = folder();
    issue(&folder, &agent("web-01"), &dir.path().join("out"), 30, NOW).unwrap();
    rotate(&folder, None, 30, NOW).unwrap();
    let keys = [folder::ISSUER, folder::PREVIOUS, folder::SERVER].map(|name| folder.path(name));
    for key in keys.into_iter().chain([dir.path().join("out/key.pem")]) {
        assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600, "{}", key.display());
    }
    let public = std::fs::read_to_string(folder.path(folder::CA)).unwrap();
    assert!(!public.contains("PRIVATE"));
}

#[test]
fn nothing_is_overwritten() {
    let (dir, folder) = folder();
    let out = dir.path().join("out");
    let before = read(&folder.path(folder::ISSUER));
    assert!(matches!(init(&folder, "Canh CA", &[], 30, NOW), Err(CaError::Exists { .. })));
    assert_eq!(read(&folder.path(folder::ISSUER)), before);
    issue(&folder, &agent("web-01"), &out, 30, NOW).unwrap();
    assert!(matches!(issue(&folder, &agent("web-01"), &out, 30, NOW), Err(CaError::Exists { .. })));
    std::fs::remove_file(out.join("cert.pem")).unwrap();
    std::fs::remove_file(out.join("ca.pem")).unwrap();
    let again = issue(&folder, &agent("web-01"), &out, 30, NOW);
    assert!(matches!(again, Err(CaError::Exists { .. })), "a key alone is kept too");
}

#[test]
fn folder_without_a_ca_and_hosts_that_are_none_are_refused() {
    let (dir, folder) = folder();
    let out = dir.path().join("out");
    let empty = Folder::new(&dir.path().join("empty"));
    assert!(matches!(issue(&empty, &agent("web-01"), &out, 30, NOW), Err(CaError::Authority(_))));
    let hosts = vec!["a b".to_owned()];
    let refused = issue(&folder, &Subject::Server { hosts: hosts.clone() }, &out, 30, NOW);
    assert!(matches!(refused, Err(CaError::Authority(AuthorityError::Host { .. }))));
    assert!(!out.exists(), "a refused request leaves nothing behind");
    assert!(init(&empty, "Canh CA", &hosts, 30, NOW).is_err());
    assert!(!empty.has(folder::ISSUER) && !empty.has(folder::CA));
}

#[test]
fn a_rotation_overlaps_and_the_collector_changes_only_when_every_agent_knows_the_new_ca() {
    let (dir, folder) = folder();
    let later = NOW.saturating_add(DAY);
    issue(&folder, &agent("web-01"), &dir.path().join("old"), 10, NOW).unwrap();
    assert!(matches!(retire(&folder, false, NOW), Err(CaError::NotRotating)));
    let old = issuer_facts(&folder).unwrap();
    rotate(&folder, None, 30, later).unwrap();
    let new = issuer_facts(&folder).unwrap();
    assert_eq!((&*old.common_name, &*new.common_name), ("Canh CA", "Canh CA 2"));
    assert!(matches!(rotate(&folder, None, 30, later), Err(CaError::Rotating)));
    let own = || CertificateFacts::of_pem(&read(&folder.path(folder::SERVER))).unwrap();

    assert_eq!(trusted(&folder).unwrap().len(), 2);
    assert!(!server_identity::keep_current(&folder, later).unwrap() && old.is_issuer_of(&own()));
    let Err(CaError::AgentsWaiting { waiting: 1, until, example }) = retire(&folder, false, later) else {
        panic!("an agent knows only the old CA")
    };
    assert_eq!((until, example.as_str()), (NOW.saturating_add(DAY * 10), "web-01"));

    let out = dir.path().join("new");
    issue(&folder, &agent("web-01"), &out, 10, later).unwrap();
    assert!(server_identity::keep_current(&folder, later).unwrap() && new.is_issuer_of(&own()));
    retire(&folder, false, later).unwrap();
    assert_eq!(trusted(&folder).unwrap().len(), 1);
    assert!(!folder.has(folder::PREVIOUS) && !folder.has(folder::BRIDGE));
    let shown = tls::identity_of_pem(&read(&out.join("cert.pem"))).unwrap();
    assert_eq!(shown.agent.as_str(), "web-01");
}

#[test]
fn a_rotation_that_was_cut_off_leaves_a_ca_that_issues_and_is_trusted() {
    for cut_after in [folder::CA, folder::PREVIOUS, folder::ISSUER] {
        let (dir, folder) = folder();
        let whole = dir.path().join("whole");
        std::fs::create_dir(&whole).unwrap();
        for name in [folder::CA, folder::ISSUER] {
            std::fs::copy(folder.path(name), whole.join(name)).unwrap();
        }
        rotate(&folder, None, 30, NOW).unwrap();
        // What was written after the cut is as it was before the rotation.
        let order = [folder::CA, folder::PREVIOUS, folder::ISSUER, folder::BRIDGE];
        for name in order.into_iter().skip_while(|name| *name != cut_after).skip(1) {
            let before = whole.join(name);
            if before.exists() {
                std::fs::copy(before, folder.path(name)).unwrap();
            } else {
                folder.remove(name).unwrap();
            }
        }
        let issuer = issuer_facts(&folder).unwrap();
        let trusted_now = trusted(&folder).unwrap();
        let is_trusted = trusted_now.iter().any(|der| CertificateFacts::of_der(der).unwrap() == issuer);
        assert!(is_trusted, "cut after {cut_after}");
        assert!(server_identity::keep_current(&folder, NOW).is_ok(), "cut after {cut_after}");
        retire(&folder, false, NOW).unwrap();
        assert_eq!(trusted(&folder).unwrap().len(), 1, "cut after {cut_after}");
        rotate(&folder, None, 30, NOW).unwrap();
    }
}

#[test]
fn names_count_on() {
    assert_eq!(next_name("Canh CA"), "Canh CA 2");
    assert_eq!(next_name("Canh CA 2"), "Canh CA 3");
    assert_eq!(next_name("x"), "x 2");
}
