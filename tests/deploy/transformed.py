"""Print deploy/template.yaml as CloudFormation gets it: `transformed.py IMAGE_URI`, by .venv-aws' Python."""

import json
import sys
from pathlib import Path

from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

TEMPLATE = Path(__file__).parents[2] / "deploy" / "template.yaml"


class NoManagedPolicies:
    """Stands for a look-up in the account: the template names no managed policy."""

    def load(self) -> dict[str, str]:
        """Return none."""
        return {}


template = yaml_parse(TEMPLATE.read_text(encoding="utf-8"))
template["Resources"]["StateMachine"]["Properties"]["DefinitionUri"] = "s3://packaged/definition"
parameters = {"ImageUri": sys.argv[1], "AWS::Region": "us-east-1"}
json.dump(transform(template, parameters, NoManagedPolicies()), sys.stdout)
