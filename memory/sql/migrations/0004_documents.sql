-- phase: expand
-- summary: what is learned; what can be found, its words and its vectors; who read what

-- Words of a text as they are searched: identifiers are found whole and by their parts (`public.orders.customer_id`,
-- `stg_payments`, `customerId`), everything else by its stem. Separators are named one by one, not by class, so that
-- letters of every script survive in a database of the C locale; a blank is none, for it separates already, and each
-- run costs. Every document written pays for this: as an SQL function it takes twice as long.
CREATE FUNCTION dataswarm.lexemes(words text) RETURNS tsvector
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    searched CONSTANT text := left(words, 100000);
BEGIN
    RETURN to_tsvector(
               'english'::regconfig,
               regexp_replace(
                   regexp_replace(searched, '([a-z0-9])([A-Z])', '\1 \2', 'g'),
                   '[\x01-\x1f\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+', ' ', 'g'
               )
           )
           || array_to_tsvector(ARRAY(
                  SELECT lower(named[1])
                  FROM regexp_matches(
                      searched,
                      '([^\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+(?:[._-][^\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f]+)+)',
                      'g'
                  ) AS named
                  WHERE length(named[1]) <= 200
              ));
END
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
    sensitivity   smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2),
    CHECK (sensitivity < 2 OR (circumstances ? 'sealed' AND text = ''))
);
CREATE INDEX learnings_outcome ON dataswarm.learnings (playbook, cause, signal);
CREATE INDEX learnings_cause ON dataswarm.learnings (cause, playbook) WHERE signal IN ('success', 'failure');

-- ------------------------------------------------------------------------------------------------ documents

-- One row for whatever can be found: a narrow copy of the filter columns and, unless confidential, its words.
-- `turn` is one entry of an ingested session; `importance` keeps a private observation with its agent. What is read of
-- thousands of rows to find ten stands first: each column before it would have to be passed over.
CREATE TABLE dataswarm.documents (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ref         bigint NOT NULL,
    at          timestamptz NOT NULL,
    importance  double precision NOT NULL DEFAULT 1 CHECK (importance BETWEEN 0 AND 1),
    sensitivity smallint NOT NULL CHECK (sensitivity BETWEEN 0 AND 2),
    branch      text NOT NULL DEFAULT 'main',
    lexemes     tsvector GENERATED ALWAYS AS (dataswarm.lexemes(text)) STORED,
    noun        text NOT NULL
        CHECK (noun IN ('observation', 'decision', 'fact', 'learning', 'note', 'runbook', 'turn')),
    agent       text NOT NULL,
    kind        text NOT NULL,
    subject     text NOT NULL,
    whole       text NOT NULL,
    text        text,
    UNIQUE (noun, ref),
    CHECK (sensitivity < 2 OR text IS NULL)
);
-- What is written waits in a short list, which every search reads; `index_words` empties it, beside the writers: a
-- thousand documents are a megabyte. At the limit a writer does it itself, and a search takes a fifth longer. What goes
-- by time grows at the end of its index, where a page is filled before the next one begins, and is read backwards.
CREATE INDEX documents_lexemes ON dataswarm.documents USING gin (lexemes) WITH (gin_pending_list_limit = 1536);
CREATE INDEX documents_at ON dataswarm.documents (at, id);
CREATE INDEX documents_whole ON dataswarm.documents (whole COLLATE "C", at, id); -- a subject begins with it
CREATE INDEX documents_agent ON dataswarm.documents (agent, at);
CREATE INDEX documents_kind ON dataswarm.documents (kind COLLATE "C", at);
CREATE INDEX documents_branch ON dataswarm.documents (branch, id) WHERE branch <> 'main';
CREATE INDEX documents_unsearched ON dataswarm.documents (at DESC) WHERE sensitivity = 2;

-- In how many documents a word stands. Writers append to `lexeme_news` and never meet; maintenance folds it into
-- `lexeme_counts`. So a count is exact as of the last fold, and off by at most the documents written since.
CREATE TABLE dataswarm.lexeme_counts (
    lexeme    text COLLATE "C" PRIMARY KEY,
    documents bigint NOT NULL
) WITH (fillfactor = 80);
CREATE TABLE dataswarm.lexeme_totals (
    single    boolean PRIMARY KEY DEFAULT true CHECK (single),
    documents bigint NOT NULL,
    lexemes   bigint NOT NULL
);
INSERT INTO dataswarm.lexeme_totals (documents, lexemes) VALUES (0, 0);
CREATE TABLE dataswarm.lexeme_news ( -- read whole, by one folder: an index would cost every writer
    lexemes tsvector NOT NULL,
    sign    smallint NOT NULL
);

