"""The one list of modules that offer calls."""
from __future__ import annotations

from interactd.api import description, probes
from interactd.api.call import Call
from interactd.entities import (account, activities, basicinfos, companies, contact_lists, contacts, customfields, deals, devices,
                                groups, interactions, memberships, notes, pictures, resets, sessions, tasklists, tasks,
                                triggerdevices, users, wiping)
from interactd.events import puts
from interactd.imports import importing
from interactd.live import handshake
from interactd.push import deliveries
from interactd.sync import cleanup, merge, pull, share

MODULES = (account, activities, basicinfos, cleanup, companies, contact_lists, contacts, customfields, deals,
           deliveries, description, devices, groups, handshake, importing, interactions, memberships, merge, notes, pictures, probes, pull,
           puts, resets, sessions, share, tasklists, tasks, triggerdevices, users, wiping)
CALLS: tuple[Call, ...] = tuple(call for module in MODULES for call in module.CALLS)
