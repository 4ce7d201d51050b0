"""Where the configuration comes from.

A key comes from the command line, else from INTERACTD_<SECTION>_<KEY>, else from the file, else it has its default.
"""

from __future__ import annotations

import difflib
import os
import textwrap
from pathlib import Path
from typing import Any, Iterator, Mapping

from attrs import frozen

from interactd.config import SECTIONS, Config
from interactd.keys import Key, keys
from interactd.refusals import ConfigError

SYSTEM_FILE = Path("/etc/interactd/interactd.conf")


@frozen
class _Setting:
    """A key as somebody wrote it, and where."""

    place: str
    section: str
    name: str
    value: str


def load(file: Path | None = None, environ: Mapping[str, str] = os.environ,
         options: Mapping[str, tuple[str, str, str]] = {}) -> Config:
    """The configuration of `file` (else of SYSTEM_FILE where there is one), the environment, and the command line's `options`.

    `options` are {"--listen": ("http", "listen", value)}. ConfigError names every fault.
    """
    file = file or (SYSTEM_FILE if SYSTEM_FILE.exists() else None)
    faults: list[str] = []
    found = [*(_of_file(file, faults) if file else []), *_of_environment(environ, faults),
             *(_Setting(place, *option) for place, option in options.items())]
    values: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for setting in found:
        try:
            attribute, value = _read(setting)
        except ValueError as wrong:
            faults.append(f"{setting.place}: {wrong}")
        else:
            values[setting.section][attribute] = value
    if faults:
        raise ConfigError("\n".join(faults))
    return Config(**{name: section(**values[name]) for name, section in SECTIONS.items()})


def _read(setting: _Setting) -> tuple[str, Any]:
    known = keys(SECTIONS[setting.section])
    name, value = setting.name, setting.value
    if name not in known and name.endswith("-file") and (secret := known.get(name[:-5])) and secret[1].secret:
        name, value = name[:-5], _content(setting)
    if name not in known:
        raise ValueError(f"[{setting.section}] has no key {name}{_meant(name, known)}")
    attribute, described = known[name]
    try:
        return attribute, described.read(value)
    except ValueError as right:
        shown = "this value" if described.secret else repr(value)
        raise ValueError(f"[{setting.section}] {name} can not be {shown}: it is {right}") from None


def _content(setting: _Setting) -> str:
    try:
        return Path(setting.value).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "it is not UTF-8 text"
        raise ValueError(f"[{setting.section}] {setting.name}: {setting.value} can not be read ({reason})") from None


def _meant(word: str, known: Mapping[str, Any]) -> str:
    near = difflib.get_close_matches(word, known, 1)
    return f"; is {near[0]} meant?" if near else f"; there are {', '.join(known)}"


def _of_file(file: Path, faults: list[str]) -> Iterator[_Setting]:
    """The settings of an INI file. (configparser does not tell in which line it found something.)"""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as failure:
        reason = failure.strerror if isinstance(failure, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"{file} can not be read: {reason}") from None
    section, seen = "", set()
    for place, line in _meaningful(file, lines):
        name, equals, value = (part.strip() for part in line.partition("="))
        if line[0] == "[" and line[-1] == "]":
            section = line[1:-1].strip()
            if section not in SECTIONS:
                faults.append(f"{place}: there is no section [{section}]{_meant(section, SECTIONS)}")
        elif not equals:
            faults.append(f"{place}: a line is [section], key = value, or a comment after #")
        elif not section:
            faults.append(f"{place}: {name} stands before the first [section]")
        elif (section, name) in seen:
            faults.append(f"{place}: [{section}] {name} is set a second time")
        elif section in SECTIONS:
            seen.add((section, name))
            yield _Setting(place, section, name, value)


def _meaningful(file: Path, lines: list[str]) -> Iterator[tuple[str, str]]:
    for number_, line in enumerate(map(str.strip, lines), 1):
        if line and line[0] not in "#;":
            yield f"{file}, line {number_}", line


def _of_environment(environ: Mapping[str, str], faults: list[str]) -> Iterator[_Setting]:
    for variable, value in sorted(environ.items()):
        prefix, _, rest = variable.partition("_")
        section, _, name = rest.lower().partition("_")
        if prefix != "INTERACTD" or section == "test":     # INTERACTD_TEST_* belong to the tests
            continue
        if section in SECTIONS:
            yield _Setting(variable, section, name.replace("_", "-"), value)
        else:
            faults.append(f"{variable}: there is no section [{section}]{_meant(section, SECTIONS)}")


def example() -> str:
    """The text of etc/interactd.conf: every key with its default, commented out."""
    parts = [_wrapped("The configuration of interactd. Every key is here with its default; take away the # to change it.\nRead"
                      " from --config, else /etc/interactd/interactd.conf. INTERACTD_<SECTION>_<KEY> in the environment wins.")]
    for name, section in SECTIONS.items():
        parts.append(f"\n[{name}]\n{_wrapped(section.__doc__ or '')}")
        parts.extend(f"\n{_described(key_name, described)}" for key_name, (_, described) in keys(section).items())
    return "\n".join(parts) + "\n"


def _described(name: str, described: Key) -> str:
    also = f" Or its file: {name}-file." if described.secret else ""
    return f"{_wrapped(described.doc + also)}\n#{name} = {described.default}".rstrip()


def _wrapped(paragraphs: str) -> str:
    return "\n".join(textwrap.fill(line, 100, initial_indent="# ", subsequent_indent="# ", break_long_words=False,
                                   break_on_hyphens=False) for line in paragraphs.splitlines())
