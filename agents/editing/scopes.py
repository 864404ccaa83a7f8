"""Which columns of a parsed query come from the changed table, and in what role they stand.

A relation is *changed* when it is the table itself or hands all its columns on (`select * from source`), as a common
table expression or derived table often does. Whatever the syntax tree alone cannot decide raises Unclear.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from sqlglot import exp

from agents.editing.jinja import Kind, Region
from agents.editing.names import Unclear, fold

_INPUT_FIRST = ("postgres", "redshift")  # in these a GROUP BY name is a column before it is an alias


@dataclass(frozen=True, slots=True)
class Output:
    """What a query hands on: does it pass changed columns through, and its column names where they are known."""

    changed: bool = False
    columns: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Relation:
    """Something in a FROM: the name it goes by there (and the token that says so), and what it hands on."""

    name: str
    output: Output
    token: exp.Identifier | None = None


@dataclass(frozen=True, slots=True)
class Use:
    """One place where a changed column is named.

    Attributes:
        column: the node; its identifiers carry their positions.
        relation: what it comes from.
        item: the select item it alone makes up (itself, or casts and brackets around it), whose name it lends.
        crowded: are there other relations that might have a column of the new name?
    """

    column: exp.Column
    relation: Relation
    item: exp.Expr | None
    crowded: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """The relations a query reads, and those of the queries around it."""

    relations: tuple[Relation, ...]
    outer: Frame | None = None


@dataclass(slots=True)
class Survey:
    """A walk over one query.

    Attributes:
        target: schema and name of the changed table, and (source, table) as Jinja names it.
        names: the changed columns.
        fresh: the new names that are not themselves changed.
        own: the model's own columns, for `{{ this }}`.
    """

    target: tuple[str, str]
    source: tuple[str, str]
    names: frozenset[str]
    fresh: frozenset[str]
    placeholders: Mapping[str, Region]
    dialect: str
    own: frozenset[str] | None = None
    uses: list[Use] = field(default_factory=list)
    seen: int = 0
    members: set[int] = field(default_factory=set)  # queries in a FROM, walked before the expressions

    def query(self, node: exp.Expr, known: Mapping[str, Output], outer: Frame | None) -> Output:
        """Walk a query; what it hands on."""
        known = self._with(node, known, outer)
        if isinstance(node, exp.Subquery):
            if not isinstance(node.this, exp.Query):
                raise Unclear("a bracketed join stands where a query was expected")
            return self.query(node.this, known, outer)
        if isinstance(node, exp.SetOperation):
            left = self.query(node.left, known, outer)
            right = self.query(node.right, known, outer)
            if left.changed or right.changed:
                raise Unclear("`select *` of the changed table is part of a UNION")
            return left
        if isinstance(node, exp.Select):
            return self._select(node, known, outer)
        raise Unclear(f"a {type(node).__name__} is not a query that can be followed")

    def _with(self, node: exp.Expr, known: Mapping[str, Output], outer: Frame | None) -> Mapping[str, Output]:
        clause = node.args.get("with_")
        if not isinstance(clause, exp.With):
            return known
        known = dict(known)
        for cte in clause.expressions:
            alias = cte.args["alias"]
            name = fold(alias.this, self.dialect)
            if clause.args.get("recursive"):
                known[name] = Output()
            output = self.query(cte.this, known, outer)
            known[name] = self._renamed(output, alias)
        return known

    def _renamed(self, output: Output, alias: exp.Expr | None) -> Output:
        columns = alias.args.get("columns") if alias is not None else None
        if not columns:
            return output
        if output.changed:
            raise Unclear("the columns of the changed table are renamed by position")
        return replace(output, columns=frozenset(fold(c, self.dialect) for c in columns))

    # --- one select ------------------------------------------------------------------------------------------------

    def _select(self, node: exp.Select, known: Mapping[str, Output], outer: Frame | None) -> Output:
        relations = tuple(self._relations(node, known, outer))
        frame = Frame(relations, outer)
        changed = [r for r in relations if r.output.changed]
        if changed:
            self._refuse_joins(node)
        outputs, is_passing, is_star = self._outputs(node, frame)
        for child, role in self._parts(node):
            self._expression(child, role, frame, known, outputs, node)
        if is_passing and outputs & (self.names | self.fresh):
            raise Unclear("`select *` stands beside a column of the changed name")
        return Output(is_passing, None if is_star else frozenset(outputs))

    def _relations(self, node: exp.Expr, known: Mapping[str, Output], outer: Frame | None) -> Iterator[Relation]:
        clause = node.args.get("from_")
        members = [clause.this] if clause is not None else []
        members += [j.this for j in node.args.get("joins") or ()] + list(node.args.get("laterals") or ())
        found: list[Relation] = []
        for member in members:
            for relation in self._relation(member, known, outer, found):
                found.append(relation)
                yield relation

    def _relation(
        self, member: exp.Expr, known: Mapping[str, Output], outer: Frame | None, before: Sequence[Relation]
    ) -> Iterator[Relation]:
        alias = member.args.get("alias")
        token = alias.this if isinstance(alias, exp.TableAlias) else None
        name = fold(token, self.dialect) if token is not None else ""
        beside = Frame(tuple(before), outer)
        if isinstance(member, exp.Table):
            output, own_name = self._table(member, known)
            if output.changed and (member.args.get("pivots") or member.args.get("when")):
                raise Unclear("the changed table is pivoted")
            yield Relation(name or own_name, self._renamed(output, alias), token)
        elif isinstance(member, exp.Subquery) and not isinstance(member.this, exp.Query):
            yield from self._relation(member.this, known, outer, before)
        elif isinstance(member, exp.Query):
            self.members.add(id(member))
            yield Relation(name, self._renamed(self.query(member, known, beside), alias), token)
        elif isinstance(member, exp.Lateral) and isinstance(member.this, exp.Query):
            self.members.add(id(member.this))
            yield Relation(name, self._renamed(self.query(member.this, known, beside), alias), token)
        else:  # a function, VALUES: its arguments are walked with the select's own expressions
            yield Relation(name, self._renamed(Output(), alias), token)
        for join in member.args.get("joins") or ():
            yield from self._relation(join.this, known, outer, before)

    def _table(self, table: exp.Table, known: Mapping[str, Output]) -> tuple[Output, str]:
        if not isinstance(table.this, exp.Identifier):
            return Output(), ""
        name = fold(table.this, self.dialect)
        schema = table.args.get("db")
        if schema is not None:
            here = (fold(schema, self.dialect), name)
            return (self._changed() if here == self.target else Output()), name
        region = self.placeholders.get(table.this.name)
        if region is None:
            return known.get(name, Output()), name
        if region.kind is Kind.SOURCE:
            return (self._changed() if region.name == self.source else Output()), self._implied(region)
        if region.kind is Kind.THIS:
            return Output(columns=self.own), ""
        return Output(), self._implied(region)

    def _changed(self) -> Output:
        self.seen += 1
        return Output(changed=True)

    def _implied(self, region: Region) -> str:
        """The name a relation goes by without an alias: the changed table's own, else what Jinja calls it."""
        if region.kind is Kind.SOURCE and region.name == self.source:
            return self.target[1]
        return region.name[-1] if region.name else ""

    def _refuse_joins(self, node: exp.Expr) -> None:
        for join in node.find_all(exp.Join):
            if join.find_ancestor(exp.Select) is not node:
                continue
            if any(fold(i, self.dialect) in self.names for i in join.args.get("using") or ()):
                raise Unclear("the changed column is joined by USING")
            if join.args.get("method") == "NATURAL":
                raise Unclear("the changed table is joined by NATURAL JOIN")

    def _outputs(self, node: exp.Select, frame: Frame) -> tuple[set[str], bool, bool]:
        """Names of the select's columns; does a star pass changed columns on; is there a star at all."""
        names: set[str] = set()
        is_passing = is_star = False
        for item in node.expressions:
            star = item if isinstance(item, exp.Star) else item.this if isinstance(item, exp.Column) else None
            if isinstance(star, exp.Star):
                is_star = True
                qualifier = item.args.get("table") if isinstance(item, exp.Column) else None
                wanted = fold(qualifier, self.dialect) if qualifier is not None else None
                if any(r.output.changed for r in frame.relations if wanted in (None, r.name)):
                    is_passing = True
                    if any(star.args.get(k) for k in ("except_", "except", "replace", "rename", "ilike")):
                        raise Unclear("`select *` of the changed table leaves out or renames columns")
            elif isinstance(item, exp.Alias):
                names.add(fold(item.args["alias"], self.dialect))
            elif isinstance(lender := _lender(item), exp.Column):
                names.add(fold(lender.this, self.dialect))
        return names, is_passing, is_star

    def _parts(self, node: exp.Select) -> Iterator[tuple[exp.Expr, str]]:
        """The select's expressions with the role they stand in."""
        for key, value in node.args.items():
            if key in ("with_", "kind", "hint"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if not isinstance(child, exp.Expr):
                    continue
                if key == "expressions":
                    yield child, "item"
                elif key == "order":
                    yield from ((e, "named") for e in child.expressions)
                elif key == "distinct":
                    on = child.args.get("on")
                    yield from ((e, "named") for e in (on.expressions if isinstance(on, exp.Tuple) else [on]) if e)
                else:
                    yield child, "group" if key == "group" else "other"

    # --- expressions -----------------------------------------------------------------------------------------------

    def _expression(
        self,
        node: exp.Expr,
        role: str,
        frame: Frame,
        known: Mapping[str, Output],
        outputs: set[str],
        select: exp.Select,
    ) -> None:
        lender = _lender(node) if role == "item" else None
        named = node.this if isinstance(node, exp.Ordered) else node
        for found in _within(node):
            if isinstance(found, exp.Query):
                if id(found) not in self.members:
                    self.query(found, known, frame)
            elif isinstance(found, exp.Column):
                if role == "named" and found is named and not found.table and self._name(found) in outputs:
                    continue  # ORDER BY and DISTINCT ON take the output's name, which stays
                if role == "group" and self.dialect not in _INPUT_FIRST:
                    self._refuse_shadow(found, select)
                use = self._use(found, node if found is lender else None, frame)
                if use is None:
                    continue
                if role == "item" and found is not lender and not isinstance(node, (exp.Alias, exp.Aliases)):
                    self._refuse_lent_name(node)
                self.uses.append(use)

    def _name(self, column: exp.Column) -> str:
        return fold(column.this, self.dialect) if isinstance(column.this, exp.Identifier) else "*"

    def _use(self, column: exp.Column, item: exp.Expr | None, frame: Frame) -> Use | None:
        name, relations = self._name(column), frame.relations
        changed = [r for r in relations if r.output.changed]
        qualifier = column.args.get("table")
        if name == "*":
            if changed and not isinstance(column.parent, (exp.Select, exp.Count)):
                raise Unclear("whole rows of the changed table are used")
            return None
        if qualifier is None and (region := self.placeholders.get(column.name)):
            if changed and region.kind is Kind.OPAQUE and isinstance(column.parent, exp.Select):
                raise Unclear("a Jinja expression stands for columns of the changed table")
            return None
        if qualifier is not None:
            return self._qualified(column, name, fold(qualifier, self.dialect), item, frame)
        if any(name == r.name for r in changed):
            raise Unclear("whole rows of the changed table are used")
        if name in self.fresh and changed:
            raise Unclear(f"the model already names a column like the new one ({name})")
        if name not in self.names:
            return None
        relation = self._owner(name, frame)
        return Use(column, relation, item, len(relations) > 1 or relation not in relations) if relation else None

    def _qualified(
        self, column: exp.Column, name: str, qualifier: str, item: exp.Expr | None, frame: Frame
    ) -> Use | None:
        at: Frame | None = frame
        while at is not None:
            for relation in at.relations:
                if relation.name == qualifier:
                    if relation.output.changed and name in self.fresh:
                        raise Unclear(f"the model already names a column like the new one ({name})")
                    is_use = relation.output.changed and name in self.names
                    return Use(column, relation, item, crowded=False) if is_use else None
            at = at.outer
        if name in self.names or qualifier in self.names:
            raise Unclear("a qualifier in the model cannot be traced to its table")
        return None

    def _owner(self, name: str, frame: Frame) -> Relation | None:
        """The changed relation an unqualified name belongs to; None where it is somebody else's."""
        at: Frame | None = frame
        while at is not None:
            changed = [r for r in at.relations if r.output.changed]
            if len(changed) > 1:
                raise Unclear("the changed table is read twice in one query, and its column has no qualifier")
            if changed:
                return changed[0]
            if any(r.output.columns is not None and name in r.output.columns for r in at.relations):
                return None
            if any(r.output.columns is None for r in at.relations) and _is_changed_around(at.outer):
                raise Unclear("a nested query names the column without saying whose it is")
            at = at.outer
        return None

    def _refuse_shadow(self, column: exp.Column, select: exp.Select) -> None:
        if self._name(column) in self.names and any(
            isinstance(i, exp.Alias) and fold(i.args["alias"], self.dialect) in self.names for i in select.expressions
        ):
            raise Unclear("GROUP BY may mean the column or the alias of its name")

    def _refuse_lent_name(self, item: exp.Expr) -> None:
        """An item without an alias may take its name from a column within."""
        is_named_otherwise = isinstance(item, (exp.Func, exp.Binary, exp.Unary, exp.Predicate, exp.Window))
        if not is_named_otherwise or isinstance(item, (exp.Case, exp.Cast, exp.Paren)):
            raise Unclear("a select item without an alias takes its name from the changed column")


def _lender(item: exp.Expr) -> exp.Column | None:
    """The column that gives a select item its name, through casts and brackets."""
    while isinstance(item, (exp.Cast, exp.Paren)):
        item = item.this
    return item if isinstance(item, exp.Column) and isinstance(item.this, exp.Identifier) else None


def _within(node: exp.Expr) -> Iterator[exp.Expr]:
    """Columns and nested queries below a node, itself included; nested queries are not entered."""
    is_bracketed_join = isinstance(node, exp.Subquery) and not isinstance(node.this, exp.Query)
    if isinstance(node, exp.Column) or (isinstance(node, exp.Query) and not is_bracketed_join):
        yield node
        return
    for child in node.iter_expressions():
        yield from _within(child)


def _is_changed_around(frame: Frame | None) -> bool:
    while frame is not None:
        if any(r.output.changed for r in frame.relations):
            return True
        frame = frame.outer
    return False