-- Bring the words that wait into their index. While somebody does it nobody else needs to, and no writer waits for it.
CREATE FUNCTION dataswarm.index_words() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF pg_try_advisory_xact_lock(hashtextextended('dataswarm.documents_lexemes', 0)) THEN
        PERFORM gin_clean_pending_list('dataswarm.documents_lexemes');
    END IF;
END
$$;

-- Fold up to `most` entries of the news; how many. One folder at a time, the others find nothing to do.
CREATE FUNCTION dataswarm.fold_lexemes(most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    folded integer;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('dataswarm.lexeme_counts', 0)) THEN
        RETURN 0;
    END IF;
    WITH taken AS (
        DELETE FROM dataswarm.lexeme_news
        WHERE ctid = ANY (ARRAY(SELECT n.ctid FROM dataswarm.lexeme_news n LIMIT most))
        RETURNING lexemes, sign
    ), changed AS (
        SELECT u.lexeme, sum(t.sign) AS by FROM taken t, unnest(t.lexemes) u GROUP BY u.lexeme
        HAVING sum(t.sign) <> 0
    ), counted AS (
        INSERT INTO dataswarm.lexeme_counts AS c (lexeme, documents)
        SELECT lexeme, by FROM changed ORDER BY lexeme COLLATE "C"
        ON CONFLICT (lexeme) DO UPDATE SET documents = c.documents + EXCLUDED.documents
    ), summed AS (
        SELECT count(*) AS entries, coalesce(sum(sign), 0) AS documents,
               coalesce(sum(sign * length(lexemes)), 0) AS size
        FROM taken
    ), totalled AS (
        UPDATE dataswarm.lexeme_totals t SET documents = t.documents + s.documents, lexemes = t.lexemes + s.size
        FROM summed s WHERE s.entries > 0
    )
    SELECT entries INTO folded FROM summed;
    PERFORM gin_clean_pending_list('dataswarm.documents_lexemes');
    RETURN folded;
END
$$;

CREATE TABLE dataswarm.embedding_models (
    name       text PRIMARY KEY,
    dimensions integer NOT NULL CHECK (dimensions BETWEEN 1 AND 16000),
    state      text NOT NULL CHECK (state IN ('filling', 'serving')),
    at         timestamptz NOT NULL,
    part       text NOT NULL UNIQUE     -- the partition that holds its vectors
);
CREATE UNIQUE INDEX embedding_models_serving ON dataswarm.embedding_models (state) WHERE state = 'serving';

-- One partition a model, made by add_embedding_model. A missing row is pending. The filter columns are copied in, so
-- that a search among neighbours need not visit `documents`.
CREATE TABLE dataswarm.embeddings (
    model       text NOT NULL,
    document_id bigint NOT NULL,
    at          timestamptz NOT NULL,
    importance  double precision NOT NULL,
    sensitivity smallint NOT NULL CHECK (sensitivity < 2),
    branch      text NOT NULL,
    embedding   public.halfvec NOT NULL,
    noun        text NOT NULL,
    agent       text NOT NULL,
    kind        text NOT NULL,
    subject     text NOT NULL,
    whole       text NOT NULL,
    bits        bit varying GENERATED ALWAYS AS (
        CASE WHEN public.vector_dims(embedding) BETWEEN 128 AND 4000 THEN public.binary_quantize(embedding) END
    ) STORED,
    PRIMARY KEY (document_id, model),
    FOREIGN KEY (document_id) REFERENCES dataswarm.documents ON DELETE CASCADE
) PARTITION BY LIST (model);
-- Few rows are compared exactly, straight from here: four times faster than by way of `documents`. More are compared by
-- the signs of their figures first, from the index alone: a vector is fifteen times as wide as its signs, and reading
-- it from the table is what costs.
CREATE INDEX embeddings_at ON dataswarm.embeddings (at DESC)
    INCLUDE (document_id, sensitivity, branch, importance, agent, bits);
CREATE INDEX embeddings_whole ON dataswarm.embeddings (whole COLLATE "C", at DESC)
    INCLUDE (document_id, sensitivity, branch, importance, agent, bits);
CREATE INDEX embeddings_agent ON dataswarm.embeddings (agent, at DESC)
    INCLUDE (document_id, sensitivity, branch, importance, bits);
CREATE INDEX embeddings_kind ON dataswarm.embeddings (kind COLLATE "C", at DESC)
    INCLUDE (document_id, sensitivity, branch, importance, agent, bits);

