"""One DynamoDB table: rows as plain dicts of text and whole numbers, and writes under a condition."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from whisper_lambda.adapters.boto import Client, code_of

Row = dict[str, Any]
Key = Mapping[str, str]

_LOST = frozenset(
    {"ConditionalCheckFailedException", "TransactionCanceledException", "TransactionConflictException"}
)
_AT_ONCE = 25  # most deletions in one request


class Lost(Exception):
    """A conditional write was not made."""


class Table:
    """Reads are consistent. Several writes are one transaction: all are made, or none."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._client = Client("dynamodb")

    def get(self, key: Key) -> Row | None:
        """Return a row; None when there is none."""
        answer = self._client().get_item(TableName=self._name, Key=_item(key), ConsistentRead=True)
        return _row(answer["Item"]) if "Item" in answer else None

    def get_all(self, keys: Sequence[Key]) -> list[Row]:
        """Return the rows there are of at most 100 keys, in the keys' order."""
        wanted: Any = {self._name: {"Keys": [_item(k) for k in keys], "ConsistentRead": True}}
        found: dict[tuple[str, str], Row] = {}
        while wanted:
            answer = self._client().batch_get_item(RequestItems=wanted)
            for item in answer["Responses"].get(self._name, ()):
                row = _row(item)
                found[row["pk"], row["sk"]] = row
            wanted = answer.get("UnprocessedKeys")
            if wanted:
                time.sleep(0.05)
        return [found[k["pk"], k["sk"]] for k in keys if (k["pk"], k["sk"]) in found]

    def query(
        self, pk: str, *, at_least: str | None = None, below: str | None = None, newest_first: bool = False
    ) -> Iterator[Row]:
        """Yield the rows of one pk by sk, page by page as they are asked for."""
        condition, values = "pk = :pk", {":pk": pk}
        if at_least is not None:
            condition += " AND sk BETWEEN :low AND :high"
            values |= {":low": at_least, ":high": below or "\U0010ffff"}
        elif below is not None:
            condition += " AND sk < :below"
            values[":below"] = below
        pages = (
            self._client()
            .get_paginator("query")
            .paginate(
                TableName=self._name,
                KeyConditionExpression=condition,
                ExpressionAttributeValues={n: {"S": v} for n, v in values.items()},
                ScanIndexForward=not newest_first,
                ConsistentRead=True,
            )
        )
        for page in pages:
            yield from map(_row, page["Items"])

    def expired(self, now: int) -> Iterator[Row]:
        """Yield the jobs whose time is over. Reads the whole table."""
        pages = (
            self._client()
            .get_paginator("scan")
            .paginate(
                TableName=self._name,
                FilterExpression="sk = :job AND expires <= :now",
                ExpressionAttributeValues={":job": {"S": "job"}, ":now": {"N": str(now)}},
                ConsistentRead=True,
            )
        )
        for page in pages:
            yield from map(_row, page["Items"])

    def new(self, row: Mapping[str, Any]) -> Row:
        """Return the write of a row that is not there yet."""
        put = {"TableName": self._name, "Item": _item(row), "ConditionExpression": "attribute_not_exists(pk)"}
        return {"Put": put}

    def gone(self, key: Key) -> Row:
        """Return the write that removes a row, if it is there."""
        return {"Delete": {"TableName": self._name, "Key": _item(key)}}

    def set(
        self,
        key: Key,
        *,
        only_if: Mapping[str, int] | None = None,
        unless: str | None = None,
        **fields: Any,  # noqa: ANN401
    ) -> Row:
        """Return the write of some fields of a row that is there.

        Args:
            key: its key.
            only_if: fields that must have these values.
            unless: a field that must not be there.
            fields: what to set.
        """
        names = {f"#{n}": n for n in (*fields, *(only_if or {}), *([unless] if unless else []))}
        values = {f":{n}": v for n, v in fields.items()} | {f":if_{n}": v for n, v in (only_if or {}).items()}
        conditions = ["attribute_exists(pk)", *(f"#{n} = :if_{n}" for n in only_if or {})]
        if unless:
            conditions.append(f"attribute_not_exists(#{unless})")
        update = {
            "TableName": self._name,
            "Key": _item(key),
            "UpdateExpression": "SET " + ", ".join(f"#{n} = :{n}" for n in fields),
            "ConditionExpression": " AND ".join(conditions),
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": _item(values),
        }
        return {"Update": update}

    def count(self, key: Key, field: str, *, unless: str, **fields: Any) -> Row:  # noqa: ANN401
        """Add 1 to a field of a row, made if need be, and return the row.

        Raises:
            Lost: the row has the field `unless`.
        """
        names = {f"#{n}": n for n in (field, unless, *fields)}
        also = "".join(f", #{n} = :{n}" for n in fields)
        with_start = f"SET #{field} = if_not_exists(#{field}, :zero) + :one{also}"
        try:
            answer = self._client().update_item(
                TableName=self._name,
                Key=_item(key),
                UpdateExpression=with_start,
                ConditionExpression=f"attribute_not_exists(#{unless})",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=_item(
                    {":zero": 0, ":one": 1, **{f":{n}": v for n, v in fields.items()}}
                ),
                ReturnValues="ALL_NEW",
            )
        except Exception as cause:
            raise (Lost() if code_of(cause) in _LOST else cause) from cause
        return _row(answer["Attributes"])

    def advance(self, key: Key, field: str, value: int, **fields: Any) -> None:  # noqa: ANN401
        """Set a field of a row, made if need be, to a value above the one it has.

        Raises:
            Lost: the field has this value, or a larger one.
        """
        fields = {field: value, **fields}
        try:
            self._client().update_item(
                TableName=self._name,
                Key=_item(key),
                UpdateExpression="SET " + ", ".join(f"#{n} = :{n}" for n in fields),
                ConditionExpression=f"attribute_not_exists(#{field}) OR #{field} < :{field}",
                ExpressionAttributeNames={f"#{n}": n for n in fields},
                ExpressionAttributeValues=_item({f":{n}": v for n, v in fields.items()}),
            )
        except Exception as cause:
            raise (Lost() if code_of(cause) in _LOST else cause) from cause

    def write_all(self, writes: Sequence[Row]) -> None:
        """Make these writes, all or none.

        Raises:
            Lost: a condition does not hold, or another writes the same rows.
        """
        try:
            if len(writes) == 1 and "Update" in writes[0]:
                self._client().update_item(**writes[0]["Update"])
            elif len(writes) == 1:
                self._client().put_item(**writes[0]["Put"])
            else:
                self._client().transact_write_items(TransactItems=list(writes))
        except Exception as cause:
            raise (Lost() if code_of(cause) in _LOST else cause) from cause

    def delete(self, key: Key) -> None:
        """Remove a row, if there is one."""
        self._client().delete_item(TableName=self._name, Key=_item(key))

    def delete_all(self, keys: Sequence[Key]) -> None:
        """Remove rows, in no order."""
        waiting = [{"DeleteRequest": {"Key": _item(k)}} for k in keys]
        while waiting:
            some, waiting = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
            answer = self._client().batch_write_item(RequestItems={self._name: some})
            if left := answer.get("UnprocessedItems", {}).get(self._name):
                waiting = [*left, *waiting]
                time.sleep(0.05)

    def close(self) -> None:
        """Give back connections."""
        self._client.close()


def _item(row: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    return {n: {"N": str(v)} if isinstance(v, int) else {"S": v} for n, v in row.items()}


def _row(item: Mapping[str, Mapping[str, str]]) -> Row:
    return {n: int(v["N"]) if "N" in v else v["S"] for n, v in item.items()}
