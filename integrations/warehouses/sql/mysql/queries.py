"""What MySQL and MariaDB tell of themselves in information_schema: the queries, and one that sums them all up.

MariaDB opens every table's definition file for these, MySQL reads its dictionary; the number of queries is the same
however many tables there are. Estimates of rows make MariaDB open the tables themselves, so the summary leaves them
out.

The summary adds up hashes of rows. `create_time` would be cheaper, but has whole seconds, so that a second change in
the same second goes unseen for good, and engines other than InnoDB do not keep it at every ALTER.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Question:
    """A query over information_schema, kept in parts so that it can also be summed up.

    Attributes:
        columns: what is asked for, by the name it is given in the answer.
        source: the tables asked, with the condition.
        unsummed: names left out of the summary, for they change with the rows.
    """

    columns: dict[str, str]
    source: str
    unsummed: tuple[str, ...] = ()

    @property
    def sql(self) -> str:
        """The query."""
        listed = ", ".join(f"{expression} as {name}" for name, expression in self.columns.items())
        return f"select {listed} from {self.source}"

    @property
    def summary(self) -> str:
        """One row that is another whenever one of the answer's is."""
        kept = ",".join(f"quote({e})" for name, e in self.columns.items() if name not in self.unsummed)
        number = f"cast(conv(left(md5(concat_ws(',',{kept})),15),16,10) as unsigned)"
        return f"select count(*) as n, coalesce(sum({number}),0) as h from {self.source}"


_SPLIT = (
    "table_schema, table_name, partition_method, partition_expression, subpartition_method, subpartition_expression"
)


def _where(table: str, schema: str = "table_schema") -> str:
    return f"information_schema.{table} where {schema} in :schemas"


def _plain(*names: str) -> dict[str, str]:
    return {name: name for name in names}


SCHEMATA = "select schema_name as name, utc_timestamp(6) as now from information_schema.schemata"


def questions(*, is_mariadb: bool, version: tuple[int, ...]) -> dict[str, Question]:
    """What is asked of a server of that version, by what it is about."""
    asked = {
        "tables": Question(
            _plain("table_schema", "table_name", "table_type", "table_comment", "table_rows"),
            _where("tables"),
            unsummed=("table_rows",),
        ),
        "columns": Question(
            _plain("table_schema", "table_name", "column_name", "ordinal_position", "column_type", "is_nullable")
            | _plain("column_default", "extra", "generation_expression", "collation_name", "column_comment"),
            _where("columns"),
        ),
        "keys": Question(
            _plain("table_schema", "table_name", "constraint_name", "column_name", "ordinal_position")
            | _plain("referenced_table_schema", "referenced_table_name", "referenced_column_name"),
            _where("key_column_usage"),
        ),
        "rules": Question(
            {"table_schema": "constraint_schema"}
            | _plain("table_name", "constraint_name", "update_rule", "delete_rule"),
            _where("referential_constraints", "constraint_schema"),
        ),
        "indexes": Question(
            _plain("table_schema", "table_name", "index_name", "non_unique", "seq_in_index", "column_name", "sub_part")
            | {"direction": "collation", "index_type": "index_type"}
            | {"expression": "expression" if not is_mariadb and version >= (8, 0, 13) else "null"},
            _where("statistics"),
        ),
        "views": Question(
            _plain("table_schema", "table_name", "view_definition", "definer"),
            _where("views"),
        ),
        "partitions": Question(
            _plain(*_SPLIT.split(", ")),
            # Once a table: how many partitions there are is no structure.
            f"(select distinct {_SPLIT} from {_where('partitions')} and partition_name is not null) p",
        ),
        "grants": Question(
            _plain("table_schema", "table_name", "grantee", "privilege_type"),
            _where("table_privileges"),
        ),
    }
    if is_mariadb and version >= (10, 2, 22):
        asked["checks"] = Question(
            {"table_schema": "constraint_schema"} | _plain("table_name", "constraint_name", "check_clause"),
            _where("check_constraints", "constraint_schema"),
        )
    elif not is_mariadb and version >= (8, 0, 16):
        asked["checks"] = Question(
            {"table_schema": "t.table_schema", "table_name": "t.table_name"}
            | {"constraint_name": "c.constraint_name", "check_clause": "c.check_clause"},
            "information_schema.check_constraints c join information_schema.table_constraints t"
            " on t.constraint_schema = c.constraint_schema and t.constraint_name = c.constraint_name"
            " and t.constraint_type = 'CHECK' where t.table_schema in :schemas",
        )
    return asked


def summary(asked: dict[str, Question]) -> str:
    """Everything summed up in one query."""
    return " union all ".join(f"select '{about}' as about, s.n, s.h from ({q.summary}) s" for about, q in asked.items())
