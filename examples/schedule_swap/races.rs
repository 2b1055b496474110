//! The same thing asked of two processes at the same moment, again and again.
//!
//! Decides: how the doubles are counted: by what the database has in the end.

use crate::arena::Failure;
use crate::client::{Answer, post};
use crate::contention::Measured;
use crate::processes::Processes;
use crate::wire::{By, SwapRequest, Swapped};
use sqlx::PgPool;

/// How often each is tried; each try has rows of its own.
const TRIES: i64 = 20;

/// The first week that only the tries use.
const WEEK: i64 = 10;

/// What went wrong, by the database.
#[derive(Debug, Default)]
pub struct Doubles {
    /// Keys whose swap was executed more than once.
    pub executed: i64,
    /// Keys of which the two clients got different answers.
    pub answered_differently: i64,
    /// Swaps rolled back more than once.
    pub rolled_back: i64,
    /// Alerts resolved more than once.
    pub resolved: i64,
    /// Rotas on which nobody is left.
    pub abandoned: i64,
    /// Tries of which neither request had an effect.
    pub nothing: i64,
    /// Swaps of the load before that were executed or rolled back more than once.
    pub in_the_load: i64,
}

impl Doubles {
    /// Whether everything happened once, and something did.
    pub fn is_clean(&self) -> bool {
        let once = [self.executed, self.answered_differently, self.rolled_back, self.resolved];
        once == [0; 4] && [self.abandoned, self.nothing, self.in_the_load] == [0; 3]
    }

    /// With a line for each below the table.
    pub fn noted(&self, measured: Measured) -> Measured {
        let of = |count: i64| format!("{count} of {TRIES}");
        measured
            .note("swaps executed twice", of(self.executed))
            .note("twins answered differently", of(self.answered_differently))
            .note("swaps rolled back twice", of(self.rolled_back))
            .note("alerts resolved twice", of(self.resolved))
            .note("rotas with nobody left", of(self.abandoned))
    }
}

/// Tries each of them.
pub async fn run(processes: &Processes, pool: &PgPool) -> Result<Doubles, Failure> {
    let twice = "SELECT count(*) FROM (SELECT FROM journal WHERE what = $1
                                       GROUP BY about HAVING count(*) > 1) AS twice";
    let twice =
        async |what: &str| sqlx::query_scalar::<_, i64>(twice).bind(what).fetch_one(pool).await;
    let loaded = [twice("swapped").await?, twice("rolled back").await?];
    let mut doubles = Doubles { in_the_load: loaded.iter().sum(), ..Doubles::default() };
    for number in 0..TRIES {
        let shift = (WEEK + number) * 100 + 1;
        let request = SwapRequest {
            key: format!("twin {number}"),
            first: (shift, 0),
            second: (shift + 1, 0),
            limit_ms: None,
        };
        let bodies = [&request, &request];
        let twins = both(processes, "/swaps", bodies).await?;
        doubles.answered_differently += i64::from(twins[0] != twins[1]);
        let Some(swap) = twins.into_iter().find(|answer| answer.status == 200) else {
            doubles.nothing += 1;
            continue;
        };
        let swap = swap.read::<Swapped>()?.swap;
        let rolled = both(processes, &format!("/swaps/{swap}/rollback"), [&(), &()]).await?;
        let people = [1, 2].map(|person| By { person });
        let people = [&people[0], &people[1]];
        let alert = both(processes, &format!("/alerts/{}/resolve", number + 1), people).await?;
        let rota = both(processes, &format!("/rotas/{}/leave", number + 1), people).await?;
        for answers in [rolled, alert, rota] {
            doubles.nothing += i64::from(answers.iter().all(|answer| answer.status != 200));
        }
    }
    doubles.executed = twice("swapped").await? - loaded[0];
    doubles.rolled_back = twice("rolled back").await? - loaded[1];
    doubles.resolved = twice("resolved").await?;
    let abandoned = "SELECT count(*) FROM (SELECT FROM duty GROUP BY rota
                                           HAVING NOT bool_or(on_call)) AS abandoned";
    doubles.abandoned = sqlx::query_scalar(abandoned).fetch_one(pool).await?;
    Ok(doubles)
}

/// Asks two processes at once.
async fn both<T: serde::Serialize>(
    processes: &Processes,
    path: &str,
    bodies: [&T; 2],
) -> Result<[Answer; 2], Failure> {
    let [one, other, _] = processes.ports();
    let answers = tokio::try_join!(post(one, path, bodies[0]), post(other, path, bodies[1]))?;
    Ok(answers.into())
}
