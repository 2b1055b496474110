-- Least privilege: who may do what. Run it as the owner of the tables after each `cupping migrate`;
-- `cupping migrate --grant` does both. Running it again changes nothing. Plain SQL, for any client.
--
--   cupping_worker    for `cupping run` and `recompute`: reads the catalogue, writes the
--                     similarity table and the schema cupping, and nothing else. It cannot change,
--                     and cannot lock, a bean, a region or any other shared row.
--   cupping_importer  for `cupping import`: writes the catalogue; it may publish messages, but has
--                     no right on the lists.
--
-- Both are group roles without a login. Give them to your own:
--   CREATE ROLE coffee_worker LOGIN PASSWORD '…' IN ROLE cupping_worker;
--
-- These are the names of the default catalogue; with a mapped one, `cupping migrate --roles` prints
-- this script with the names under [catalogue]. The owner needs CREATEROLE only where the two roles
-- do not exist yet; otherwise somebody who may can create them first.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'cupping_worker') THEN
        CREATE ROLE cupping_worker NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'cupping_importer') THEN
        CREATE ROLE cupping_importer NOLOGIN;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    NULL;
END
$$;

-- The catalogue: both read it, the importer writes it.
GRANT USAGE ON SCHEMA public TO cupping_worker, cupping_importer;

GRANT SELECT ON
    public.coffee_bean, public.region, public.processing_method, public.roast_level,
    public.variety, public.variety_parent, public.flavor_wheel_node,
    public.coffee_bean_region, public.coffee_bean_processing_method,
    public.coffee_bean_roast_level, public.coffee_bean_variety,
    public.coffee_bean_flavor_wheel_node, public.non_standard_flavor_note,
    public.coffee_bean_similarity, public.similar_beans
TO cupping_worker, cupping_importer;

GRANT INSERT, UPDATE, DELETE ON
    public.coffee_bean, public.region, public.processing_method, public.roast_level,
    public.variety, public.variety_parent, public.flavor_wheel_node,
    public.coffee_bean_region, public.coffee_bean_processing_method,
    public.coffee_bean_roast_level, public.coffee_bean_variety,
    public.coffee_bean_flavor_wheel_node, public.non_standard_flavor_note
TO cupping_importer;

-- The lists: the worker replaces whole rows, it never updates one.
GRANT INSERT, DELETE ON public.coffee_bean_similarity TO cupping_worker;

-- Our own schema.
GRANT USAGE ON SCHEMA cupping TO cupping_worker, cupping_importer;
GRANT SELECT ON ALL TABLES IN SCHEMA cupping TO cupping_worker, cupping_importer;
GRANT INSERT, DELETE ON cupping.change_log TO cupping_worker;
GRANT USAGE ON SEQUENCE cupping.change_log_seq_seq TO cupping_worker;
GRANT INSERT, UPDATE, DELETE ON
    cupping.source_state, cupping.state, cupping.note,
    cupping.queue_message, cupping.queue_failed
TO cupping_worker;
GRANT INSERT ON cupping.queue_message TO cupping_importer;