CREATE TABLE dataswarm.embedding_queue (
    model       text NOT NULL,
    document_id bigint NOT NULL,
    queued_at   timestamptz NOT NULL,
    not_before  timestamptz NOT NULL,
    attempts    integer NOT NULL DEFAULT 0,
    error       text NOT NULL DEFAULT '',
    PRIMARY KEY (model, document_id)
);
CREATE INDEX embedding_queue_due ON dataswarm.embedding_queue (model, not_before, document_id);
CREATE INDEX embedding_queue_oldest ON dataswarm.embedding_queue (model, queued_at);
CREATE INDEX embedding_queue_failing ON dataswarm.embedding_queue (model) WHERE error <> '';

-- Every text that is new or has changed is counted and waits for its vector; without a model nothing is queued. A model
-- that is looked at stays until the commit.
CREATE FUNCTION dataswarm.document_written() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO dataswarm.lexeme_news (lexemes, sign)
    SELECT strip(n.lexemes), 1 FROM newer n WHERE n.lexemes IS NOT NULL;
    PERFORM FROM dataswarm.embedding_models FOR KEY SHARE;
    IF FOUND THEN
        INSERT INTO dataswarm.embedding_queue (model, document_id, queued_at, not_before)
        SELECT m.name, n.id, n.at, n.at
        FROM newer n CROSS JOIN dataswarm.embedding_models m WHERE n.text IS NOT NULL
        ON CONFLICT (model, document_id) DO NOTHING;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION dataswarm.document_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO dataswarm.lexeme_news (lexemes, sign)
    SELECT strip(o.lexemes), -1 FROM older o JOIN newer n ON n.id = o.id
    WHERE o.lexemes IS DISTINCT FROM n.lexemes AND o.lexemes IS NOT NULL
    UNION ALL
    SELECT strip(n.lexemes), 1 FROM older o JOIN newer n ON n.id = o.id
    WHERE o.lexemes IS DISTINCT FROM n.lexemes AND n.lexemes IS NOT NULL;
    PERFORM FROM dataswarm.embedding_models FOR KEY SHARE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM dataswarm.embeddings e USING older o JOIN newer n ON n.id = o.id
    WHERE e.document_id = n.id AND o.text IS DISTINCT FROM n.text;
    UPDATE dataswarm.embeddings e SET
        at = n.at, importance = n.importance, sensitivity = n.sensitivity, agent = n.agent, kind = n.kind,
        subject = n.subject, whole = n.whole, branch = n.branch
    FROM older o JOIN newer n ON n.id = o.id
    WHERE e.document_id = n.id AND o.text = n.text
      AND (o.at, o.importance, o.sensitivity, o.agent, o.kind, o.subject, o.branch)
          IS DISTINCT FROM (n.at, n.importance, n.sensitivity, n.agent, n.kind, n.subject, n.branch);
    INSERT INTO dataswarm.embedding_queue (model, document_id, queued_at, not_before)
    SELECT m.name, n.id, n.at, n.at
    FROM older o JOIN newer n ON n.id = o.id CROSS JOIN dataswarm.embedding_models m
    WHERE n.text IS NOT NULL AND o.text IS DISTINCT FROM n.text
    ON CONFLICT (model, document_id) DO UPDATE SET attempts = 0, error = '', not_before = EXCLUDED.not_before;
    RETURN NULL;
END
$$;

CREATE FUNCTION dataswarm.document_gone() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO dataswarm.lexeme_news (lexemes, sign)
    SELECT strip(o.lexemes), -1 FROM older o WHERE o.lexemes IS NOT NULL;
    DELETE FROM dataswarm.embedding_queue q USING older o, dataswarm.embedding_models m
    WHERE q.model = m.name AND q.document_id = o.id;
    RETURN NULL;
END
$$;
CREATE TRIGGER documents_written AFTER INSERT ON dataswarm.documents
    REFERENCING NEW TABLE AS newer FOR EACH STATEMENT EXECUTE FUNCTION dataswarm.document_written();
CREATE TRIGGER documents_changed AFTER UPDATE ON dataswarm.documents
    REFERENCING OLD TABLE AS older NEW TABLE AS newer FOR EACH STATEMENT EXECUTE FUNCTION dataswarm.document_changed();
CREATE TRIGGER documents_gone AFTER DELETE ON dataswarm.documents
    REFERENCING OLD TABLE AS older FOR EACH STATEMENT EXECUTE FUNCTION dataswarm.document_gone();

