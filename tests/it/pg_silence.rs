//! A network that goes silent: reads end with an error that says so, and is an outage.

use crate::support::databases::PostgresDatabase;
use crate::support::proxy::Proxy;
use cupping::store::postgres::PostgresStore;
use cupping::store::settings::StoreSettings;
use cupping::store::{Catalogue, LogMark, SimilarityStore};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_network_is_an_outage_and_hangs_no_read() {
    let database = PostgresDatabase::create().await;
    let mut url = url::Url::parse(&database.url()).expect("a URL");
    let server = format!("{}:{}", url.host_str().expect("a host"), url.port().unwrap_or(5432));
    let proxy = Proxy::start(&server).await;
    url.set_ip_host(proxy.address.ip()).expect("a URL with a host");
    url.set_port(Some(proxy.address.port())).expect("a URL with a port");
    let acquire_timeout = Duration::from_millis(300);
    let mut settings = StoreSettings { acquire_timeout, ..StoreSettings::default() };
    settings.transaction.statement_timeout = Duration::from_millis(300);
    let store = PostgresStore::connect(url.as_str(), settings).await.expect("it connects");
    store.migrate().await.expect("it migrates");
    let mark = store.load(&mut |_| ()).await.expect("an empty catalogue loads");

    proxy.freeze();
    let probe = store.probe().await.expect_err("nobody answers");
    let changes = store.changes(&mark).await.expect_err("nobody answers");
    for error in [probe, changes] {
        assert!(error.is_pause(), "an outage, which burns no attempt: {error}");
    }
    assert_ne!(mark, LogMark::default());
}
