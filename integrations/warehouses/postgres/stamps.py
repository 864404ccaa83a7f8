"""What `stamp.py` asks."""

from __future__ import annotations

from typing import Final

MOMENT: Final = """
select pg_catalog.pg_snapshot_xmin(m.snapshot)::text::bigint, pg_catalog.pg_snapshot_xmax(m.snapshot)::text::bigint,
       m.snapshot::text,
       case when not pg_catalog.pg_is_in_recovery() then pg_catalog.concat_ws(' ',
         pg_catalog.pg_postmaster_start_time(), pg_catalog.current_database(), session_user, current_user) end
  from (select pg_catalog.pg_current_snapshot() as snapshot) m
"""

# A row in pg_attribute goes only with its relation, so there it is enough that none came. Which schemas may be used
# hangs on memberships, too, and roles have no xmin that everybody may read: both are compared as they are.
SINCE: Final = """
with horizon as materialized (select pg_catalog.age(%(oldest)s::xid) as n)
select 'pg_attribute', 0::numeric,
       exists (select from pg_catalog.pg_attribute x where pg_catalog.age(x.xmin) <= (select n from horizon))
union all
select 'pg_roles', sum(pg_catalog.hash_record_extended(row(r.oid, r.rolname), 1))::numeric, false
  from pg_catalog.pg_roles r
union all
select 'usage', sum(pg_catalog.hash_record_extended(
         row(n.oid, pg_catalog.has_schema_privilege(n.oid, 'USAGE')), 1))::numeric, false
  from pg_catalog.pg_namespace n where n.nspname !~ '^pg_'
""" + "".join(
    f"""
union all
select '{name}', count(*)::numeric, coalesce(bool_or(pg_catalog.age(x.xmin) <= (select n from horizon)), false)
  from pg_catalog.{name} x
"""
    for name in (
        "pg_attrdef",
        "pg_class",
        "pg_collation",
        "pg_constraint",
        "pg_description",
        "pg_enum",
        "pg_index",
        "pg_namespace",
        "pg_opclass",
        "pg_operator",
        "pg_partitioned_table",
        "pg_proc",
        "pg_rewrite",
        "pg_sequence",
        "pg_ts_config",
        "pg_type",
    )
)

