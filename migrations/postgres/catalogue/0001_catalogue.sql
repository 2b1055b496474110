-- The default catalogue: beans, the taxonomies they are described with, and the lists.
--
-- Applied only where the mapping is the default one and the database has no catalogue of its own.
-- The similarity table has no foreign keys on purpose: rows refer by id, so that writing them takes
-- no lock on any bean. Readers use the view `similar_beans`, which never shows a deleted bean.

CREATE TABLE public.coffee_bean (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name       text NOT NULL,
    roaster    text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE public.region (
    id        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    parent_id uuid REFERENCES public.region (id),
    name      text NOT NULL,
    UNIQUE NULLS NOT DISTINCT (parent_id, name)
);

CREATE TABLE public.processing_method (
    id        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    parent_id uuid REFERENCES public.processing_method (id),
    name      text NOT NULL,
    UNIQUE NULLS NOT DISTINCT (parent_id, name)
);

CREATE TABLE public.roast_level (
    id       uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name     text NOT NULL UNIQUE,
    position integer NOT NULL
);

CREATE TABLE public.variety (
    id   uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name text NOT NULL UNIQUE
);

CREATE TABLE public.variety_parent (
    variety_id uuid NOT NULL REFERENCES public.variety (id) ON DELETE CASCADE,
    parent_id  uuid NOT NULL REFERENCES public.variety (id),
    PRIMARY KEY (variety_id, parent_id)
);

CREATE TABLE public.flavor_wheel_node (
    id        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    parent_id uuid REFERENCES public.flavor_wheel_node (id),
    name      text NOT NULL,
    UNIQUE NULLS NOT DISTINCT (parent_id, name)
);

CREATE TABLE public.coffee_bean_region (
    coffee_bean_id uuid NOT NULL REFERENCES public.coffee_bean (id) ON DELETE CASCADE,
    region_id      uuid NOT NULL REFERENCES public.region (id),
    PRIMARY KEY (coffee_bean_id, region_id)
);

CREATE TABLE public.coffee_bean_processing_method (
    coffee_bean_id       uuid NOT NULL REFERENCES public.coffee_bean (id) ON DELETE CASCADE,
    processing_method_id uuid NOT NULL REFERENCES public.processing_method (id),
    PRIMARY KEY (coffee_bean_id, processing_method_id)
);

CREATE TABLE public.coffee_bean_roast_level (
    coffee_bean_id uuid NOT NULL REFERENCES public.coffee_bean (id) ON DELETE CASCADE,
    roast_level_id uuid NOT NULL REFERENCES public.roast_level (id),
    PRIMARY KEY (coffee_bean_id, roast_level_id)
);

CREATE TABLE public.coffee_bean_variety (
    coffee_bean_id uuid NOT NULL REFERENCES public.coffee_bean (id) ON DELETE CASCADE,
    variety_id     uuid NOT NULL REFERENCES public.variety (id),
    PRIMARY KEY (coffee_bean_id, variety_id)
);

CREATE TABLE public.coffee_bean_flavor_wheel_node (
    coffee_bean_id       uuid NOT NULL REFERENCES public.coffee_bean (id) ON DELETE CASCADE,
    flavor_wheel_node_id uuid NOT NULL REFERENCES public.flavor_wheel_node (id),
    PRIMARY KEY (coffee_bean_id, flavor_wheel_node_id)
);

CREATE TABLE public.non_standard_flavor_note (
    id             uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    coffee_bean_id uuid NOT NULL REFERENCES public.coffee_bean (id) ON DELETE CASCADE,
    note           text NOT NULL
);
CREATE INDEX non_standard_flavor_note_bean ON public.non_standard_flavor_note (coffee_bean_id);

CREATE TABLE public.coffee_bean_similarity (
    source_bean_id  uuid NOT NULL,
    similar_bean_id uuid NOT NULL,
    score           double precision NOT NULL,
    PRIMARY KEY (source_bean_id, similar_bean_id)
);
CREATE INDEX coffee_bean_similarity_similar ON public.coffee_bean_similarity (similar_bean_id);

CREATE VIEW public.similar_beans AS
SELECT s.source_bean_id,
       source.name  AS source_name,
       s.similar_bean_id,
       similar_bean.name    AS similar_name,
       similar_bean.roaster AS similar_roaster,
       s.score
FROM public.coffee_bean_similarity s
JOIN public.coffee_bean source       ON source.id = s.source_bean_id
JOIN public.coffee_bean similar_bean ON similar_bean.id = s.similar_bean_id;

COMMENT ON VIEW public.similar_beans IS
    'The lists as readers should see them: a deleted bean never shows, on either side.';
