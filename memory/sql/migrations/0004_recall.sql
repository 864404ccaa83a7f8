-- phase: expand
-- summary: what is learned; how anything is found again: words, vectors; who read what

-- Words of a text as they are searched: identifiers are found whole and by their parts (`public.orders.customer_id`,
-- `stg_payments`, `customerId`), everything else by its stem. Separators are named one by one, not by class, so that
-- letters of every script survive in a database of the C locale.
CREATE FUNCTION dataswarm.lexemes(words text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT to_tsvector(
               'english',
               regexp_replace(
                   regexp_replace(left(words, 100000), '([a-z0-9])([A-Z])', '\1 \2', 'g'),
                   '[\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+', ' ', 'g'
               )
           )
           || array_to_tsvector(ARRAY(
                  SELECT DISTINCT lower(found[1])
                  FROM regexp_matches(
                      left(words, 100000),
                      '([^\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+(?:[._-][^\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+)+)',
                      'g'
                  ) AS found
                  WHERE length(found[1]) <= 200
              ))
$$;

-- ------------------------------------------------------------------------------------------------ learnings

CREATE TABLE dataswarm.learnings (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at            timestamptz NOT NULL,
    agent         text NOT NULL,
    signal        text NOT NULL CHECK (signal IN ('success', 'failure', 'pattern', 'recommendation')),
    playbook      text NOT NULL,
    cause         text NOT NULL,
    subject       text NOT NULL,
    text          text NOT NULL,
    circumstances jsonb NOT NULL,
    sensitivity   smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2)
);
CREATE INDEX learnings_outcome ON dataswarm.learnings (playbook, cause, signal);

-- ------------------------------------------------------------------------------------------------ recall

-- One row for whatever can be found: a narrow copy of the filter columns and, unless confidential, its words.
CREATE TABLE dataswarm.documents (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    noun        text NOT NULL CHECK (noun IN ('observation', 'decision', 'fact', 'learning')),
    ref         bigint NOT NULL,
    at          timestamptz NOT NULL,
    agent       text NOT NULL,
    kind        text NOT NULL,
    subject     text NOT NULL,
    whole       text NOT NULL,
    sensitivity smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2),
    text        text,
    lexemes     tsvector GENERATED ALWAYS AS (dataswarm.lexemes(text)) STORED,
    UNIQUE (noun, ref),
    CHECK (sensitivity < 2 OR text IS NULL)
);
CREATE INDEX documents_lexemes ON dataswarm.documents USING gin (lexemes);
CREATE INDEX documents_whole ON dataswarm.documents (whole, at DESC);
CREATE INDEX documents_at ON dataswarm.documents (at DESC);

CREATE TABLE dataswarm.embedding_models (
    name       text PRIMARY KEY,
    dimensions integer NOT NULL CHECK (dimensions BETWEEN 1 AND 16000),
    state      text NOT NULL CHECK (state IN ('filling', 'serving')),
    at         timestamptz NOT NULL
);

-- One partition a model, made by add_embedding_model. A missing row is pending.
CREATE TABLE dataswarm.embeddings (
    model       text NOT NULL,
    document_id bigint NOT NULL,
    sensitivity smallint NOT NULL CHECK (sensitivity < 2),
    embedding   public.halfvec NOT NULL,
    PRIMARY KEY (model, document_id),
    FOREIGN KEY (document_id) REFERENCES dataswarm.documents ON DELETE CASCADE
) PARTITION BY LIST (model);

CREATE TABLE dataswarm.embedding_queue (
    model       text NOT NULL REFERENCES dataswarm.embedding_models ON DELETE CASCADE,
    document_id bigint NOT NULL REFERENCES dataswarm.documents ON DELETE CASCADE,
    queued_at   timestamptz NOT NULL,
    not_before  timestamptz NOT NULL,
    attempts    integer NOT NULL DEFAULT 0,
    error       text NOT NULL DEFAULT '',
    PRIMARY KEY (model, document_id)
);
CREATE INDEX embedding_queue_due ON dataswarm.embedding_queue (model, not_before);
CREATE INDEX embedding_queue_oldest ON dataswarm.embedding_queue (model, queued_at);

