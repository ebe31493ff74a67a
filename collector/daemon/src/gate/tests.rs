use canh_event::AgentId;
use canh_service::metrics::Metrics as Registry;
use canh_wire::Fingerprint;

use super::*;
use crate::revocation::{self, Entry};

struct Scene {
    folder: Folder,
    gate: Arc<Gate>,
    watcher: Watcher,
    metrics: Metrics,
    _dir: tempfile::TempDir,
}

fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::new(dir.path());
    revocation::make_empty(&folder).unwrap();
    let metrics = Metrics::register(&Registry::new("test", "0").unwrap()).unwrap();
    let issuing = Issuing::new(folder.clone(), Duration::from_secs(60), Vec::new(), 1, metrics.clone());
    let (gate, watcher) = open(&folder, issuing, &metrics);
    Scene { folder, gate, watcher, metrics, _dir: dir }
}

fn who(agent: &str) -> AgentIdentity {
    AgentIdentity {
        agent: agent.parse().unwrap(),
        agency: "so-tttt".parse().unwrap(),
        serial: agent.into(),
        not_before: Timestamp::EPOCH,
        not_after: Timestamp::from_secs(10_000),
        key: Fingerprint::of(b""),
    }
}

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const NOW: Timestamp = Timestamp::from_secs(1_000);

fn revoke(folder: &Folder, agent: &AgentId) {
    let entry = Entry { agent: agent.clone(), serial: None, until: NOW, reason: String::new() };
    revocation::revoke(folder, entry).unwrap();
}

#[tokio::test]
async fn who_is_revoked_is_cut_off_and_not_let_in_again() {
    let mut scene = scene();
    let (own, other) = (Arc::default(), Arc::default());
    let _own = scene.gate.enter(&who("web-01"), HOME, &own).await.unwrap();
    let _other = scene.gate.enter(&who("web-02"), HOME, &other).await.unwrap();
    scene.watcher.look(NOW);
    assert_eq!(own.verdict(), None);
    revoke(&scene.folder, &who("web-01").agent);
    scene.watcher.look(NOW);
    assert_eq!(own.verdict().unwrap().code, NackCode::Revoked);
    assert_eq!(other.verdict(), None);
    assert_eq!(scene.metrics.revocations.get(), 1);
    let refused = scene.gate.enter(&who("web-01"), HOME, &Arc::default()).await;
    assert_eq!(refused.unwrap_err(), TurnedAway::Revoked);
    revocation::take_back(&scene.folder, &who("web-01").agent, None).unwrap();
    scene.watcher.look(NOW);
    assert!(scene.gate.enter(&who("web-01"), HOME, &Arc::default()).await.is_ok());
}

#[tokio::test]
async fn a_list_that_cannot_be_read_lets_nobody_in_and_soon_nobody_stays() {
    for spoil in ["", "entries = 1\n", "entries = 0\nx = 1\n", "missing"] {
        let mut scene = scene();
        let signal = Arc::default();
        let _place = scene.gate.enter(&who("web-01"), HOME, &signal).await.unwrap();
        match spoil {
            "missing" => scene.folder.remove(folder::REVOKED).unwrap(),
            text => scene.folder.write(folder::REVOKED, text, folder::PUBLIC_MODE).unwrap(),
        }
        scene.watcher.look(NOW);
        assert_eq!(scene.metrics.revocations_unreadable.get(), 1, "{spoil:?}");
        let refused = scene.gate.enter(&who("web-02"), HOME, &Arc::default()).await;
        assert_eq!(refused.unwrap_err(), TurnedAway::ListUnreadable);
        assert_eq!(signal.verdict(), None, "half a second is no reason");
        scene.watcher.look(NOW);
        assert_eq!(signal.verdict().unwrap().code, NackCode::Overload, "it may come back later");
        scene.folder.remove(folder::REVOKED).unwrap();
        revocation::make_empty(&scene.folder).unwrap();
        scene.watcher.look(NOW);
        assert!(scene.gate.enter(&who("web-02"), HOME, &Arc::default()).await.is_ok());
        assert_eq!(scene.metrics.revocations_unreadable.get(), 0);
    }
}

#[tokio::test]
async fn a_session_does_not_outlive_its_certificate() {
    let mut scene = scene();
    let signal = Arc::default();
    let _place = scene.gate.enter(&who("web-01"), HOME, &signal).await.unwrap();
    scene.watcher.look(Timestamp::from_secs(9_999));
    assert_eq!(signal.verdict(), None);
    scene.watcher.look(Timestamp::from_secs(10_000));
    assert_eq!(signal.verdict().unwrap().code, NackCode::Revoked);
}

#[tokio::test]
async fn signs_of_a_copied_key_are_counted() {
    let scene = scene();
    let signs = |sign: &str| scene.metrics.clone_signs.with_label_values(&[sign]).get();
    let _own = scene.gate.enter(&who("web-01"), HOME, &Arc::default()).await.unwrap();
    let _copy = scene.gate.enter(&who("web-01"), IpAddr::from([127, 0, 0, 2]), &Arc::default()).await.unwrap();
    assert_eq!(signs("two_addresses"), 1);
    [7, 7, 8, 8, 0].into_iter().for_each(|boot| scene.gate.note_boot(&who("web-01"), boot));
    assert_eq!(signs("boot_returned"), 0);
    scene.gate.note_boot(&who("web-01"), 7);
    assert_eq!(signs("boot_returned"), 1);
    let third = scene.gate.enter(&who("web-01"), HOME, &Arc::default()).await;
    assert_eq!(third.unwrap_err(), TurnedAway::TooMany);
}
