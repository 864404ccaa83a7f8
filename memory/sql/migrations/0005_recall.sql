-- phase: expand
-- summary: how anything is found again, by words and by vectors

-- The nearest by the graph of a model: `nearest` for `recall` alone, filtered as it is told; `recall_nearest` with what
-- is told of them, where nothing narrows the question. `make_nearest` writes both anew when a model comes or goes, with
-- statements that name each model's table and dimensions, so that a session plans them once: put together at each
-- question, they were planned for a third of its time. The planner is left no way but the graph. The bodies go in as
-- quoted literals, for a model may be called anything.
CREATE FUNCTION dataswarm.make_nearest() RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp
AS $make$
DECLARE
    v_filtered text;
    v_plain text;
BEGIN
    SELECT string_agg(
        format(
            $arm$
            WHEN %1$L THEN
                IF is_filtered THEN
                    SELECT array_agg(near.id ORDER BY near.distance, near.id) INTO ids FROM (
                        SELECT x.document_id AS id, (x.embedding::halfvec(%2$s)) <=> wanted AS distance
                        FROM dataswarm.%3$I x
                        WHERE x.sensitivity <= reach AND x.branch = ANY (lines) AND x.document_id <> ALL (hidden)
                          AND (since IS NULL OR x.at >= since)
                          AND (of_whole IS NULL OR x.whole = of_whole)
                          AND (subjects IS NULL OR x.subject ~ subjects OR x.whole ~ subjects)
                          AND (agents IS NULL OR x.agent = ANY (agents))
                          AND (kinds IS NULL OR x.kind ~ kinds)
                          AND (nouns IS NULL OR x.noun = ANY (nouns))
                          AND (reader IS NULL OR x.importance >= least_important OR x.agent = reader)
                        ORDER BY (x.embedding::halfvec(%2$s)) <=> wanted LIMIT most
                    ) near;
                ELSE
                    SELECT array_agg(near.id ORDER BY near.distance, near.id) INTO ids FROM (
                        SELECT x.document_id AS id, (x.embedding::halfvec(%2$s)) <=> wanted AS distance
                        FROM dataswarm.%3$I x
                        WHERE x.sensitivity <= reach AND x.branch = ANY (lines)
                        ORDER BY (x.embedding::halfvec(%2$s)) <=> wanted LIMIT most
                    ) near;
                END IF;
            $arm$, m.name, m.dimensions, m.part
        ), '' ORDER BY m.name
    ), string_agg(
        format(
            $arm$
            WHEN %1$L THEN RETURN QUERY
                SELECT d.id, d.noun, d.ref, d.at, d.agent, d.kind, d.subject, d.sensitivity,
                       coalesce(left(d.text, 20000), ''), near.distance
                FROM (
                    SELECT x.document_id, (x.embedding::halfvec(%2$s)) <=> wanted AS distance
                    FROM dataswarm.%3$I x
                    WHERE x.sensitivity <= reach AND x.branch = 'main'
                    ORDER BY (x.embedding::halfvec(%2$s)) <=> wanted LIMIT most
                ) near
                JOIN dataswarm.documents d ON d.id = near.document_id;
            $arm$, m.name, m.dimensions, m.part
        ), '' ORDER BY m.name
    ) INTO v_filtered, v_plain
    FROM dataswarm.embedding_models m WHERE m.dimensions <= 4000;
    EXECUTE format(
        $made$
        CREATE OR REPLACE FUNCTION dataswarm.nearest(
            of_model text, wanted public.halfvec, reach smallint, lines text[], hidden bigint[], is_filtered boolean,
            since timestamptz, of_whole text, subjects text, agents text[], kinds text, nouns text[], reader text,
            least_important double precision, most integer
        ) RETURNS bigint[]
        LANGUAGE plpgsql STABLE SET search_path = pg_catalog, public, pg_temp SET plan_cache_mode = force_generic_plan
            SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off SET jit = off
        AS %L
        $made$,
        '#variable_conflict use_column
        DECLARE ids bigint[]; BEGIN '
        || coalesce('CASE of_model' || v_filtered || ' ELSE NULL; END CASE;', '') || ' RETURN ids; END'
    );
    EXECUTE format(
        $made$
        CREATE OR REPLACE FUNCTION dataswarm.recall_nearest(of_model text, wanted public.halfvec, most integer)
        RETURNS TABLE (
            id bigint, noun text, ref bigint, at timestamptz, agent text, kind text, subject text,
            sensitivity smallint, text text, distance double precision
        )
        LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
            SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off
            SET enable_hashjoin = off SET enable_mergejoin = off SET enable_sort = off SET jit = off
        AS %L
        $made$,
        '#variable_conflict use_column
        DECLARE reach smallint := dataswarm.clearance();
        BEGIN PERFORM dataswarm.look_as_far(false, most); '
        || coalesce('CASE of_model' || v_plain || ' ELSE NULL; END CASE;', '') || ' END'
    );