-- Every text that is new or has changed waits for its vector; without a model nothing is queued.
CREATE FUNCTION dataswarm.queue_embeddings() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        DELETE FROM dataswarm.embeddings e USING changed c WHERE e.document_id = c.id;
    END IF;
    INSERT INTO dataswarm.embedding_queue (model, document_id, queued_at, not_before)
    SELECT m.name, c.id, c.at, c.at
    FROM changed c CROSS JOIN dataswarm.embedding_models m
    WHERE c.text IS NOT NULL
    ON CONFLICT (model, document_id) DO UPDATE SET attempts = 0, error = '', not_before = EXCLUDED.not_before;
    RETURN NULL;
END
$$;
CREATE TRIGGER documents_new AFTER INSERT ON dataswarm.documents
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataswarm.queue_embeddings();
CREATE TRIGGER documents_changed AFTER UPDATE ON dataswarm.documents
    REFERENCING NEW TABLE AS changed FOR EACH STATEMENT EXECUTE FUNCTION dataswarm.queue_embeddings();

-- Make room for a model: its partition, its index (up to 4,000 dimensions), and everything known queued. False where
-- the model is there already with these dimensions.
CREATE FUNCTION dataswarm.add_embedding_model(model_name text, model_dimensions integer, moment timestamptz)
RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
DECLARE
    known integer;
    part text := 'embeddings_' || substr(md5(model_name), 1, 16);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('dataswarm.embedding_models', 0));
    SELECT dimensions INTO known FROM dataswarm.embedding_models WHERE name = model_name;
    IF known = model_dimensions THEN
        RETURN false;
    ELSIF known IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE =
            format('the model has %s dimensions here, not %s', known, model_dimensions);
    END IF;
    INSERT INTO dataswarm.embedding_models VALUES (model_name, model_dimensions, 'filling', moment);
    EXECUTE format('CREATE TABLE dataswarm.%I PARTITION OF dataswarm.embeddings FOR VALUES IN (%L)', part, model_name);
    EXECUTE format('ALTER TABLE dataswarm.%I ADD CHECK (vector_dims(embedding) = %s)', part, model_dimensions);
    IF model_dimensions <= 4000 THEN
        EXECUTE format(
            'CREATE INDEX ON dataswarm.%I USING hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops)',
            part, model_dimensions
        );
    END IF;
    INSERT INTO dataswarm.embedding_queue (model, document_id, queued_at, not_before)
    SELECT model_name, d.id, moment, moment FROM dataswarm.documents d WHERE d.text IS NOT NULL;
    RETURN true;
END
$$;

