"""What a browser makes of it: the page of a reset, the page of the API, the client in JavaScript, a script tag. Chromium, driven by Selenium."""
from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.protocols.policies import WrappingFactory
from twisted.trial.unittest import SkipTest

from tests.api_case import ApiCase
from tests.test_resets import NEW, Resets

CLIENT = Path(__file__).parent.parent / "interactd" / "web" / "interactd.js"
START = """
window.got = []; window.places = []; window.over = [];
window.client = new InteractdClient({url: arguments[0], token: arguments[1], deviceId: 'tablet', pace: 20, place: null,
  take: async (message, place) => { window.got.push(message); window.places.push(place); },
  resync: async () => { window.got.push('resync'); }, ended: (code) => window.over.push(code)});
window.client.start();
"""
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage")
PATIENCE = 20           # seconds for a page to do what it should


class Browser(ApiCase):
    """A browser, which works in a thread, so that the daemon can answer."""

    timeout = 60
    driver: ClassVar[Any] = None
    profile: ClassVar[Any] = None

    @classmethod
    def tearDownClass(cls) -> None:
        if Browser.driver is not None:
            Browser.driver.quit()
            Browser.driver = None
            Browser.profile.cleanup()

    async def setUp(self) -> None:
        found = {name: shutil.which(name) for name in ("chromium", "chromedriver")}
        if None in found.values():
            raise SkipTest("chromium and chromedriver are not installed (Debian: chromium-driver)")
        await super().setUp()
        site = WrappingFactory(self.api.site())
        port = reactor.listenTCP(0, site, interface="127.0.0.1")        # type: ignore[attr-defined]
        self.port = port.getHost().port
        self.addCleanup(self.close, port, site)
        if Browser.driver is None:
            Browser.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            options = ChromeOptions()
            options.binary_location = str(found["chromium"])
            for flag in (*FLAGS, f"--user-data-dir={self.profile.name}"):
                options.add_argument(flag)
            options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
            Browser.driver = await deferToThread(Chrome, options=options, service=ChromeService(executable_path=found["chromedriver"]))

    async def close(self, port: Any, site: Any) -> None:
        """The connections that the browser keeps are closed."""
        await self.do(lambda driver: driver.get("about:blank"))
        await port.stopListening()
        for connection in tuple(site.protocols):
            connection.transport.abortConnection()
        while site.protocols:
            await deferLater(reactor, 0.01)

    async def do(self, work: Callable[[Any], Any]) -> Any:
        """What comes of some work with the browser."""
        return await deferToThread(work, self.driver)

    async def until(self, script: str, wanted: Callable[[Any], bool]) -> Any:
        """What a script says, once it is what is wanted."""
        def work(driver: Any) -> Any:
            WebDriverWait(driver, PATIENCE, 0.02).until(lambda d: wanted(d.execute_script("return " + script)), script)
            return driver.execute_script("return " + script)
        return await self.do(work)

    async def open(self, path: str) -> None:
        """A page of the daemon's."""
        await self.do(lambda driver: driver.get("about:blank"))
        await self.do(lambda driver: driver.get(f"http://127.0.0.1:{self.port}{path}"))

    async def complaints(self) -> list[str]:
        """What the browser's console has complained of since it was last asked."""
        return [entry["message"] for entry in await self.do(lambda driver: driver.get_log("browser")) if entry["level"] == "SEVERE"]