END
$make$;

-- How many of the graph's candidates are kept in view: more in a large memory, and where a filter hides most of them.
CREATE FUNCTION dataswarm.look_as_far(is_filtered boolean, deep integer) RETURNS void
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_is_large CONSTANT boolean := (SELECT documents FROM dataswarm.lexeme_totals) > 300000;
    v_far integer := CASE WHEN is_filtered THEN 120 ELSE 48 END;
BEGIN
    IF v_is_large THEN
        v_far := CASE WHEN is_filtered THEN 400 ELSE 200 END; -- of ten nearest 9.9 are found among a million
    END IF;
    IF current_setting('hnsw.iterative_scan', true) IS NULL THEN
        v_far := 1000; -- pgvector 0.7 cannot go on where a filter left too little over: look wider at once
    ELSE
        PERFORM set_config('hnsw.iterative_scan', 'relaxed_order', true),
                set_config('hnsw.max_scan_tuples', '40000', true);
    END IF;
    PERFORM set_config('hnsw.ef_search', least(greatest(v_far, deep), 1000)::text, true);
END
$$;

-- The neighbour in time of what belongs to a story about an asset.
CREATE FUNCTION dataswarm.earlier(of_whole text, moment timestamptz, than bigint) RETURNS bigint
LANGUAGE sql STABLE
AS $$
    SELECT b.id FROM dataswarm.documents b
    WHERE b.whole COLLATE "C" = of_whole AND (b.at, b.id) < (moment, than)
      AND b.noun IN ('observation', 'decision', 'turn')
    ORDER BY b.at DESC, b.id DESC LIMIT 1
$$;
CREATE FUNCTION dataswarm.later(of_whole text, moment timestamptz, than bigint) RETURNS bigint
LANGUAGE sql STABLE
AS $$
    SELECT b.id FROM dataswarm.documents b
    WHERE b.whole COLLATE "C" = of_whole AND (b.at, b.id) > (moment, than)
      AND b.noun IN ('observation', 'decision', 'turn')
    ORDER BY b.at, b.id LIMIT 1