-- Documents by true BM25 over lexemes, best first. Clearance is filtered here, explicitly: under a policy the full-text
-- index could not be used. Rarest words first; candidates are cut at 5,000 (index: documents_lexemes).
CREATE FUNCTION dataswarm.recall_words(
    query text, nouns text[], kinds text, of_whole text, subjects text, since timestamptz, agents text[], most integer
) RETURNS TABLE (document_id bigint, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    SET plan_cache_mode = force_custom_plan -- which filters are given decides the plan
AS $$
DECLARE
    cut CONSTANT integer := 5000;
    k1 CONSTANT double precision := 1.2;
    b CONSTANT double precision := 0.75;
    v_reach smallint := dataswarm.clearance();
    v_total double precision;
    v_usual double precision;
    v_words text[];
    v_weights double precision[];
    v_wanted tsquery;
BEGIN
    SELECT greatest(coalesce(c.reltuples, 0), n.few) INTO v_total
    FROM pg_class c, (SELECT count(*) AS few FROM (SELECT FROM dataswarm.documents LIMIT 10000) first_rows) n
    WHERE c.oid = 'dataswarm.documents'::regclass;
    SELECT greatest(avg(length(recent.lexemes)), 1) INTO v_usual
    FROM (SELECT d.lexemes FROM dataswarm.documents d WHERE d.text IS NOT NULL ORDER BY d.id DESC LIMIT 500) recent;

    WITH terms AS (
        SELECT t.lexeme, ('''' || replace(t.lexeme, '''', '''''') || '''')::tsquery AS term
        FROM unnest(dataswarm.lexemes(query)) t
    ), frequencies AS (
        SELECT t.lexeme, t.term, (
            SELECT count(*) FROM (
                SELECT FROM dataswarm.documents d WHERE d.lexemes @@ t.term LIMIT cut
            ) matching
        ) AS frequency
        FROM terms t
    ), ranked AS (
        SELECT f.*, sum(f.frequency) OVER (ORDER BY f.frequency, f.lexeme) AS reached,
               row_number() OVER (ORDER BY f.frequency, f.lexeme) AS place
        FROM frequencies f WHERE f.frequency > 0
    )
    SELECT array_agg(r.lexeme),
           array_agg(ln(1 + (greatest(v_total, r.frequency) - r.frequency + 0.5) / (r.frequency + 0.5))),
           string_agg(r.term::text, ' | ') FILTER (WHERE r.reached <= cut OR r.place = 1)
    INTO v_words, v_weights, v_wanted
    FROM ranked r;
    IF v_wanted IS NULL THEN
        RETURN;
    END IF;

    RETURN QUERY
    WITH candidates AS (
        SELECT d.id, d.at, d.lexemes, length(d.lexemes) AS size
        FROM dataswarm.documents d
        WHERE d.lexemes @@ v_wanted
          AND d.sensitivity <= v_reach
          AND (nouns IS NULL OR d.noun = ANY (nouns))
          AND (kinds IS NULL OR d.kind ~ kinds)
          AND (of_whole IS NULL OR d.whole = of_whole)
          AND (subjects IS NULL OR d.subject ~ subjects OR d.whole ~ subjects)
          AND (since IS NULL OR d.at >= since)
          AND (agents IS NULL OR d.agent = ANY (agents))
        LIMIT cut
    )
    SELECT c.id, sum(
        v_weights[array_position(v_words, u.lexeme)] * (k1 + 1) * greatest(coalesce(cardinality(u.positions), 1), 1)
        / (greatest(coalesce(cardinality(u.positions), 1), 1) + k1 * (1 - b + b * c.size / v_usual))
    ) AS score
    FROM candidates c, unnest(c.lexemes) u
    WHERE u.lexeme = ANY (v_words)
    GROUP BY c.id, c.at
    ORDER BY score DESC, c.at DESC, c.id DESC
    LIMIT most;
END
$$;

-- Documents nearest to a vector, exactly (a first form: the sequential plan is right for what one swarm writes in weeks).
CREATE FUNCTION dataswarm.recall_nearest(
    wanted public.halfvec, of_model text, nouns text[], kinds text, of_whole text, subjects text, since timestamptz,
    agents text[], most integer
) RETURNS TABLE (document_id bigint, score double precision)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
AS $$
    SELECT d.id, 1 - (e.embedding <=> wanted)
    FROM dataswarm.embeddings e JOIN dataswarm.documents d ON d.id = e.document_id
    WHERE e.model = of_model
      AND d.sensitivity <= dataswarm.clearance()
      AND (nouns IS NULL OR d.noun = ANY (nouns))
      AND (kinds IS NULL OR d.kind ~ kinds)
      AND (of_whole IS NULL OR d.whole = of_whole)
      AND (subjects IS NULL OR d.subject ~ subjects OR d.whole ~ subjects)
      AND (since IS NULL OR d.at >= since)
      AND (agents IS NULL OR d.agent = ANY (agents))
    ORDER BY e.embedding <=> wanted, d.id
    LIMIT most
$$;

-- ------------------------------------------------------------------------------------------------ who read what

CREATE SEQUENCE dataswarm.access_ids;
CREATE TABLE dataswarm.access_log (
    id   bigint NOT NULL DEFAULT nextval('dataswarm.access_ids'),
    at   timestamptz NOT NULL,
    who  text NOT NULL,
    verb text NOT NULL,
    noun text NOT NULL,
    ref  text NOT NULL,
    PRIMARY KEY (at, id)
) PARTITION BY RANGE (at);
CREATE INDEX access_log_who ON dataswarm.access_log (who, at DESC);
CREATE INDEX access_log_ref ON dataswarm.access_log (noun, ref, at DESC);

INSERT INTO dataswarm.partitioned (parent, retention_days) VALUES ('access_log', 30);
SELECT dataswarm.make_partitions(parent, (statement_timestamp() AT TIME ZONE 'UTC')::date - 1, 3)
FROM dataswarm.partitioned WHERE parent = 'access_log';

-- ------------------------------------------------------------------------------------------------ rights

GRANT SELECT, INSERT ON dataswarm.learnings, dataswarm.access_log
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT, INSERT, UPDATE, DELETE ON
    dataswarm.documents, dataswarm.embeddings, dataswarm.embedding_models, dataswarm.embedding_queue
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT USAGE ON SEQUENCE dataswarm.access_ids
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
SELECT dataswarm.wall(noun) FROM unnest(ARRAY['learnings', 'documents', 'embeddings']) AS noun;
