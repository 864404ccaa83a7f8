"""What `definitions.py` asks: part, oid, number, owner, version of the row with the tree, relations, locked, text.

A text that is missing though nothing is locked belongs to something dropped or renamed since the snapshot.
"""

from __future__ import annotations

from typing import Final

# pg_database is asked for the oid, for only the name is told by a function.
_LOCKED = """
select l.relation from pg_catalog.pg_locks l join pg_catalog.pg_database d on d.oid = l.database
 where l.locktype = 'relation' and l.mode = 'AccessExclusiveLock' and d.datname = pg_catalog.current_database()
"""

# An index definition begins with its own name and that of the table; what follows is the same for an index of another
# name on a table of another name. (ONLY is written for the index of a partitioned table.)
#
# To write one, the server opens the table, which costs it more than all else here, so what needs no opening is written
# without: an index of plain columns by btree or hash, as it comes. Its classes of operators are the server's own (those
# have no options) and are left out where they are the default of the column's very type; varchar has none, and goes by
# that of text unless somebody made a rival for it.
OF_TABLES: Final = f"""
with in_the_way as materialized (select array({_LOCKED}) as relations),
looked_at as materialized (
  select c.oid, c.relname, c.relnamespace, c.oid = any(w.relations) as locked
    from pg_catalog.pg_class c, in_the_way w
   where c.relnamespace = any(%s::oid[]) and c.relkind in ('r', 'p', 'm', 'f') and not c.relispartition),
own_indexes as materialized (
  select i.indexrelid, i.indrelid, i.indnkeyatts, i.indkey, i.indclass, i.indcollation, i.indoption, i.xmin as version,
         i.indexprs is not null as computes, x.relname, x.relam, x.reloptions, c.locked,
         i.indexprs is null and i.indpred is null and not i.indnullsnotdistinct and i.indnatts = i.indnkeyatts
           and x.reloptions is null as plain,
         'CREATE ' || case when i.indisunique then 'UNIQUE ' else '' end || 'INDEX '
           || pg_catalog.quote_ident(x.relname) || ' ON ' || case when x.relkind = 'I' then 'ONLY ' else '' end
           || pg_catalog.quote_ident(n.nspname) || '.' || pg_catalog.quote_ident(c.relname) || ' USING ' as prefix
    from pg_catalog.pg_index i
    join looked_at c on c.oid = i.indrelid
    join pg_catalog.pg_class x on x.oid = i.indexrelid
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace
   where i.indisvalid
     and not exists (select from pg_catalog.pg_constraint k
                      where k.conrelid = i.indrelid and k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))),
rivals as materialized (
  select o.opcmethod
    from pg_catalog.pg_opclass o join pg_catalog.pg_type t on t.oid = o.opcintype
   where o.opcdefault and o.oid >= 16384 and (t.typispreferred or t.oid = 'pg_catalog.varchar'::regtype)),
plain_columns as materialized (
  select i.indexrelid, p.place, m.amname,
         (select pg_catalog.quote_ident(a.attname)
            from pg_catalog.pg_attribute a
           where a.attrelid = i.indrelid and a.attnum = i.indkey[p.place] and a.attcollation = i.indcollation[p.place]
             and (a.atttypid = o.opcintype
                  or a.atttypid = 'pg_catalog.varchar'::regtype and o.opcintype = 'pg_catalog.text'::regtype
                     and m.oid not in (select r.opcmethod from rivals r))) as name
    from own_indexes i
    join pg_catalog.pg_am m on m.oid = i.relam
   cross join pg_catalog.generate_series(0, i.indnkeyatts - 1) as p(place)
    left join pg_catalog.pg_opclass o
      on o.oid = i.indclass[p.place] and o.opcdefault and o.oid < 16384 and i.indoption[p.place] = 0
   where i.plain and m.oid < 16384 and m.amname in ('btree', 'hash')),
plain_indexes as materialized (
  select n.indexrelid, n.amname || ' (' || pg_catalog.string_agg(n.name, ', ' order by n.place) || ')' as text
    from plain_columns n
   group by n.indexrelid, n.amname
  having pg_catalog.count(*) = pg_catalog.count(n.name))
select 'constraint', k.oid::bigint, 0, k.conrelid::bigint, k.xmin::text, k.conrelid::text, c.locked,
       case when not c.locked then pg_catalog.pg_get_constraintdef(k.oid) end
  from pg_catalog.pg_constraint k join looked_at c on c.oid = k.conrelid
 where k.contype in ('c', 'x') and k.conparentid = 0
union all
select 'generated', e.oid::bigint, e.adnum, e.adrelid::bigint, e.xmin::text, e.adrelid::text, c.locked,
       case when not c.locked then pg_catalog.pg_get_expr(e.adbin, e.adrelid) end
  from pg_catalog.pg_attrdef e
  join looked_at c on c.oid = e.adrelid
 where (select a.attgenerated from pg_catalog.pg_attribute a where a.attrelid = e.adrelid and a.attnum = e.adnum) <> ''
union all
select 'index', i.indexrelid::bigint, 0, i.indrelid::bigint,
       pg_catalog.concat_ws(' ', i.version, i.relname, i.reloptions), i.indrelid::text, i.locked,
       case when s.text is not null then s.text
            when not i.locked then (
         select case when pg_catalog.starts_with(d.text, i.prefix)
                     then pg_catalog.substr(d.text, pg_catalog.length(i.prefix) + 1) end
           from (select pg_catalog.pg_get_indexdef(i.indexrelid) as text offset 0) d) end
  from own_indexes i left join plain_indexes s on s.indexrelid = i.indexrelid
union all
select 'expression', i.indexrelid::bigint, p.place, i.indrelid::bigint, i.version::text, i.indrelid::text, i.locked,
       case when not i.locked then pg_catalog.pg_get_indexdef(i.indexrelid, p.place, false) end
  from own_indexes i, pg_catalog.generate_series(1, i.indnkeyatts) as p(place)
 where i.computes and i.indkey[p.place - 1] = 0
union all
select 'partitioning', p.partrelid::bigint, 0, p.partrelid::bigint, p.xmin::text, p.partrelid::text, c.locked,
       case when not c.locked then pg_catalog.pg_get_partkeydef(p.partrelid) end
  from pg_catalog.pg_partitioned_table p join looked_at c on c.oid = p.partrelid
"""

