"""The configuration of a run: defaults and permitted values from its schema, and every problem named at once.

The schema (`workflow/schemas/config.schema.yaml`) is the only place where keys, defaults and descriptions stand. This
module fills the defaults in, reports what the schema refuses, and writes `config/README.md` from it:

    python -m sparse2dense.stages.configuration workflow/schemas/config.schema.yaml > config/README.md
"""

import copy
import difflib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from sparse2dense.errors import InputError
from sparse2dense.stages.consistency import inconsistencies

__all__ = ["complete", "key_table", "load_schema", "problems"]

Schema = dict[str, Any]


def load_schema(path: Path) -> Schema:
    """Return the JSON schema in the YAML file `path`, checked to be one."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C it takes a tenth of the time, at every start
    schema: Schema = yaml.load(path.read_text(), Loader=loader)
    Draft202012Validator.check_schema(schema)
    return schema


def complete(config: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Return `config` with every default of `schema` filled in.

    Raises
    ------
    InputError
        For the first of the `problems`.
    """
    found = problems(config, schema)
    if found:
        raise found[0]
    return with_defaults(config, schema)


def problems(config: Mapping[str, Any], schema: Schema) -> list[InputError]:
    """Return everything that is wrong with `config`: first what the schema refuses, else keys that contradict."""
    renamed = list(renamed_keys(config))
    if renamed:
        return renamed
    full = with_defaults(config, schema)
    refused = [problem for error in violations(full, schema) for problem in explained(error, schema)]
    distinct = {str(problem): problem for problem in refused}  # a missing key is violated once for each of its kind
    return list(distinct.values()) or inconsistencies(full)


def renamed_keys(value: Any, path: Sequence[Any] = ()) -> Iterator[InputError]:
    """Yield a problem for every key that YAML takes for something else than text, so that its name is lost."""
    for key, below in value.items() if isinstance(value, dict) else ():
        if not isinstance(key, str):
            yield InputError(
                f"`{key_path([*path, str(key)])}`: YAML reads this name as a {type(key).__name__}",
                allowed="text: YAML changes `001` to 1, `2024_11_21` to 20241121, `no` to False, `null` to None",
                remedy='put the name in quotes, as in "001"',
            )
        yield from renamed_keys(below, [*path, str(key)])


