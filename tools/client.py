"""Make the models and methods of the Python client from the OpenAPI document: client.py [--check].

`--check` changes nothing and exits with 1 where the client is not what the document says.
"""

from __future__ import annotations

import keyword
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from fileroom.admin.people import People
from fileroom.archive.services import Archive
from fileroom.core.clock import system_now
from fileroom.core.settings import Settings
from fileroom.web.api.application import create_api
from fileroom.web.api.operations import PERMISSION, VERSION_PATH
from fileroom.web.authentication import IdentityCache

FOLDER: Final = Path(__file__).resolve().parent.parent / "src" / "fileroom" / "client"
_REFERENCE: Final = "#/components/schemas/"
_LEFT_OUT: Final = frozenset({"Problem"})
_LINE_CHARS: Final = 120
_MADE: Final = "Made from the OpenAPI document by tools/client.py; change it there."

Schema = Mapping[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Write the files, or with `--check` say which are stale. The exit code."""
    check = "--check" in arguments
    stale = [name for name, text in made_files().items() if (FOLDER / name).read_text("utf-8") != text]
    for name in stale:
        print(f"{'stale' if check else 'written'}: {name}")
        if not check:
            (FOLDER / name).write_text(made_files()[name], "utf-8")
    return 1 if check and stale else 0


def made_files() -> dict[str, str]:
    """The text of each file by its name."""
    document = api_document()
    texts = {"models.py": "\n".join(_models(document)), "resources.py": "\n".join(_resources(document))}
    return {name: _formatted(text, name) for name, text in texts.items()}


def api_document() -> dict[str, Any]:
    """The OpenAPI document, without a database."""
    pool = cast(Any, None)
    settings = Settings.model_construct()
    archive = Archive(cast(Any, None), cast(Any, None), pool, settings, system_now)
    people = People(pool, settings, system_now)
    return create_api(archive, people, IdentityCache(people)).document


def _formatted(text: str, name: str) -> str:
    for command in (("check", "--fix-only", "--select", "I,F401", "-q"), ("format", "-q")):
        run = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(FOLDER / name), "-"]
        text = subprocess.run(run, input=text, capture_output=True, text=True, check=True).stdout
    return text


# --- models ---


def _models(document: Schema) -> Iterator[str]:
    schemas: Mapping[str, Schema] = document["components"]["schemas"]
    yield f'"""What the API answers and takes, as values. {_MADE}"""\n'
    yield "from __future__ import annotations\n"
    yield "import datetime as dt\nfrom dataclasses import dataclass\nfrom typing import Any, Literal\n"
    yield "from fileroom.client.values import Model\n"
    bodies = _flattened_bodies(document)
    for name, schema in sorted(schemas.items()):
        if "enum" in schema:
            yield f"\n{name} = Literal[{', '.join(map(repr, schema['enum']))}]"
            yield f'"""{_sentence(schema)}"""'
    for name, schema in sorted(schemas.items()):
        if "enum" in schema or name in _LEFT_OUT | bodies or _item(schema) is not None:
            continue
        yield "\n\n@dataclass(frozen=True, slots=True)"
        yield f"class {name}(Model):"
        yield f'    """{_sentence(schema)}"""\n'
        required = set(schema.get("required", ()))
        members = schema["properties"].items()
        for member, its in sorted(members, key=lambda one: one[0] not in required):
            optional = member not in required and _is_sent(document, name)
            yield f"    {member}: {_type(its)}{_default(its) if optional else ''}"
            if "description" in its:
                yield textwrap.fill(
                    f'"""{its["description"]}"""', _LINE_CHARS, initial_indent="    ", subsequent_indent="    "
                )


def _flattened_bodies(document: Schema) -> frozenset[str]:
    """Models whose members are arguments of a method, and that stand nowhere else."""
    found = set()
    for _, _, operation in _operations(document):
        if (body := _body_name(operation)) is not None:
            found.add(body)
    return frozenset(found)


def _is_sent(document: Schema, name: str) -> bool:
    """Whether a model is part of something that is sent, so that scripts make it."""
    schemas = document["components"]["schemas"]
    return any(f"{_REFERENCE}{name}'" in str(schemas[body]) for body in _flattened_bodies(document))


def _default(schema: Schema) -> str:
    if "default" in schema and not isinstance(schema["default"], (list, dict)):
        return f" = {schema['default']!r}"
    return " = ()" if schema.get("type") == "array" else " = None"


def _item(schema: Schema) -> str | None:
    """The entry's type where a schema is a page or a list and nothing else."""
    properties = schema.get("properties", {})
    if set(properties) not in ({"items", "next"}, {"items"}):
        return None
    return _type(properties["items"]["items"])


def _type(schema: Schema, *, sent: bool = False) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_REFERENCE)
    if "enum" in schema:
        return f"Literal[{', '.join(map(repr, schema['enum']))}]"
    if "const" in schema:
        return f"Literal[{schema['const']!r}]"
    if "anyOf" in schema:
        kinds = dict.fromkeys(_type(one, sent=sent) for one in schema["anyOf"])
        return "Any" if "Any" in kinds else " | ".join(kinds)
    match schema.get("type"):
        case "string":
            return "dt.datetime" if schema.get("format") == "date-time" else "str"
        case "integer":
            return "int"
        case "number":
            return "float"
        case "boolean":
            return "bool"
        case "null":
            return "None"
        case "array":
            inner = _type(schema["items"], sent=sent)
            return f"Sequence[{inner}]" if sent else f"tuple[{inner}, ...]"
        case "object":
            more = schema.get("additionalProperties", True)
            inner = _type(more, sent=sent) if isinstance(more, Mapping) else "Any"
            return f"Mapping[str, {inner}]" if sent else f"dict[str, {inner}]"
    return "Any"