$$;
-- The same of several at once, of those that the reader may know of.
CREATE FUNCTION dataswarm.neighbours(ids bigint[]) RETURNS TABLE (id bigint, earlier bigint, later bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT d.id, dataswarm.earlier(d.whole, d.at, d.id), dataswarm.later(d.whole, d.at, d.id)
    FROM dataswarm.documents d
    WHERE d.id = ANY (ids) AND d.sensitivity <= dataswarm.clearance()
$$;
SELECT dataswarm.make_nearest();
REVOKE ALL ON FUNCTION
    dataswarm.make_nearest(), dataswarm.look_as_far(boolean, integer),
    dataswarm.earlier(text, timestamptz, bigint), dataswarm.later(text, timestamptz, bigint),
    dataswarm.nearest(
        text, public.halfvec, smallint, text[], bigint[], boolean, timestamptz, text, text, text[], text, text[], text,
        double precision, integer
    )
FROM PUBLIC;

-- What fits a question, from both arms, with what is needed to weigh it. The clearance is filtered here, explicitly:
-- under a policy the full-text index could not be used. Every plan is chosen here by what the filters leave over, none
-- by the planner: few rows are looked at one by one, above that the words' index, rarest words first, and the vectors'
-- graph lead. How many a filter leaves is counted at most once a minute: who asks brings along, as `chosen`, what the
-- last answer gave (`plan`: n where the n-th index leaves few for both arms, -n few enough for vectors, 0 none;
-- `planned_at`, the server's). An old choice costs time, never an answer. BM25 over lexemes: how often a word stands in
-- a text is read from ts_rank of that word alone, which grows with each further place (a sum of 1/j²); that is four
-- times faster than unnesting its lexemes.
CREATE FUNCTION dataswarm.recall(
    query text, wanted public.halfvec, of_model text, nouns text[], kinds text, kind_list text[], kind_from text,
    of_whole text, subjects text, whole_from text, since timestamptz, agents text[], on_branch text, reader text,
    least_important double precision, enough integer, deep integer, chosen integer, chosen_at timestamptz
) RETURNS TABLE (
    id bigint, noun text, ref bigint, at timestamptz, agent text, kind text, subject text, sensitivity smallint,
    text text, branch text, score double precision, words_rank bigint, vector_rank bigint,
    embedded boolean, earlier bigint, later bigint, way text, plan integer, planned_at timestamptz
)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
    SET enable_seqscan = off SET jit = off SET plan_cache_mode = force_generic_plan
    SET max_parallel_workers_per_gather = 0
AS $$
#variable_conflict use_column
DECLARE
    narrow CONSTANT integer := 3000;
    probes CONSTANT integer := 300;
    rerank CONSTANT integer := 100; -- so many of those whose signs are most alike are compared by their figures
    farthest CONSTANT text := chr(1114111); -- sorts after everything that begins with the same text
    is_worded CONSTANT boolean := query ~ '\S';
    v_places text;
    v_reach smallint := dataswarm.clearance();
    v_lines text[] := CASE WHEN on_branch = 'main' THEN ARRAY['main'] ELSE dataswarm.lines_of(on_branch) END;
    v_wide integer := narrow; -- up to so many, vectors are compared one by one
    v_plan integer;
    v_planned_at timestamptz := chosen_at;
    v_close text;
    v_least bigint;
    v_place integer;
    is_filtered boolean;
    v_hidden bigint[] := '{}';
    v_where text;
    v_recent text := '';
    v_paths text[] := '{}';
    v_few text;
    v_number bigint;
    v_ids bigint[];
    v_share double precision := 1;
    v_total double precision;
    v_cut integer; -- so many candidates are scored
    v_usual double precision;
    v_terms text[];
    v_weights double precision[];
    v_reached double precision[];
    v_tries text[] := '{}';
    v_source text;
    v_rare text;
    v_fit integer := 0;
    v_try text;
    v_scored text;
    v_budget integer;
    v_words bigint[] := '{}';
    v_scores double precision[] := '{}';
    v_near bigint[] := '{}';
    v_dimensions integer;
    v_part text;
    v_way text := '';
BEGIN
    -- What may be seen and is asked for, over columns that documents and embeddings have both.
    v_where := format('x.sensitivity <= %s', v_reach);
    IF v_lines IS NULL OR cardinality(v_lines) = 1 THEN
        v_where := v_where || format(' AND x.branch = %L', on_branch);
    ELSE
        v_where := v_where || format(' AND x.branch = ANY (%L)', v_lines);
        SELECT coalesce(array_agg(d.id), '{}') INTO v_hidden
        FROM unnest(v_lines) WITH ORDINALITY AS near (name, place)
        JOIN dataswarm.knowledge k ON k.branch = near.name AND near.name <> 'main'
        JOIN unnest(v_lines) WITH ORDINALITY AS far (name, place) ON far.place > near.place
        JOIN dataswarm.knowledge m
            ON m.branch = far.name AND m.subject = k.subject AND m.predicate = k.predicate
        JOIN dataswarm.documents d ON d.noun = 'fact' AND d.ref = m.id
        WHERE k.retracted OR EXISTS (SELECT FROM dataswarm.documents w WHERE w.noun = 'fact' AND w.ref = k.id);
    END IF;
    IF since IS NOT NULL THEN
        v_recent := format(' AND x.at >= %L', since);
        v_where := v_where || v_recent;
    END IF;
    IF of_whole IS NOT NULL THEN
        v_where := v_where || format(' AND x.whole COLLATE "C" = %L', of_whole);
        v_paths := v_paths || (format('x.whole COLLATE "C" = %L', of_whole) || v_recent);
    END IF;
    IF subjects IS NOT NULL THEN
        v_where := v_where || format(' AND (x.subject ~ %L OR x.whole ~ %1$L)', subjects);
        IF whole_from <> '' THEN
            v_paths := v_paths || (
                format('x.whole COLLATE "C" BETWEEN %L AND %L', whole_from, whole_from || farthest) || v_recent
            );
        END IF;
    END IF;
    IF agents IS NOT NULL THEN
        v_where := v_where || format(' AND x.agent = ANY (%L)', agents);
        v_paths := v_paths || (format('x.agent = ANY (%L)', agents) || v_recent);
    END IF;
    IF kinds IS NOT NULL THEN
        v_where := v_where || format(' AND x.kind ~ %L', kinds);
        IF kind_list IS NOT NULL THEN
            v_paths := v_paths || (format('x.kind COLLATE "C" = ANY (%L)', kind_list) || v_recent);
        ELSIF kind_from <> '' THEN
            v_paths := v_paths || (
                format('x.kind COLLATE "C" BETWEEN %L AND %L', kind_from, kind_from || farthest) || v_recent
            );
        END IF;
    END IF;
    IF since IS NOT NULL THEN
        v_paths := v_paths || format('x.at >= %L', since);
    END IF;
    IF nouns IS NOT NULL THEN
        v_where := v_where || format(' AND x.noun = ANY (%L)', nouns);
        v_paths := v_paths || format('x.noun = ANY (%L)', nouns);
    END IF;
    IF reader IS NOT NULL THEN
        v_where := v_where || format(' AND (x.importance >= %s OR x.agent = %L)', least_important, reader);
    END IF;

    -- How much there is: what was folded, or as many as the server thinks the model has.
    SELECT greatest(t.documents, 1, c.reltuples), greatest(t.lexemes::double precision / greatest(t.documents, 1), 1),
           m.dimensions, m.part
    INTO v_total, v_usual, v_dimensions, v_part
    FROM dataswarm.lexeme_totals t
    LEFT JOIN dataswarm.embedding_models m ON wanted IS NOT NULL AND m.name = of_model
    LEFT JOIN pg_class c ON c.relname = m.part AND c.relnamespace = to_regnamespace('dataswarm');
    IF v_part IS NOT NULL THEN
        -- The graph must pass over what the filter hides: that costs as much for a share of any size of memory, but
        -- comparing all of a share costs more in a large one. They cost the same at about this many.
        v_wide := least(greatest(sqrt(650 * v_total), narrow), 30000);
    END IF;

    -- The first index that leaves few rows over gives them all; else a sample says what share is left.
    IF v_planned_at > statement_timestamp() - interval '1 minute' AND chosen IS NOT NULL
       AND abs(chosen) <= cardinality(v_paths) THEN
        v_plan := chosen;
    ELSE
        v_plan := 0;
        v_planned_at := statement_timestamp();
        FOR v_place IN 1 .. cardinality(v_paths) LOOP
            EXECUTE format(
                'SELECT count(*) FROM (SELECT FROM dataswarm.documents x WHERE %s LIMIT %s) few', v_paths[v_place],
                v_wide + 1
            ) INTO v_number;
            IF v_number <= narrow THEN
                v_plan := v_place;
                EXIT;
            ELSIF v_number <= coalesce(v_least, v_wide) AND v_paths[v_place] NOT LIKE 'x.noun %' THEN
                v_plan := -v_place;
                v_least := v_number;
            END IF;
        END LOOP;
    END IF;
    v_close := v_paths[abs(v_plan)]; -- NULL at 0
    IF v_plan > 0 THEN
        v_few := v_close;
        IF is_worded OR wanted IS NULL OR v_few LIKE 'x.noun %' THEN -- embeddings have no index by noun
            EXECUTE format(
                'SELECT coalesce(array_agg(x.id), ''{}'')'
                ' FROM (SELECT * FROM dataswarm.documents x WHERE %s OFFSET 0) x'
                ' WHERE %s AND x.id <> ALL ($1)', v_few, v_where
            ) INTO v_ids USING v_hidden;
        END IF;
    END IF;
    IF v_total < 1000 AND is_worded THEN -- little was folded yet: the newest tell
        SELECT greatest(count(*), v_total), greatest(avg(length(recent.lexemes)), 1) INTO v_total, v_usual
        FROM (
            SELECT d.lexemes FROM dataswarm.documents d WHERE d.text IS NOT NULL ORDER BY d.id DESC LIMIT 1000
        ) recent;
    END IF;
    IF v_few IS NOT NULL OR v_total <= narrow
       OR v_paths = '{}' AND v_reach > 0 AND subjects IS NULL AND kinds IS NULL THEN
        NULL; -- all is left, or few, and those are known
    ELSIF is_worded THEN
        EXECUTE format(
            'SELECT greatest(avg((%s)::integer), 0.5 / count(*)) FROM dataswarm.documents x WHERE x.id = ANY ('
            'SELECT 1 + newest.id * n / $1 FROM generate_series(0, $1 - 1) n,'
            ' (SELECT max(d.id) AS id FROM dataswarm.documents d) newest)', v_where
        ) INTO v_share USING probes;
        v_share := coalesce(v_share, 1);
    END IF;

    IF is_worded THEN
        SELECT array_agg(0.1 * reached / 1.64493406685 - 0.00001 ORDER BY n)::text INTO v_places
        FROM (SELECT n, sum(1.0 / (n * n)) OVER (ORDER BY n) AS reached FROM generate_series(1, 20) n) summed;
        WITH terms AS (
            SELECT t.lexeme, ('''' || replace(t.lexeme, '''', '''''') || '''')::tsquery AS term
            FROM unnest(dataswarm.lexemes(query)) t
        ), known AS MATERIALIZED (
            SELECT t.*, (
                SELECT c.documents FROM dataswarm.lexeme_counts c WHERE c.lexeme = t.lexeme COLLATE "C"
            ) AS documents
            FROM terms t
        ), counted AS (
            SELECT k.lexeme, k.term, CASE
                WHEN k.documents >= 50 THEN k.documents
                ELSE (
                    SELECT count(*) FROM (
                        SELECT FROM dataswarm.documents d WHERE d.lexemes @@ k.term LIMIT 1000
                    ) matching
                )
            END::double precision AS frequency
            FROM known k
        ), ranked AS (
            SELECT c.*, sum(c.frequency) OVER (ORDER BY c.frequency, c.lexeme) AS reached
            FROM counted c WHERE c.frequency > 0 ORDER BY c.frequency, c.lexeme LIMIT 32
        )
        SELECT array_agg(r.term::text ORDER BY r.frequency, r.lexeme),
               array_agg(
                   ln(1 + (greatest(v_total, r.frequency) - r.frequency + 0.5) / (r.frequency + 0.5))
                   ORDER BY r.frequency, r.lexeme
               ),
               array_agg(r.reached ORDER BY r.frequency, r.lexeme)
        INTO v_terms, v_weights, v_reached FROM ranked r;
    END IF;
    IF v_terms IS NOT NULL THEN
        SELECT string_agg(
            format('float8 %L * t%s / (t%2$s + x.norm)', 2.2 * v_weights[n], n), ' + ' ORDER BY n
        ) INTO v_scored FROM generate_subscripts(v_terms, 1) n;
        v_cut := least(greatest(v_total / 5, 1000), 5000);
        v_budget := least(v_cut / greatest(v_share, 0.000001), 4 * v_cut);
        v_source := 'SELECT * FROM dataswarm.documents x WHERE ';
        IF v_ids IS NOT NULL THEN
            v_tries := ARRAY[
                v_source || format('x.id = ANY ($1) AND x.lexemes @@ %L', array_to_string(v_terms, ' | '))
            ];
        ELSE
            SELECT count(*) INTO v_fit FROM unnest(v_reached) AS reached WHERE reached <= v_budget;
            IF v_fit > 0 THEN
                v_rare := array_to_string(v_terms[:v_fit], ' | ');
                v_tries := ARRAY[v_source || format('x.lexemes @@ %L', v_rare)];
            END IF;
            -- Where rare words find too little: what also holds two of the frequent ones, else the first of them. The
            -- cut then falls on weaker candidates alone.
            FOREACH v_try IN ARRAY ARRAY[
                v_terms[v_fit + 1] || ' & (' || nullif(array_to_string(v_terms[v_fit + 2:], ' | '), '') || ')',
                v_terms[v_fit + 1]
            ] LOOP
                CONTINUE WHEN v_try IS NULL;
                v_tries := v_tries || (
                    CASE WHEN v_fit > 0 THEN v_tries[1] || ' UNION ALL ' ELSE '' END
                    || format(
                        '(%sx.lexemes @@ %L LIMIT %s)', v_source, v_try || coalesce(' & !(' || v_rare || ')', ''),
                        v_budget
                    )
                );
            END LOOP;
        END IF;
        FOREACH v_try IN ARRAY v_tries LOOP
            EXECUTE format(
                'SELECT array_agg(best.id), array_agg(best.score) FROM ('
                ' SELECT x.id, %s AS score FROM ('
                '  SELECT x.id, x.at, float8 ''0.3'' + $2 * length(x.lexemes) AS norm, %s FROM ('
                '   %s) x'
                '  WHERE %s AND x.id <> ALL ($3) OFFSET 0) x'
                ' ORDER BY score DESC, x.at DESC, x.id DESC LIMIT %s) best',
                v_scored,
                (SELECT string_agg(
                     format(
                         'CASE WHEN x.lexemes @@ %1$L THEN'
                         ' width_bucket(ts_rank(x.lexemes, %1$L)::double precision, %2$L) ELSE 0 END AS t%3$s',
                         v_terms[n], v_places, n
                     ), ', '
                 ) FROM generate_subscripts(v_terms, 1) n),
                v_try, v_where, deep
            ) INTO v_words, v_scores USING v_ids, 0.9 / v_usual, v_hidden;
            v_words := coalesce(v_words, '{}');
            v_scores := coalesce(v_scores, '{}');
            EXIT WHEN cardinality(v_words) >= enough;
        END LOOP;
    END IF;

    IF wanted IS NOT NULL THEN
        IF v_part IS NULL THEN
            v_way := 'unknown model';
        ELSIF vector_dims(wanted) <> v_dimensions THEN
            RAISE invalid_parameter_value USING MESSAGE =
                format('the model has %s dimensions here, not %s', v_dimensions, vector_dims(wanted));
        ELSIF v_close NOT LIKE 'x.noun %' AND (v_plan > 0 OR v_dimensions NOT BETWEEN 128 AND 4000) THEN
            v_way := 'exact';
            EXECUTE format(
                'SELECT array_agg(id ORDER BY distance, id) FROM ('
                ' SELECT x.document_id AS id, x.embedding <=> $1 AS distance'
                ' FROM (SELECT * FROM dataswarm.%I x WHERE %s OFFSET 0) x WHERE %s AND x.document_id <> ALL ($2)'
                ' ORDER BY distance, id LIMIT %s) best', v_part, v_close, v_where, deep
            ) INTO v_near USING wanted, v_hidden;
        ELSIF v_close NOT LIKE 'x.noun %' THEN
            v_way := 'approximate';
            EXECUTE format(
                'SELECT array_agg(id ORDER BY distance, id) FROM ('
                ' SELECT e.document_id AS id, e.embedding <=> $1 AS distance FROM ('
                '  SELECT x.document_id FROM dataswarm.%I x WHERE %s AND %s'
                '  ORDER BY x.bits <~> $4 LIMIT %s) alike'
                ' JOIN dataswarm.%1$I e ON e.model = $3 AND e.document_id = alike.document_id'
                ' ORDER BY distance, id LIMIT %5$s) best',
                v_part, v_close,
                -- What the index answers need not be asked of each row again.
                replace(v_where, ' AND ' || v_close, '')
                || CASE WHEN v_hidden = '{}' THEN '' ELSE ' AND x.document_id <> ALL ($2)' END,
                greatest(rerank, 8 * deep), deep
            ) INTO v_near USING wanted, v_hidden, of_model, binary_quantize(wanted);
        ELSIF v_ids IS NOT NULL THEN
            v_way := 'exact';
            EXECUTE format(
                'SELECT array_agg(id ORDER BY distance, id) FROM ('
                ' SELECT e.document_id AS id, e.embedding <=> $1 AS distance'
                ' FROM unnest($2) AS few (id) JOIN dataswarm.%I e ON e.model = $3 AND e.document_id = few.id'
                ' ORDER BY distance, id LIMIT %s) best', v_part, deep
            ) INTO v_near USING wanted, v_ids, of_model;
        ELSIF v_dimensions > 4000 OR v_total <= 1000 THEN
            v_way := 'exact';
            EXECUTE format(
                'SELECT array_agg(id ORDER BY distance, id) FROM ('
                ' SELECT x.document_id AS id, x.embedding <=> $1 AS distance'
                ' FROM (SELECT * FROM dataswarm.%I x WHERE %s AND x.document_id <> ALL ($2) OFFSET 0) x'
                ' ORDER BY distance, id LIMIT %s) best', v_part, v_where, deep
            ) INTO v_near USING wanted, v_hidden;
        ELSE
            v_way := 'approximate';
            is_filtered := v_paths <> '{}' OR v_reach = 0 OR subjects IS NOT NULL OR kinds IS NOT NULL
                           OR reader IS NOT NULL OR on_branch <> 'main';
            PERFORM dataswarm.look_as_far(is_filtered, deep);
            v_near := dataswarm.nearest(
                of_model, wanted, v_reach, v_lines, v_hidden, is_filtered, since, of_whole, subjects, agents, kinds,
                nouns, reader, least_important, deep
            );
        END IF;
    ELSIF NOT is_worded THEN
        v_way := 'newest';
        EXECUTE format(
            'SELECT array_agg(id) FROM (SELECT x.id FROM dataswarm.documents x WHERE %s AND x.id <> ALL ($1)'
            ' ORDER BY x.at DESC, x.id DESC LIMIT %s) best',
            CASE WHEN v_ids IS NULL THEN v_where ELSE 'x.id = ANY ($2)' END, deep
        ) INTO v_words USING v_hidden, v_ids;
    END IF;

    -- Neighbours in time about the same asset matter only where more than one of them was found. What was found by its
    -- vector alone, and belongs to no story, is described in a third of the time.
    IF NOT is_worded AND wanted IS NOT NULL AND NOT EXISTS (
        SELECT FROM unnest(v_near) AS near (id) JOIN dataswarm.documents d ON d.id = near.id
        WHERE d.noun IN ('observation', 'decision', 'turn')
    ) THEN
        RETURN QUERY
        SELECT d.id, d.noun, d.ref, d.at, d.agent, d.kind, d.subject, d.sensitivity,
               coalesce(left(d.text, 20000), ''), d.branch, 0::double precision, NULL::bigint, v.place, true,
               NULL::bigint, NULL::bigint, v_way, v_plan, v_planned_at
        FROM unnest(v_near) WITH ORDINALITY AS v (id, place)
        JOIN dataswarm.documents d ON d.id = v.id
        WHERE v.place <= enough;
        RETURN;
    END IF;
    RETURN QUERY
    WITH found AS (
        SELECT coalesce(w.id, v.id) AS id, coalesce(w.score, 0) AS score, w.place AS words_rank,
               v.place AS vector_rank
        FROM unnest(v_words, v_scores) WITH ORDINALITY AS w (id, score, place)
        FULL JOIN unnest(v_near) WITH ORDINALITY AS v (id, place) ON v.id = w.id
    ), described AS (
        SELECT f.*, d.noun, d.ref, d.at, d.agent, d.kind, d.subject, d.whole, d.sensitivity,
               coalesce(left(d.text, 20000), '') AS text, d.branch,
               d.noun IN ('observation', 'decision', 'turn') AND count(*) OVER (PARTITION BY d.whole) > 1 AS company
        FROM found f JOIN dataswarm.documents d ON d.id = f.id
    )
    SELECT s.id, s.noun, s.ref, s.at, s.agent, s.kind, s.subject, s.sensitivity, s.text, s.branch, s.score,
           s.words_rank, s.vector_rank,
           s.vector_rank IS NOT NULL OR wanted IS NOT NULL AND EXISTS (
               SELECT FROM dataswarm.embeddings e WHERE e.model = of_model AND e.document_id = s.id
           ),
           CASE WHEN s.company THEN dataswarm.earlier(s.whole, s.at, s.id) END,
           CASE WHEN s.company THEN dataswarm.later(s.whole, s.at, s.id) END,
           v_way, v_plan, v_planned_at
    FROM described s;
END
$$;