def with_defaults(config: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Return a copy of `config` in which missing keys have the schema's defaults, at every depth."""
    result: dict[str, Any] = fill(copy.deepcopy(dict(config)), schema, schema)
    return result


def resolve(schema: Schema, root: Schema) -> Schema:
    """Return `schema` with the definition it refers to; what stands beside `$ref` overrides the definition."""
    if "$ref" not in schema:
        return schema
    target = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return {**resolve(target, root), **{key: value for key, value in schema.items() if key != "$ref"}}


def fill(value: Any, schema: Schema, root: Schema) -> Any:
    """Return `value` with the defaults of `schema` where it is a mapping without them."""
    schema = resolve(schema, root)
    if not isinstance(value, dict):
        return value
    known = schema.get("properties", {})
    others = schema.get("additionalProperties")
    result = {}
    for key, item in value.items():
        below = known.get(key, others if isinstance(others, dict) else {})
        result[key] = fill(item, below, root)
    for key, below in known.items():
        below = resolve(below, root)
        if key not in result and "default" in below:
            result[key] = fill(copy.deepcopy(below["default"]), below, root)
    return result


def violations(config: Mapping[str, Any], schema: Schema) -> Iterator[ValidationError]:
    """Yield what the schema refuses; of alternatives, only the violations of the one that was meant."""
    errors = Draft202012Validator(schema).iter_errors(config)
    for error in sorted(errors, key=lambda error: [str(part) for part in error.absolute_path]):
        meant = [
            inner for inner in error.context or [] if isinstance(error.instance, dict) and inner.validator != "type"
        ]
        yield from meant or [error]


def explained(error: ValidationError, root: Schema) -> Iterator[InputError]:
    """Yield a message for users for every key that `error` is about."""
    path = key_path(error.absolute_path)
    found: Any = error.instance
    violated: Any = error.schema
    schema = resolve(violated, root)
    if error.validator == "additionalProperties":
        for key in sorted(set(found) - set(schema["properties"])):
            yield unknown_key(f"{path}.{key}".lstrip("."), key, found[key], sorted(schema["properties"]))
    elif error.validator == "required":
        wanted: Any = error.validator_value
        for missing in (key for key in wanted if key not in found):
            below = resolve(schema.get("properties", {}).get(missing, {}), root)
            yield InputError(
                f"the key `{f'{path}.{missing}'.lstrip('.')}` is missing",
                allowed=allowed_values(below, root),
                remedy=f"add it: {below.get('description', '')}".strip(),
            )
    elif "propertyNames" in error.absolute_schema_path:
        yield InputError(
            f"`{path}.{found}`: {found!r} is not a name",
            allowed="letters, digits and _",
            remedy=f"rename {found!r}; the name becomes a directory of the results",
        )
    else:
        where = schema_at(error.absolute_path, root)
        yield InputError(
            f"`{path}` is {shown(found)}",
            allowed=allowed_values(where, root),
            remedy=f"change `{path}`: {where.get('description', 'see config/README.md')}",
        )


def unknown_key(path: str, key: str, value: Any, known: list[str]) -> InputError:
    """Say that nothing is called `path`, and which known key is nearest to it."""
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return InputError(
        f"`{path}` (value {shown(value)}) is not a key of the configuration",
        allowed=", ".join(known),
        remedy=f"did you mean `{near[0]}`?" if near else "remove it, or see config/README.md",
    )


def schema_at(path: Any, root: Schema) -> Schema:
    """Return the schema of the innermost named key on `path`; entries of lists belong to the list's key."""
    here = root
    for part in path:
        if isinstance(part, int):
            break
        here = resolve(here, root)
        branches = [here, *(resolve(branch, root) for branch in here.get("anyOf", []))]
        following = [branch["properties"][part] for branch in branches if part in branch.get("properties", {})]
        others = here.get("additionalProperties")
        below = following[0] if following else others
        if not isinstance(below, dict):
            break
        here = below
    return resolve(here, root)


def key_path(path: Any) -> str:
    """Return a path of keys and list positions as users write it: `nets.2d.offsets[0]`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}"
    return text.lstrip(".")


def shown(value: Any) -> str:
    """Return `value` as YAML writes it, on one line, shortened."""
    text = json.dumps(value, default=str)
    return text if len(text) <= 80 else text[:77] + "..."


def allowed_values(schema: Schema, root: Schema) -> str:
    """Return in words what `schema` accepts."""
    schema = resolve(schema, root)
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return " or ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return "; or ".join(allowed_values(branch, root) for branch in schema["anyOf"])
    kinds = schema.get("type", "object")
    return "; or ".join(kind_in_words(kind, schema, root) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def kind_in_words(kind: str, schema: Schema, root: Schema) -> str:
    """Return in words what `schema` accepts of one JSON type."""
    if kind == "array":
        least, most = schema.get("minItems"), schema.get("maxItems")
        number = f"{least} " if least and least == most else f"at least {least} " if least else ""
        inner = allowed_values(schema["items"], root)
        among = f", `{schema['contains']['const']}` among them" if "contains" in schema else ""
        return f"list of {number}({inner}){among}"
    if kind == "object":
        keys = ", ".join(schema.get("properties", {}))
        return f"block with the keys {keys}" if keys else "block of names"
    words = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true or false",
        "null": "null",
    }
    text = words[kind]
    if kind in ("integer", "number"):
        bounds = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
        limits = [f"{sign} {schema[name]}" for name, sign in bounds.items() if name in schema]
        text += "".join(f" {limit}" if not place else f" and {limit}" for place, limit in enumerate(limits))
    if kind == "string" and "pattern" in schema:
        text += f" like {schema['pattern']}"
    return text


def key_table(schema: Schema) -> str:
    """Return `config/README.md`: every key with default, permitted values and meaning, as Markdown tables by block."""
    lines = [
        "# Keys of the configuration",
        "",
        "Written from the schema by `python -m sparse2dense.stages.configuration workflow/schemas/config.schema.yaml`.",
        "Keys left out take the default; unknown keys are errors. Several files given to `--configfile` are merged,",
        "the later one wins: `snakemake --configfile config/fib25.yaml my_paths.yaml`.",
        "",
    ]
    described: dict[str, str] = {}
    for title, block in blocks("", schema, schema, described):
        lines += [f"## {f'`{title}`' if title else 'Top level'}", "", block.get("description", ""), ""]
        lines += ["| key | default | allowed | meaning |", "| --- | --- | --- | --- |"]
        lines += [table_row(key, block, schema) for key in block["properties"]]
        lines.append("")
    return "\n".join(lines)


def table_row(key: str, block: Schema, root: Schema) -> str:
    """Return the row of a key of `block`."""
    below = resolve(block["properties"][key], root)
    default = "none"
    if key in block.get("required", []):
        default = "required"
    elif "default" in below and not below.get("properties"):
        default = f"`{json.dumps(below['default'])}`"
    allowed = "block, see below" if below.get("properties") else allowed_values(below, root)
    cells = (f"`{key}`", default, allowed, below.get("description", ""))
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def blocks(title: str, schema: Schema, root: Schema, described: dict[str, str]) -> Iterator[tuple[str, Schema]]:
    """Yield every block of keys below `schema` with its key path, outermost first; a block used twice only once."""
    name = schema.get("$ref")
    if name in described:
        return
    # The definition's own description, not what it stands for in one place.
    schema = resolve(schema if name is None else {"$ref": name}, root)
    if schema.get("properties"):
        if name is not None:
            described[name] = title
        yield title, schema
    below = dict(schema.get("properties", {}))
    if isinstance(schema.get("additionalProperties"), dict):
        below["<name>"] = schema["additionalProperties"]
    for key, inner in below.items():
        yield from blocks(f"{title}.{key}".lstrip("."), inner, root, described)


if __name__ == "__main__":
    sys.stdout.write(key_table(load_schema(Path(sys.argv[1]))))
