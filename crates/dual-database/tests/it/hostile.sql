-- What somebody who may make things in a schema of the search path can put in the way of statements of
-- others: an operator, a function, an aggregate for every one of the server's, with types that fit better
-- (those that take any type, for each of the types that we use); each counts that it ran. With `exact`,
-- under which the schema has to stand before the server's own, also those that have the very types, and
-- types and tables.
CREATE SEQUENCE {schema}.ran;
CREATE FUNCTION {schema}.trap() RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_catalog.nextval('{schema}.ran'::pg_catalog.regclass); RETURN true; END $$;
DO $do$
DECLARE
  exact boolean := {exact};
  types text[] := '{text,varchar,int4,int8,bool,jsonb,uuid,timestamp,oid,name,regclass,_text,_int8}';
  operators text[] := '{=,<>,<,>,<=,>=,~,~~,!~~,||,+,-,*,/,<<,>>,&,|,->,->>,?,@>,<@,%}';
  op text; l text; r text; p record; made text; body text;
BEGIN
  FOREACH op IN ARRAY operators LOOP FOREACH l IN ARRAY types LOOP FOREACH r IN ARRAY types LOOP
    CONTINUE WHEN NOT exact AND EXISTS (SELECT FROM pg_operator WHERE oprname = op
      AND oprnamespace = 'pg_catalog'::regnamespace AND oprleft = l::regtype AND oprright = r::regtype);
    made := format('{schema}.%I', 'op_' || md5(op) || l || r);
    EXECUTE format('CREATE FUNCTION %s(pg_catalog.%I, pg_catalog.%I) RETURNS %s LANGUAGE plpgsql AS %L',
      made, l, r, CASE WHEN op = '||' THEN 'text' WHEN op = '->' THEN 'jsonb' WHEN op = '->>' THEN 'text'
        WHEN op IN ('+', '-', '*', '/', '<<', '>>', '&', '|', '%') THEN 'int8' ELSE 'bool' END,
      format('BEGIN PERFORM {schema}.trap(); RAISE WARNING %L; RETURN NULL; END',
        format('%s %s %s', l, replace(op, '%', '%%'), r)));
    EXECUTE format('CREATE OPERATOR {schema}.%s (FUNCTION = %s, LEFTARG = pg_catalog.%I, RIGHTARG = pg_catalog.%I)',
      op, made, l, r);
  END LOOP; END LOOP; END LOOP;
  FOR p IN SELECT f.proname AS name, pg_get_function_result(f.oid) AS gives, v.variant,
      (SELECT string_agg(CASE variant
          WHEN 'exact' THEN t.typname
          WHEN 'varchar' THEN CASE t.typname WHEN 'text' THEN 'varchar' ELSE t.typname END
          WHEN 'narrow' THEN CASE t.typname WHEN 'int8' THEN 'int4' WHEN 'text' THEN 'name' ELSE t.typname END
          ELSE CASE t.typname WHEN 'int4' THEN 'int8' WHEN 'name' THEN 'text' ELSE t.typname END END,
          ', pg_catalog.' ORDER BY a.at)
        FROM unnest(f.proargtypes) WITH ORDINALITY AS a (type, at) JOIN pg_type AS t ON t.oid = a.type) AS takes
    FROM pg_proc AS f, (VALUES ('exact'), ('varchar'), ('narrow'), ('wide')) AS v (variant)
    WHERE f.pronamespace = 'pg_catalog'::regnamespace AND f.prokind = 'f' AND NOT f.proretset
      AND f.provariadic = 0 AND f.pronargs BETWEEN 0 AND 5 AND f.proname <> 'nextval'
      AND f.proname ~ '^[a-z][a-z0-9_]*$' AND (exact OR v.variant <> 'exact')
      AND NOT EXISTS (SELECT FROM unnest(f.proargtypes || f.prorettype) AS a (type)
        JOIN pg_type AS t ON t.oid = a.type WHERE t.typtype = 'p')
      AND (f.pronargs > 0 OR v.variant = 'exact')
  LOOP
    BEGIN
      EXECUTE format('CREATE FUNCTION {schema}.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', p.name,
        coalesce('pg_catalog.' || p.takes, ''), p.gives,
        format('BEGIN PERFORM {schema}.trap(); RAISE WARNING %L; RETURN NULL; END', p.name));
    EXCEPTION WHEN duplicate_function OR syntax_error THEN NULL;
    END;
  END LOOP;
  -- What takes any type, or any number of them, for types that it is called with.
  FOR p IN SELECT f.proname AS name, f.prokind = 'a' AS aggregates, f.proretset AS sets, t.typname AS of, n.extra,
      (SELECT string_agg(CASE a.type
          WHEN '"any"'::regtype THEN array_to_string(
            array_fill(format('pg_catalog.%I', t.typname), ARRAY[n.extra + 1]), ', ')
          WHEN 'anyarray'::regtype THEN format('pg_catalog.%I', '_' || t.typname)
          ELSE CASE (SELECT typtype FROM pg_type WHERE oid = a.type)
            WHEN 'p' THEN format('pg_catalog.%I', t.typname)
            ELSE format('pg_catalog.%I', (SELECT typname FROM pg_type WHERE oid = a.type)) END END,
          ', ' ORDER BY a.at)
        FROM unnest(f.proargtypes) WITH ORDINALITY AS a (type, at)) AS takes,
      CASE f.prorettype WHEN 'anyarray'::regtype THEN format('pg_catalog.%I', '_' || t.typname)
        WHEN 'anyelement'::regtype THEN format('pg_catalog.%I', t.typname)
        WHEN 'anynonarray'::regtype THEN format('pg_catalog.%I', t.typname)
        ELSE format('pg_catalog.%I', (SELECT typname FROM pg_type WHERE oid = f.prorettype)) END AS gives
    FROM pg_proc AS f, unnest(types) AS w (name) JOIN pg_type AS t ON t.typname = w.name
      AND t.typnamespace = 'pg_catalog'::regnamespace, generate_series(0, 2) AS n (extra)
    WHERE f.pronamespace = 'pg_catalog'::regnamespace AND f.prokind IN ('f', 'a') AND f.pronargs BETWEEN 1 AND 4
      AND f.proname ~ '^[a-z][a-z0-9_]*$' AND t.typname NOT LIKE '\_%'
      AND (n.extra = 0 OR '"any"'::regtype = ANY (f.proargtypes))
      AND (f.proretset OR f.prokind = 'a' OR EXISTS (SELECT FROM unnest(f.proargtypes) AS a (type)
        JOIN pg_type AS y ON y.oid = a.type WHERE y.typtype = 'p'))
      AND NOT EXISTS (SELECT FROM unnest(f.proargtypes || f.prorettype) AS a (type) JOIN pg_type AS y
        ON y.oid = a.type WHERE y.typtype = 'p' AND y.oid NOT IN ('"any"'::regtype, 'anyelement'::regtype,
          'anyarray'::regtype, 'anynonarray'::regtype, 'record'::regtype))
      AND (exact OR EXISTS (SELECT FROM unnest(f.proargtypes) AS a (type)
        JOIN pg_type AS y ON y.oid = a.type WHERE y.typtype = 'p'))
  LOOP
    BEGIN
      body := format('BEGIN PERFORM {schema}.trap(); RAISE WARNING %L; RETURN%s; END', p.name,
        CASE WHEN p.sets THEN '' ELSE ' NULL' END);
      IF p.aggregates THEN
        made := format('{schema}.%I', 'agg_' || md5(p.name || p.takes));
        EXECUTE format('CREATE FUNCTION %s(pg_catalog.text, %s) RETURNS pg_catalog.text LANGUAGE plpgsql AS %L',
          made, p.takes, body);
        EXECUTE format('CREATE AGGREGATE {schema}.%I(%s) (SFUNC = %s, STYPE = pg_catalog.text)', p.name, p.takes, made);
      ELSE
        EXECUTE format('CREATE FUNCTION {schema}.%I(%s) RETURNS %s %s LANGUAGE plpgsql AS %L', p.name, p.takes,
          CASE WHEN p.sets THEN 'SETOF' ELSE '' END, p.gives, body);
      END IF;
    EXCEPTION WHEN duplicate_function OR syntax_error OR invalid_function_definition THEN NULL;
    END;
  END LOOP;
  IF exact THEN
    FOREACH l IN ARRAY '{text,varchar,int4,int8,bool,jsonb,uuid,timestamp,timestamptz,oid,name,regclass}'::text[] LOOP
      EXECUTE format('CREATE DOMAIN {schema}.%I AS pg_catalog.%I CHECK ({schema}.trap())', l, l);
    END LOOP;
    FOR p IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace
        AND relkind IN ('r', 'v') LOOP
      EXECUTE format('CREATE TABLE {schema}.%I ()', p.relname);
    END LOOP;
  END IF;
END
$do$;
CREATE TABLE {schema}.dual_staged ();
CREATE TABLE {schema}.dual_issued ();
CREATE TABLE {schema}.side_users ();
CREATE TABLE {schema}.installation ();