# --- methods ---


def _resources(document: Schema) -> Iterator[str]:
    schemas = document["components"]["schemas"]
    names = sorted({name for name in schemas if name not in _flattened_bodies(document) | _LEFT_OUT})
    models = [name for name in names if _item(schemas[name]) is None]
    yield f'"""Every operation of the API as a method. {_MADE}"""\n'
    yield "from __future__ import annotations\n"
    yield "import datetime as dt\nfrom collections.abc import Iterator, Mapping, Sequence"
    yield "from typing import Any, Literal, cast\n"
    yield "from fileroom.client.connection import Connection, segment"
    yield f"from fileroom.client.models import ({', '.join(models)})\n"
    tags = document["tags"]
    for tag in tags:
        yield f"\n\nclass {_class(tag['name'])}:"
        yield f'    """{tag["description"]}"""\n'
        yield "    def __init__(self, connection: Connection) -> None:"
        yield "        self._connection = connection"
        for path, method, operation in _operations(document):
            if operation["tags"] == [tag["name"]]:
                yield from _method(document, path, method, operation)
    yield "\n\nclass Resources:"
    yield '    """All of them over one connection."""\n'
    yield "    def __init__(self, connection: Connection) -> None:"
    yield "        self._connection = connection"
    for tag in tags:
        yield f"        self.{tag['name']} = {_class(tag['name'])}(connection)"


