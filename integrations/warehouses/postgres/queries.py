"""The rows a catalog is made of: one query a kind of thing, none of which takes a lock on anybody's relation.

Types come from format_type under an empty search_path, so that the same type is always written alike. A default holds
no column, so pg_get_expr needs no relation for it; given one, it would lock it and wait for whoever rebuilds it.
What cannot be told without such a lock (`definitions.py`) is not asked for here. Rows come unsorted: sorting is cheaper
where it does not keep the owner's server busy.
"""

from __future__ import annotations

SCHEMAS = """
select n.oid::bigint as oid, n.nspname as name,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') as visible,
       t.now
  from (select pg_catalog.statement_timestamp() as now) t
  left join pg_catalog.pg_namespace n on n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
 order by n.nspname
"""

# Partitions are left out: their parent stands for them.
RELATIONS = """
select c.oid::bigint, n.nspname, c.relname, c.relkind::text, c.reltuples::bigint,
       pg_catalog.pg_get_userbyid(c.relowner), c.relacl::text, coalesce(d.description, '')
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  left join pg_catalog.pg_description d
    on d.objoid = c.oid and d.classoid = 'pg_catalog.pg_class'::regclass and d.objsubid = 0
 where c.relnamespace = any(%(schemas)s::oid[]) and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
"""

# Of a server's own tables there are seldom statistics: it takes many relations for a few and looks each one up. More
# processes of the owner's server make nothing quicker here.
FOR_MANY = """
select pg_catalog.set_config('enable_nestloop', 'off', true), pg_catalog.set_config('work_mem', '64MB', true),
       pg_catalog.set_config('jit', 'off', true), pg_catalog.set_config('max_parallel_workers_per_gather', '0', true)
"""

# A row a relation: of most columns there is nothing more to tell than name, number, type and nullability. Type and its
# modifier make one number, for a warehouse has few of them; each is written once (TYPES). Columns come in any order.
COLUMNS = """
select a.attrelid::bigint, pg_catalog.array_agg(a.attnum), pg_catalog.array_agg(a.attname::text),
       pg_catalog.array_agg((a.atttypid::bigint << 32) | (a.atttypmod::bigint & 4294967295)),
       pg_catalog.array_agg(not a.attnotnull)
  from pg_catalog.pg_attribute a
  join pg_catalog.pg_class c on c.oid = a.attrelid
 where c.relnamespace = any(%(schemas)s::oid[]) and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
   and a.attnum > 0 and not a.attisdropped
 group by a.attrelid
"""

TYPES = """
select k.kind, pg_catalog.format_type(k.oid, k.modifier)
  from unnest(%s::bigint[], %s::oid[], %s::integer[]) as k(kind, oid, modifier)
"""

# A row a column that has more to tell. Grants on single columns are rare, so they are taken apart where they are met.
PARTICULARS = """
with peculiar as materialized (
  select a.*
    from pg_catalog.pg_attribute a
    join pg_catalog.pg_class c on c.oid = a.attrelid
   where c.relnamespace = any(%(schemas)s::oid[]) and c.relkind in ('r', 'p', 'v', 'm', 'f') and not c.relispartition
     and a.attnum > 0 and not a.attisdropped
     and (a.atthasdef or a.attidentity <> '' or a.attacl is not null
          or a.attcollation <> 0 and (a.atttypid, a.attcollation) not in (
            select t.oid, t.typcollation from pg_catalog.pg_type t where t.typcollation <> 0)
          or (a.attrelid, a.attnum::integer) in (
            select d.objoid, d.objsubid from pg_catalog.pg_description d
             where d.classoid = 'pg_catalog.pg_class'::regclass and d.objsubid > 0)))
select a.attrelid::bigint, a.attnum,
       case when a.attgenerated <> '' then e.oid::bigint end,
       case when a.attgenerated = '' then pg_catalog.pg_get_expr(e.adbin, 0) end,
       a.attidentity::text, coalesce(d.description, ''),
       case when l.collnamespace = 'pg_catalog'::regnamespace then l.collname::text
            when l.oid is not null then l.collnamespace::regnamespace || '.' || pg_catalog.quote_ident(l.collname)
            else '' end,
       case when a.attacl is not null then (
         select pg_catalog.json_agg(pg_catalog.json_build_array(
                  x.grantee::bigint, pg_catalog.pg_get_userbyid(x.grantee), x.privilege_type, x.is_grantable))
           from pg_catalog.aclexplode(a.attacl) x)::text end
  from peculiar a
  left join pg_catalog.pg_type t on t.oid = a.atttypid
  left join pg_catalog.pg_collation l on l.oid = a.attcollation and a.attcollation <> t.typcollation
  left join pg_catalog.pg_attrdef e on e.adrelid = a.attrelid and e.adnum = a.attnum
  left join pg_catalog.pg_description d
    on d.objoid = a.attrelid and d.classoid = 'pg_catalog.pg_class'::regclass and d.objsubid = a.attnum
"""

