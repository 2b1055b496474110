CREATE TABLE board_column (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    -- Counts the changes of the column, so that a watching client knows what it has missed.
    version bigint NOT NULL DEFAULT 0
);
CREATE TABLE ticket (
    id bigint PRIMARY KEY,
    column_id bigint NOT NULL REFERENCES board_column,
    position integer NOT NULL CHECK (position >= 0),
    title text NOT NULL
);
CREATE INDEX ticket_column ON ticket (column_id);
INSERT INTO board_column VALUES (1, 'to do'), (2, 'doing');