# What stands in a variable outlives the subtransaction, the locks that were taken in it do not.
OF_VIEWS: Final = f"""
do $block$
declare
  in_the_way oid[] := array({_LOCKED});
  item record;
  told text;
  is_locked boolean;
  oids oid[] := '{{}}'; versions text[] := '{{}}'; relations text[] := '{{}}'; locked boolean[] := '{{}}';
  texts text[] := '{{}}';
  answer refcursor := 'dataswarm_views';
begin
  for item in
    select c.oid, r.xmin::text as version,
           array(select distinct d.refobjid
                   from pg_catalog.pg_depend d
                  where d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = r.oid
                    and d.refclassid = 'pg_catalog.pg_class'::regclass and d.refobjid <> c.oid
                  order by d.refobjid) || c.oid as relations
      from pg_catalog.pg_class c
      join pg_catalog.pg_rewrite r on r.ev_class = c.oid and r.rulename = '_RETURN'
     where c.relnamespace = any(array[<<schemas>>]::oid[]) and c.relkind in ('v', 'm')
  loop
    told := null;
    is_locked := item.relations && in_the_way;
    if not is_locked then
      begin
        told := nullif(pg_catalog.pg_get_viewdef(item.oid), '');
        raise exception using errcode = 'DS000';
      exception
        when sqlstate 'DS000' then null;
        when lock_not_available then
          is_locked := true;
          in_the_way := array({_LOCKED});
        when internal_error or undefined_table or undefined_object then null;
      end;
    end if;
    oids := oids || item.oid; versions := versions || item.version; locked := locked || is_locked;
    relations := relations || pg_catalog.array_to_string(item.relations, ' '); texts := texts || told;
  end loop;
  open answer for
    select 'view', v.oid::bigint, 0, v.oid::bigint, v.version, v.relations, v.locked, v.told
      from unnest(oids, versions, relations, locked, texts) as v(oid, version, relations, locked, told);
end
$block$
"""

# Texts are made of names other than those of relations and columns, too; one text for all of them.
NAMES: Final = """
select pg_catalog.concat_ws(' ',
  (select sum(pg_catalog.hash_record_extended(row(p.oid, p.xmin), 1)) from pg_catalog.pg_proc p where p.oid >= 16384),
  (select sum(pg_catalog.hash_record_extended(row(o.oid, o.xmin), 1)) from pg_catalog.pg_operator o
    where o.oid >= 16384),
  (select sum(pg_catalog.hash_record_extended(row(l.oid, l.xmin), 1)) from pg_catalog.pg_collation l
    where l.oid >= 16384),
  (select sum(pg_catalog.hash_record_extended(row(e.oid, e.xmin), 1)) from pg_catalog.pg_enum e),
  (select sum(pg_catalog.hash_record_extended(row(t.oid, t.xmin), 1)) from pg_catalog.pg_type t
    where t.oid >= 16384 and t.typrelid = 0 and t.typcategory <> 'A'),
  (select sum(pg_catalog.hash_record_extended(row(n.oid, n.nspname), 1)) from pg_catalog.pg_namespace n
    where n.nspname !~ '^pg_'))
"""

# Relations that a view reads in schemas that are not looked at, and partitions.
ELSEWHERE: Final = """
select c.oid::bigint, pg_catalog.concat_ws(' ', c.relnamespace, c.relname,
       (select sum(pg_catalog.hash_record_extended(row(a.attnum, a.attname), 1))
          from pg_catalog.pg_attribute a where a.attrelid = c.oid and a.attnum > 0))
  from pg_catalog.pg_class c
 where c.oid = any(%s::oid[])
"""
