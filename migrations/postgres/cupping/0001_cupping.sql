-- The service's own bookkeeping, in a schema of its own. The pipeline writes here and in the
-- similarity table, and nowhere else.
--
-- The functions are SECURITY DEFINER with a fixed search_path, so that an application that changes
-- a bean needs no right in this schema. Their triggers are made from the mapping, by
-- `cupping migrate`, since the tables' names are the catalogue's own.

CREATE SCHEMA IF NOT EXISTS cupping;

-- What changed. A reader asks for rows whose transaction its snapshot did not see; the sequence
-- number only identifies a row, since a smaller one can become visible after a larger one.
CREATE TABLE cupping.change_log (
    seq     bigserial PRIMARY KEY,
    kind    text NOT NULL CHECK (kind IN ('bean', 'epoch', 'threshold')),
    bean_id text,
    xid     xid8 NOT NULL DEFAULT pg_current_xact_id(),
    at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    count   integer,
    kth_ppm integer,
    kth_id  text
);
CREATE INDEX change_log_xid ON cupping.change_log (xid);
-- Most rows are thresholds; those who look for changed beans need not step over them.
CREATE INDEX change_log_news ON cupping.change_log (xid) WHERE kind <> 'threshold';
CREATE INDEX change_log_bean ON cupping.change_log (bean_id) WHERE kind = 'bean';
CREATE INDEX change_log_at ON cupping.change_log (at);

-- Each source's threshold: how long its list is, and the last entry of it.
CREATE TABLE cupping.source_state (
    source_id text PRIMARY KEY,
    count     integer NOT NULL,
    kth_ppm   integer,
    kth_id    text
);

CREATE TABLE cupping.state (
    key   text PRIMARY KEY,
    value text NOT NULL
);

CREATE TABLE cupping.note (
    name  text PRIMARY KEY,
    value text NOT NULL
);

-- The queue, for teams without a broker.
CREATE TABLE cupping.queue_message (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lane            text NOT NULL,
    body            bytea NOT NULL,
    headers         jsonb NOT NULL DEFAULT '{}',
    type            text,
    content_type    text,
    published_at    timestamptz NOT NULL DEFAULT now(),
    available_at    timestamptz NOT NULL DEFAULT now(),
    attempt         integer NOT NULL DEFAULT 1,
    crash_count     integer NOT NULL DEFAULT 0,
    first_failed_at timestamptz,
    claim           text,
    claimed_until   timestamptz
);
CREATE INDEX queue_message_ready
    ON cupping.queue_message (lane, available_at, id) WHERE claim IS NULL;
CREATE INDEX queue_message_claimed
    ON cupping.queue_message (claimed_until) WHERE claim IS NOT NULL;

CREATE TABLE cupping.queue_failed (
    id              bigint PRIMARY KEY,
    lane            text NOT NULL,
    body            bytea NOT NULL,
    headers         jsonb NOT NULL DEFAULT '{}',
    type            text,
    content_type    text,
    published_at    timestamptz,
    failed_at       timestamptz NOT NULL DEFAULT now(),
    attempts        integer NOT NULL,
    class           text NOT NULL,
    sqlstate        text,
    message         text NOT NULL,
    first_failed_at timestamptz
);

-- Logs the beans of a statement's rows. Argument: the column that holds the bean's id.
-- The transition tables are named old_rows and new_rows; a statement that touched no row logs none.
CREATE FUNCTION cupping.log_beans() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    bean text := quote_ident(TG_ARGV[0]);
    rows text;
BEGIN
    rows := CASE TG_OP
        WHEN 'INSERT' THEN format('SELECT %1$s::text AS id FROM new_rows', bean)
        WHEN 'DELETE' THEN format('SELECT %1$s::text AS id FROM old_rows', bean)
        ELSE format('SELECT %1$s::text AS id FROM old_rows UNION '
                    'SELECT %1$s::text AS id FROM new_rows', bean)
    END;
    EXECUTE 'INSERT INTO cupping.change_log (kind, bean_id) '
            'SELECT DISTINCT ''bean'', touched.id FROM (' || rows || ') touched '
            'WHERE touched.id IS NOT NULL';
    RETURN NULL;
END
$$;

-- Logs that a taxonomy changed, once a statement that touched a row.
CREATE FUNCTION cupping.log_epoch() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    touched boolean;
BEGIN
    IF TG_OP = 'INSERT' THEN
        touched := EXISTS (SELECT FROM new_rows);
    ELSIF TG_OP = 'TRUNCATE' THEN
        touched := true;
    ELSE
        touched := EXISTS (SELECT FROM old_rows);
    END IF;
    IF touched THEN
        INSERT INTO cupping.change_log (kind) VALUES ('epoch');
    END IF;
    RETURN NULL;
END
$$;

-- Holds the graph lock while beans are deleted from a database whose similarity table has foreign
-- keys, so that no cascade meets a writer. Arguments: the two halves of the lock's key.
CREATE FUNCTION cupping.lock_graph() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(TG_ARGV[0]::integer, TG_ARGV[1]::integer);
    RETURN NULL;
END
$$;