# NOT NULL is told by the column. What a foreign key keeps for each partition it refers to (conparentid) is the
# engine's bookkeeping. Keys are written without a look at the relation; checks and exclusions are not. The columns a
# foreign key refers to are named here only where the relation it refers to is not looked at.
CONSTRAINTS = """
select k.oid::bigint, k.conrelid::bigint, k.conname, k.contype::text, pg_catalog.array_to_string(k.conkey, ' '),
       case when k.contype in ('p', 'u', 'f') then pg_catalog.pg_get_constraintdef(k.oid) end,
       n.nspname, r.relname, k.confrelid::bigint, pg_catalog.array_to_string(k.confkey, ' '),
       case when k.contype = 'f' and (r.relnamespace <> all(%(schemas)s::oid[]) or r.relispartition) then array(
         select a.attname::text
           from pg_catalog.unnest(k.confkey) with ordinality as f(attnum, place)
           join pg_catalog.pg_attribute a on a.attrelid = k.confrelid and a.attnum = f.attnum
          order by f.place) end
  from pg_catalog.pg_constraint k
  join pg_catalog.pg_class c on c.oid = k.conrelid
  left join pg_catalog.pg_class r on r.oid = k.confrelid
  left join pg_catalog.pg_namespace n on n.oid = r.relnamespace
 where c.relnamespace = any(%(schemas)s::oid[]) and c.relkind in ('r', 'p', 'f') and not c.relispartition
   and k.contype in ('p', 'u', 'f', 'c', 'x') and k.conparentid = 0
"""

# An index that is being built, or whose building failed, serves nobody yet. indkey holds the key's columns first and
# then those that are merely included.
INDEXES = """
select i.indexrelid::bigint, i.indrelid::bigint, x.relname, i.indisunique, i.indnkeyatts, i.indkey::text
  from pg_catalog.pg_index i
  join pg_catalog.pg_class x on x.oid = i.indexrelid
  join pg_catalog.pg_class c on c.oid = i.indrelid
 where c.relnamespace = any(%(schemas)s::oid[]) and c.relkind in ('r', 'p', 'm') and not c.relispartition
   and i.indisvalid
   and not exists (select from pg_catalog.pg_constraint k
                    where k.conrelid = i.indrelid and k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
"""

# Thousands of tables share a few lists of rights; each list is taken apart once.
RIGHTS = """
select r.relacl::text, x.grantee::bigint, pg_catalog.pg_get_userbyid(x.grantee), x.privilege_type, x.is_grantable
  from (select distinct c.relacl
          from pg_catalog.pg_class c
         where c.relnamespace = any(%(schemas)s::oid[]) and c.relkind in ('r', 'p', 'v', 'm', 'f')
           and not c.relispartition and c.relacl is not null) r,
       pg_catalog.aclexplode(r.relacl) x
"""

ENUMERATIONS = """
select t.oid::bigint, n.nspname, t.typname,
       array(select e.enumlabel::text from pg_catalog.pg_enum e where e.enumtypid = t.oid order by e.enumsortorder)
  from pg_catalog.pg_type t
  join pg_catalog.pg_namespace n on n.oid = t.typnamespace
 where t.typnamespace = any(%(schemas)s::oid[]) and t.typtype = 'e'
"""

# The sequence of an identity or serial column is a part of that column.
SEQUENCES = """
select c.oid::bigint, n.nspname, c.relname, pg_catalog.format_type(s.seqtypid, null),
       s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcycle
  from pg_catalog.pg_sequence s
  join pg_catalog.pg_class c on c.oid = s.seqrelid
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
 where c.relnamespace = any(%(schemas)s::oid[])
   and not exists (select from pg_catalog.pg_depend d
                    where d.classid = 'pg_catalog.pg_class'::regclass and d.objid = c.oid and d.objsubid = 0
                      and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjsubid > 0
                      and d.deptype in ('a', 'i'))
"""
