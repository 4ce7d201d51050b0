"""Tasks and task lists over HTTP: due dates, scheduled calls, tasks assigned to colleagues."""
from __future__ import annotations

from typing import Any

import psycopg2
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from interactd.changes import Changed
from tests.api_case import ApiCase, Person

DAY = 86400000


class Tasks(ApiCase):
    """`me` and `mate` are colleagues, `boss` of another company is not."""

    async def setUp(self) -> None:
        await super().setUp()
        here = self.company()
        self.me, self.mate, self.boss = self.person(company=here), self.person(company=here), self.person(company=self.company())

    async def task(self, who: Person | None = None, **more: Any) -> Any:
        """A new task."""
        made = await self.put("/v2/tasks", who or self.me, {"title": "call back", **more})
        self.assertEqual(made.status, 201, made.json)
        return made.entity

    def seqs(self) -> list[int]:
        """The numbers of `me` and `mate`."""
        return [seq for seq, in self.sql("SELECT seq FROM counters WHERE user_id IN (%s, %s) ORDER BY user_id", self.me.id, self.mate.id)]


class Own(Tasks):
    """One's own tasks."""

    async def test_life(self) -> None:
        """Created, read, listed, changed and deleted."""
        made = await self.task(created=1360190185200, concreteDueDate=1360190188000, content="at Joeys'")
        shown = {"id": made["id"], "title": "call back", "content": "at Joeys'", "status": "open", "taskType": "task", "created": 1360190185200,
                 "concreteDueDate": 1360190188000, "hot": False, "assignedTo": {"id": self.me.id, "displayName": self.me.email}}
        self.assertEqual(made, shown)
        path = "/v2/tasks/%d" % made["id"]
        self.assertEqual((await self.get(path, self.me)).json, shown)
        changed = await self.post(path, self.me, {**shown, "created": 5, "status": "completed", "dueDate": 7, "concreteDueDate": None})
        self.refused(changed, 400, 92010113002005)
        changed = await self.post(path, self.me, {"status": "completed", "dueDate": 7, "content": ""})
        self.assertEqual((changed.status, changed.entity),
                         (200, {k: v for k, v in {**shown, "status": "completed", "concreteDueDate": 7}.items() if k != "content"}))
        self.assertEqual((await self.delete(path, self.me)).json, {"code": 204, "devmsg": "success"})
        self.refused(await self.get(path, self.me), 404, 91150103001001)
        self.assertEqual(self.sql("SELECT user_id, entity_type, entity_id FROM tombstones"), [(self.me.id, "task", made["id"])])
        self.assertEqual(self.sql("SELECT string_agg(action, ' ' ORDER BY id) FROM activities WHERE entity_type = 'task'")[0][0],
                         "insert update delete")

    async def test_fuzzy(self) -> None:
        """A fuzzy date sets the concrete one when none is given."""
        for fuzzy, days in (("tomorrow", 1), ("next_week", 7), ("in_a_month", 30), ("someday", 99)):
            made = await self.task(fuzzyDueDate=fuzzy)
            self.assertEqual((made["fuzzyDueDate"], round((made["concreteDueDate"] - made["created"]) / DAY, 3)), (fuzzy, days))
        given = await self.task(fuzzyDueDate="tomorrow", concreteDueDate=9)
        self.assertEqual(given["concreteDueDate"], 9)
        later = (await self.post("/v2/tasks/%d" % given["id"], self.me, {"fuzzyDueDate": "next_week"})).entity
        self.assertEqual(round((later["concreteDueDate"] - later["created"]) / DAY, 3), 7)

    async def test_order(self) -> None:
        """The latest due first; those without date last, by id."""
        ids = [(await self.task(**more))["id"] for more in ({"dueDate": 5}, {}, {"dueDate": 9}, {"dueDate": 5}, {})]
        order = [ids[2], ids[0], ids[3], ids[1], ids[4]]
        self.assertEqual([t["id"] for t in (await self.get("/v2/tasks", self.me)).json], order)
        self.assertEqual([t["id"] for t in (await self.get("/v2/tasks?offset=1&limit=3", self.me)).json["data"]], order[1:4])

    async def test_scheduled_call(self) -> None:
        """Duration and numbers are kept with a scheduled call only; a number must be a phone of one's own."""
        contact = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada", "basicInfos": [
            {"type": "phone", "value": "+49 2332 667998"}, {"type": "email", "value": "ada@example.org"}]})).entity
        phone, mail = contact["basicInfos"]
        about = {"relatedTo": {"id": contact["id"], "type": "contact"}}
        made = await self.task(taskType="scheduled_call", duration=15, phoneNumberIds=[phone["id"]], **about)
        self.assertEqual((made["duration"], made["phoneNumbers"]), (15, [phone]))
        self.assertEqual((await self.get("/v2/contacts/%d/tasks" % contact["id"], self.me)).json, [made])
        self.assertEqual((await self.get("/v2/contacts/%d" % contact["id"], self.me)).json["tasks"], [made["id"]])
        path = "/v2/tasks/%d" % made["id"]
        self.assertEqual((await self.post(path, self.me, {**made, "hot": True})).entity, {**made, "hot": True})
        for wrong in (mail["id"], 999):
            self.refused(await self.post(path, self.me, {"phoneNumberIds": [wrong]}), 404, 91020113003003)
        dropped = (await self.post(path, self.me, {"taskType": "task"})).entity
        self.assertEqual((dropped.keys() & {"duration", "phoneNumbers"}, self.sql("SELECT count(*) FROM task_numbers")), (set(), [(0,)]))
        plain = await self.task(duration=3, phoneNumberIds=[999])
        self.assertEqual(plain.keys() & {"duration", "phoneNumbers"}, set())

    async def test_faults(self) -> None:
        """Each fault has its own code."""
        self.refused(await self.put("/v2/tasks", self.me, {}), 400, 92020123002001)
        self.refused(await self.put("/v2/tasks", self.me, {"title": "x", "fuzzyDueDate": "soon"}), 400, 92010123002003)
        self.refused(await self.put("/v2/tasks", self.me, {"title": "x", "listId": 99}), 404, 91160123003003)
        self.refused(await self.put("/v2/tasks", self.me, {"title": "x", "relatedTo": {"id": 99, "type": "deal"}}), 404, 91070123003003)
        mine = (await self.task())["id"]
        self.refused(await self.post("/v2/tasks/%d" % mine, self.mate, {"title": "y"}), 404, 91150113001001)
        self.refused(await self.delete("/v2/tasks?ids=%d" % mine, self.mate), 404, 91150143001001)
        self.refused(await self.delete("/v2/tasks?ids=%d,999" % mine, self.me), 404, 91150143001001)


