//! Starts the stages and starts them anew when they die. (An actor that panics is gone for good;
//! the actor library's own supervisor restarts only one that stops.)
//!
//! Decides: when a stage is dead, and when it dies too often. Never does: handle a message of the
//! pipeline. What a dead stage held was dropped with it: deliveries go back to their queue, beans
//! become free (see `desk`).

use super::PipelineError;
use super::progress::count;
use super::shared::Shared;
use super::stage::{Bell, Post};
use crate::telemetry::events;
use actix::{Actor, ActorContext, ActorFutureExt, AsyncContext, Context, WrapFuture};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Besides hearing of deaths, the supervisor looks this often.
const ROUND: Duration = Duration::from_secs(1);

/// More deaths than this within [`RECENT`] are not an accident: the pipeline ends with an error.
const DEATHS: usize = 20;
/// See [`DEATHS`].
const RECENT: Duration = Duration::from_secs(10);

/// Watches over the stages.
pub(crate) struct Supervisor {
    shared: Arc<Shared>,
    posts: Vec<Box<dyn Post>>,
    bell: Bell,
    deaths: VecDeque<Instant>,
}

impl Supervisor {
    /// Over these stages, in the order in which they are to start: sink first.
    pub(crate) fn new(shared: Arc<Shared>, posts: Vec<Box<dyn Post>>, bell: Bell) -> Self {
        Self { shared, posts, bell, deaths: VecDeque::new() }
    }

    fn listen(&self, mut rings: watch::Receiver<u64>, ctx: &mut Context<Self>) {
        let rung = async move {
            rings.changed().await.expect("the supervisor holds the bell");
            rings
        };
        let look = rung.into_actor(self).map(|rings, act, ctx| {
            act.look(ctx);
            act.listen(rings, ctx);
        });
        ctx.spawn(look);
    }

    fn look(&mut self, ctx: &mut Context<Self>) {
        if self.shared.over.is_cancelled() {
            ctx.stop();
            return;
        }
        let now = Instant::now();
        for post in self.posts.iter_mut().filter(|post| !post.alive()) {
            events::stage_restarted(post.name());
            count(&self.shared.counters().restarts);
            self.deaths.push_back(now);
            post.start(&self.bell);
        }
        self.deaths.retain(|death| now.duration_since(*death) < RECENT);
        if self.deaths.len() > DEATHS {
            self.shared.fail(PipelineError::StagesDie { deaths: self.deaths.len() });
        }
    }
}

impl Actor for Supervisor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.listen(self.bell.listen(), ctx);
        for post in &mut self.posts {
            post.start(&self.bell);
        }
        ctx.run_interval(ROUND, Self::look);
    }
}
