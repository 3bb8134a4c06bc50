"""What a simulator reads out of a multipart form (RFC 7578)."""

from __future__ import annotations

from dataclasses import dataclass, field
from email.message import EmailMessage


@dataclass(frozen=True, slots=True)
class FormPart:
    """One part: `name` of the field; a file has a `filename` and a media `type`. `parameters` are all that its
    Content-Disposition says."""

    name: str
    content: bytes = field(repr=False)
    filename: str | None = None
    type: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)


def form_parts(content_type: str, body: bytes) -> list[FormPart]:
    """The parts of a form, in order. Raises ValueError if the body is none."""
    header = EmailMessage()
    header["Content-Type"] = content_type
    boundary = header.get_boundary()
    if header.get_content_type() != "multipart/form-data" or not boundary:
        raise ValueError(f"'{content_type}' is no multipart form with a boundary")
    mark = b"--" + boundary.encode("latin-1")
    # The first boundary opens the body without the line break that stands before every other.
    pieces = (b"\r\n" + body).split(b"\r\n" + mark)
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("the form is cut off: its last boundary is missing")
    return [_part(piece.removeprefix(b"\r\n")) for piece in pieces[1:-1]]


def _part(piece: bytes) -> FormPart:
    head, blank, content = piece.partition(b"\r\n\r\n")
    if not blank:
        raise ValueError("a part of the form has no blank line after its headers")
    headers = dict(line.partition(":")[::2] for line in head.decode("utf-8").split("\r\n"))
    named = {name.strip().lower(): value.strip() for name, value in headers.items()}
    words = [word.strip() for word in named.get("content-disposition", "").split(";")]
    parameters = {
        key: value.strip('"').replace("%22", '"') for key, equals, value in (w.partition("=") for w in words) if equals
    }
    if "name" not in parameters:
        raise ValueError("a part of the form has no name")
    return FormPart(parameters["name"], content, parameters.get("filename"), named.get("content-type"), parameters)
