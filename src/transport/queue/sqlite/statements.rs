//! The statements of the queue in SQLite.
//!
//! Decides: their text, which is constant, so that each is prepared once a connection.
//! Never does: run them.

pub(super) const VERIFY: &str =
    "SELECT m.id FROM cupping_queue_message m, cupping_queue_failed f LIMIT 0";

pub(super) const CLAIM: &str = "
    UPDATE cupping_queue_message SET claim = ?1, claimed_until = ?2
    WHERE id IN (
        SELECT id FROM cupping_queue_message
        WHERE claim IS NULL AND lane = ?3 AND available_at <= ?4
        ORDER BY available_at, id LIMIT ?5)
    RETURNING id, body, headers, type, content_type, published_at, attempt, crash_count,
        first_failed_at";

pub(super) const NEXT_DUE: &str = "
    SELECT (SELECT min(available_at) FROM cupping_queue_message
            WHERE claim IS NULL AND lane = 'live') AS live_at,
           (SELECT min(available_at) FROM cupping_queue_message
            WHERE claim IS NULL AND lane = 'bulk') AS bulk_at";

pub(super) const RENEW: &str = "
    UPDATE cupping_queue_message SET claimed_until = ?3
    WHERE id IN (SELECT value FROM json_each(?1)) AND claim IN (SELECT value FROM json_each(?2))";

pub(super) const EXPIRED: &str = "
    SELECT id FROM cupping_queue_message
    WHERE claim IS NOT NULL AND claimed_until < ?1 ORDER BY id LIMIT ?2";

pub(super) const BURY_EXPIRED: &str = "
    INSERT OR REPLACE INTO cupping_queue_failed (id, lane, body, headers, type, content_type,
        published_at, failed_at, attempts, class, message, first_failed_at)
    SELECT id, lane, body, headers, type, content_type, published_at, ?2, attempt,
        'delivery_limit', ?4, coalesce(first_failed_at, ?2)
    FROM cupping_queue_message
    WHERE id IN (SELECT value FROM json_each(?1)) AND claim IS NOT NULL AND claimed_until < ?2
        AND crash_count + 1 >= ?3";

pub(super) const DELETE_EXPIRED: &str = "
    DELETE FROM cupping_queue_message
    WHERE id IN (SELECT value FROM json_each(?1)) AND claim IS NOT NULL AND claimed_until < ?2
        AND crash_count + 1 >= ?3";

pub(super) const RELEASE_EXPIRED: &str = "
    UPDATE cupping_queue_message
    SET claim = NULL, claimed_until = NULL, crash_count = crash_count + 1
    WHERE id IN (SELECT value FROM json_each(?1)) AND claim IS NOT NULL AND claimed_until < ?2
        AND crash_count + 1 < ?3";

pub(super) const ACK: &str = "DELETE FROM cupping_queue_message WHERE id = ?1 AND claim = ?2";

pub(super) const TICKET: &str = "DELETE FROM cupping_queue_message
    WHERE id IN (SELECT value FROM json_each(?1)) AND claim = ?2 RETURNING id";

pub(super) const RETRY: &str = "
    UPDATE cupping_queue_message SET claim = NULL, claimed_until = NULL, crash_count = 0,
        attempt = attempt + 1, available_at = ?3, headers = ?4,
        first_failed_at = coalesce(first_failed_at, ?5)
    WHERE id = ?1 AND claim = ?2";

pub(super) const BURY: &str = "
    INSERT OR REPLACE INTO cupping_queue_failed (id, lane, body, headers, type, content_type,
        published_at, failed_at, attempts, class, sqlstate, message, first_failed_at)
    SELECT id, lane, body, ?9, type, content_type, published_at, ?3, ?4, ?5, ?6, ?7,
        coalesce(first_failed_at, ?8)
    FROM cupping_queue_message WHERE id = ?1 AND claim = ?2";

pub(super) const HAND_BACK: &str = "
    UPDATE cupping_queue_message SET claim = NULL, claimed_until = NULL
    WHERE id IN (SELECT value FROM json_each(?1)) AND claim = ?2";

pub(super) const REPUBLISH: &str = "
    UPDATE cupping_queue_message SET claim = NULL, claimed_until = NULL, crash_count = 0
    WHERE id = ?1 AND claim = ?2";

pub(super) const RELEASE_OTHERS: &str = "
    UPDATE cupping_queue_message SET claim = NULL, claimed_until = NULL
    WHERE claim = ?1 AND id NOT IN (SELECT value FROM json_each(?2))";

// JSON cannot carry bytes: bodies travel in hexadecimal digits.
pub(super) const INSERT: &str = "
    INSERT INTO cupping_queue_message
        (lane, body, headers, type, content_type, published_at, available_at)
    SELECT value ->> 'lane', unhex(value ->> 'body'), value ->> 'headers', value ->> 'type',
        value ->> 'content_type', coalesce(value ->> 'published_at', ?2), ?2
    FROM json_each(?1) WHERE true ORDER BY key";

pub(super) const DEPTH: &str = "
    SELECT
        count(*) FILTER (WHERE claim IS NULL AND available_at <= ?1 AND lane = 'live') AS live,
        count(*) FILTER (WHERE claim IS NULL AND available_at <= ?1 AND lane = 'bulk') AS bulk,
        count(*) FILTER (WHERE claim IS NULL AND available_at > ?1) AS retrying,
        count(*) FILTER (WHERE claim IS NOT NULL) AS claimed,
        (SELECT count(*) FROM cupping_queue_failed) AS failed
    FROM cupping_queue_message";
