-- The service's own bookkeeping. The pipeline writes here and in the similarity table, and nowhere
-- else. The triggers that feed the change log are made from the mapping, not here.
--
-- Times are unix milliseconds.

-- What changed. SQLite has one writer at a time, so the numbers rise in the order of commits.
CREATE TABLE cupping_change_log (
    seq     INTEGER PRIMARY KEY AUTOINCREMENT,
    kind    TEXT NOT NULL CHECK (kind IN ('bean', 'epoch', 'threshold')),
    bean_id TEXT,
    at      INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    count   INTEGER,
    kth_ppm INTEGER,
    kth_id  TEXT
);
CREATE INDEX cupping_change_log_bean ON cupping_change_log (bean_id, seq) WHERE kind = 'bean';
CREATE INDEX cupping_change_log_epoch ON cupping_change_log (seq) WHERE kind = 'epoch';
CREATE INDEX cupping_change_log_at ON cupping_change_log (at);

-- Each source's threshold: how long its list is, and the last entry of it.
CREATE TABLE cupping_source_state (
    source_id TEXT PRIMARY KEY,
    count     INTEGER NOT NULL,
    kth_ppm   INTEGER,
    kth_id    TEXT
) WITHOUT ROWID;

CREATE TABLE cupping_state (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- Who this database is: random, made once.
INSERT INTO cupping_state (key, value) VALUES ('database', lower(hex(randomblob(16))));

CREATE TABLE cupping_note (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- The queue.
CREATE TABLE cupping_queue_message (
    id              INTEGER PRIMARY KEY AUTOINCREMENT,
    lane            TEXT NOT NULL,
    body            BLOB NOT NULL,
    headers         TEXT NOT NULL DEFAULT '{}',
    type            TEXT,
    content_type    TEXT,
    published_at    INTEGER NOT NULL,
    available_at    INTEGER NOT NULL,
    attempt         INTEGER NOT NULL DEFAULT 1,
    crash_count     INTEGER NOT NULL DEFAULT 0,
    first_failed_at INTEGER,
    claim           TEXT,
    claimed_until   INTEGER
);
CREATE INDEX cupping_queue_message_ready
    ON cupping_queue_message (lane, available_at, id) WHERE claim IS NULL;
CREATE INDEX cupping_queue_message_claimed
    ON cupping_queue_message (claimed_until) WHERE claim IS NOT NULL;

CREATE TABLE cupping_queue_failed (
    id              INTEGER PRIMARY KEY,
    lane            TEXT NOT NULL,
    body            BLOB NOT NULL,
    headers         TEXT NOT NULL DEFAULT '{}',
    type            TEXT,
    content_type    TEXT,
    published_at    INTEGER,
    failed_at       INTEGER NOT NULL,
    attempts        INTEGER NOT NULL,
    class           TEXT NOT NULL,
    sqlstate        TEXT,
    message         TEXT NOT NULL,
    first_failed_at INTEGER
);
