create table region as select i as r_regionkey, 'R' || i as r_name from range(3) t(i);
create table nation as select i as n_nationkey, 'N' || (i * 5 % 7) as n_name, i % 3 as n_regionkey from range(7) t(i);
create table customer as select i as c_custkey, 'C' || i as c_name, i * 3 % 7 as c_nationkey,
  (hash(i) % 900)::int - 200 as c_acctbal, chr((65 + i % 3)::int) as c_mktsegment from range(15) t(i);
create table supplier as select i as s_suppkey, 'S' || i as s_name, i * 2 % 5 as s_nationkey,
  (hash(i * 31) % 700)::int - 250 as s_acctbal from range(9) t(i);
create table part as select i as p_partkey, 'part' || (i % 9) as p_name, 'T' || (i % 3) as p_type, i * 7 % 11 as p_size,
  10 + i * 13 % 37 as p_retailprice from range(12) t(i);
create table partsupp as select i % 12 as ps_partkey, (i * 5 + i // 12) % 9 as ps_suppkey, (hash(i * 3) % 100)::int as ps_availqty,
  (hash(i * 17) % 50)::int as ps_supplycost from range(36) t(i);
create table orders as select i as o_orderkey, (hash(i * 7) % 15)::int as o_custkey,
  case (hash(i * 11) % 3)::int when 0 then 'O' when 1 then 'F' else 'P' end as o_orderstatus,
  (hash(i * 13) % 1000)::int as o_totalprice, date '2024-01-01' + 40 * (hash(i * 19) % 9)::int as o_orderdate,
  'P' || (hash(i * 23) % 3) as o_orderpriority from range(30) t(i);
create table lineitem as select (hash(i * 5) % 30)::int as l_orderkey, (hash(i * 6) % 12)::int as l_partkey,
  (hash(i * 9) % 9)::int as l_suppkey, i % 5 as l_linenumber, (hash(i * 12) % 50)::int as l_quantity,
  (hash(i * 14) % 2000)::int as l_extendedprice, ((hash(i * 15) % 11)::int / 100.0)::double as l_discount,
  ((hash(i * 16) % 9)::int / 100.0)::double as l_tax, substr('ANR', 1 + (hash(i * 18) % 3)::int, 1) as l_returnflag,
  substr('OF', 1 + i % 2, 1) as l_linestatus, date '2024-01-05' + 70 * (hash(i * 20) % 5)::int as l_shipdate,
  date '2024-01-05' + (hash(i * 21) % 365)::int as l_commitdate, date '2024-01-05' + (hash(i * 22) % 365)::int as l_receiptdate,
  case i % 3 when 0 then 'AIR' when 1 then 'RAIL' else 'SHIP' end as l_shipmode from range(60) t(i);
