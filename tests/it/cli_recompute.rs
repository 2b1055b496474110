//! The recompute pass: interrupted, resumed, beside deletions.

use cupping::app::{Database, import, recompute};
use cupping::config::Config;
use cupping::domain::bean::BeanId;
use cupping::store::Store;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

type Lists = BTreeMap<BeanId, Vec<(BeanId, u32)>>;

/// The sample catalogue in a database of its own; small batches, so that a pass has many.
async fn sample(directory: &tempfile::TempDir) -> (Config, Database) {
    let mut config = Config::default();
    config.data.dir = directory.path().to_owned();
    config.pipeline.batch = NonZeroUsize::new(16).expect("not zero");
    config.pipeline.workers = NonZeroUsize::new(2).expect("not zero");
    let database = Database::open(&config).await.expect("a database");
    import::sample(&database).await.expect("the sample");
    (config, database)
}

async fn lists(store: &Arc<dyn Store>) -> Lists {
    let mut lists = Lists::new();
    store
        .lists(&mut |source, list| {
            lists.insert(source, list.into_iter().map(|s| (s.bean, s.ppm)).collect());
        })
        .await
        .expect("readable lists");
    lists
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_pass_resumes_where_it_stopped_and_ends_like_an_undisturbed_one() {
    let directory = tempfile::tempdir().expect("a directory");
    let (config, database) = sample(&directory).await;
    let pass = recompute::of(&config, &database);
    let stop = CancellationToken::new();
    let half = |done: u64| {
        if done >= 100 {
            stop.cancel();
        }
    };
    let first = pass.all(false, &stop, half).await.expect("a pass");
    assert!(first.interrupted, "{first:?}");
    assert!(first.written >= 100 && first.written < first.total, "{first:?}");

    let go = CancellationToken::new();
    let second = pass.all(false, &go, |_| {}).await.expect("a pass");
    assert!(!second.interrupted, "{second:?}");
    assert_eq!(second.resumed_at, first.written, "{second:?}");
    assert_eq!(first.written + second.written + second.unchanged, first.total, "{second:?}");
    let resumed = lists(&database.store()).await;

    let third = pass.all(false, &go, |_| {}).await.expect("a pass");
    assert_eq!((third.resumed_at, third.written), (0, 0), "a finished pass leaves no position");
    let other = tempfile::tempdir().expect("a directory");
    let (config, database) = sample(&other).await;
    recompute::of(&config, &database).all(false, &go, |_| {}).await.expect("a pass");
    assert_eq!(resumed, lists(&database.store()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_of_other_settings_or_before_a_restart_is_not_resumed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (config, database) = sample(&directory).await;
    let mut pass = recompute::of(&config, &database);
    for restart in [false, true] {
        let stop = CancellationToken::new();
        let first = pass.all(restart, &stop, |done| {
            if done >= 50 {
                stop.cancel();
            }
        });
        assert!(first.await.expect("a pass").interrupted);
        if !restart {
            pass.fingerprint.push_str("-other");
        }
        let again = pass.all(restart, &CancellationToken::new(), |_| {}).await.expect("a pass");
        assert_eq!(again.resumed_at, 0, "{again:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_of_beans_that_are_gone_are_removed() {
    let directory = tempfile::tempdir().expect("a directory");
    let (config, database) = sample(&directory).await;
    let pass = recompute::of(&config, &database);
    let go = CancellationToken::new();
    pass.all(false, &go, |_| {}).await.expect("a pass");
    let gone = lists(&database.store()).await.into_keys().next().expect("a list");
    database.writer().delete(std::slice::from_ref(&gone)).await.expect("deleted");
    let summary = pass.all(false, &go, |_| {}).await.expect("a pass");
    assert_eq!(summary.removed, 1, "{summary:?}");
    let left = lists(&database.store()).await;
    assert!(!left.contains_key(&gone));
    assert!(left.values().flatten().all(|(bean, _)| *bean != gone), "nobody lists it any more");
}
