"""CloudFormation's YAML, read as the JSON it stands for."""

from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


class _Loader(yaml.SafeLoader):
    """Knows the short forms: !Ref, !GetAtt and the rest."""


def _short(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        value: Any = loader.construct_scalar(node)
        if suffix == "GetAtt":
            value = value.split(".", 1)
    elif isinstance(node, yaml.SequenceNode):
        value = loader.construct_sequence(node, deep=True)
    else:
        value = loader.construct_mapping(node, deep=True)
    return {suffix if suffix in {"Ref", "Condition"} else f"Fn::{suffix}": value}


_Loader.add_multi_constructor("!", _short)


def template() -> dict[str, Any]:
    """Return deploy/template.yaml."""
    return yaml.load((DEPLOY / "template.yaml").read_text(encoding="utf-8"), _Loader)


def of_type(resources: dict[str, Any], kind: str) -> dict[str, Any]:
    """Return the properties of every resource of one type, by name."""
    return {n: r.get("Properties", {}) for n, r in resources.items() if r["Type"] == kind}


def policies(resources: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return every statement that allows a role something, with the role's name."""
    found = []
    for name, role in of_type(resources, "AWS::IAM::Role").items():
        documents = [p["PolicyDocument"] for p in role["Policies"]]
        found += [(name, s) for d in documents for s in d["Statement"]]
    for name, policy in of_type(resources, "AWS::IAM::RolePolicy").items():
        found += [(name, s) for s in policy["PolicyDocument"]["Statement"]]
    return found


def listed(value: Any) -> list[Any]:
    """Return a list as it is, anything else as a list of one."""
    return value if isinstance(value, list) else [value]
