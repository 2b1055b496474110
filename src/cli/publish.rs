//! `cupping publish`: messages for beans, each confirmed by the queue.
//!
//! Decides: which beans and which kind. Never does: compute anything; workers do.

use super::session::Session;
use super::{ExitStatus, Global, Output, failure::Told, output, progress};
use crate::app::{AppError, Database, open_transport};
use crate::config::Mode;
use crate::domain::bean::BeanId;
use crate::domain::message::MessageKind;
use crate::store::Store;
use crate::transport::{Lane, Outgoing, Publisher, Transport};
use anyhow::Context;
use clap::{Args, ValueEnum};
use std::collections::BTreeSet;
use std::io::BufRead;
use std::sync::Arc;

/// Messages confirmed together.
const CHUNK: usize = 500;

/// Arguments of `publish`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    cupping publish 018f2b1e-7b52-7cc0-a1b2-0123456789ab --kind updated\n  \
    cupping publish --all --bulk\n  \
    psql -Atc 'SELECT id FROM coffee_bean' | cupping publish -")]
pub(crate) struct PublishArgs {
    /// Ids of beans; `-` reads ids from stdin, one a line.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<String>,
    /// Every bean of the catalogue.
    #[arg(long)]
    all: bool,
    /// What happened to the beans.
    #[arg(long, value_enum, default_value_t = Kind::Calculate)]
    kind: Kind,
    /// Use the bulk queue, which gives way to live messages.
    #[arg(long)]
    bulk: bool,
}

/// `--kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// They are new.
    Created,
    /// They changed.
    Updated,
    /// They are gone.
    Deleted,
    /// Nothing: compute their lists.
    Calculate,
}

impl From<Kind> for MessageKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Created => Self::BeanCreated,
            Kind::Updated => Self::BeanUpdated,
            Kind::Deleted => Self::BeanDeleted,
            Kind::Calculate => Self::CalculateSimilarity,
        }
    }
}

/// Publishes.
pub(crate) fn run(global: &Global, args: PublishArgs) -> anyhow::Result<ExitStatus> {
    let session = Session::open(global)?;
    session.block_on(publish(&session, args))
}

async fn publish(session: &Session, args: PublishArgs) -> anyhow::Result<ExitStatus> {
    let given = ids(&args.ids).context("nothing was published")?;
    let kind = MessageKind::from(args.kind);
    let lane = if args.bulk { Lane::Bulk } else { Lane::Live };
    let published = if args.all || session.config.mode() != Mode::Broker {
        let database = Database::open(&session.config).await.context("nothing was published")?;
        let store = database.store();
        if let Some((id, why)) = given.iter().find_map(|id| Some((id, store.accepts(id).err()?))) {
            let what = format!("nothing was published: {id} cannot be the id of a bean: {why}");
            let advice = "give ids of the catalogue";
            return Err(Told::new(ExitStatus::Failure, what, advice).into());
        }
        let transport = open(session, Some(&database)).await?;
        let published = if args.all {
            let bar = progress::bar(store.count().await?, "publishing", session.quiet);
            let heard = |n| bar.set_position(n);
            let published = all(store.as_ref(), transport.publisher(), kind, lane, heard).await;
            bar.finish_and_clear();
            published?
        } else {
            send(transport.publisher().as_ref(), &given, kind, lane).await?;
            given.len() as u64
        };
        transport.close(session.config.shutdown.grace).await;
        published
    } else {
        let transport = open(session, None).await?;
        send(transport.publisher().as_ref(), &given, kind, lane).await?;
        transport.close(session.config.shutdown.grace).await;
        given.len() as u64
    };
    said(session, published, kind, lane)
}

/// The queue, declared as configured.
async fn open(
    session: &Session,
    database: Option<&Database>,
) -> anyhow::Result<Arc<dyn Transport>> {
    let transport =
        open_transport(&session.config, database).await.context("nothing was published")?;
    transport.prepare().await.map_err(AppError::from).context("nothing was published")?;
    Ok(transport)
}

/// Publishes a message for every bean, page by page; `progress` hears how many are confirmed.
async fn all(
    store: &dyn Store,
    publisher: Arc<dyn Publisher>,
    kind: MessageKind,
    lane: Lane,
    mut progress: impl FnMut(u64),
) -> anyhow::Result<u64> {
    let mut published = 0;
    let mut after: Option<BeanId> = None;
    loop {
        let ids = store.ids(after.as_ref(), CHUNK).await?;
        send(publisher.as_ref(), &ids, kind, lane)
            .await
            .with_context(|| format!("{published} messages were published before"))?;
        published += ids.len() as u64;
        progress(published);
        if ids.len() < CHUNK {
            return Ok(published);
        }
        after = ids.last().cloned();
    }
}

/// Publishes what an import created and changed; answers how many messages that were.
pub(super) async fn changes(
    publisher: &dyn Publisher,
    created: &BTreeSet<BeanId>,
    changed: &BTreeSet<BeanId>,
) -> anyhow::Result<u64> {
    let list = |ids: &BTreeSet<BeanId>| ids.iter().cloned().collect::<Vec<_>>();
    send(publisher, &list(created), MessageKind::BeanCreated, Lane::Live).await?;
    send(publisher, &list(changed), MessageKind::BeanUpdated, Lane::Live).await?;
    Ok((created.len() + changed.len()) as u64)
}

/// Publishes a message for each bean and waits for every confirmation.
pub(super) async fn send(
    publisher: &dyn Publisher,
    beans: &[BeanId],
    kind: MessageKind,
    lane: Lane,
) -> anyhow::Result<()> {
    for chunk in beans.chunks(CHUNK) {
        let messages: Vec<Outgoing> = chunk
            .iter()
            .map(|bean| Outgoing { bean: bean.clone(), kind, lane, ripple: false })
            .collect();
        publisher.publish(&messages).await.context("publishing again is safe")?;
    }
    Ok(())
}

/// Reads the ids given; `-` stands for those on stdin.
pub(super) fn ids(given: &[String]) -> anyhow::Result<Vec<BeanId>> {
    let mut ids = Vec::new();
    for text in given {
        if text != "-" {
            ids.push(id(text)?);
            continue;
        }
        for (at, line) in std::io::stdin().lock().lines().enumerate() {
            let line = line.context("cannot read ids from stdin")?;
            if !line.trim().is_empty() {
                ids.push(id(line.trim()).with_context(|| format!("line {} of stdin", at + 1))?);
            }
        }
    }
    Ok(ids)
}

fn id(text: &str) -> anyhow::Result<BeanId> {
    BeanId::parse(text).map_err(|error| {
        let what = format!("{text:?} is not a bean id: {error}");
        Told::new(ExitStatus::Usage, what, "give the id the catalogue uses").into()
    })
}

fn said(
    session: &Session,
    published: u64,
    kind: MessageKind,
    lane: Lane,
) -> anyhow::Result<ExitStatus> {
    if session.output == Some(Output::Json) {
        output::json(&serde_json::json!({
            "published": published, "kind": kind.name(), "lane": lane.name(),
        }))?;
    } else {
        let messages = output::count(published, "message");
        output::line(format!(
            "{messages} published ({kind}, {} lane), all confirmed",
            lane.name()
        ))?;
    }
    Ok(ExitStatus::Success)
}
