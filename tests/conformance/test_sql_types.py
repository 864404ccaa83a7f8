"""Type names of many engines, written one way."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import make_url
from sqlalchemy import types as generic
from sqlalchemy.dialects import mssql, mysql, oracle, postgresql

from integrations.warehouses.sql.type_names import normalised

WRITTEN = [
    # what every engine may write
    ("", "INT4", "integer"),
    ("", "int", "integer"),
    ("", "INT8", "bigint"),
    ("", "BOOL", "boolean"),
    ("", "VARCHAR(40)", "character varying(40)"),
    ("", "character varying(40)", "character varying(40)"),
    ("", "VARCHAR", "character varying"),
    ("", 'VARCHAR(40) COLLATE "de_DE"', "character varying(40)"),
    ("", "VARCHAR(40) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "character varying(40)"),
    ("", "CHAR(3)", "character(3)"),
    ("", "DECIMAL( 10 , 2 )", "numeric(10,2)"),
    ("", "NUMERIC", "numeric"),
    ("", "DOUBLE_PRECISION", "double precision"),
    ("", "FLOAT", "double precision"),
    ("", "FLOAT(24)", "real"),
    ("", "FLOAT(53)", "double precision"),
    ("", "TIMESTAMP", "timestamp without time zone"),
    ("", "TIMESTAMP(3)", "timestamp(3) without time zone"),
    ("", "TIMESTAMP WITH TIME ZONE", "timestamp with time zone"),
    ("", "timestamp(6) with time zone", "timestamp(6) with time zone"),
    ("", "DATETIME", "timestamp without time zone"),
    ("", "TIME(2) WITHOUT TIME ZONE", "time(2) without time zone"),
    ("", "some_domain", "some_domain"),
    ("", "", ""),
    ("", "INTEGER[]", "integer[]"),
    # MySQL and MariaDB, as information_schema writes them
    ("mysql", "int(11)", "integer"),
    ("mysql", "int(10) unsigned", "integer unsigned"),
    ("mysql", "bigint unsigned", "bigint unsigned"),
    ("mysql", "int(5) unsigned zerofill", "integer(5) unsigned zerofill"),
    ("mysql", "tinyint(1)", "tinyint(1)"),
    ("mysql", "tinyint(4)", "tinyint"),
    ("mysql", "enum('a','B''c')", "enum('a','B''c')"),
    ("mysql", "SET('X','y')", "set('X','y')"),
    ("mysql", "timestamp", "timestamp with time zone"),
    ("mysql", "datetime(6)", "timestamp(6) without time zone"),
    ("mysql", "double", "double precision"),
    ("mysql", "double(7,3)", "double(7,3)"),
    ("mysql", "float", "real"),
    ("mysql", "decimal(10,2) unsigned", "numeric(10,2) unsigned"),
    ("mysql", "year(4)", "year"),
    ("mysql", "bit(1)", "bit(1)"),
    ("mysql", "longtext", "longtext"),
    ("mysql", "varbinary(16)", "varbinary(16)"),
    # SQLite, as declared
    ("sqlite", "integer", "integer"),
    ("sqlite", "UNSIGNED BIG INT", "unsigned big int"),
    ("sqlite", "NVARCHAR(100)", "nvarchar(100)"),
    ("sqlite", "NATIVE CHARACTER(70)", "nchar(70)"),
    # Snowflake
    ("snowflake", "NUMBER(38, 0)", "numeric(38,0)"),
    ("snowflake", "DECIMAL(18, 4)", "numeric(18,4)"),
    ("snowflake", "VARCHAR(16777216)", "character varying(16777216)"),
    ("snowflake", "TIMESTAMP_NTZ(9)", "timestamp(9) without time zone"),
    ("snowflake", "TIMESTAMP_TZ(9)", "timestamp(9) with time zone"),
    ("snowflake", "TIMESTAMP_LTZ(9)", "timestamp(9) with local time zone"),
    ("snowflake", "VARIANT", "variant"),
    # BigQuery
    ("bigquery", "INT64", "bigint"),
    ("bigquery", "STRING", "text"),
    ("bigquery", "STRING(20)", "character varying(20)"),
    ("bigquery", "FLOAT64", "double precision"),
    ("bigquery", "BIGNUMERIC(40, 10)", "bignumeric(40,10)"),
    ("bigquery", "TIMESTAMP", "timestamp with time zone"),
    ("bigquery", "DATETIME", "timestamp without time zone"),
    ("bigquery", "STRUCT<a INT64, b STRING>", "struct<a int64, b string>"),
    ("bigquery", "ARRAY<STRING>", "array<string>"),
    # Databricks
    ("databricks", "STRING", "text"),
    ("databricks", "LONG", "bigint"),
    ("databricks", "FLOAT", "real"),
    ("databricks", "TIMESTAMP", "timestamp with time zone"),
    ("databricks", "TIMESTAMP_NTZ", "timestamp without time zone"),
    # Redshift
    ("redshift", "CHARACTER VARYING(256)", "character varying(256)"),
    ("redshift", "BPCHAR(10)", "character(10)"),
    ("redshift", "TIMESTAMPTZ", "timestamp with time zone"),
    ("redshift", "SUPER", "super"),
    # Trino
    ("trino", "varchar(25)", "character varying(25)"),
    ("trino", "timestamp(3) with time zone", "timestamp(3) with time zone"),
    ("trino", "row(x bigint, y double)", "row(x bigint, y double)"),
    ("trino", "double", "double precision"),
    # SQL Server
    ("mssql", "BIT", "boolean"),
    ("mssql", "DATETIME", "datetime"),
    ("mssql", "DATETIME2(7)", "timestamp(7) without time zone"),
    ("mssql", "DATETIMEOFFSET(7)", "timestamp(7) with time zone"),
    ("mssql", "NVARCHAR(max)", "nvarchar(max)"),
    ("mssql", "UNIQUEIDENTIFIER", "uuid"),
    ("mssql", "TIMESTAMP", "rowversion"),
    # Oracle
    ("oracle", "NUMBER(10, 2)", "numeric(10,2)"),
    ("oracle", "VARCHAR2(50 CHAR)", "character varying(50)"),
    ("oracle", "VARCHAR2(50 BYTE)", "character varying(50 byte)"),
    ("oracle", "DATE", "timestamp(0) without time zone"),
    ("oracle", "BINARY_DOUBLE", "double precision"),
    ("oracle", "FLOAT(126)", "float(126)"),
    ("oracle", "TIMESTAMP(6) WITH LOCAL TIME ZONE", "timestamp(6) with local time zone"),
]


@pytest.mark.parametrize(("dialect", "written", "expected"), WRITTEN)
def test_a_type_is_written_one_way(dialect: str, written: str, expected: str) -> None:
    """Aliases become one name; length, precision, scale and zone stay; an engine's own meaning goes first."""
    assert normalised(written, dialect) == expected
    assert normalised(expected, dialect) == expected


