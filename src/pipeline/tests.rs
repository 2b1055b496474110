//! The wired pipeline against doubles in memory, for what only doubles can force: stages that die,
//! panics, outages. (The behaviours on a real database and queue are in `tests/`.)

use super::*;
use doubles::{MemoryQueue, Outcome, TestIndex, TestStore};

mod doubles;

fn settings() -> PipelineSettings {
    let config = crate::config::Config::default();
    PipelineSettings {
        pipeline: config.pipeline.clone(),
        ladder: config.ladder(),
        codec: CodecSettings::default(),
        unknown_type: UnknownType::DeadLetter,
        grace: Duration::from_secs(10),
        max_rows: 10_000,
        refresh: Refresh::Log,
        reload_interval: Duration::from_secs(60),
        limits: RunLimits::default(),
    }
}

struct Bench {
    store: Arc<TestStore>,
    queue: Arc<MemoryQueue>,
    index: Arc<TestIndex>,
    settings: PipelineSettings,
}

impl Bench {
    fn new(beans: usize) -> Self {
        Self {
            store: Arc::new(TestStore::new(beans)),
            queue: Arc::new(MemoryQueue::default()),
            index: Arc::new(TestIndex::new()),
            settings: settings(),
        }
    }

    /// Runs until every message is settled for good, with a hook that sees the inside.
    fn run(self, prepare: impl FnOnce(&Shared)) -> (RunSummary, Arc<MemoryQueue>, Arc<TestStore>) {
        let (queue, store) = (Arc::clone(&self.queue), Arc::clone(&self.store));
        let parts = PipelineParts {
            store: self.store,
            transport: self.queue,
            index: self.index,
            settings: self.settings,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        let summary = runtime::block_on(Arc::new(runtime), async {
            let shared = Shared::new(parts, PipelineHandle::new()).expect("threads");
            prepare(&shared);
            let stop = CancellationToken::new();
            let settled = async {
                queue.all_settled().await;
                stop.cancel();
            };
            let both = async { tokio::join!(operate(&shared, &stop), settled).0 };
            let limit = Duration::from_secs(30);
            tokio::time::timeout(limit, both).await.expect("all is settled in time")
        });
        (summary.expect("no failure"), queue, store)
    }
}

fn poison(shared: &Shared, stage: &'static str) {
    *shared.poisoned.lock().expect("fresh") = Some(stage);
}

#[test]
fn every_message_of_every_bean_is_acknowledged_after_its_commit() {
    let bench = Bench::new(50);
    (0..150).for_each(|n| bench.queue.publish(n % 50));
    let (summary, queue, store) = bench.run(|_| {});
    assert_eq!(queue.count(Outcome::Acked), 150);
    assert_eq!(store.sources(), 50);
    assert_eq!((summary.received, summary.acked, summary.failed), (150, 150, 0));
    assert!(summary.latency_p99 >= summary.latency_p50);
}

#[test]
fn a_stage_that_dies_is_restarted_and_nothing_is_lost() {
    for stage in ["receiver", "dispatcher", "scorer", "writer", "settler"] {
        let mut bench = Bench::new(40);
        bench.settings.pipeline.batch = 4.try_into().expect("not zero");
        (0..80).for_each(|n| bench.queue.publish(n % 40));
        let (summary, queue, store) = bench.run(|shared| poison(shared, stage));
        assert_eq!(summary.restarts, 1, "{stage}");
        assert_eq!(queue.count(Outcome::Acked), 80, "{stage}");
        assert_eq!(queue.count(Outcome::Failed), 0, "{stage}");
        assert_eq!(queue.highest_attempt(), 1, "{stage}: no attempt is burnt");
        assert_eq!(store.sources(), 40, "{stage}");
    }
}

#[test]
fn a_panic_in_scoring_costs_its_own_message_only() {
    let bench = Bench::new(30);
    (0..30).for_each(|n| bench.queue.publish(n));
    bench.index.panics_for(7);
    let (summary, queue, _) = bench.run(|_| {});
    assert_eq!(queue.count(Outcome::Acked), 29);
    assert_eq!(queue.failed(), vec![(doubles::bean(7), "panic".to_owned())]);
    assert_eq!((summary.failed, summary.restarts), (1, 0));
}

#[test]
fn a_write_that_panics_or_is_refused_is_split_down_to_the_bad_bean() {
    let bench = Bench::new(30);
    (0..30).for_each(|n| bench.queue.publish(n));
    bench.store.panics_for(3);
    bench.store.refuses(11);
    let (_, queue, store) = bench.run(|_| {});
    assert_eq!(queue.count(Outcome::Acked), 28);
    let mut failed = queue.failed();
    failed.sort();
    let expected = [(3, "panic"), (11, "data")];
    let mut expected = expected.map(|(n, class)| (doubles::bean(n), class.to_owned()));
    expected.sort();
    assert_eq!(failed, expected);
    assert_eq!(store.sources(), 28);
}

#[test]
fn unreadable_messages_fail_at_once_with_the_reason_and_foreign_ones_may_be_ignored() {
    let mut bench = Bench::new(1);
    bench.settings.unknown_type = UnknownType::Ignore;
    bench.queue.publish_bytes(b"", None);
    bench.queue.publish_bytes(b"{]", None);
    bench.queue.publish_bytes(&vec![b' '; 1 << 20], None);
    bench.queue.publish_bytes(br#"{"coffeeBeanId":"impossible"}"#, None);
    bench.queue.publish_bytes(br#"{"order":1}"#, Some("OrderPlaced"));
    bench.queue.publish(0);
    let (summary, queue, _) = bench.run(|_| {});
    let classes: Vec<_> = queue.failed().into_iter().map(|(_, class)| class).collect();
    let mut sorted = classes.clone();
    sorted.sort();
    assert_eq!(sorted, ["body_too_large", "empty_body", "impossible_id", "undecodable"]);
    assert_eq!(queue.count(Outcome::Acked), 2);
    assert_eq!(summary.failed, 4);
}

#[test]
fn a_missing_bean_is_retried_twice_and_then_its_leftover_rows_are_deleted() {
    let bench = Bench::new(1);
    bench.queue.publish(99);
    let (summary, queue, store) = bench.run(|_| {});
    assert_eq!((summary.retried, summary.acked, summary.failed), (2, 1, 0));
    assert_eq!(queue.highest_attempt(), 3);
    assert_eq!(store.sources(), 1, "an empty list was written");
}

#[test]
fn a_limit_of_messages_takes_exactly_so_many_and_works_them_off() {
    let mut bench = Bench::new(50);
    bench.settings.limits.messages = Some(20);
    (0..50).for_each(|n| bench.queue.publish(n));
    let queue = Arc::clone(&bench.queue);
    queue.settled_enough(20);
    let (summary, queue, _) = bench.run(|_| {});
    assert_eq!((summary.received, summary.acked), (20, 20));
    assert_eq!(queue.ready(), 30, "the others wait for the next worker");
}

#[test]
fn messages_that_wait_for_one_bean_are_merged_into_at_most_two_runs() {
    let bench = Bench::new(1);
    (0..100).for_each(|_| bench.queue.publish(0));
    let index = Arc::clone(&bench.index);
    let (summary, queue, _) = bench.run(|_| {});
    assert!(index.calls().len() <= 2, "{:?}", index.calls().len());
    assert_eq!(queue.count(Outcome::Acked), 100);
    assert!(summary.coalesced >= 98);
}

#[test]
fn a_message_that_crashed_workers_runs_alone_and_the_others_go_back_as_new() {
    let mut bench = Bench::new(20);
    bench.settings.pipeline.scoring_threads = 1;
    (0..10).for_each(|n| bench.queue.publish_suspect(n, 1));
    bench.queue.publish_suspect(19, 3);
    (10..19).for_each(|n| bench.queue.publish_suspect(n, 2));
    let index = Arc::clone(&bench.index);
    let (summary, queue, _) = bench.run(|_| {});
    assert_eq!(queue.count(Outcome::Acked), 20);
    assert_eq!(queue.highest_attempt(), 1);
    let calls = index.calls();
    let suspect: Vec<_> =
        calls.iter().filter(|call| call.iter().any(|b| b.as_str() == "bean-19")).collect();
    assert_eq!((suspect.len(), suspect[0].len()), (1, 1), "{calls:?}");
    assert!(summary.returned >= 19, "the others were republished: {}", summary.returned);
}
