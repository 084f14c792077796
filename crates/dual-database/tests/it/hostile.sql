-- What somebody who may make things in a schema of the search path can put in the way of statements of
-- others: an operator, a function for every one of the server's, with types that fit better; each counts
-- that it ran. With `exact`, under which the schema has to stand before the server's own, also those that
-- have the very types, and types and tables.
CREATE SEQUENCE public.ran;
CREATE FUNCTION public.trap() RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN PERFORM pg_catalog.nextval('public.ran'::pg_catalog.regclass); RETURN true; END $$;
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
    made := format('public.%I', 'op_' || md5(op) || l || r);
    EXECUTE format('CREATE FUNCTION %s(pg_catalog.%I, pg_catalog.%I) RETURNS %s LANGUAGE plpgsql AS %L',
      made, l, r, CASE WHEN op = '||' THEN 'text' WHEN op = '->' THEN 'jsonb' WHEN op = '->>' THEN 'text'
        WHEN op IN ('+', '-', '*', '/', '<<', '>>', '&', '|', '%') THEN 'int8' ELSE 'bool' END,
      format('BEGIN PERFORM public.trap(); RAISE WARNING %L; RETURN NULL; END',
        format('%s %s %s', l, replace(op, '%', '%%'), r)));
    EXECUTE format('CREATE OPERATOR public.%s (FUNCTION = %s, LEFTARG = pg_catalog.%I, RIGHTARG = pg_catalog.%I)',
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
      EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS %L', p.name,
        coalesce('pg_catalog.' || p.takes, ''), p.gives,
        format('BEGIN PERFORM public.trap(); RAISE WARNING %L; RETURN NULL; END', p.name));
    EXCEPTION WHEN duplicate_function OR syntax_error THEN NULL;
    END;
  END LOOP;
  IF exact THEN
    FOREACH l IN ARRAY '{text,varchar,int4,int8,bool,jsonb,uuid,timestamp,timestamptz,oid,name,regclass}'::text[] LOOP
      EXECUTE format('CREATE DOMAIN public.%I AS pg_catalog.%I CHECK (public.trap())', l, l);
    END LOOP;
    FOR p IN SELECT relname FROM pg_class WHERE relnamespace = 'pg_catalog'::regnamespace
        AND relkind IN ('r', 'v') LOOP
      EXECUTE format('CREATE TABLE public.%I ()', p.relname);
    END LOOP;
  END IF;
END
$do$;
CREATE TABLE public.dual_staged ();
CREATE TABLE public.dual_issued ();
CREATE TABLE public.side_users ();
CREATE TABLE public.installation ();