def _operations(document: Schema) -> Iterator[tuple[str, str, Schema]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _method(document: Schema, path: str, method: str, operation: Schema) -> Iterator[str]:
    schemas = document["components"]["schemas"]
    answer = _answer(operation)
    item = _item(schemas[answer]) if answer else None
    given = operation.get("parameters", ())
    paged = any(one["name"] == "cursor" for one in given)
    in_path = [one["name"] for one in given if one["in"] == "path"]
    query = {
        one["name"]: one for one in given if one["in"] == "query" and not (paged and one["name"] in ("limit", "cursor"))
    }
    has_if_match = any(one["in"] == "header" for one in given)
    body = schemas[name] if (name := _body_name(operation)) else None
    numbers = {one["name"] for one in given if one["in"] == "path" and one["schema"].get("type") == "integer"}
    arguments = ["self", *(f"{name}: {'int' if name in numbers else 'str'}" for name in in_path)]
    named = [*_arguments(query, body), *(["limit: int | None = None"] if paged else [])]
    named += ["if_match: str | None = None"] if has_if_match else []
    if named:
        arguments += ["*", *named]
    result = f"Iterator[{item}]" if paged else f"tuple[{item}, ...]" if item else answer or "None"
    yield f"\n    def {operation['operationId'].partition('.')[2]}({', '.join(arguments)}) -> {result}:"
    yield from _docstring(operation, query, body)
    address = path.removeprefix(VERSION_PATH)
    for one in in_path:
        address = address.replace(f"{{{one}}}", f"{{segment({one})}}")
    text = f'f"{address}"' if in_path else f'"{address}"'
    asked = f"{{{', '.join(f'{name!r}: {name}' for name in query)}}}"
    if paged:
        yield f"        return self._connection.pages({text}, {item}, limit=limit, query={asked})"
        return
    sent = [f'"{method.upper()}"', text]
    if item or answer:
        sent.append(item or answer)
    if query:
        sent.append(f"query={asked}")
    if body is not None:
        sent.append(f"body={{{', '.join(f'{name!r}: {name}' for name in body['properties'])}}}")
    if has_if_match:
        sent.append("if_match=if_match")
    call = f"self._connection.{'items' if item else 'call'}({', '.join(sent)})"
    kind = f"tuple[{item}, ...]" if item else answer
    yield f'        return cast("{kind}", {call})' if kind else f"        {call}"


def _arguments(query: Mapping[str, Schema], body: Schema | None) -> list[str]:
    needed, optional = [], []
    for name, one in query.items():
        (needed if one.get("required") else optional).append((name, one["schema"]))
    if body is not None:
        required = set(body.get("required", ()))
        for name, schema in body["properties"].items():
            (needed if name in required else optional).append((name, schema))
    for name, _ in (*needed, *optional):
        if keyword.iskeyword(name):
            raise AssertionError(f"{name} is no name of an argument")
    told = [f"{name}: {_type(schema, sent=True)}" for name, schema in needed]
    for name, schema in optional:
        kind = _type(schema, sent=True)
        told.append(f"{name}: {kind if 'None' in kind.split(' | ') or kind == 'Any' else f'{kind} | None'} = None")
    return told


def _docstring(operation: Schema, query: Mapping[str, Schema], body: Schema | None) -> Iterator[str]:
    lines = [operation["summary"] + "."]
    if operation.get("description"):
        lines.append(operation["description"])
    needs = operation[PERMISSION]
    if needs != "none":
        lines.append(f"Needs `{needs}`." if "." in needs else f"Needs an {needs}.")
    text = textwrap.fill(" ".join(lines), 106, subsequent_indent="        ")
    told = {name: one.get("description") for name, one in query.items()}
    told |= {name: one.get("description") for name, one in (body or {}).get("properties", {}).items()}
    notes = [f"`{name}`: {what}" for name, what in told.items() if what]
    if not notes:
        yield f'        """{text}"""'
        return
    yield f'        """{text}\n'
    yield from (textwrap.fill(f"        - {note}", 114, subsequent_indent="          ") for note in notes)
    yield '        """'


def _body_name(operation: Schema) -> str | None:
    body = operation.get("requestBody")
    if body is None:
        return None
    return str(body["content"]["application/json"]["schema"]["$ref"]).removeprefix(_REFERENCE)


def _answer(operation: Schema) -> str:
    for code, response in operation["responses"].items():
        if code.startswith("2"):
            schema = response.get("content", {}).get("application/json", {}).get("schema", {})
            return str(schema.get("$ref", "")).removeprefix(_REFERENCE)
    raise AssertionError(f"{operation['operationId']} has no answer")


def _class(tag: str) -> str:
    return "".join(part.capitalize() for part in tag.split("_")) + "Resource"


def _sentence(schema: Schema) -> str:
    return " ".join(str(schema.get("description", schema.get("title", ""))).split())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