class Assigned(Tasks):
    """Tasks of `me` that `mate` is to do."""

    async def test_seen(self) -> None:
        """The assignee sees it whole but for its list, and may change what is not the owner's."""
        listed = (await self.put("/v2/taskLists", self.me, {"title": "EMEA"})).entity["id"]
        made = await self.task(assignedTo={"id": self.mate.id}, listId=listed)
        self.assertEqual((made["assignedTo"], made["listId"]), ({"id": self.mate.id, "displayName": self.mate.email}, listed))
        seen = {k: v for k, v in made.items() if k != "listId"}
        path = "/v2/tasks/%d" % made["id"]
        self.assertEqual((await self.get(path, self.mate)).json, seen)
        self.assertEqual((await self.get("/v2/tasks", self.mate)).json, [seen])
        before = self.seqs()
        done = await self.post(path, self.mate, {**seen, "status": "completed"})
        self.assertEqual((done.status, done.entity), (200, {**seen, "status": "completed"}))
        self.assertEqual((await self.get(path, self.me)).json, {**made, "status": "completed"})
        self.assertEqual(self.seqs(), [seq + 1 for seq in before])
        self.assertEqual(self.sql("SELECT seq, assigned_seq FROM tasks"), [tuple(self.seqs())])
        log = (await self.get("/v2/activities?limit=1", self.me)).json["data"][0]
        self.assertEqual((log["entity"]["oldState"], log["relatedTo"]["id"]), (made, self.mate.id))

    async def test_owners_right(self) -> None:
        """Who does it, its list, its type, numbers and duration, what it is about and deleting are the owner's."""
        made = await self.task(assignedTo={"id": self.mate.id})
        path = "/v2/tasks/%d" % made["id"]
        contact = (await self.put("/v2/contacts", self.mate, {"contactType": "person", "firstName": "Ada"})).entity["id"]
        for body in ({"assignedTo": {"id": self.me.id}}, {"relatedTo": {"id": contact, "type": "contact"}}, {"listId": 1}, {"phoneNumberIds": []}):
            self.refused(await self.post(path, self.mate, body), 403, 94020113004003)
        self.refused(await self.post(path, self.mate, {"taskType": "scheduled_call"}), 403, 94020113004003)
        call = await self.task(assignedTo={"id": self.mate.id}, taskType="scheduled_call", duration=15)
        one = "/v2/tasks/%d" % call["id"]
        for body in ({"taskType": "task"}, {"duration": 30}, {"duration": None}):
            self.refused(await self.post(one, self.mate, body), 403, 94020113004003)
        self.assertEqual((await self.post(one, self.mate, {**call, "hot": True})).entity, {**call, "hot": True})
        self.refused(await self.delete(path, self.mate), 403, 94020143004003)
        self.refused(await self.delete("/v2/tasks?ids=%d" % made["id"], self.mate), 403, 94020143004003)
        self.assertEqual((await self.get(path, self.me)).json, made)

    async def test_to_whom(self) -> None:
        """An active colleague; nobody of another company, nobody inactive; without a company only oneself."""
        for nobody in (self.boss.id, 999999):
            self.refused(await self.put("/v2/tasks", self.me, {"title": "x", "assignedTo": {"id": nobody}}), 404, 91170123003003)
        self.sql("UPDATE users SET active = false WHERE id = %s", self.mate.id)
        self.refused(await self.put("/v2/tasks", self.me, {"title": "x", "assignedTo": {"id": self.mate.id}}), 404, 91170123003003)
        lone, other = self.person(), self.person()
        self.refused(await self.put("/v2/tasks", lone, {"title": "x", "assignedTo": {"id": other.id}}), 404, 91170123003003)
        self.assertEqual((await self.task(lone, assignedTo={"id": lone.id}))["assignedTo"]["id"], lone.id)

    async def test_handed_over(self) -> None:
        """Whoever loses a task gets a tombstone, and none when it comes back; everybody concerned hears of it."""
        made = await self.task(assignedTo={"id": self.mate.id})
        path, heard = "/v2/tasks/%d" % made["id"], []
        self.parts.app.hub.subscribe(Changed, lambda event: heard.append((event.user_id, event.action)))
        self.assertEqual((await self.post(path, self.me, {"assignedTo": None})).entity["assignedTo"]["id"], self.me.id)
        self.assertEqual(self.sql("SELECT user_id, entity_id FROM tombstones"), [(self.mate.id, made["id"])])
        self.refused(await self.get(path, self.mate), 404, 91150103001001)
        await self.post(path, self.me, {"assignedTo": {"id": self.mate.id}})
        self.assertEqual(self.sql("SELECT count(*) FROM tombstones"), [(0,)])
        await self.delete(path, self.me)
        self.assertEqual(sorted(self.sql("SELECT user_id, entity_id FROM tombstones")),
                         sorted([(self.me.id, made["id"]), (self.mate.id, made["id"])]))
        me, mate = self.me.id, self.mate.id
        self.assertEqual(heard, [(me, "update"), (mate, "delete"), (me, "update"), (mate, "insert"), (me, "delete"), (mate, "delete")])

    async def test_both_at_once(self) -> None:
        """Colleagues who change each other's tasks at the same time are all answered, and no number is lost."""
        mine, theirs = await self.task(assignedTo={"id": self.mate.id}), await self.task(self.mate, assignedTo={"id": self.me.id})
        before = self.seqs()
        answers = await gatherResults([Deferred.fromCoroutine(self.post("/v2/tasks/%d" % task["id"], who, {"title": "x"}))
                                       for task in (mine, theirs) for who in (self.me, self.mate) for _ in range(5)])
        self.assertEqual({answer.status for answer in answers}, {200})
        self.assertEqual(self.seqs(), [seq + 20 for seq in before])

    async def test_another_hand_meanwhile(self) -> None:
        """A task that is handed over while a change of it waits is changed with the numbers of whom it came to."""
        third = self.person(company=self.me.company)
        made = await self.task(assignedTo={"id": self.mate.id})
        rival = psycopg2.connect(self.dsn)
        self.addCleanup(rival.close)
        with rival.cursor() as cursor:
            cursor.execute("SELECT take(ARRAY[%s, %s, %s]::bigint[])", (self.me.id, self.mate.id, third.id))
            cursor.execute("UPDATE tasks SET assigned_to_id = %s, assigned_seq = number_of(%s)", (third.id, third.id))
        waiting = Deferred.fromCoroutine(self.post("/v2/tasks/%d" % made["id"], self.me, {"title": "x"}))
        while not self.sql("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"):
            await deferLater(reactor, 0)  # type: ignore[arg-type]
        rival.commit()
        self.assertEqual((await waiting).status, 200)
        (seq, at), = self.sql("SELECT t.assigned_seq, c.seq FROM tasks t JOIN counters c ON c.user_id = %s", third.id)
        self.assertEqual((seq, at), (2, 2))

    async def test_contact_gone(self) -> None:
        """A deleted contact leaves its task without it, a change in both users' numbers."""
        contact = (await self.put("/v2/contacts", self.me, {"contactType": "person", "firstName": "Ada"})).entity["id"]
        made = await self.task(assignedTo={"id": self.mate.id}, relatedTo={"id": contact, "type": "contact"})
        seen = (await self.get("/v2/tasks/%d" % made["id"], self.mate)).json
        self.assertEqual(seen["relatedTo"], {"id": contact, "type": "contact", "displayName": "Ada"})
        await self.delete("/v2/contacts/%d" % contact, self.me)
        self.assertNotIn("relatedTo", (await self.get("/v2/tasks/%d" % made["id"], self.mate)).json)
        self.assertEqual(self.sql("SELECT seq, assigned_seq FROM tasks"), [tuple(self.seqs())])

    async def test_wiped(self) -> None:
        """A wiped user's tasks leave their assignees with a tombstone; those assigned to the user return to their owners."""
        admin = self.person(company=self.me.company, roles=("customer_admin",))
        listed = (await self.put("/v2/taskLists", self.me, {"title": "EMEA"})).entity["id"]
        mine = await self.task(assignedTo={"id": self.mate.id}, listId=listed)
        await self.put("/v2/deals", self.me, {"name": "x"})
        theirs = await self.task(self.mate, assignedTo={"id": self.me.id})
        reply = await self.post("/v2/admin/users/%d?cmd=wipeAccount" % self.me.id, admin)
        self.assertEqual(reply.status, 200, reply.json)
        self.assertEqual([(t["id"], t["assignedTo"]["id"]) for t in (await self.get("/v2/tasks", self.mate)).json], [(theirs["id"], self.mate.id)])
        self.assertEqual(self.sql("SELECT user_id, entity_id FROM tombstones"), [(self.mate.id, mine["id"])])
        self.assertEqual(self.sql("SELECT (SELECT count(*) FROM deals), (SELECT count(*) FROM task_lists)"), [(0, 0)])


