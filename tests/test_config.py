"""The configuration: where a value comes from, and how a wrong one is refused."""

from __future__ import annotations

import ipaddress
import tempfile
from pathlib import Path

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from interactd import configfile
from interactd.config import SECTIONS, Config
from interactd.configfile import example, load
from interactd.keys import RedisAddress, Server, keys
from interactd.refusals import ConfigError


class ConfigTests(SynchronousTestCase):
    """`load` on files, environments and options."""

    def written(self, text: str) -> Path:
        """A file with this text."""
        file = Path(self.mktemp())
        file.write_text(text, encoding="utf-8")
        return file

    def faults(self, text: str = "", environ: dict[str, str] = {}, options: dict[str, tuple[str, str, str]] = {}) -> list[str]:
        """The faults of a file (without its name), an environment and options."""
        file = self.written(text)
        return str(self.assertRaises(ConfigError, load, file, environ, options)).replace(f"{file}, ", "").splitlines()

    def test_file_is_generated(self) -> None:
        """etc/interactd.conf is what `python -m interactd.config` prints."""
        self.assertEqual((Path(__file__).parent.parent / "etc" / "interactd.conf").read_text(encoding="utf-8"), example())

    def test_defaults(self) -> None:
        """The example as it is, and with every key uncommented, says what saying nothing says."""
        nothing = load(self.written(""), {})
        self.assertEqual(load(self.written(example()), {}), nothing)
        lines = [line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in example().splitlines()]
        self.assertEqual(load(self.written("\n".join(lines)), {}), nothing)
        self.assertEqual(nothing, Config())
        self.assertEqual(sum(" = " in line or line.endswith(" =") for line in lines if not line.startswith("#")),
                         sum(len(keys(section)) for section in SECTIONS.values()))

    def test_every_section(self) -> None:
        """Whatever the configuration has can be set, the bus too, by a file and by the environment."""
        self.assertEqual(list(SECTIONS), [field.name for field in attrs.fields(Config)])
        address = RedisAddress("redis.example.org", 6379, 3)
        self.assertEqual(load(self.written("[bus]\nurl = redis://redis.example.org/3\n"), {}, {}).bus.url, (address,))
        self.assertEqual(load(None, {"INTERACTD_BUS_URL": "redis://redis.example.org/3"}, {}).bus.url, (address,))

    def test_frozen(self) -> None:
        """Nobody changes it later."""
        self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, Config().http, "listen", "tcp:1")

    def test_file(self) -> None:
        """Values of every kind are read."""
        read = load(self.written("[http]\nlisten = unix:/run/x\ntrusted-proxies = 10.0.0.0/8, ::1\njsonp-query-token=yes\n"
                                 "allowed-origins = https://A.example.com\n; more\n[limits]\npicture-bytes = 2 MiB\n"
                                 "[log]\naccess-sample = 0.25\n[numbers]\narea-code = 30\n"), {})
        self.assertEqual(read.http.listen, "unix:/run/x")
        self.assertEqual(read.http.trusted_proxies, (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1")))
        self.assertEqual((read.http.jsonp_query_token, read.http.allowed_origins), (True, ("https://a.example.com",)))
        self.assertEqual((read.limits.picture_bytes, read.log.access_sample, read.numbers.area_code), (2 << 20, 0.25, "30"))

    def test_order(self) -> None:
        """An option wins over the environment, which wins over the file."""
        file = self.written("[limits]\nbatch = 1\nwaiting = 2\nitems = 3\n")
        read = load(file, {"INTERACTD_LIMITS_WAITING": "20", "INTERACTD_LIMITS_ITEMS": "30", "HOME": "/"}, {"--items": ("limits", "items", "300")})
        self.assertEqual((read.limits.batch, read.limits.waiting, read.limits.items), (1, 20, 300))

    def test_system_file(self) -> None:
        """Without --config the system's file is read, if there is one."""
        self.patch(configfile, "SYSTEM_FILE", self.written("[limits]\nbatch = 7\n"))
        self.assertEqual(load(None, {}).limits.batch, 7)
        self.patch(configfile, "SYSTEM_FILE", Path(self.mktemp()))
        self.assertEqual(load(None, {}).limits.batch, 128)

    def test_secret_in_a_file(self) -> None:
        """A secret may stand in a file of its own, named in the file or in the environment; it is never shown."""
        secret = self.written("postgresql://me:pa55word@db/interactd\n")
        for read in (load(self.written(f"[database]\nurl-file = {secret}\n"), {}),
                     load(self.written(""), {"INTERACTD_DATABASE_URL_FILE": str(secret)})):
            self.assertEqual(read.database.url, "postgresql://me:pa55word@db/interactd")
            self.assertNotIn("pa55word", repr(read))
        self.assertNotIn("pa55word", self.faults("[database]\nurl = mysql://me:pa55word@db\n")[0])
        self.assertIn("can not be read", self.faults("[database]\nurl-file = /does/not/exist\n")[0])
        self.assertEqual(self.faults("[limits]\nbatch-file = x\n")[0].partition(";")[0], "line 2: [limits] has no key batch-file")

    def test_faults(self) -> None:
        """Every fault is named, with its line and what would be right."""
        found = self.faults("first = 1\n[http]\nlisen = tcp:1\n\n[databse]\npool = 1\n[limits]\nbatch = many\nbatch = 3\nnonsense\n")
        self.assertEqual(sorted(found), [
            "line 10: a line is [section], key = value, or a comment after #",
            "line 1: first stands before the first [section]",
            "line 3: [http] has no key lisen; is listen meant?",
            "line 5: there is no section [databse]; is database meant?",
            "line 8: [limits] batch can not be 'many': it is a whole number from 1 to 10000",
            "line 9: [limits] batch is set a second time",
        ])

    def test_faults_elsewhere(self) -> None:
        """A fault in the environment or on the command line is named by its place."""
        self.assertEqual(self.faults("", {"INTERACTD_LOG_LEVEL": "loud"}),
                         ["INTERACTD_LOG_LEVEL: [log] level can not be 'loud': it is one of debug, info, warn, error, critical"])
        self.assertIn("INTERACTD_LOGG_LEVEL: there is no section [logg]; is log meant?", self.faults("", {"INTERACTD_LOGG_LEVEL": "info"}))
        self.assertIn("--state: [state] directory", self.faults("", {}, {"--state": ("state", "directory", "")})[0])

    def test_unreadable(self) -> None:
        """A file that was named and can not be read is a fault."""
        self.assertIn("No such file", str(self.assertRaises(ConfigError, load, Path(self.mktemp()), {})))
        binary = Path(self.mktemp())
        binary.write_bytes(b"\xff\xfe")
        self.assertIn("UTF-8", str(self.assertRaises(ConfigError, load, binary, {})))

    def test_each_kind_refuses(self) -> None:
        """Every kind of value has something it refuses, and says what would be right."""
        wrong = {"http": {"listen": "8080", "public_url": "example.com", "allowed_origins": "https://a/b", "trusted_proxies": "10.0.0.300",
                          "jsonp_query_token": "true", "body_limit": "1 MB"},
                 "database": {"url": "mysql://x", "pool": "0"}, "numbers": {"region": "de", "area_code": "030"},
                 "log": {"access_sample": "1.5", "level": "INFO"}, "live": {"ping_every": "1e3"}, "auth": {"session_days": "٣"}}
        for section, values in wrong.items():
            for attribute, value in values.items():
                name = attribute.replace("_", "-")
                self.assertIn("it is ", self.faults(f"[{section}]\n{name} = {value}\n")[0])

    def test_import_servers(self) -> None:
        """A name, an address, and what is said behind them."""
        said = "carddav https://dav.example.com private, icloud https://contacts.icloud.com/x *.icloud.com Other.example, here http://localhost:5232"
        found = load(None, {"INTERACTD_IMPORTS_SERVERS": said}).imports.servers
        self.assertEqual(found, (Server("carddav", "https://dav.example.com", True), Server("icloud", "https://contacts.icloud.com/x", False, (
            "*.icloud.com", "other.example")), Server("here", "http://localhost:5232")))
        for wrong in ("carddav",
                      "google https://x.example", "Dav https://x.example", "dav ftp://x.example", "dav https://me@x.example", "dav https://x/?a"):
            self.assertIn("servers such as", self.faults(environ={"INTERACTD_IMPORTS_SERVERS": wrong})[0], wrong)

    @given(st.text(max_size=200))
    def test_any_text(self, text: str) -> None:
        """Whatever stands in the file, the answer is a configuration or faults, and nothing else is raised."""
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="replace") as file:
            file.write(text)
            file.flush()
            try:
                self.assertIsInstance(load(Path(file.name), {}), Config)
            except ConfigError as faults:
                self.assertTrue(str(faults))
