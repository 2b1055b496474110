CREATE TABLE person (
    id bigint PRIMARY KEY,
    name text NOT NULL,
    address text  -- NULL: cannot be told anything
);
-- Number 203 is the third shift of week 2.
CREATE TABLE shift (
    id bigint PRIMARY KEY,
    person bigint NOT NULL REFERENCES person,
    version bigint NOT NULL DEFAULT 0
);
CREATE TABLE swap (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    first bigint NOT NULL REFERENCES shift,
    second bigint NOT NULL REFERENCES shift,
    -- The versions that the swap gave them: it is rolled back only while they still have these.
    first_version bigint NOT NULL,
    second_version bigint NOT NULL,
    rolled_back boolean NOT NULL DEFAULT false
);
CREATE TABLE notice (person bigint NOT NULL REFERENCES person, address text NOT NULL, swap bigint NOT NULL);
CREATE TABLE alert (id bigint PRIMARY KEY, resolved_by bigint REFERENCES person);
CREATE TABLE duty (
    rota bigint NOT NULL,
    person bigint NOT NULL REFERENCES person,
    on_call boolean NOT NULL,
    PRIMARY KEY (rota, person)
);
CREATE TABLE plan (week bigint NOT NULL, day integer NOT NULL, person bigint NOT NULL, PRIMARY KEY (week, day));
-- One line for each effect, whoever had it: by this the doubles are counted.
CREATE TABLE journal (what text NOT NULL, about text NOT NULL);

INSERT INTO person SELECT n, 'person ' || n, CASE WHEN n % 4 <> 0 THEN n || '@example.org' END
FROM generate_series(1, 20) n;
INSERT INTO shift SELECT week * 100 + n, n FROM generate_series(1, 99) week, generate_series(1, 10) n;
INSERT INTO alert SELECT n FROM generate_series(1, 99) n;
INSERT INTO duty SELECT rota, person, true FROM generate_series(1, 99) rota, generate_series(1, 2) person;