class Lists(Tasks):
    """Task lists."""

    async def test_life(self) -> None:
        """Created, read with its tasks (the latest due first), renamed, deleted; its tasks stay."""
        made = await self.put("/v2/taskLists", self.me, {"title": "EMEA"})
        ident = made.entity["id"]
        self.assertEqual((made.status, made.entity), (201, {"id": ident, "title": "EMEA", "tasks": []}))
        tasks = [await self.task(listId=ident, dueDate=5, assignedTo={"id": self.mate.id}), await self.task(listId=ident, dueDate=9)]
        path, shown = "/v2/taskLists/%d" % ident, {"id": ident, "title": "EMEA", "tasks": tasks[::-1]}
        self.assertEqual((await self.get(path, self.me)).json, shown)
        self.assertEqual((await self.get("/v2/taskLists", self.me)).json, [shown])
        self.assertEqual((await self.get("/v2/taskLists", self.mate)).json, [])
        renamed = await self.post("/v2/tasksLists/%d" % ident, self.me, {**shown, "title": "IBM"})
        self.assertEqual((renamed.status, renamed.entity), (200, {**shown, "title": "IBM"}))
        self.refused(await self.post(path, self.mate, {"title": "x"}), 404, 91160113021001)
        self.refused(await self.delete(path, self.mate), 404, 91160143021001)
        before = self.seqs()
        self.assertEqual((await self.delete(path, self.me)).json["code"], 204)
        self.refused(await self.get(path, self.me), 404, 91160103021001)
        self.assertEqual([t.get("listId") for t in (await self.get("/v2/tasks", self.me)).json], [None, None])
        self.assertGreater(self.seqs(), before)
        self.assertEqual(self.sql("SELECT assigned_seq FROM tasks WHERE id = %s", tasks[0]["id"])[0][0], self.seqs()[1])

    async def test_a_task_is_a_change_of_its_list(self) -> None:
        """A list's number rises when a task comes, changes, moves or goes: it shows its tasks whole."""
        lists = [(await self.put("/v2/taskLists", self.me, {"title": title})).entity["id"] for title in "ab"]
        made = await self.task(listId=lists[0])
        path = "/v2/tasks/%d" % made["id"]

        def changed() -> list[int]:
            return [ident for ident, in self.sql(
                "SELECT l.id FROM task_lists l JOIN counters c ON c.user_id = l.user_id AND c.seq = l.seq ORDER BY 1")]
        self.assertEqual(changed(), [lists[0]])
        await self.post(path, self.me, {"title": "x"})
        self.assertEqual(changed(), [lists[0]])
        await self.put("/v2/deals", self.me, {"name": "d"})
        self.assertEqual(changed(), [])
        await self.post(path, self.me, {"listId": lists[1]})
        self.assertEqual(changed(), lists)
        await self.delete(path, self.me)
        self.assertEqual(changed(), [lists[1]])

    async def test_faults(self) -> None:
        """Each fault has its own code."""
        self.refused(await self.put("/v2/taskLists", self.me, {}), 400, 92020123022001)
        self.refused(await self.put("/v2/taskLists", self.me, {"title": ""}), 400, 92010123022002)
        self.refused(await self.get("/v2/taskLists/99", self.me), 404, 91160103021001)
        self.refused(await self.put("/v2/tasks", self.mate, {"title": "x", "listId": (await self.put(
            "/v2/taskLists", self.me, {"title": "a"})).entity["id"]}), 404, 91160123003003)
