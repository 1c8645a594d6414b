//! Charging and ending, without a sink.

use super::*;

#[tokio::test]
async fn the_budget_bounds_what_is_charged_and_each_sender_has_one_chunk_more() {
    let (queue, _receiver) = bounded(10_000);
    let (one, two) = (queue.sender(), queue.sender());

    let mut first = one.charge(10_000).await.unwrap();
    let _reserved = one.charge(10_000).await.unwrap();
    assert!(one.charge(10).now_or_never().is_none());
    let _other = two
        .charge(10_000)
        .now_or_never()
        .expect("its own reserve")
        .unwrap();
    assert!(two.charge(10).now_or_never().is_none());

    first.shrink_to(1000);
    assert!(one.charge(10_000).now_or_never().is_none());
    assert!(one.charge(5000).now_or_never().is_some());

    let more = one.try_charge(5000).expect("there is room");
    assert!(one.try_charge(5000).is_none());
    drop((more, _reserved));
    // Only the reserve is left of so much room.
    assert!(one.try_charge(10_000).is_none());
}

#[tokio::test]
async fn a_limited_sender_holds_its_share_and_ends_with_the_delivery() {
    let (queue, receiver) = bounded(10_000);
    let sender = queue.sender().limited(2000);

    let first = sender.charge(4000).await.unwrap();
    assert!(sender.charge(10).now_or_never().is_none());
    drop(first);
    let _second = sender.charge(1400).await.unwrap();

    let waiting = sender.charge(1400);
    drop(receiver);
    assert_eq!(waiting.await.err(), Some(Closed));
}

#[tokio::test]
async fn waiting_for_room_ends_when_delivery_ends() {
    let (queue, receiver) = bounded(1000);
    let sender = queue.sender();
    let _all = (
        sender.charge(1000).await.unwrap(),
        sender.charge(1).await.unwrap(),
    );

    let waiting = sender.charge(1000);
    drop(receiver);

    assert_eq!(waiting.await.err(), Some(Closed));
}
