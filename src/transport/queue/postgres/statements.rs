//! The statements of the queue in PostgreSQL.
//!
//! Decides: their text, which is constant, so that each is prepared once a connection.
//! Never does: run them.

pub(super) const VERIFY: &str =
    "SELECT m.id FROM cupping.queue_message m, cupping.queue_failed f LIMIT 0";

// MATERIALIZED: without it a join may run the locking subquery again and claim beyond the limit.
pub(super) const CLAIM: &str = "
    WITH due AS MATERIALIZED (
        SELECT id FROM cupping.queue_message
        WHERE claim IS NULL AND lane = $1 AND available_at <= now()
        ORDER BY available_at, id LIMIT $2
        FOR UPDATE SKIP LOCKED)
    UPDATE cupping.queue_message m
    SET claim = $3, claimed_until = now() + $4 * interval '1 millisecond'
    FROM due WHERE m.id = due.id
    RETURNING m.id, m.body, m.headers::text AS headers, m.type, m.content_type, m.attempt,
        m.crash_count,
        (extract(epoch FROM m.published_at) * 1000)::bigint AS published_ms,
        (extract(epoch FROM m.first_failed_at) * 1000)::bigint AS first_failed_ms";

pub(super) const NEXT_DUE: &str = "
    SELECT (extract(epoch FROM live - now()) * 1000)::bigint AS live_ms,
           (extract(epoch FROM bulk - now()) * 1000)::bigint AS bulk_ms
    FROM (SELECT
        (SELECT min(available_at) FROM cupping.queue_message
         WHERE claim IS NULL AND lane = 'live') AS live,
        (SELECT min(available_at) FROM cupping.queue_message
         WHERE claim IS NULL AND lane = 'bulk') AS bulk) due";

// Renewing covers rows that a store's transaction may be deleting by ticket at this moment, in an
// order of its own: it waits for none of them, so that the two can never wait for one another.
pub(super) const RENEW: &str = "
    WITH held AS MATERIALIZED (
        SELECT id FROM cupping.queue_message
        WHERE id = ANY($1) AND claim = ANY($2)
        FOR UPDATE SKIP LOCKED)
    UPDATE cupping.queue_message m SET claimed_until = now() + $3 * interval '1 millisecond'
    FROM held WHERE m.id = held.id";

pub(super) const EXPIRE: &str = "
    WITH expired AS MATERIALIZED (
        SELECT id, crash_count + 1 >= $1 AS finished FROM cupping.queue_message
        WHERE claim IS NOT NULL AND claimed_until < now()
        ORDER BY id LIMIT $2
        FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM cupping.queue_message m USING expired e
        WHERE m.id = e.id AND e.finished
        RETURNING m.*),
    failed AS (
        INSERT INTO cupping.queue_failed (id, lane, body, headers, type, content_type,
            published_at, failed_at, attempts, class, message, first_failed_at)
        SELECT id, lane, body, headers, type, content_type, published_at, now(), attempt,
            'delivery_limit', $3, coalesce(first_failed_at, now())
        FROM gone
        RETURNING 1),
    released AS (
        UPDATE cupping.queue_message m
        SET claim = NULL, claimed_until = NULL, crash_count = m.crash_count + 1
        FROM expired e WHERE m.id = e.id AND NOT e.finished
        RETURNING 1)
    SELECT (SELECT count(*) FROM released) AS released, (SELECT count(*) FROM failed) AS failed";

pub(super) const ACK: &str = "DELETE FROM cupping.queue_message WHERE id = $1 AND claim = $2";

pub(super) const TICKET: &str =
    "DELETE FROM cupping.queue_message WHERE id = ANY($1) AND claim = $2 RETURNING id";

pub(super) const RETRY: &str = "
    UPDATE cupping.queue_message SET claim = NULL, claimed_until = NULL, crash_count = 0,
        attempt = attempt + 1, available_at = now() + $3 * interval '1 millisecond',
        headers = $4::jsonb,
        first_failed_at = coalesce(first_failed_at, to_timestamp($5::float8 / 1000))
    WHERE id = $1 AND claim = $2";

pub(super) const DEAD_LETTER: &str = "
    WITH gone AS (
        DELETE FROM cupping.queue_message WHERE id = $1 AND claim = $2 RETURNING *)
    INSERT INTO cupping.queue_failed (id, lane, body, headers, type, content_type, published_at,
        failed_at, attempts, class, sqlstate, message, first_failed_at)
    SELECT id, lane, body, $9::jsonb, type, content_type, published_at,
        to_timestamp($3::float8 / 1000), $4, $5, $6, $7,
        coalesce(first_failed_at, to_timestamp($8::float8 / 1000))
    FROM gone";

pub(super) const HAND_BACK: &str = "
    UPDATE cupping.queue_message SET claim = NULL, claimed_until = NULL
    WHERE id = ANY($1) AND claim = $2";

pub(super) const REPUBLISH: &str = "
    UPDATE cupping.queue_message SET claim = NULL, claimed_until = NULL, crash_count = 0
    WHERE id = $1 AND claim = $2";

pub(super) const RELEASE_OTHERS: &str = "
    UPDATE cupping.queue_message SET claim = NULL, claimed_until = NULL
    WHERE claim = $1 AND id <> ALL($2)";

pub(super) const INSERT: &str = "
    WITH stored AS (
        INSERT INTO cupping.queue_message
            (lane, body, headers, type, content_type, published_at, available_at)
        SELECT lane, body, headers::jsonb, type, content_type,
            coalesce(to_timestamp(published_ms::float8 / 1000), now()), now()
        FROM UNNEST($1::text[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::bigint[])
            WITH ORDINALITY
            AS fresh (lane, body, headers, type, content_type, published_ms, position)
        ORDER BY position
        RETURNING 1)
    SELECT count(*), pg_notify('cupping_queue', '') FROM stored";

pub(super) const DEPTH: &str = "
    SELECT
        count(*) FILTER (WHERE claim IS NULL AND available_at <= now() AND lane = 'live') AS live,
        count(*) FILTER (WHERE claim IS NULL AND available_at <= now() AND lane = 'bulk') AS bulk,
        count(*) FILTER (WHERE claim IS NULL AND available_at > now()) AS retrying,
        count(*) FILTER (WHERE claim IS NOT NULL) AS claimed,
        (SELECT count(*) FROM cupping.queue_failed) AS failed
    FROM cupping.queue_message";
