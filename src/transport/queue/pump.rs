//! Claims rows for one source, as slots and lanes allow, and waits when there is nothing to do.
//!
//! Decides: when to look at the table: at once when a publish of this process or a notification
//! tells of news, when a retry falls due, when slots are freed, and else ever more rarely up to
//! the poll interval. Never does: hand on or settle.

use super::lanes::{PerLane, next_claim};
use super::source::{Held, SourceParts};
use crate::resilience::backoff::EqualJitter;
use crate::transport::{Lane, TransportError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Rows claimed in one statement, at most.
const CLAIM_BATCH: usize = 500;
/// Shortest pause between two looks at a lane that had nothing for us.
const SHORTEST_PAUSE: Duration = Duration::from_millis(2);
/// First pause of an idle queue; it doubles up to the poll interval.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// Pauses while the database is out of reach.
const OUTAGE: EqualJitter =
    EqualJitter { base: Duration::from_millis(100), multiplier: 2.0, cap: Duration::from_secs(5) };

struct Pump {
    parts: Arc<SourceParts>,
    /// Lanes that had less than was asked for; not asked again before `recheck` or news.
    dry: PerLane<bool>,
    recheck: Option<Instant>,
    pause: Duration,
}

/// Claims until the source is stopped, then gives back what was not handed on.
pub(super) async fn pump(parts: Arc<SourceParts>) {
    let mut news = parts.shared.news.subscribe();
    let mut failures = 0;
    let mut pump =
        Pump { parts: parts.clone(), dry: PerLane::default(), recheck: None, pause: FIRST_PAUSE };
    while !parts.stop.is_cancelled() {
        news.mark_unchanged();
        let round = pump.round().await;
        parts.shared.link.observe(&round);
        match round {
            Ok(()) => failures = 0,
            Err(error @ TransportError::Misconfigured(_)) => {
                parts.buffer.fail(error);
                break;
            }
            Err(_) => {
                failures += 1;
                let delay = OUTAGE.delay(failures, fastrand::f64());
                tokio::select! {
                    () = parts.stop.cancelled() => {}
                    () = tokio::time::sleep(delay) => pump.look_again(),
                }
                continue;
            }
        }
        tokio::select! {
            () = parts.stop.cancelled() => {}
            _ = news.changed() => pump.look_again(),
            () = until(pump.recheck) => pump.look_again(),
            () = parts.ledger.freed() => {}
        }
    }
    give_back(&parts).await;
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time.into()).await,
        None => std::future::pending().await,
    }
}

impl Pump {
    fn look_again(&mut self) {
        self.dry = PerLane::default();
        self.recheck = None;
    }

    /// Claims what the slots allow.
    async fn round(&mut self) -> Result<(), TransportError> {
        self.settle_unclear().await?;
        let mut newly_dry = false;
        while let Some((lane, count)) = self.plan() {
            let count = count.min(CLAIM_BATCH);
            let claimed = self.claim(lane, count).await?;
            if claimed > 0 {
                self.pause = FIRST_PAUSE;
            }
            if claimed < count {
                *self.dry.get_mut(lane) = true;
                newly_dry = true;
            }
        }
        if newly_dry {
            self.recheck = Some(Instant::now() + self.idle().await?);
        }
        Ok(())
    }

    /// Rows that a lost answer left under our token go back at once, instead of after the
    /// visibility timeout with a crash counted.
    async fn settle_unclear(&mut self) -> Result<(), TransportError> {
        let parts = &self.parts;
        if !parts.ledger.take_unclear() {
            return Ok(());
        }
        let token = parts.token.current(Instant::now());
        let (keep, _) = parts.ledger.held();
        match parts.shared.table.release_others(&token, &keep).await {
            Ok(0) => Ok(()),
            Ok(_) => {
                parts.shared.wake();
                self.look_again();
                Ok(())
            }
            Err(error) => {
                parts.ledger.mark_unclear();
                Err(error)
            }
        }
    }

    fn plan(&self) -> Option<(Lane, usize)> {
        let prefetch = self.parts.shared.settings.prefetch;
        let held = self.parts.ledger.count();
        let waiting = self.parts.buffer.waiting();
        let free = prefetch.saturating_sub(held.live + held.bulk);
        // While rows of a lane wait here anyway, slots are refilled by the quarter, not one by one.
        let worthwhile = |waiting: usize| waiting == 0 || free >= (prefetch / 4).max(1);
        let open = PerLane {
            live: !self.dry.live && worthwhile(waiting.live),
            bulk: !self.dry.bulk && worthwhile(waiting.bulk),
        };
        next_claim(prefetch, held, open, self.parts.buffer.is_bulk_turn())
    }

    async fn claim(&self, lane: Lane, count: usize) -> Result<usize, TransportError> {
        let parts = &self.parts;
        let token = parts.token.current(Instant::now());
        let visibility = parts.shared.settings.queue.visibility_timeout;
        let rows = parts.shared.table.claim(lane, count, &token, visibility).await;
        let rows = rows.inspect_err(|_| parts.ledger.mark_unclear())?;
        let claimed = rows.len();
        for row in rows {
            let slot = parts.ledger.enter(row.id, token.clone(), lane);
            parts.buffer.push(Held { row, slot });
        }
        Ok(claimed)
    }

    /// How long to wait before dry lanes are asked again: until the next message falls due, or
    /// the pause of an idle queue.
    async fn idle(&mut self) -> Result<Duration, TransportError> {
        let due = self.parts.shared.table.next_due().await?;
        let live = due.live.filter(|_| self.dry.live);
        let bulk = due.bulk.filter(|_| self.dry.bulk);
        let pause = self.pause;
        self.pause = (pause * 2).min(self.parts.shared.settings.queue.poll_interval);
        let soonest = live.into_iter().chain(bulk).min().unwrap_or(pause);
        Ok(soonest.clamp(SHORTEST_PAUSE, pause.max(SHORTEST_PAUSE)))
    }
}

/// Gives back what was claimed and not handed on.
async fn give_back(parts: &SourceParts) {
    let mut by_claim: BTreeMap<Arc<str>, Vec<Held>> = BTreeMap::new();
    for held in parts.buffer.drain() {
        by_claim.entry(held.slot.claim.clone()).or_default().push(held);
    }
    for (claim, rows) in by_claim {
        let ids: Vec<i64> = rows.iter().map(|held| held.slot.id).collect();
        match parts.shared.table.hand_back(&ids, &claim).await {
            Ok(_) => rows.into_iter().for_each(|held| held.slot.clear()),
            Err(error) => tracing::warn!(
                %error,
                messages = ids.len(),
                "messages could not be handed back; they are redelivered when their claim expires"
            ),
        }
    }
    parts.shared.wake();
}