STAMPS: Final = """
with relations as materialized (
  select c.oid, c.relnamespace as schema, c.relkind,
         pg_catalog.hash_record_extended(row(c.oid, c.relname, c.relkind, c.relowner, c.relacl,
           case when c.relkind in ('i', 'I') then c.reloptions end), 1) as h
    from pg_catalog.pg_class c
   where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I', 'c') and not c.relispartition and c.oid >= 16384),
described as materialized (
  select r.oid, r.schema from relations r where r.relkind in ('r', 'p', 'v', 'm', 'f')),
attributes as (
  select r.schema, sum(pg_catalog.hash_record_extended(row(a.attrelid, a.attnum, a.xmin), 2)) as h
    from pg_catalog.pg_attribute a join described r on r.oid = a.attrelid
   where a.attnum > 0 group by r.schema),
stamps(schema, h) as (
  select r.schema, sum(r.h) from relations r group by r.schema
  union all
  select a.schema, a.h from attributes a
  union all
  select r.schema, sum(pg_catalog.hash_record_extended(row(e.oid, e.xmin), 3))
    from pg_catalog.pg_attrdef e join described r on r.oid = e.adrelid group by r.schema
  union all
  select k.connamespace, sum(pg_catalog.hash_record_extended(row(k.oid, k.xmin), 4))
    from pg_catalog.pg_constraint k where k.contype in ('p', 'u', 'f', 'c', 'x') and k.conrelid <> 0
   group by k.connamespace
  union all
  select r.schema, sum(pg_catalog.hash_record_extended(row(i.indexrelid, i.xmin), 5))
    from pg_catalog.pg_index i join described r on r.oid = i.indrelid group by r.schema
  union all
  select r.schema, sum(pg_catalog.hash_record_extended(row(s.seqrelid, s.xmin), 6))
    from pg_catalog.pg_sequence s join relations r on r.oid = s.seqrelid group by r.schema
  union all
  select r.schema, sum(pg_catalog.hash_record_extended(row(d.objoid, d.objsubid, d.xmin), 7))
    from pg_catalog.pg_description d join described r on r.oid = d.objoid
   where d.classoid = 'pg_catalog.pg_class'::regclass group by r.schema
  union all
  select r.schema, sum(pg_catalog.hash_record_extended(row(w.oid, w.xmin), 8))
    from pg_catalog.pg_rewrite w join described r on r.oid = w.ev_class
   where w.rulename = '_RETURN' group by r.schema
  union all
  select r.schema, sum(pg_catalog.hash_record_extended(row(p.partrelid, p.xmin), 9))
    from pg_catalog.pg_partitioned_table p join described r on r.oid = p.partrelid group by r.schema
  union all
  select 0, pg_catalog.hash_record_extended(row(
    (select sum(pg_catalog.hash_record_extended(row(p.oid, p.xmin), 1)) from pg_catalog.pg_proc p
      where p.oid >= 16384 and not p.pronamespace = any(t.schemas)),
    (select sum(pg_catalog.hash_record_extended(row(o.oid, o.xmin), 1)) from pg_catalog.pg_operator o
      where o.oid >= 16384 and not o.oprnamespace = any(t.schemas)),
    (select sum(pg_catalog.hash_record_extended(row(c.oid, c.xmin), 1)) from pg_catalog.pg_opclass c
      where c.oid >= 16384 and not c.opcnamespace = any(t.schemas)),
    (select sum(pg_catalog.hash_record_extended(row(l.oid, l.xmin), 1)) from pg_catalog.pg_collation l
      where l.oid >= 16384 and not l.collnamespace = any(t.schemas)),
    (select sum(pg_catalog.hash_record_extended(row(s.oid, s.xmin), 1)) from pg_catalog.pg_ts_config s
      where s.oid >= 16384 and not s.cfgnamespace = any(t.schemas)),
    (select sum(pg_catalog.hash_record_extended(row(y.oid, y.typname, y.typnamespace), 1)) from pg_catalog.pg_type y
      where y.oid >= 16384 and not y.typnamespace = any(t.schemas)
        and (y.typrelid = 0 and y.typcategory <> 'A'
             or y.oid in (select d.refobjid from pg_catalog.pg_depend d
                           where d.refclassid = 'pg_catalog.pg_type'::regclass
                             and d.classid = 'pg_catalog.pg_class'::regclass and d.deptype = 'n'))),
    (select sum(pg_catalog.hash_record_extended(row(e.oid, e.xmin), 1))
       from pg_catalog.pg_enum e join pg_catalog.pg_type y on y.oid = e.enumtypid
      where not y.typnamespace = any(t.schemas)),
    (select sum(pg_catalog.hash_record_extended(row(a.oid, a.rolname), 1)) from pg_catalog.pg_roles a)), 10)
    from (select array(select n.oid from pg_catalog.pg_namespace n where n.nspname ~ '^pg_temp_') as schemas) t)
select s.schema::bigint, n.nspname, pg_catalog.has_schema_privilege(n.oid, 'USAGE'), pg_catalog.sum(s.h)::text
  from (select schema, h from stamps union all select oid, 0 from pg_catalog.pg_namespace) s
  left join pg_catalog.pg_namespace n on n.oid = s.schema
 where n.oid is null and s.schema = 0 or n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
 group by s.schema, n.oid, n.nspname
"""

# Which schema reads which: by its views, by its defaults (a sequence elsewhere), by its foreign keys.
REACHES: Final = """
select distinct c.relnamespace::bigint, r.relnamespace::bigint
  from pg_catalog.pg_depend d
  join pg_catalog.pg_rewrite w on w.oid = d.objid
  join pg_catalog.pg_class c on c.oid = w.ev_class
  join pg_catalog.pg_class r on r.oid = d.refobjid
 where d.classid = 'pg_catalog.pg_rewrite'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
   and c.relnamespace <> r.relnamespace and c.oid >= 16384
union
select c.relnamespace::bigint, r.relnamespace::bigint
  from pg_catalog.pg_depend d
  join pg_catalog.pg_attrdef e on e.oid = d.objid
  join pg_catalog.pg_class c on c.oid = e.adrelid
  join pg_catalog.pg_class r on r.oid = d.refobjid
 where d.classid = 'pg_catalog.pg_attrdef'::regclass and d.refclassid = 'pg_catalog.pg_class'::regclass
   and d.refobjid <> e.adrelid and c.relnamespace <> r.relnamespace
union
select k.connamespace::bigint, r.relnamespace::bigint
  from pg_catalog.pg_constraint k join pg_catalog.pg_class r on r.oid = k.confrelid
 where k.contype = 'f' and r.relnamespace <> k.connamespace
"""
