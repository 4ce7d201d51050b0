"""The one list of modules that offer calls."""
from __future__ import annotations

from interactd.api.call import Call
from interactd.entities import account, basicinfos, companies, contact_lists, contacts, customfields, groups, memberships, notes, users, wiping
from interactd.sync import cleanup, merge, share

MODULES = (account, basicinfos, cleanup, companies, contact_lists, contacts, customfields, groups, memberships, merge, notes, share, users, wiping)
CALLS: tuple[Call, ...] = tuple(call for module in MODULES for call in module.CALLS)