COMPILED: list[tuple[str, Any, str]] = [
    (
        "mssql",
        mssql.DATETIME2(3),  # type: ignore[no-untyped-call]
        "timestamp(3) without time zone",
    ),
    ("mssql", mssql.NVARCHAR(20), "nvarchar(20)"),
    ("mssql", mssql.BIT(), "boolean"),
    ("mssql", generic.Float(53), "double precision"),
    (
        "oracle",
        oracle.NUMBER(10, 2),  # type: ignore[no-untyped-call]
        "numeric(10,2)",
    ),
    ("oracle", oracle.VARCHAR2(20), "character varying(20)"),
    ("oracle", oracle.TIMESTAMP(timezone=True), "timestamp with time zone"),
    ("oracle", oracle.RAW(16), "raw(16)"),
    ("postgresql", postgresql.TIMESTAMP(timezone=True, precision=3), "timestamp(3) with time zone"),
    ("postgresql", postgresql.DOUBLE_PRECISION(), "double precision"),
    ("postgresql", postgresql.BIT(3), "bit(3)"),
    ("postgresql", postgresql.ARRAY(generic.Integer()), "integer[]"),
    ("mysql", mysql.INTEGER(unsigned=True), "integer unsigned"),
    ("mysql", mysql.ENUM("a", "b"), "enum('a','b')"),
    ("sqlite", generic.Numeric(10, 2), "numeric(10,2)"),
    ("sqlite", generic.String(5), "character varying(5)"),
]


@pytest.mark.parametrize(("dialect", "type_", "expected"), COMPILED)
def test_what_sqlalchemy_compiles_is_read(dialect: str, type_: Any, expected: str) -> None:
    """What a dialect makes of its own type objects, as the Inspector hands them over, becomes the same names."""
    assert normalised(type_.compile(dialect=make_url(f"{dialect}://").get_dialect()()), dialect) == expected