-- Make room for a model: its partition, its index (up to 4,000 dimensions), and everything known queued. False where
-- the model is there already with these dimensions. The first model serves at once: there is nothing better.
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
    INSERT INTO dataswarm.embedding_models (name, dimensions, state, at, part)
    SELECT model_name, model_dimensions,
           CASE WHEN EXISTS (SELECT FROM dataswarm.embedding_models) THEN 'filling' ELSE 'serving' END, moment, part;
    EXECUTE format('CREATE TABLE dataswarm.%I PARTITION OF dataswarm.embeddings FOR VALUES IN (%L)', part, model_name);
    EXECUTE format('ALTER TABLE dataswarm.%I ADD CHECK (vector_dims(embedding) = %s)', part, model_dimensions);
    IF model_dimensions <= 4000 THEN
        EXECUTE format(
            -- Agents tell much in almost the same words, and with pgvector's own 64 whole groups of what is alike are not
            -- reached: of ten nearest to a question, two or three are missed. It makes a graph five times slower to build.
            'CREATE INDEX ON dataswarm.%I USING hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops)'
            ' WITH (ef_construction = 400)', part, model_dimensions
        );
        PERFORM dataswarm.make_nearest();
    END IF;
    INSERT INTO dataswarm.embedding_queue (model, document_id, queued_at, not_before)
    SELECT model_name, d.id, moment, moment FROM dataswarm.documents d WHERE d.text IS NOT NULL FOR KEY SHARE;
    RETURN true;
END
$$;

-- Let a model serve: those before it go with their vectors. False where there is no such model.
CREATE FUNCTION dataswarm.serve_embedding_model(model_name text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s'
AS $$
DECLARE
    old record;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('dataswarm.embedding_models', 0));
    IF NOT EXISTS (SELECT FROM dataswarm.embedding_models WHERE name = model_name) THEN
        RETURN false;
    END IF;
    FOR old IN
        SELECT o.name, o.part FROM dataswarm.embedding_models o, dataswarm.embedding_models n
        WHERE n.name = model_name AND o.name <> n.name AND (o.at <= n.at OR o.state = 'serving')
    LOOP
        DELETE FROM dataswarm.embedding_models WHERE name = old.name;
        DELETE FROM dataswarm.embedding_queue WHERE model = old.name;
        EXECUTE format('DROP TABLE dataswarm.%I', old.part);
    END LOOP;
    UPDATE dataswarm.embedding_models SET state = 'serving' WHERE name = model_name AND state <> 'serving';
    PERFORM dataswarm.make_nearest();
    RETURN true;
END
$$;

-- The branches a question on a branch sees, nearest first: its own, what it was forked from, …, main.
CREATE FUNCTION dataswarm.lines_of(on_branch text) RETURNS text[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE line AS (
        SELECT b.name, b.forked_from, 1 AS place FROM dataswarm.branches b WHERE b.name = on_branch
        UNION ALL
        SELECT b.name, b.forked_from, line.place + 1
        FROM line
        JOIN dataswarm.snapshots s ON s.id = line.forked_from
        JOIN dataswarm.branches b ON b.name = s.branch
        WHERE line.place < 100
    )
    SELECT array_agg(name ORDER BY place) FROM line
$$;

-- Recall leaves a branch that was merged or dropped: its documents go, once no open branch grows from it.
CREATE FUNCTION dataswarm.branch_closed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    DELETE FROM dataswarm.documents d
    WHERE d.branch <> 'main'
      AND d.branch = ANY (ARRAY(
          SELECT closed.name FROM dataswarm.branches closed WHERE closed.state <> 'open'
          EXCEPT
          SELECT unnest(dataswarm.lines_of(b.name)) FROM dataswarm.branches b WHERE b.state = 'open' AND b.name <> 'main'
      ));
    RETURN NULL;
END
$$;
CREATE TRIGGER branches_closed AFTER UPDATE OF state ON dataswarm.branches
    FOR EACH STATEMENT EXECUTE FUNCTION dataswarm.branch_closed();

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
GRANT SELECT, INSERT, UPDATE, DELETE ON dataswarm.documents, dataswarm.embeddings, dataswarm.embedding_queue
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT SELECT ON dataswarm.embedding_models, dataswarm.lexeme_counts, dataswarm.lexeme_totals, dataswarm.lexeme_news
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
GRANT USAGE ON SEQUENCE dataswarm.access_ids
    TO dataswarm_public, dataswarm_internal, dataswarm_confidential;
SELECT dataswarm.wall(noun) FROM unnest(ARRAY['learnings', 'documents', 'embeddings']) AS noun;