class Reset(Browser, Resets):
    """The page behind the link in a mail."""

    async def say(self, first: str, second: str) -> str:
        """Two passwords into the page; what it says in the end."""
        def work(driver: Any) -> None:
            for name, text in (("first", first), ("second", second)):
                field = driver.find_element(By.ID, name)
                field.clear()
                field.send_keys(text)
            driver.find_element(By.TAG_NAME, "button").click()
        await self.do(work)
        return str(await self.until("document.querySelector('[role=status]').textContent", lambda said: said not in ("", "One moment …")))

    async def test_a_reset(self) -> None:
        """The link of a real mail: wrong passwords, then the right one, and no second time; the token stays in no address."""
        await self.complaints()
        token = await self.link()
        await self.open("/resetPassword#" + token)
        self.assertEqual(await self.do(lambda driver: driver.current_url), f"http://127.0.0.1:{self.port}/resetPassword")
        self.assertEqual(await self.say(NEW, NEW + "x"), "The two are not the same.")
        self.assertEqual([said for said in await self.complaints() if "favicon" not in said], [])
        self.assertIn("characters", await self.say("short", "short"))
        await self.complaints()                 # the browser notes the 400 itself
        self.assertEqual(await self.say(NEW, NEW), "Your password is set. Log in with it; all devices have to log in again.")
        self.assertFalse(await self.do(lambda driver: driver.find_element(By.TAG_NAME, "form").is_displayed()))
        self.assertEqual((await self.login(NEW)).status, 200)
        await self.open("/resetPassword#" + token)
        self.assertNotIn("is set", await self.say(NEW, NEW))
        await self.open("/resetPassword")
        self.assertIn("Open the link in the mail again", await self.until("document.body.innerText", bool))
        self.assertEqual([said for said in await self.complaints() if token in said], [])


class Others(Browser):
    """What needs no mail."""

    settings = {"INTERACTD_HTTP_JSONP_QUERY_TOKEN": "yes"}

    async def test_the_description(self) -> None:
        """The API's page loads whole, breaks no rule of its own, and shows what there is."""
        await self.complaints()
        await self.open("/docs")
        await self.until("document.querySelectorAll('.opblock').length + document.querySelectorAll('.opblock-tag').length", lambda shown: shown > 10)
        self.assertEqual(await self.complaints(), [])

    async def test_a_script_tag(self) -> None:
        """A contact by JSONP, as the clients of 2014 ask for it; an error comes the same way."""
        me = self.person()
        made = await self.put("/v2/contacts", me, {"contactType": "person", "firstName": "Ada", "lastName": "Lovelace"})
        await self.open("/resetPassword")
        load = """const s = document.createElement('script'); window.said = null; window.take = said => { window.said = said; };
                  s.src = arguments[0]; document.head.append(s);"""
        base = f"http://127.0.0.1:{self.port}/v2/contacts"
        await self.do(lambda driver: driver.execute_cdp_cmd("Page.setBypassCSP", {"enabled": True}))
        await self.open("/resetPassword")
        for path, wanted in ((f"/{made.entity['id']}", lambda said: said.get("displayName") == "Ada Lovelace"),
                             ("/999999", lambda said: said.get("code") == 404)):
            await self.do(lambda driver: driver.execute_script(load, f"{base}{path}?callback=take&authToken={me.token}"))
            self.assertTrue(wanted(await self.until("window.said", lambda said: said is not None)))

    async def test_the_client(self) -> None:
        """Events arrive in order and once, though connections are cut in between; what is said back is written down; a logout ends it."""
        me = self.person()
        tablet = (await self.put("/v2/devices", me, {"deviceId": "tablet"})).entity["id"]
        trigger = (await self.put("/v2/triggerDevices", me, {"deviceId": "phone"})).entity["triggerToken"]
        await self.open("/resetPassword")
        await self.do(lambda driver: driver.execute_script(CLIENT.read_text() + START, f"ws://127.0.0.1:{self.port}", me.token))
        await self.until("window.client.place", lambda place: place is not None)
        idents = []
        for number in range(9):
            if number % 3 == 2:
                for socket in self.parts.app.live.sockets:
                    socket.transport.abortConnection()
            rang = await self.put("/v2/interactions", trigger, {"type": "call-incoming", "data": f"+49301234{number}"})
            idents.append(rang.entity["id"])
        got = await self.until("window.got", lambda got: len(got) >= 9)
        self.assertEqual([message["interactionId"] for message in got], idents)
        await self.do(lambda driver: driver.execute_script("window.client.shown(arguments[0])", idents[-1]))
        while not self.sql("SELECT 1 FROM deliveries WHERE device_id = %s AND interaction_id = %s AND shown_at IS NOT NULL AND acked_at IS NOT NULL",
                           tablet, idents[-1]):
            await deferLater(reactor, 0.02)     # it is written down a moment later
        await self.post("/v2/logout", None, {"authToken": me.token})
        self.assertEqual(await self.until("window.over", bool), [4401])
