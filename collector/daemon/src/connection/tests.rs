use canh_event::{Epoch, RecordSequence, Timestamp};
use canh_wire::{Batch, FRAME_TIMEOUT, Packed, Ping};
use prometheus::IntGauge;
use tokio::io::DuplexStream;

use super::*;

const IDLE: Duration = Duration::from_secs(90);

fn budget(bytes: u64) -> Budget {
    Budget::new(bytes, IntGauge::new("memory", "test").unwrap())
}

fn connect() -> (Connection<DuplexStream>, DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    (Connection::new(ours, budget(64 << 20), IDLE), theirs)
}

fn ping() -> Vec<u8> {
    encode(&Frame::Ping(Ping { token: 7, clock: Timestamp::EPOCH }))
}

fn encode(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.encode(1, &mut bytes);
    bytes
}

fn long_batch() -> Vec<u8> {
    let body = Packed::from_parts(false, 100_000, vec![7; 100_000]).unwrap();
    let (stream, epoch, first) = ("log".parse().unwrap(), Epoch(1), RecordSequence(1));
    encode(&Frame::Batch(Batch { stream, epoch, first, count: 1, body }))
}

#[tokio::test(start_paused = true)]
async fn frames_come_through_and_an_orderly_end_is_one() {
    let (mut connection, mut peer) = connect();
    peer.write_all(&[ping(), ping()].concat()).await.unwrap();
    drop(peer);
    assert!(matches!(connection.next().await, Ok(Some(Incoming { frame: Frame::Ping(_), room: None }))));
    assert!(connection.next().await.unwrap().is_some());
    assert!(connection.next().await.unwrap().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_is_idle_and_one_that_pings_is_not() {
    let (mut connection, mut peer) = connect();
    for _ in 0..3 {
        tokio::time::sleep(IDLE - Duration::from_secs(1)).await;
        peer.write_all(&ping()).await.unwrap();
        assert!(connection.next().await.unwrap().is_some());
    }
    let begin = Instant::now();
    assert!(matches!(connection.next().await, Err(ConnectionError::Idle { .. })));
    assert_eq!(begin.elapsed().as_secs(), IDLE.as_secs());
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_trickles_in_is_cut_off() {
    let (mut connection, mut peer) = connect();
    let begin = Instant::now();
    let trickle = tokio::spawn(async move {
        for byte in ping() {
            peer.write_all(&[byte]).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        peer
    });
    assert!(matches!(connection.next().await, Err(ConnectionError::Slow)));
    assert_eq!(begin.elapsed().as_secs(), FRAME_TIMEOUT.as_secs());
    drop(connection);
    assert!(trickle.await.is_err(), "the peer could no longer write");
}

#[tokio::test(start_paused = true)]
async fn time_that_we_did_not_read_is_not_held_against_the_peer() {
    let (mut connection, mut peer) = connect();
    let bytes = [ping(), ping()].concat();
    let (first, rest) = bytes.split_at(bytes.len() - 5);
    peer.write_all(first).await.unwrap();
    assert!(connection.next().await.unwrap().is_some());
    tokio::time::sleep(FRAME_TIMEOUT * 3).await;
    connection.excuse();
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        peer.write_all(rest).await.unwrap();
    };
    let (next, ()) = tokio::join!(connection.next(), late);
    assert!(next.unwrap().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_closes_inside_a_frame_has_cut_it() {
    let (mut connection, mut peer) = connect();
    peer.write_all(&ping()[..30]).await.unwrap();
    drop(peer);
    assert!(matches!(connection.next().await, Err(ConnectionError::Cut)));
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_is_stuck() {
    let (ours, peer) = tokio::io::duplex(16);
    let mut connection = Connection::new(ours, budget(64 << 20), IDLE);
    let frame = Frame::Ping(Ping { token: 7, clock: Timestamp::EPOCH });
    assert!(matches!(connection.write(&[frame], 1).await, Err(ConnectionError::Stuck)));
    drop(peer);
}

#[tokio::test(start_paused = true)]
async fn a_long_body_waits_for_room_in_the_budget() {
    let (ours, mut peer) = tokio::io::duplex(1 << 20);
    let budget = budget(64 << 20);
    let mut connection = Connection::new(ours, budget.clone(), IDLE);
    peer.write_all(&long_batch()).await.unwrap();
    let all = budget.reading(16 << 20).await.unwrap();
    assert!(timeout(Duration::from_secs(3_600), connection.next()).await.is_err(), "no room, and no fault of the peer");
    drop(all);
    let incoming = connection.next().await.unwrap().unwrap();
    assert!(matches!(incoming.frame, Frame::Batch(_)) && incoming.room.is_some());
}
