-- The default catalogue: beans, the taxonomies they are described with, and the lists.
--
-- Applied only where the mapping is the default one and the database has no catalogue of its own.
-- The similarity table has no foreign keys on purpose: rows refer by id, so that deleting a bean
-- and writing lists do not meet. Readers use the view similar_beans, which never shows a deleted
-- bean.

CREATE TABLE coffee_bean (
    id         TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    roaster    TEXT,
    created_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    updated_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);

CREATE TABLE region (
    id        TEXT PRIMARY KEY NOT NULL,
    parent_id TEXT REFERENCES region (id),
    name      TEXT NOT NULL
);
CREATE UNIQUE INDEX region_name ON region (coalesce(parent_id, ''), name);

CREATE TABLE flavor_wheel_node (
    id        TEXT PRIMARY KEY NOT NULL,
    parent_id TEXT REFERENCES flavor_wheel_node (id),
    name      TEXT NOT NULL
);
CREATE UNIQUE INDEX flavor_wheel_node_name ON flavor_wheel_node (coalesce(parent_id, ''), name);

CREATE TABLE processing_method (
    id        TEXT PRIMARY KEY NOT NULL,
    parent_id TEXT REFERENCES processing_method (id),
    name      TEXT NOT NULL
);
CREATE UNIQUE INDEX processing_method_name ON processing_method (name);

CREATE TABLE roast_level (
    id       TEXT PRIMARY KEY NOT NULL,
    name     TEXT NOT NULL UNIQUE,
    position INTEGER NOT NULL
);

CREATE TABLE variety (
    id   TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL UNIQUE
);

CREATE TABLE variety_parent (
    variety_id TEXT NOT NULL REFERENCES variety (id) ON DELETE CASCADE,
    parent_id  TEXT NOT NULL REFERENCES variety (id),
    PRIMARY KEY (variety_id, parent_id)
) WITHOUT ROWID;

CREATE TABLE coffee_bean_region (
    coffee_bean_id TEXT NOT NULL REFERENCES coffee_bean (id) ON DELETE CASCADE,
    region_id TEXT NOT NULL REFERENCES region (id),
    PRIMARY KEY (coffee_bean_id, region_id)
) WITHOUT ROWID;

CREATE TABLE coffee_bean_processing_method (
    coffee_bean_id TEXT NOT NULL REFERENCES coffee_bean (id) ON DELETE CASCADE,
    processing_method_id TEXT NOT NULL REFERENCES processing_method (id),
    PRIMARY KEY (coffee_bean_id, processing_method_id)
) WITHOUT ROWID;

CREATE TABLE coffee_bean_roast_level (
    coffee_bean_id TEXT NOT NULL REFERENCES coffee_bean (id) ON DELETE CASCADE,
    roast_level_id TEXT NOT NULL REFERENCES roast_level (id),
    PRIMARY KEY (coffee_bean_id, roast_level_id)
) WITHOUT ROWID;

CREATE TABLE coffee_bean_variety (
    coffee_bean_id TEXT NOT NULL REFERENCES coffee_bean (id) ON DELETE CASCADE,
    variety_id TEXT NOT NULL REFERENCES variety (id),
    PRIMARY KEY (coffee_bean_id, variety_id)
) WITHOUT ROWID;

CREATE TABLE coffee_bean_flavor_wheel_node (
    coffee_bean_id TEXT NOT NULL REFERENCES coffee_bean (id) ON DELETE CASCADE,
    flavor_wheel_node_id TEXT NOT NULL REFERENCES flavor_wheel_node (id),
    PRIMARY KEY (coffee_bean_id, flavor_wheel_node_id)
) WITHOUT ROWID;

CREATE TABLE non_standard_flavor_note (
    id             INTEGER PRIMARY KEY,
    coffee_bean_id TEXT NOT NULL REFERENCES coffee_bean (id) ON DELETE CASCADE,
    note           TEXT NOT NULL
);
CREATE INDEX non_standard_flavor_note_bean ON non_standard_flavor_note (coffee_bean_id);

CREATE TABLE coffee_bean_similarity (
    source_bean_id  TEXT NOT NULL,
    similar_bean_id TEXT NOT NULL,
    score           REAL NOT NULL,
    PRIMARY KEY (source_bean_id, similar_bean_id)
) WITHOUT ROWID;
CREATE INDEX coffee_bean_similarity_similar ON coffee_bean_similarity (similar_bean_id);

CREATE VIEW similar_beans AS
SELECT s.source_bean_id,
       source.name          AS source_name,
       s.similar_bean_id,
       similar_bean.name    AS similar_name,
       similar_bean.roaster AS similar_roaster,
       s.score
FROM coffee_bean_similarity s
JOIN coffee_bean source       ON source.id = s.source_bean_id
JOIN coffee_bean similar_bean ON similar_bean.id = s.similar_bean_id;
